"""SavedModel and ONNX of every kind of input: names, shapes, metadata and values."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from dlapp.errors import ModelError
from dlapp.exporting import export, onnx_file
from dlapp.signature import Preprocessing, Signature
from tests.exporting.conftest import network, raw, standardized

DTYPES = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}


def tensors(values):
    """Name, dtype and shape of the inputs or outputs of an ONNX graph."""
    return [
        (
            value.name,
            DTYPES[value.type.tensor_type.elem_type],
            tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim),
        )
        for value in values
    ]


def test_onnx_says_what_the_signature_says(bundle):
    proto = onnx.load(bundle.folder / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 18)]
    shape = bundle.samples.shape[1:]
    name, dtype, dimensions = (
        ("features", "float32", ("batch", shape[0]))
        if len(shape) == 1
        else ("image", "uint8", ("batch", "height", "width", shape[2]))
    )
    assert tensors(proto.graph.input) == [(name, dtype, dimensions)]
    assert tensors(proto.graph.output) == [("probabilities", "float32", ("batch", len(bundle.labels)))]
    signature = json.loads((bundle.folder / "signature.json").read_text())
    del signature["files"]
    told = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert told == {**signature, "name": bundle.folder.name}
    assert signature["labels"] == list(bundle.labels)


def test_saved_model_says_what_the_signature_says(bundle):
    signature = Signature.read(bundle.folder / "signature.json")
    loaded = tf.saved_model.load(str(bundle.folder / "saved_model/1"))
    served = loaded.signatures["serving_default"]
    (given,) = signature.inputs
    (spec,) = served.structured_input_signature[1].values()
    varying = [None if isinstance(size, str) else size for size in given.shape]
    assert (spec.name, spec.dtype.name, spec.shape.as_list()) == (given.name, given.dtype, varying)
    assert {name: value.dtype.name for name, value in served.structured_outputs.items()} == {"probabilities": "float32"}
    assets = json.loads((bundle.folder / "saved_model/1/assets/signature.json").read_text())
    assert assets | {"files": dict(signature.files)} == signature.to_dict()


def bilinear(given, wanted, *, antialias):
    """(wanted, given) weights of a triangle over pixel centres, widened by the shrinkage if antialiased."""
    ratio = given / wanted
    width = max(ratio, 1.0) if antialias else 1.0
    centres = (np.arange(wanted) + 0.5) * ratio
    weights = np.maximum(0, 1 - np.abs(np.arange(given) + 0.5 - centres[:, np.newaxis]) / width)
    return weights / weights.sum(axis=1, keepdims=True)


def preprocessed(inputs, preprocessing: Preprocessing):
    """What the network has to see, in float64."""
    values = inputs.astype(np.float64)
    if preprocessing.size:
        rows, columns = (
            bilinear(given, wanted, antialias=preprocessing.antialias)
            for given, wanted in zip(inputs.shape[1:3], preprocessing.size, strict=True)
        )
        values = np.einsum("ih,nhwc,jw->nijc", rows, values, columns)
    if preprocessing.scale == "unit":
        return values / 255
    return (values - preprocessing.mean) / np.sqrt(preprocessing.variance)


def probabilities(model, inputs):
    """The answers of Keras, in float64: softmax for logits, two columns for one unit."""
    outputs = model.predict(inputs.astype(np.float32), verbose=0).astype(np.float64)
    logits = model.layers[-1].activation.__name__ == "linear"
    if outputs.shape[1] == 1:
        return np.hstack([1 - outputs, outputs])
    return np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True) if logits else outputs


def test_both_formats_give_what_keras_gives_after_numpy(bundle, raw_inputs):
    shape = bundle.samples.shape[1:]
    name = "features" if len(shape) == 1 else "image"
    # narrower than the network's size and wider; sizes that share no factor with it
    other = shape if len(shape) == 1 else (shape[0] * 2 + 1, max(shape[1] - 4, 3), shape[2])
    session = onnxruntime.InferenceSession(bundle.folder / "model.onnx")
    loaded = tf.saved_model.load(str(bundle.folder / "saved_model/1"))
    for seed, (batch, size) in enumerate([(1, shape), (5, shape), (1, other), (5, other)], start=1):
        inputs = raw_inputs(size, batch=batch, seed=seed)
        expected = probabilities(bundle.model, preprocessed(inputs, bundle.preprocessing))
        if batch > 1:
            assert expected.std(axis=0).min() > 1e-3, "answers that are all equal would prove nothing"
        onnx_outputs = session.run(["probabilities"], {name: inputs})[0]
        tf_outputs = loaded.signatures["serving_default"](**{name: tf.constant(inputs)})["probabilities"].numpy()
        # of a probability; sums of some hundred float32 in another order
        np.testing.assert_allclose(onnx_outputs, expected, atol=1e-5, rtol=0)
        np.testing.assert_allclose(tf_outputs, expected, atol=1e-5, rtol=0)


def test_a_resize_without_an_onnx_form_is_refused(exported, tmp_path):
    bundle = exported("antialias")
    signature = Signature.read(bundle.folder / "signature.json")

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")])
    def by_lanczos(image):
        resized = tf.image.resize(tf.cast(image, tf.float32), (7, 6), method="lanczos3", antialias=True)
        return {"probabilities": tf.reduce_mean(resized, (1, 2))}

    with pytest.raises(ModelError, match="ScaleAndTranslate"):
        onnx_file.write(by_lanczos, signature, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_libraries_say_nothing_and_may_speak_again_behind(tmp_path, caplog, capsys):
    given = {"labels": ("a", "b", "c"), "preprocessing": standardized(5), "samples": raw((5,), batch=2)}
    with caplog.at_level("INFO", logger="tensorflow"):  # as in a script, where the command line sets no level
        export(network("rows"), tmp_path / "bundle", **given)
        assert (caplog.messages, capsys.readouterr().out) == ([], "")
        tf.get_logger().info("spoken")
        assert caplog.messages == ["spoken"]
