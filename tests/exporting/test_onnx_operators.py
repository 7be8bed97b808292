"""What an ONNX file has in the place of TensorFlow's operators."""

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from dlapp.exporting import onnx_file
from dlapp.exporting.onnx_operators import normalizes_responses

# height and width before, and behind
SIZES = {
    "as it is": ((9, 7), (9, 7)),
    "shrunk": ((50, 37), (16, 12)),
    "shrunk much": ((211, 190), (7, 5)),
    "shrunk by a whole number": ((48, 64), (16, 16)),
    "enlarged": ((6, 9), (32, 31)),
    "one way and the other": ((8, 60), (33, 13)),
    "to one pixel": ((23, 20), (1, 1)),
    "to one row": ((23, 20), (1, 40)),
    "from one pixel": ((1, 1), (9, 8)),
    "from one column": ((40, 1), (9, 8)),
}


@pytest.fixture(scope="module", params=[False, True], ids=["bilinear", "antialias"])
def resizing(request):
    """``tf.image.resize`` and the same in ONNX Runtime, for any picture and any size."""

    def resize(image, size):
        return {"resized": tf.image.resize(image, size, antialias=request.param)}

    specs = [tf.TensorSpec([None, None, None, None], tf.uint8, "image"), tf.TensorSpec([2], tf.int32, "size")]
    function = tf.function(resize, input_signature=specs)
    proto = onnx_file._convert(function, specs)
    kinds = {node.op_type for node in proto.graph.node}
    assert ("Resize" in kinds, "MatMul" in kinds) == (not request.param, request.param)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return function, lambda image, size: session.run(None, {"image": image, "size": np.array(size, np.int32)})[0]


@pytest.mark.parametrize(("before", "behind"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_resized_as_by_tensorflow(before, behind, channels, resizing):
    image = np.random.default_rng(0).integers(0, 256, (2, *before, channels), np.uint8)
    function, run = resizing
    wanted, given = function(image, behind)["resized"].numpy(), run(image, behind)
    assert given.dtype == np.float32
    assert given.shape == wanted.shape == (2, *behind, channels)
    # of 255; a place among 211 rows is known to 1e-5 in float32, and neighbours are up to 255 apart
    np.testing.assert_allclose(given, wanted, atol=5e-3, rtol=0)


def test_what_is_averaged_is_a_mean():
    """Of TensorFlow's kernel, worked out: a triangle around the middle of the new pixel, as wide as two steps."""
    old, new = 7, 3
    step = old / new
    weights = np.maximum(0, 1 - np.abs((np.arange(new)[:, None] + 0.5) * step - (np.arange(old) + 0.5)) / step)
    row = np.array([0, 10, 50, 255, 90, 3, 7], np.float32)
    wanted = weights @ row / weights.sum(axis=1)
    given = tf.image.resize(row[np.newaxis, np.newaxis, :, np.newaxis], (1, new), antialias=True)
    np.testing.assert_allclose(given[0, 0, :, 0], wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "operators"),
    [
        ({"alpha": 0.5, "beta": 0.75, "depth_radius": 2}, {"Mul": 2, "Conv": 1, "Sqrt": 2, "Div": 1}),
        ({"alpha": 0.5, "beta": 0.5, "bias": 2.0, "depth_radius": 1}, {"Mul": 1, "Conv": 1, "Pow": 1, "Div": 1}),
    ],
    ids=["three quarters", "a half"],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_response_normalization_by_any_name(options, operators, dtype):
    def normalize(x):
        once = tf.nn.local_response_normalization(tf.cast(x, dtype), **options, name="anything")
        return {"y": tf.cast(tf.nn.local_response_normalization(once, **options), tf.float32)}

    specs = [tf.TensorSpec([None, None, None, 7], tf.float32, "x")]
    function = tf.function(normalize, input_signature=specs)
    proto = onnx_file._convert(function, specs)
    kinds = [node.op_type for node in proto.graph.node if normalizes_responses(node)]
    assert {kind: kinds.count(kind) for kind in operators} == {kind: 2 * count for kind, count in operators.items()}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(0, 3, (2, 4, 5, 7)).astype(np.float32)
    # TensorFlow computes in float32 too where float16 goes in
    tolerance = 1e-6 if dtype == "float32" else 2e-3
    np.testing.assert_allclose(session.run(None, {"x": x})[0], function(x)["y"], atol=tolerance, rtol=tolerance)
