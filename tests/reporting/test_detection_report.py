"""The report of a detector: one valid page that tells what was found and what was not."""

import re

import numpy as np
import pytest

from dlapp.boxes import Boxes
from dlapp.evaluation import score_detection, score_localization
from dlapp.evaluation.detection_errors import divide_errors
from dlapp.recipe import Recipe
from dlapp.reporting.detection_report import write_detection_report
from dlapp.reporting.report import Page
from dlapp.signature import Detection
from tests.reporting.test_report import Page as Parsed
from tests.reporting.test_report import diagnosis

LABELS = ("disc & ring", "square", "never seen")


def made(count=14):
    """Two objects a picture; the first is found, the second is off in every third, and there are false alarms."""
    random = np.random.default_rng(0)
    low = random.integers(0, 20, (2 * count, 2)) + np.tile([[0, 0], [30, 30]], (count, 1))
    corners = np.concatenate([low, low + random.integers(8, 20, (2 * count, 2))], axis=1).astype(np.float32)
    classes = np.tile([0, 1], count).astype(np.int32)
    wanted = Boxes(np.full(count, 2), corners, classes)
    off = corners.copy()
    off[1::6] += 25
    return wanted, Boxes(np.full(count, 2), off, classes, random.uniform(0.35, 1, 2 * count).astype(np.float32))


def write(path, wanted, found, *, task="detection", **more):
    if task == "detection":
        scores = score_detection(wanted, found, LABELS)
    else:
        scores = score_localization(wanted, found, LABELS)
    history = [
        {"epoch": k, "seconds": 1.0, "train_loss": 9.0 / k, "train_iou": 0.5, "dev_loss": 10.0 / k, "dev_iou": 0.4}
        for k in (1, 2, 3)
    ]
    metrics = {"task": task, "epochs": 3, "parameters": 251288, "seed": 0, "versions": {}, "data_hash": "0"}
    page = Page(
        title="shapes",
        recipe=Recipe.from_values({"architecture": "yolo_grid", "data": "shapes"}),
        recipe_path="models/shapes/recipe.toml",
        metrics={**metrics, "own_splits": [], **{name: {"loss": 1.5, **scores} for name in ("train", "dev", "test")}},
        history=history,
        labels=LABELS,
        **more,
    )
    random = np.random.default_rng(0)
    write_detection_report(
        path,
        page,
        wanted=wanted,
        found=found,
        detection=Detection((3, 3)),
        read=lambda index: random.integers(0, 256, (64, 64, 3), np.uint8),
        name=lambda index: f"picture{index}.jpg",
    )
    return Parsed(path.read_text(encoding="utf-8")), scores


def test_a_page_tells_figures_classes_and_the_worst(tmp_path):
    wanted, found = made()
    page, scores = write(tmp_path / "report.html", wanted, found)
    for told in (f"{scores['map_50']:.3f}", "disc & ring", "3 x 3 cells", "Worst misses", "Worst false alarms"):
        assert told in page.text
    assert "never seen" in page.text
    assert len(page.all("svg")) == 4, "curves, precision and recall, F1, confusion"
    pictures = page.all("img")
    misses = int((found.corners != wanted.corners).any(axis=1).sum())
    assert len(pictures) == 12 + min(misses, 8) + len(re.findall("is not there", page.text))
    assert all(picture["src"].startswith("data:image/jpeg;base64,") for picture in pictures)
    assert not {"link", "script", "iframe"} & {tag for tag, _ in page.elements}


def test_a_diagnosis_shows_the_kinds_of_errors(tmp_path):
    wanted, found = made()
    told = diagnosis(boxes=divide_errors(wanted, found, LABELS), labels=[], confused=[])
    page, _ = write(tmp_path / "report.html", wanted, found, diagnosis=told)
    assert "Kinds of errors on dev" in page.text
    assert "an object that no box is near" in page.text
    assert "1 - F1 of a picture" in page.text


@pytest.mark.parametrize("task", ["detection", "localization"])
def test_nothing_found_is_told_too(tmp_path, task):
    wanted, _ = made(3)
    if task == "localization":
        wanted = wanted.where(np.tile([True, False], 3))
    found = Boxes(np.zeros(3, int), np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    page, _ = write(tmp_path / "report.html", wanted, found, task=task)
    assert "Worst misses" in page.text
    assert "Worst false alarms" not in page.text
    assert "localization error" in page.text or task == "detection"
