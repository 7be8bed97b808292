"""A table the whole way: train, evaluate, export, verify, predict; the value has the unit of the target everywhere."""

import csv
import json
import shutil

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from dlapp.cli import main
from dlapp.signature import Signature

TOWNS = {"Bern": 900.0, "Ulm": 300.0, "Rom": 600.0}
HEADER = "area,town,rooms,price\n"


def price(area, town, rooms):
    return 5_000 + 40 * area + TOWNS[town] * 10 + 1_000 * rooms


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A working directory with houses.csv, a linear model of it, and its bundle; area is sometimes missing."""
    folder = tmp_path_factory.mktemp("houses")
    random = np.random.default_rng(0)
    lines = []
    for number in range(120):
        area, town, rooms = random.integers(30, 200), list(TOWNS)[number % 3], random.integers(1, 7)
        lines.append(f"{area if number % 10 else ''},{town},{rooms},{price(area, town, rooms)}\n")
    (folder / "houses.csv").write_text(HEADER + "".join(lines))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        options = "--name houses --epochs 20 --batch-size 8 --learning-rate 0.05"
        for call in (f"train linear_unit --data csv:houses.csv?target=price {options}", "export houses"):
            patched.setattr("sys.argv", ["dlapp", *call.split()])
            with pytest.raises(SystemExit, match=r"^(0|None)$"):
                main()
    return folder


@pytest.fixture
def here(houses, tmp_path, monkeypatch):
    """``houses``, to change at will, as the working directory."""
    folder = shutil.copytree(houses, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


NEW = HEADER.removesuffix(",price\n") + "\n100,Ulm,3\n,Bern,2\n80,Paris,1\n60,,5\n"
CODES = np.array([[100, 2, 3], [np.nan, 0, 2], [80, -1, 1], [60, np.nan, 5]], np.float32)  # Bern, Rom, Ulm


def predicted(dlapp, *arguments):
    status, out, err = dlapp("predict", *arguments, "--json")
    return status, json.loads(out)["predictions"], err


def test_the_value_is_that_of_keras_in_the_unit_of_the_target(dlapp, here):
    signature = Signature.read(here / "models/houses/signature.json")
    assert (signature.task, signature.target.name, signature.labels) == ("regression", "price", ())
    assert [column.name for column in signature.preprocessing.columns] == ["area", "town", "rooms"]
    # by hand, in NumPy: standardized numbers, a flag, categories; then the weights, then the unit
    how = signature.preprocessing
    mean, deviation = np.array(how.mean)[[0, 2]], np.sqrt(np.array(how.variance)[[0, 2]])
    numbers = np.nan_to_num((CODES[:, [0, 2]] - mean) / deviation)
    towns = (CODES[:, [1]] == [0, 1, 2]) * 1.0
    inputs = np.hstack([numbers, np.isnan(CODES[:, [0]]), towns, CODES[:, [1]] == -1])
    kernel, bias = keras.models.load_model(here / "models/houses/model.keras").get_weights()
    expected = (inputs @ kernel + bias) * signature.target.deviation + signature.target.mean

    loaded = tf.saved_model.load(str(here / "export/houses/saved_model/1"))
    (served,) = loaded.signatures["serving_default"](features=tf.constant(CODES)).values()
    session = onnxruntime.InferenceSession(here / "export/houses/model.onnx")
    (onnx_values,) = session.run(["value"], {"features": CODES})
    tolerance = 1e-5 * signature.target.deviation  # what parity allows
    np.testing.assert_allclose(served, expected, atol=tolerance)
    np.testing.assert_allclose(onnx_values, expected, atol=tolerance)

    (here / "new.csv").write_text(NEW)
    status, found, _ = predicted(dlapp, "houses", "new.csv")
    assert status == 0
    assert [row["input"] for row in found] == [f"new.csv:{line}" for line in (2, 3, 4, 5)]
    assert [row["value"] for row in found] == pytest.approx(expected[:, 0].tolist(), abs=tolerance)
    # what was learnt is the price; missing areas are the noise in it
    assert found[0]["value"] == pytest.approx(price(100, "Ulm", 3), rel=0.1)


def test_metrics_are_those_of_the_rows_predicted(dlapp, here):
    metrics = json.loads((here / "models/houses/metrics.json").read_text())
    assert metrics["task"] == "regression"
    assert metrics["test"]["r2"] > 0.9
    status, out, _ = dlapp("evaluate", "houses", "--split", "all", "--json")
    measured = json.loads(out)
    assert (status, measured["examples"]) == (0, 120)
    # the file is predicted as it is: the target among the columns is not looked at
    status, found, _ = predicted(dlapp, "houses", "houses.csv")
    with (here / "houses.csv").open(newline="") as file:
        targets = [float(row["price"]) for row in csv.DictReader(file)]
    errors = np.array([row["value"] for row in found]) - targets
    assert measured["mean_absolute_error"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)  # float32
    assert measured["r2"] == pytest.approx(1 - (errors**2).sum() / np.var(targets) / 120, rel=1e-4)
    assert "R2" in dlapp("evaluate", "houses")[1] or "r2" in dlapp("evaluate", "houses")[1]


def test_the_bundle_verifies_and_tells_of_its_columns(dlapp, here):
    status, out, _ = dlapp("verify", "houses", "--json")
    verified = json.loads(out)
    assert (status, verified["holds"]) == (0, True)
    assert {row["runtime"] for row in verified["results"]} == {"keras", "savedmodel", "onnxruntime"}
    text = (here / "export/houses/README.md").read_text()
    assert "Columns of `features`: area, town, rooms. NaN is a missing cell." in text
    assert "`value` is the price, in its own unit." in text


def test_cells_such_as_train_had_none_are_told(dlapp, here):
    (here / "new.csv").write_text("town,rooms,area\n" + "Ulm,3,100\n" + "Atlantis,3,100\n" * 7)
    status, _, err = dlapp("predict", "houses", "new.csv")
    assert status == 0
    assert err.splitlines()[0] == "Note: new.csv:3: town has a value that train had not, or once"
    assert err.splitlines()[5:] == ["... and 2 more notes (--json has all)"]
    _, found, _ = predicted(dlapp, "houses", "new.csv")
    assert ["note" in row for row in found] == [False] + [True] * 7


def test_lines_that_cannot_be_used_get_a_reason_and_the_others_their_value(dlapp, here):
    (here / "new.csv").write_text("town,rooms,area,colour\nUlm,3,100,red\nUlm,three,100,\nUlm,3,inf,\nUlm,3,1_00,\n")
    status, found, err = predicted(dlapp, "houses", "new.csv")
    assert status == 1
    assert ["value" in row for row in found] == [True, False, False, False]
    assert "line 3 of new.csv: rooms must be a number; got 'three'." in err
    assert "line 4 of new.csv: area must be a number; got 'inf'." in err
    assert "3 inputs could not be read." in err
    (here / "new.csv").write_text("town,rooms\nUlm,3\n")
    status, _, err = predicted(dlapp, "houses", "new.csv", "houses.csv")
    assert status == 1
    assert "new.csv lacks the column 'area'; it has town, rooms." in err


def test_other_rows_are_measured_in_the_code_of_the_model(dlapp, here):
    # the columns in another order, a town that the model does not know, and Bern not among them
    lines = [f"{price(a, t, 3)},{3},{a},{t}\n" for a in range(30, 90, 3) for t in ("Ulm", "Rom")]
    (here / "other.csv").write_text("price,rooms,area,town\n" + "".join(lines) + "20000,3,90,Paris\n")
    status, out, _ = dlapp("evaluate", "houses", "--data", "csv:other.csv?target=price", "--split", "all", "--json")
    assert status == 0
    _, found, _ = predicted(dlapp, "houses", "other.csv")
    errors = [abs(row["value"] - float(line.split(",")[0])) for row, line in zip(found, [*lines, "20000"], strict=True)]
    assert json.loads(out)["mean_absolute_error"] == pytest.approx(np.mean(errors), rel=1e-4)  # float32
    (here / "kinds.csv").write_text("area,town,rooms,price\n" + "30,Ulm,3,a\n40,Rom,4,b\n" * 20)
    status, _, err = dlapp("evaluate", "houses", "--data", "csv:kinds.csv?target=price")
    assert status == 2
    assert "is a classification; models/houses was trained for regression" in err


def test_titanic_is_predicted_a_line_a_row(dlapp, data_set, workplace):
    source = data_set("titanic")
    data = f"csv:{source}?target=Survived"
    status, _, err = dlapp("train", "logistic_unit", "--data", data, "--name", "t", "--learning-rate", 0.05)
    assert status == 0, err
    assert json.loads((workplace / "models/t/metrics.json").read_text())["test"]["accuracy"] > 0.7
    assert dlapp("export", "t", "--to", "onnx")[0] == 0
    with (source / "test.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert any(not row["Age"] for row in cells)
    assert any(not row["Fare"] for row in cells), "a number that train never lacks"
    status, found, _ = predicted(dlapp, "t", source / "test.csv")
    assert status == 0
    assert len(found) == len(cells) == 418
    assert {row["label"] for row in found} == {"0", "1"}
    women = np.array([row["Sex"] == "female" for row in cells])
    survived = np.array([row["label"] == "1" for row in found])
    assert survived[women].mean() > 0.7 > 0.3 > survived[~women].mean()
