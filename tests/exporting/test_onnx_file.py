"""What the ONNX file has in the place of TensorFlow's operators, and that the same model is the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from dlapp.exporting import onnx_file

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


EXPORT = """
import sys
import keras
import numpy as np
from dlapp.architectures import builder, recurrent
from dlapp.exporting import export, replaying
from dlapp.signature import PADDING, UNKNOWN, Detection, Preprocessing, Vocabulary

replaying._median_latency = lambda *_: 0.0


def scale(model):
    random = np.random.default_rng(3)
    model.set_weights([random.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    return model


def detector(folder):
    keras.utils.set_random_seed(1)
    anchors = ((0.2, 0.2), (0.5, 0.3))
    model = builder("localizer")((32, 32, 1), classes=2)
    scale(model.layers[-1])
    samples = np.random.default_rng(1).integers(0, 256, (2, 40, 53, 1), np.uint8)
    how = Preprocessing(1, (32, 32), True, "unit")
    export(model, folder, labels=("a", "b"), preprocessing=how, samples=samples, detection=Detection((1, 1), most=1))


def writer(folder):
    words = Vocabulary((PADDING, UNKNOWN, "a", "b"), "character")
    model = scale(recurrent(form="one_to_many", classes=4, cell="gru", units=(3, 2), vocabulary=4, embedding_size=2))
    export(model, folder, preprocessing=Preprocessing(0, vocabulary=words), samples=np.array([[2, 3, 2]], np.int32))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Bundles of a detector and a language model by another process, with another seed of hashes."""
    root = tmp_path_factory.mktemp("process")
    code = f"{EXPORT}\ndetector(sys.argv[1] + '/boxes')\nwriter(sys.argv[1] + '/texts')\n"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(onnx_file.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(root)], env=environment, check=True, capture_output=True)
    return root


@pytest.mark.parametrize(("name", "function"), [("boxes", "detector"), ("texts", "writer")])
def test_the_same_model_is_the_same_bytes(name, function, made, tmp_path):
    here = {}
    exec(EXPORT, here)
    for place in ("first", "second"):
        here[function](tmp_path / place / name)
    first, second, other = ({**_contents(root / name)} for root in (tmp_path / "first", tmp_path / "second", made))
    assert [path for path in first if first[path] != second[path]] == [], "in this process"
    assert [path for path in first if first[path] != other.get(path)] == [], "in another"
    assert first.keys() == other.keys()


def _contents(folder):
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items()) if name != "parity.json"}
