"""Models that were not trained here: their own inputs and outputs, and what has no exported form."""

import json

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from dlapp.errors import BundleError, ModelError
from dlapp.exporting import export, onnx_file, replaying, verify
from dlapp.exporting.any_model import layer_of
from dlapp.inference.bundle import Bundle
from dlapp.signature import Signature


@pytest.fixture(autouse=True)
def _no_latency(monkeypatch):
    monkeypatch.setattr(replaying, "_median_latency", lambda *_: 0.0)  # of Keras it takes seconds


def several():
    """Two inputs and two outputs in dicts, one of them of any length."""
    left, right = keras.Input((5,), name="left"), keras.Input((None, 3), name="right")
    x = layers.Concatenate()([layers.Dense(4)(left), layers.GlobalAveragePooling1D()(right)])
    outputs = {"score": layers.Dense(1)(x), "kind": layers.Dense(3, activation="softmax")(x)}
    return keras.Model({"left": left, "right": right}, outputs, name="several")


def sequential():
    convolved = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input((8, 8, 2)), *convolved], name="sequential")


def shared():
    """One layer for two inputs, in a list."""
    left, right = keras.Input((4, 4, 1), name="left"), keras.Input((4, 4, 1), name="right")
    flat, dense = layers.Flatten(), layers.Dense(3)
    return keras.Model([left, right], layers.Subtract()([dense(flat(left)), dense(flat(right))]), name="shared")


def recurrent():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    return keras.Model(tokens, layers.LSTM(4)(layers.Embedding(9, 3)(tokens)), name="recurrent")


def normalized():
    """tf2onnx makes inputs of the mean and the variance, and has no operator for gelu."""
    inputs = keras.Input((3,), name="inputs")
    x = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])(inputs)
    return keras.Model(inputs, layers.Dense(2, activation="gelu")(x), name="normalized")


def augmented():
    """What is random in training is not there in the file."""
    inputs = keras.Input((6, 6, 1), name="inputs")
    x = layers.Dropout(0.5)(layers.RandomFlip()(inputs))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)), name="augmented")


MODELS = {make.__name__: make for make in (several, sequential, shared, recurrent, normalized, augmented)}
SHAPES = {
    "several": ([("left", ("batch", 5)), ("right", ("batch", "right_1", 3))], [("kind", 3), ("score", 1)]),
    "shared": ([("left", ("batch", 4, 4, 1)), ("right", ("batch", 4, 4, 1))], [("subtract", 3)]),
    "recurrent": ([("tokens", ("batch", "tokens_1"))], [("lstm", 4)]),
}


@pytest.fixture(scope="module", params=MODELS)
def made(request, tmp_path_factory):
    """The name of a model, the model, and its ONNX bundle."""
    keras.utils.set_random_seed(1)
    model = MODELS[request.param]()
    folder = tmp_path_factory.mktemp("export") / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)
        found = export(model, folder, formats=["onnx"])
    return request.param, model, folder, found


def test_the_file_gives_what_keras_gives(made):
    name, model, folder, found = made
    assert found.holds
    signature = Signature.read(folder / "signature.json")
    assert (signature.task, signature.labels) == ("tensors", ())
    assert signature.provenance["samples"] == "random"
    if name in SHAPES:
        inputs, outputs = SHAPES[name]
        assert [(one.name, one.shape) for one in signature.inputs] == inputs
        assert [(one.name, one.shape[-1]) for one in signature.outputs] == outputs
    random = np.random.default_rng(5)
    given = {
        one.name: random.integers(0, 9, (3, 7)).astype(np.int32)
        if one.dtype == "int32"
        else random.normal(size=[7 if isinstance(size, str) else size for size in (3, *one.shape[1:])]).astype(
            "float32"
        )
        for one in signature.inputs
    }
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    values = session.run([one.name for one in signature.outputs], given)
    own = given if name == "several" else list(given.values()) if len(given) > 1 else next(iter(given.values()))
    wanted = keras.tree.flatten(model.predict(own, verbose=0))
    for value, expected in zip(values, wanted, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-5)  # float32


