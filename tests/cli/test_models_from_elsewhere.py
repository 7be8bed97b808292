"""``export FILE.keras`` and ``verify FILE.onnx --against FILE.keras``: models that dlapp did not train."""

import json

import keras
import numpy as np
import onnx
import pytest


@pytest.fixture
def model(workplace):
    """Two inputs and a layer of each kind that matters; ``any.keras`` in the working directory."""
    picture, row = keras.Input((8, 8, 3), name="picture"), keras.Input((4,), name="row")
    x = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(5, 3, activation="gelu")(picture))
    answer = keras.layers.Dense(2, name="answer")(keras.layers.Concatenate()([x, row]))
    model = keras.Model([picture, row], answer, name="any")
    model.save(workplace / "any.keras")
    return model


def test_a_file_becomes_a_bundle_that_can_be_shown_and_proven(dlapp, workplace, model):
    status, out, err = dlapp("export", "any.keras")
    assert (status, err) == (0, "")
    assert "export/any" in out
    shown = json.loads(dlapp("show", "export/any", "--json")[1])
    assert [one["name"] for one in shown["inputs"]] == ["picture", "row"]
    status, out, _ = dlapp("verify", "any", "--runtime", "onnxruntime", "--json")
    assert status == 0
    assert [row["verdict"] for row in json.loads(out)["results"]] == ["equal"]
    status, _, err = dlapp("predict", "export/any", "any.keras")
    assert status == 2
    assert "a model that dlapp did not train" in err


def test_a_file_of_another_exporter_against_its_model(dlapp, workplace, model):
    inputs = {"picture": np.zeros((1, 8, 8, 3), np.float32), "row": np.zeros((1, 4), np.float32)}
    model.predict(inputs, verbose=0)
    dlapp("export", "any.keras", "--to", "onnx")
    (workplace / "export/any/model.onnx").rename("any.onnx")
    assert dlapp("verify", "any.onnx", "--against", "any.keras")[0] == 0
    proto = onnx.load("any.onnx")
    (weights,) = [one for one in proto.graph.initializer if list(one.dims) == [9, 2]]
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) + 0.01, weights.name))
    onnx.save(proto, "other.onnx")
    status, out, _ = dlapp("verify", "other.onnx", "--against", "any.keras")
    assert status == 1
    assert "onnxruntime: differs at answer of sample" in out


def test_code_in_a_file_is_not_run_unasked(dlapp, workplace):
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x + x, name="doubled")(inputs), name="code").save("code.keras")
    status, _, err = dlapp("export", "code.keras")
    assert status == 2
    assert "Lambda layer (doubled)" in err
    assert "--unsafe" in err
    assert not (workplace / "export/code").exists()
    assert dlapp("export", "code.keras", "--unsafe", "--to", "onnx")[0] == 0
