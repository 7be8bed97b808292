"""``--locate``: real faults, in a file and in runtimes, are found where they are."""

import dataclasses
import importlib
import importlib.util
import shutil
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from dlapp.architectures.dense import deep_network
from dlapp.architectures.resnet import convolution, normalization, residual_block
from dlapp.exporting import export, keras_layers, locating, replaying, verify
from dlapp.exporting.locating import Locator, _apart, _departure, _search, _stands_for
from dlapp.exporting.onnx_layers import LayeredGraph
from dlapp.exporting.runtimes import Place, keras_model
from dlapp.files import sha256
from dlapp.signature import Preprocessing, Signature
from tests.exporting.test_export_texts import KINDS as TEXTS
from tests.exporting.test_export_texts import SAMPLES
from tests.exporting.test_export_texts import network as text_network
from tests.exporting.test_parity import record


def residual():
    """Two convolutions beside a shortcut, each with a normalization that is folded into it."""
    inputs = keras.Input((8, 8, 3), name="input")
    x = convolution(inputs, 4, 3, strides=1, name="stage1_conv")
    x = layers.Activation("relu", name="stage1_relu")(normalization(x, name="stage1_norm"))
    x = residual_block(x, 4, name="stage2_block1")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(3, activation="softmax", name="classifier")(x)
    return keras.Model(inputs, outputs, name="residual")


# how it is built, its preprocessing, shape of a raw sample
BUILT = {
    "residual": (residual, Preprocessing(3, (8, 8), scale="unit"), (8, 8, 3)),
    "dense": (
        lambda: deep_network((5,), units=(5, 4), classes=3),
        Preprocessing(0, None, scale="standardize", mean=(110.0,) * 5, variance=(3600.0,) * 5),
        (5,),
    ),
}


def scatter(model):
    """Weights of which all say something, variances above zero among them."""
    random = np.random.default_rng(2)
    for weight in model.weights:
        positive = weight.name in ("gamma", "moving_variance")
        weight.assign(random.uniform(0.5, 1.5, weight.shape) if positive else random.normal(0, 0.3, weight.shape))
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory, exported, raw_inputs):
    """Gives the bundle of that kind, and the file of its model."""
    root, done = tmp_path_factory.mktemp("located"), {}

    def make(kind):
        if kind not in done:
            folder = root / kind
            if kind in TEXTS:
                model, (_, labels, (vocabulary, target)) = text_network(kind), TEXTS[kind]
                options = {"preprocessing": Preprocessing(0, vocabulary=vocabulary, target_vocabulary=target)}
                export(model, folder, labels=labels, samples=SAMPLES, formats=("onnx",), **options)
            elif kind in BUILT:
                build, preprocessing, shape = BUILT[kind]
                model, samples = scatter(build()), raw_inputs(shape, batch=2)
                options = {"preprocessing": preprocessing, "formats": ("onnx",)}
                export(model, folder, labels=("a", "b", "c"), samples=samples, **options)
            else:
                one = exported(kind)
                model = one.model
                shutil.copytree(one.folder, folder)
            model.save(root / f"{kind}.keras")
            done[kind] = folder, root / f"{kind}.keras"
        return done[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)  # of Keras it takes seconds
        yield make


@pytest.fixture
def here(monkeypatch):
    """Asks Keras in this process: importing TensorFlow in another takes 10 s."""

    def run(module, arguments, timeout_s):
        importlib.import_module(module).main(Path(arguments[0]))
        return "it ended with status 0", ""

    monkeypatch.setattr(locating, "run_module", run)


def spoil(folder, copy, weight, file="model.onnx"):
    """A copy in which half of the numbers of a weight are others."""
    shutil.copytree(folder, copy)
    proto = onnx.load(copy / file)
    (found,) = (one for one in proto.graph.initializer if one.name.endswith(weight))
    values = onnx.numpy_helper.to_array(found).copy()
    values.flat[::2] += 0.5
    found.CopyFrom(onnx.numpy_helper.from_array(values, found.name))
    onnx.save(proto, copy / file)
    sign(copy, file)
    return copy