def test_other_sizes_are_replayed_where_dimensions_vary(made):
    name, _, _, found = made
    first = {"several": (4, 5), "recurrent": (4, 16)}.get(name)
    if first is not None:
        assert found.input_shapes[0] == first
        assert len(found.input_shapes) == 3
    else:
        assert len(found.input_shapes) == 2


class Own(keras.Model):
    """A class of its own, which does not say what it takes."""

    def __init__(self):
        super().__init__(name="own")
        self.hidden, self.last = layers.Dense(4, activation="relu"), layers.Dense(2)

    def call(self, inputs):
        return self.last(self.hidden(inputs))


def test_a_class_of_its_own_needs_a_signature(tmp_path):
    with pytest.raises(ModelError, match="own does not say what it takes: give input_signature"):
        export(Own(), tmp_path / "own")
    for number, spec in enumerate((keras.InputSpec(shape=(None, 6), dtype="float32"), tf.TensorSpec((None, 6)))):
        model = Own()
        assert export(model, tmp_path / f"own{number}", input_signature=[spec], formats=["onnx"]).holds
        rows = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
        (answers,) = Bundle(tmp_path / f"own{number}").run(rows).values()
        np.testing.assert_allclose(answers, model.predict(rows, verbose=0), atol=1e-6)


class Python(layers.Layer):
    """Calls back into Python."""

    def call(self, inputs):
        return tf.ensure_shape(tf.numpy_function(lambda values: 2 * values, [inputs], tf.float32), inputs.shape)


class Looping(layers.Layer):
    """A loop of its own."""

    def call(self, inputs):
        return tf.while_loop(lambda x: tf.reduce_sum(x) < 100, lambda x: (x * 2 + 1,), (inputs,))[0]


class Broken(layers.Layer):
    """Fails when it is traced for batches of any size."""

    def call(self, inputs):
        if inputs.shape[1] is None:
            raise ValueError("the width must be known")
        return inputs


@pytest.mark.parametrize(
    ("layer", "shape", "error", "message"),
    [
        (Python(name="mine"), (4,), ModelError, "mine of model runs Python code"),
        (Looping(name="mine"), (4,), BundleError, "mine would be a loop in the ONNX file.*--to savedmodel alone"),
        (
            layers.UpSampling2D(interpolation="bilinear", name="mine"),
            (None, None, 1),
            ModelError,
            r"mine \(UpSampling2D\)",
        ),
    ],
    ids=["Python", "a loop", "not traced"],
)
def test_the_layer_that_cannot_be_exported_is_named(layer, shape, error, message, tmp_path):
    inputs = keras.Input(shape, name="inputs")
    model = keras.Model(inputs, layer(inputs), name="model")
    with pytest.raises(error, match=message):
        export(model, tmp_path / "a", formats=["onnx"])
    assert not list(tmp_path.iterdir()), "nothing is left"


def test_an_operator_without_onnx_form_is_named(tmp_path):
    inputs = keras.Input((4,), name="inputs")

    class Special(layers.Layer):
        def call(self, given):
            return tf.math.lgamma(given)

    model = keras.Model(inputs, layers.Dense(2)(Special(name="special")(inputs)), name="model")
    with pytest.raises(ModelError, match=r"special has no ONNX form: nothing stands for TensorFlow's Lgamma"):
        export(model, tmp_path / "a")
    assert export(model, tmp_path / "a", formats=["savedmodel"]).holds, "the remedy"


