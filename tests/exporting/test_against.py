"""ONNX files from anywhere against the Keras models that they are said to be."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers

from dlapp.errors import BundleError, ModelError
from dlapp.exporting import replaying, verify
from dlapp.exporting.against import write_bundle


@pytest.fixture(autouse=True)
def _no_latency(monkeypatch):
    monkeypatch.setattr(replaying, "_median_latency", lambda *_: 0.0)


@pytest.fixture
def dense():
    """A model of two rows and a file of it by hand, under names of its own."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,), name="rows")
    model = keras.Model(inputs, layers.Dense(2, name="last")(inputs))
    kernel, bias = model.get_weights()
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "kernel", "bias"], ["y"], name="gemm")],
        "by hand",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 2])],
        [onnx.numpy_helper.from_array(values, name) for name, values in (("kernel", kernel), ("bias", bias + 0))],
    )
    return model, onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)


def compare(path, model, folder):
    folder.mkdir()
    write_bundle(path, model, folder)
    return verify(folder, ["onnxruntime"], foreign=True).results[0]


def test_a_foreign_file_is_compared_by_the_order_of_its_inputs(dense, tmp_path):
    model, proto = dense
    onnx.save(proto, tmp_path / "own.onnx")
    found = compare(tmp_path / "own.onnx", model, tmp_path / "a")
    assert found.equal
    assert found.largest_difference < 1e-6
    changed = onnx.numpy_helper.to_array(proto.graph.initializer[1]) + np.float32(1)
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(changed, "bias"))
    onnx.save(proto, tmp_path / "other.onnx")
    found = compare(tmp_path / "other.onnx", model, tmp_path / "b")
    assert found.verdict == "differs"
    # in shares of the largest number, which is above 1
    assert 0.1 < found.largest_difference < 1.001
    assert found.where.startswith("y of sample")


def test_constants_in_another_file_are_found_or_missed(dense, tmp_path):
    model, proto = dense
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert compare(tmp_path / "a.onnx", model, tmp_path / "a").equal
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(BundleError, match=r"weights\.bin is missing: it holds constants of a\.onnx"):
        write_bundle(tmp_path / "a.onnx", model, tmp_path / "a")


def test_a_file_of_dlapp_takes_raw_values(exported, tmp_path):
    made = exported("lenet5")
    assert compare(made.folder / "model.onnx", made.model, tmp_path / "a").equal
    with pytest.raises(ModelError, match=r"which does not take what the file does\. .*is incompatible"):
        write_bundle(made.folder / "model.onnx", exported("antialias").model, tmp_path)


def test_what_is_no_onnx_file_or_no_such_model_is_refused(dense, tmp_path):
    model, proto = dense
    content = proto.SerializeToString()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("half", "empty"):
        with pytest.raises(BundleError, match="is not a valid ONNX file"):
            write_bundle(tmp_path / f"{name}.onnx", model, tmp_path)
    with pytest.raises(BundleError, match=r"absent\.onnx cannot be read: No such file"):
        write_bundle(tmp_path / "absent.onnx", model, tmp_path)
    onnx.save(proto, tmp_path / "a.onnx")
    two = keras.Model(model.input, [model.output, layers.Dense(1)(model.output)])
    with pytest.raises(ModelError, match=r"the outputs of .*a\.onnx must be as many as the model has, 2; got y"):
        write_bundle(tmp_path / "a.onnx", two, tmp_path)
