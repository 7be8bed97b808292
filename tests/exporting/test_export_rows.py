"""Bundles of tables: missing cells, unknown categories and values with a unit, against sums in NumPy."""

import dataclasses
import json

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from dlapp.architectures import builder
from dlapp.exporting import export, parity, recording
from dlapp.signature import Column, Preprocessing, Signature, Target

NAN = np.nan
COLUMNS = (
    Column("size", missing=True),
    Column("colour", ("blue", "red"), missing=True),
    Column("age"),
    Column("rare", ()),  # no category of which train has two
)
TABLE = Preprocessing(
    0, scale="standardize", mean=(20.0, 0.0, 2.0, 0.0), variance=(25.0, 1.0, 4.0, 1.0), columns=COLUMNS
)
CELLS = np.array([[10, 0, 1, -1], [NAN, 1, 2, NAN], [30, -1, NAN, -1], [25, NAN, 4, -1]], np.float32)
# size, age; flags of size and colour; blue, red, another colour; another rare one
ENCODED = np.array(
    [
        [-2, -0.5, 0, 0, 1, 0, 0, 1],
        [0, 0, 1, 0, 0, 1, 0, 0],
        [2, 0, 0, 0, 0, 0, 1, 1],
        [1, 1, 0, 1, 0, 0, 0, 1],
    ]
)
PRICE = Target("price", mean=1000.0, deviation=50.0)
OTHER_CELLS = {
    "one column of numbers": ((Column("size", missing=True),), CELLS[:, :1]),
    "one column of categories": ((COLUMNS[1],), CELLS[:, 1:2]),
    "nothing but unknown": ((COLUMNS[3],), CELLS[:, 3:]),
}


def outputs(folder, cells):
    """What SavedModel and ONNX Runtime answer."""
    signature = Signature.read(folder / "signature.json")
    loaded = tf.saved_model.load(str(folder / "saved_model/1"))
    (saved,) = loaded.signatures["serving_default"](features=tf.constant(cells)).values()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given,) = session.run([signature.outputs[0].name], {"features": cells})
    return {"savedmodel": saved.numpy(), "onnxruntime": given}


def linear(architecture, width, **options):
    model = builder(architecture)((width,), **options)
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("target", [PRICE, dataclasses.replace(PRICE, mean=0.0)], ids=["mean", "no mean"])
def test_a_regression_gives_values_in_the_unit_of_its_target(tmp_path, target):
    model = linear("linear_unit", 8)
    found = export(model, tmp_path / "a", preprocessing=TABLE, samples=CELLS, target=target)
    assert found.holds
    assert {result.runtime for result in found.results} == {"keras", "savedmodel", "onnxruntime"}
    kernel, bias = model.get_weights()
    expected = (ENCODED @ kernel + bias) * target.deviation + target.mean
    for answer in outputs(tmp_path / "a", CELLS).values():
        np.testing.assert_allclose(answer, expected, rtol=1e-5)  # float32
    signature = Signature.read(tmp_path / "a" / "signature.json")
    assert (signature.task, signature.target, signature.labels) == ("regression", target, ())
    assert signature.preprocessing == TABLE
    assert (signature.outputs[0].name, signature.outputs[0].shape) == ("value", ("batch", 1))
    metadata = onnxruntime.InferenceSession(tmp_path / "a/model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["target"]) == {"name": "price", "mean": target.mean, "deviation": 50.0}
    assert json.loads(metadata["preprocessing"])["columns"][1]["categories"] == ["blue", "red"]


def test_a_classifier_of_a_table_gives_probabilities(tmp_path):
    model = linear("softmax_regression", 8, classes=3)
    export(model, tmp_path / "a", labels=("a", "b", "c"), preprocessing=TABLE, samples=CELLS)
    kernel, bias = model.get_weights()
    logits = ENCODED @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for answer in outputs(tmp_path / "a", CELLS).values():
        np.testing.assert_allclose(answer, expected, atol=1e-5)  # as parity allows


@pytest.mark.parametrize(("columns", "cells"), OTHER_CELLS.values(), ids=OTHER_CELLS)
def test_every_kind_of_column_can_stand_alone(tmp_path, columns, cells):
    how = Preprocessing(0, scale="none", mean=(5.0,), variance=(1.0,), columns=columns)
    assert export(
        linear("linear_unit", how.width), tmp_path / "a", preprocessing=how, samples=cells, target=PRICE
    ).holds


def test_values_are_compared_in_units_of_the_deviation_or_the_mean(tmp_path):
    model = linear("linear_unit", 8)
    large = Target("price", mean=2e6, deviation=5e5)
    export(model, tmp_path / "a", preprocessing=TABLE, samples=CELLS, target=large)
    signature = Signature.read(tmp_path / "a" / "signature.json")
    cases = recording.read(tmp_path / "a", signature)
    for shift, holds in ((10.0, True), (100.0, False)):  # 5e-6 and 5e-5 of the mean
        moved = [case._replace(outputs={"value": case.outputs["value"] + np.float32(shift)}) for case in cases]
        recording.write(tmp_path / "a" / "samples.npz", signature, moved)
        rehash(tmp_path / "a", signature)
        found = parity.verify(tmp_path / "a", ["onnxruntime"])
        assert found.holds is holds
        assert found.results[0].largest_difference == pytest.approx(shift / 2e6, abs=1e-6)


def rehash(folder, signature):
    from dlapp.files import sha256

    files = {**signature.files, "samples.npz": sha256(folder / "samples.npz")}
    dataclasses.replace(signature, files=files).write(folder / "signature.json")


def test_a_network_of_two_outputs_predicts_no_number(tmp_path):
    model = linear("softmax_regression", 8, classes=2)
    with pytest.raises(ValueError, match="a network that predicts price must have one output; got 2"):
        export(model, tmp_path / "a", preprocessing=TABLE, samples=CELLS, target=PRICE)
    assert not list(tmp_path.iterdir())
