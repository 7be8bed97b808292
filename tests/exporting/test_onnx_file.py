"""That the same model is the same bytes, and that a pass of tf2onnx may fail."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

from dlapp.exporting import onnx_file

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


@pytest.mark.parametrize("before", [None, "mine"])
def test_a_pass_that_fails_is_left_out(before, monkeypatch):
    failed = []

    def fail(*_):
        failed.append(os.environ.get("TF2ONNX_CATCH_ERRORS"))
        raise AttributeError("a fault of tf2onnx's")

    monkeypatch.setattr(TransposeOptimizer, "_optimize", fail)
    if before is not None:
        monkeypatch.setenv("TF2ONNX_CATCH_ERRORS", before)
    specs = [tf.TensorSpec([None, 3], tf.float32, "x")]
    proto = onnx_file._convert(tf.function(lambda x: {"y": x * x + 1.0}, input_signature=specs), specs)
    assert failed[0] == "FALSE"
    assert set(failed[1:]) == {None}, "with copies tf2onnx must see no variable at all"
    assert os.environ.get("TF2ONNX_CATCH_ERRORS") == before
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": np.full((1, 3), 2, np.float32)})[0], [[5, 5, 5]])