def test_given_samples_are_used_and_checked(tmp_path):
    model = sequential()
    pictures = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    found = export(model, tmp_path / "a", samples=pictures, formats=["onnx"])
    assert found.input_shapes == ((2, 8, 8, 2), (1, 8, 8, 2))
    assert "samples" not in Signature.read(tmp_path / "a/signature.json").provenance
    with pytest.raises(ValueError, match=r"must be float32 of .*; got float64"):
        export(model, tmp_path / "b", samples=pictures.astype(np.float64))
    with pytest.raises(ValueError, match="samples must have left, an input of several; got right"):
        export(several(), tmp_path / "b", samples={"right": pictures})


def test_the_folder_is_named_after_the_model(workplace):
    export(sequential(), formats=["onnx"], provenance={"license": "MIT", "author": "A. Person", "version": "3"})
    about = {one.key: json.loads(one.value) for one in onnx.load("export/sequential/model.onnx").metadata_props}
    assert {key: about[key] for key in ("name", "license", "author", "version")} == {
        "name": "sequential",
        "license": "MIT",
        "author": "A. Person",
        "version": "3",
    }
    told = about["provenance"]["parity"]
    assert told["tolerance"] == 1e-5
    assert list(told["runtimes"]) == ["keras", "onnxruntime"]
    readme = (workplace / "export/sequential/README.md").read_text()
    (code,) = [part.split("```")[0] for part in readme.split("```python\n")[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace / "export/sequential")
        exec(compile(code, "README.md", "exec"), {})


def test_a_file_of_more_than_2_gib_has_its_constants_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_LARGEST", 100)
    monkeypatch.setattr(onnx_file, "_SMALL", 50)
    model = sequential()
    assert export(model, tmp_path / "a", formats=["onnx"]).holds
    data = tmp_path / "a/model.onnx.data"
    assert data.is_file()
    assert "model.onnx.data" in Signature.read(tmp_path / "a/signature.json").files
    content = data.read_bytes()
    data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"model\.onnx\.data was altered"):
        Bundle(tmp_path / "a")
    data.unlink()
    for call in (Bundle, verify):
        with pytest.raises(BundleError, match=r"model\.onnx\.data is missing"):
            call(tmp_path / "a")


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("resnet20_1/stage2_block1_conv1_1/convolution", "stage2_block1_conv1"),
        ("model/dense_1/MatMul", "dense_1"),  # which has that name
        ("model/outer_1/dense_1_1/MatMul", "dense_1"),
        ("Cast", "Cast"),
    ],
)
def test_nodes_belong_to_layers(node, layer):
    assert layer_of(node, ["stage2_block1_conv1", "dense_1", "outer"]) == layer


def test_names_with_numbers_do_not_meet_those_of_other_cases(tmp_path):
    inputs = [keras.Input((size,), name=name) for name, size in (("x", 2), ("x_1", 3), ("x_2", 4))]
    model = keras.Model(inputs, layers.Concatenate(name="y")(inputs), name="numbered")
    assert export(model, tmp_path / "a", formats=["onnx"]).input_shapes == ((4, 2), (1, 2))


def test_what_needs_preprocessing_is_refused_without(tmp_path):
    with pytest.raises(ValueError, match="are for models with preprocessing"):
        export(sequential(), tmp_path / "a", labels=("cat", "dog", "bird"))


def test_a_branch_in_the_graph_is_refused_with_its_layer(tmp_path):
    class Choosing(layers.Layer):
        def call(self, given):
            return keras.ops.cond(keras.ops.sum(given) > 0, lambda: given * 2, lambda: given)

    inputs = keras.Input((4,), name="inputs")
    model = keras.Model(inputs, Choosing(name="choosing")(inputs), name="model")
    with pytest.raises(BundleError, match="choosing would be a branch in the ONNX file"):
        export(model, tmp_path / "a")


def test_what_is_flattened_channels_first_stays_keras_own():
    from dlapp.exporting.graph import with_onnx_operators

    inputs = keras.Input((3, 4, 5))
    model = keras.Model(inputs, layers.Flatten(data_format="channels_first")(inputs))
    assert with_onnx_operators(model) is model