def sign(folder, file):
    """Makes the signature say that the file is as it should be."""
    signature = Signature.read(folder / "signature.json")
    files = {**signature.files, file: sha256(folder / file)}
    dataclasses.replace(signature, files=files).write(folder / "signature.json")


@pytest.mark.parametrize(
    ("kind", "weight", "found", "after"),
    [
        ("lenet5", "conv1_1/convolution/ReadVariableOp:0", ("conv1",), ("preprocessing",)),
        ("lenet5", "dense1_1/BiasAdd/ReadVariableOp:0", ("dense1",), ("flatten",)),
        ("lenet5", "classifier_1/Cast/ReadVariableOp:0", ("classifier",), ("dense2",)),
        ("lenet5", "truediv_recip:0", ("preprocessing",), ()),
        ("residual", "stage1_conv_1/convolution/merged_input:0", ("stage1_conv", "stage1_norm"), ("preprocessing",)),
        (
            "residual",
            "stage2_block1_norm2_1/batchnorm/sub:0",
            ("stage2_block1_conv2", "stage2_block1_norm2"),
            ("stage2_block1_relu1",),
        ),
        ("dense", "dense1_1/Cast/ReadVariableOp:0", ("dense1",), ("preprocessing",)),
        ("dense", "dense2_1/BiasAdd/ReadVariableOp:0", ("dense2",), ("activation1",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_weight_that_was_changed_is_found_in_its_layer(made, here, tmp_path, kind, weight, found, after):
    folder, model = made(kind)
    copy = spoil(folder, tmp_path / kind, weight)
    (result,) = verify(copy, ["onnxruntime"], model=model, locate=Locator()).results
    assert result.verdict == "differs"
    located = result.located
    assert (located.layers, located.after, located.reference) == (found, after, "keras")
    assert located.difference > 1e-3
    assert located.told.startswith(f"model.onnx itself departs from Keras at {' + '.join(found)}, after ")


def test_a_step_is_followed_until_it_departs(made, here, tmp_path):
    """Behind states of zeros the first step shows nothing of a recurrent weight."""
    folder, model = made("language_model")
    copy = spoil(folder, tmp_path / "a", "recurrent2_1/gru_cell_1/Cast_1/ReadVariableOp:0", "step.onnx")
    (result,) = verify(copy, ["onnxruntime"], model=model, locate=Locator()).results
    assert (result.located.layers, result.located.after) == (("recurrent2",), ("recurrent1",))
    assert result.located.told.startswith("step.onnx itself departs")


def test_what_keras_gives_behind_a_sequence_is_not_compared(made):
    folder, path = made("language_model")
    signature = Signature.read(folder / "signature.json")
    model = keras_model.load_network(Place(folder, signature, model=path))
    (answers,) = keras_layers._whole(model, signature, {"tokens": np.array([[4, 5, 0, 0]], np.int32)})
    given = {name.split("/")[1]: values for name, values in answers.items() if values.ndim == 3}
    assert list(given) == ["embedding", "recurrent1", "recurrent2", "classifier"]  # as they follow each other
    for values in given.values():
        assert np.isnan(values[0]).all(axis=-1).tolist() == [False, False, True, True]


@pytest.mark.parametrize("runtime", ["onnx-reference", "openvino"])
def test_a_runtime_that_leaves_out_the_lengths_is_found_at_its_operator(made, runtime):
    if importlib.util.find_spec(runtime.removesuffix("-reference")) is None:
        pytest.skip(f"needs {runtime}")
    folder, _ = made("classification")
    (result,) = verify(folder, [runtime], locate=Locator()).results
    located = result.located
    assert (located.layers, located.after, located.reference) == (("recurrent1",), ("embedding",), "onnxruntime")
    assert (located.node, located.operator) == ("recurrent_1/recurrent1_1/PyFuncStateless", "LSTM")


def test_where_layers_cannot_tell_it_says_so(made, here, tmp_path):
    folder, model = made("lenet5")
    copy = spoil(folder, tmp_path / "a", "conv1_1/convolution/ReadVariableOp:0")
    (result,) = verify(copy, ["onnxruntime"], locate=Locator()).results
    assert "the model is not below models/ any more" in result.located.told
    record(copy, lambda arrays: arrays.update(probabilities=arrays["probabilities"][:, ::-1]))
    shutil.copy(folder / "model.onnx", copy / "model.onnx")
    sign(copy, "model.onnx")
    own, file = verify(copy, ["savedmodel", "onnxruntime"], model=model, locate=Locator()).results
    assert "only ONNX files can be looked into" in own.located.told
    assert "every layer of model.onnx gives what that of the model does" in file.located.told
    assert not own.located.layers + file.located.layers


def test_a_copy_gives_more_tensors_under_plain_names(made, tmp_path):
    folder, _ = made("residual")
    graph, signature = LayeredGraph(folder / "model.onnx"), Signature.read(folder / "signature.json")
    copy = graph.write(tmp_path, graph.ends.values(), signature, signature.inputs)
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    names = [output.name for output in proto.graph.output]
    assert names == list(copy.names.values()) == [tensor.name for tensor in copy.signature.outputs]
    assert names == ["probabilities", *(f"tensor{number}" for number in range(len(graph.ends) - 1))]
    assert [len(output.type.tensor_type.shape.dim) for output in proto.graph.output] == [2, *[4] * 8, 2]


class Measured:
    """Answers as a runtime would of which everything behind one tensor is wrong."""

    def __init__(self, graph, wrong, *, at_once):
        self.graph, self.wrong, self.at_once, self.calls = graph, wrong, at_once, 0

    def __call__(self, tensors):
        self.calls += 1
        if len(tensors) > 1 and self.at_once != "run":
            return None if self.at_once == "refused" else dict.fromkeys(tensors, 0.0)
        if self.at_once == "none":
            return dict.fromkeys(tensors, 0.0)
        return {name: float(name == self.wrong or self.wrong in self.graph.before(name)) for name in tensors}


@pytest.mark.parametrize("at_once", ["run", "refused", "vanishes"])
def test_what_does_not_run_at_once_is_halved(made, at_once):
    folder, _ = made("residual")
    graph = LayeredGraph(folder / "model.onnx")
    tensors = list(graph.ends.values())
    for number, wrong in enumerate(tensors):
        measure = Measured(graph, wrong, at_once=at_once)
        name, by, agreeing = _search(graph, tensors, "probabilities", 1e-5, measure)
        assert (name, by) == (wrong, 1.0)
        assert set(agreeing) <= set(tensors[:number])
        assert measure.calls <= (1 if at_once == "run" else 6)  # all, then 11 tensors halved
    assert _search(graph, tensors, "probabilities", 1e-5, Measured(graph, "", at_once="none")) is None


def test_a_tensor_stands_for_the_layers_behind_that_have_none():
    order = ["conv", "norm", "dropout", "relu", "dense"]
    assert _stands_for("conv", order, ("conv", "relu", "dense")) == ["conv", "norm", "dropout"]
    assert _stands_for("dense", order, ("conv", "relu", "dense")) == ["dense"]
    assert _stands_for("resize", order, ("conv",)) == []


def test_axes_may_have_another_order_and_masked_steps_any_number():
    random = np.random.default_rng(0)
    pictures = random.normal(size=(2, 3, 3, 3)).astype(np.float32)
    assert _apart(pictures.transpose(0, 3, 1, 2), pictures) == 0
    assert _apart(pictures.transpose(3, 0, 2, 1) + 1, pictures) > 0.1
    assert _apart(pictures[:1], pictures) is None
    wanted = np.array([[1.0, -2.0], [np.nan, np.nan]])
    assert _departure(np.array([[1.0, -1.0], [9.0, 9.0]]), wanted) == 0.5
    assert _departure(np.array([[1.0, np.nan], [9.0, 9.0]]), wanted) > 1e30
    assert _departure(None, wanted) > 1e30
