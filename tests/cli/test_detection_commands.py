"""A detector through every verb, on shapes that are drawn."""

import json

import pytest
from PIL import Image
from rich.console import Console

from dlapp.data import shapes
from dlapp.recipe import Recipe
from dlapp.training import preparing, run
from dlapp.training.model_folder import ModelFolder

FEW = "shapes?examples=60&size=48&objects=2"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory with a picture and a detector of one epoch."""
    folder = tmp_path_factory.mktemp("detection")
    values = {"architecture": "yolo_grid", "data": FEW, "training": {"epochs": 1}}
    with (folder / "log").open("w") as log:
        run.train(
            preparing.prepare(Recipe.from_values(values)), ModelFolder(folder / "models/quick"), Console(file=log)
        )
    Image.fromarray(shapes.load("examples=1&size=64").parts["train"].inputs[0]).save(folder / "picture.png")
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch):
    monkeypatch.chdir(place)


@pytest.mark.parametrize("architecture", ["yolo_grid", "localizer"])
def test_from_training_to_drawings(dlapp, place, architecture):
    status, out, _ = dlapp(
        "train", architecture, "--data", FEW, "--epochs", 2, "--name", architecture, "--set", "detection.min_score=0.05"
    )
    assert status == 0
    assert ("mAP@0.5" if architecture == "yolo_grid" else "mean IoU") in out
    report = (place / "models" / architecture / "report.html").read_text(encoding="utf-8")
    assert "Predictions beside labels" in report
    assert "Augmented training examples" in report

    status, out, _ = dlapp("evaluate", architecture, "--data", f"{FEW}&seed=5")
    assert status == 0
    assert "triangle" in out
    status, out, _ = dlapp("evaluate", architecture, "--json")
    assert json.loads(out)["examples"] == 9

    status, out, _ = dlapp("diagnose", architecture)
    assert status == 0
    assert "the mean average precision that repairing each kind would bring" in out
    assert "Kinds of errors on dev" in (place / "models" / architecture / "report.html").read_text(encoding="utf-8")

    status, out, err = dlapp("export", architecture, "--min-score", 0.01)
    assert status == 0, err
    assert (
        json.loads((place / "export" / architecture / "signature.json").read_text())["detection"]["min_score"] == 0.01
    )
    status, out, _ = dlapp("verify", architecture, "--json")
    assert status == 0
    assert {row["runtime"] for row in json.loads(out)["results"]} == {"keras", "savedmodel", "onnxruntime"}

    status, out, _ = dlapp("predict", architecture, "picture.png", "--json", "--draw", "drawn")
    found = json.loads(out)["predictions"][0]
    assert status == 0
    with Image.open(place / found["drawing"]) as drawing:
        assert drawing.size[0] >= 64
    assert all(0 <= side <= 64 for thing in found["objects"] for side in thing["box"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "lenet5", "--data", FEW), "has boxes; lenet5 gives one answer for a picture"),
        (("train", "yolo_grid", "--data", "digits"), "yolo_grid learns boxes; digits has none"),
        (("export", "quick", "--sliding", "--name", "a"), "only a classifier of pictures can slide"),
        (("explain", "quick", "picture.png"), "explain needs a classifier of pictures; this one does detection"),
        (("gradient-check", "models/quick"), "finds boxes, whose loss is computed in float32"),
        (("evaluate", "quick", "--data", "digits"), "digits is a classification; models/quick was trained for"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_what_a_detector_does_not_do_is_told(dlapp, arguments, message):
    status, _, err = dlapp(*arguments)
    assert status == 2
    assert message in err
