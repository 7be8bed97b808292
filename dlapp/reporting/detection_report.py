"""``report.html`` of a network that finds objects."""

import base64
import dataclasses
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlapp import drawing
from dlapp.boxes import Boxes
from dlapp.evaluation.detection import (
    confusion_with_background,
    precision_recall_curves,
    worst_alarms,
    worst_misses,
)
from dlapp.reporting import detection_plots, plots
from dlapp.reporting.report import Page, write_page
from dlapp.signature import Detection

_SHEET = 12  # pictures with labels and predictions
_WORST = 8  # of each kind
_SIDE = 320  # pixels: as large as it is shown, so that names can be read
_CONFUSED = 30  # classes that a confusion matrix has room for
_ROWS = 100  # of the table of classes


@dataclasses.dataclass(frozen=True)
class Sample:
    """A picture with boxes drawn into it.

    Attributes:
        uri: the drawing, as text that stands inside a page.
        caption: what it shows.
        where: the file, or which example of the split.
    """

    uri: str
    caption: str
    where: str


def write_detection_report(
    path: Path,
    page: Page,
    *,
    wanted: Boxes,
    found: Boxes,
    detection: Detection,
    read: Callable[[int], np.ndarray],
    name: Callable[[int], str],
) -> None:
    """Writes the report of a localizer or a detector.

    Args:
        path: of the page.
        page: what every report tells.
        wanted, found: the objects of test, and what the network says of it, down to low scores.
        detection: from which score on boxes are told.
        read: gives the picture of a number of test, (height, width, channels) uint8.
        name: gives its file, or which it is.
    """
    labels = page.labels
    told = found.where(found.scores >= detection.min_score)
    localizes = page.metrics["task"] == "localization"
    curves = [] if localizes else precision_recall_curves(wanted, found, len(labels))

    def draw(picture: int, true: Boxes, told: Boxes) -> str:
        texts = [f"{labels[k]} {score:.2f}" for k, score in zip(told.classes, told.scores, strict=True)]
        image = drawing.draw_boxes(
            read(picture),
            np.concatenate([told.corners, true.corners]),
            [*texts, *[""] * len(true.corners)],
            [*told.classes.tolist(), *true.classes.tolist()],
            dashed=[*[False] * len(told.corners), *[True] * len(true.corners)],
            side=_SIDE,
        )
        return _jpeg_uri(image)

    def describe(picture: int) -> Sample:
        true, own = wanted[picture], told[picture]
        caption = f"{len(true.corners)} labelled, {len(own.corners)} found"
        return Sample(draw(picture, true, own), caption, name(picture))

    rows = page.metrics["test"]["per_class"]
    write_page(
        path,
        "detection.html.jinja",
        page,
        localizes=localizes,
        min_score=detection.min_score,
        grid=detection.grid,
        curves=plots.curves(page.history, "iou"),
        precision_recall=None if localizes else detection_plots.precision_recall(curves, labels),
        f1=None if localizes else detection_plots.f1(curves, labels, detection.min_score),
        confusion=None
        if len(labels) > _CONFUSED
        else plots.confusion(
            confusion_with_background(wanted, found, len(labels), min_score=detection.min_score).tolist(),
            [*labels, "background"],
        ),
        rows=sorted(rows, key=lambda row: -row["objects"])[:_ROWS] if len(rows) > _ROWS else rows,
        samples=[describe(picture) for picture in range(min(_SHEET, len(wanted)))],
        misses=[
            Sample(
                draw(picture, _one(wanted, row), told[picture]),
                f"{labels[wanted.classes[row]]} is missed",
                name(picture),
            )
            for row, picture in _with_pictures(
                wanted, worst_misses(wanted, found, _WORST, min_score=detection.min_score)
            )
        ],
        alarms=[
            Sample(
                draw(picture, wanted[picture], _one(told, row)),
                f"{labels[told.classes[row]]} {told.scores[row]:.2f} is not there",
                name(picture),
            )
            for row, picture in _with_pictures(told, worst_alarms(wanted, told, _WORST))
        ],
        kinds=_plot_kinds(page.diagnosis),
        errors_are="1 - F1 of a picture, at IoU 0.5,",
    )


def _plot_kinds(diagnosis: Mapping[str, Any] | None) -> str | None:
    divided = diagnosis and diagnosis.get("boxes")
    return detection_plots.kinds_of_errors(divided["errors"]) if divided else None


def _with_pictures(boxes: Boxes, rows: np.ndarray) -> list[tuple[int, int]]:
    """The boxes at ``rows``, each with the picture that it belongs to."""
    return list(zip(rows.tolist(), boxes.pictures[rows].tolist(), strict=True))


def _one(boxes: Boxes, row: int) -> Boxes:
    """One box alone, of the picture that it belongs to."""
    return boxes.where(np.arange(len(boxes.corners)) == row)[boxes.pictures[row]]


def _jpeg_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
