"""A detection bundle on pictures: which objects, where, and how sure the network is."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dlapp.errors import DlappError
from dlapp.inference.bundle import Bundle
from dlapp.inference.predicting import in_batches, read_pictures

TASKS = ("detection", "localization")


@dataclasses.dataclass(frozen=True)
class Found:
    """The objects of one picture, surest first.

    Attributes:
        labels: the class of each.
        scores: how sure the network is of each, 0 to 1.
        boxes: y1, x1, y2, x2 of each, in pixels of the picture.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    boxes: tuple[tuple[float, float, float, float], ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Detected:
    """What was found in one file.

    Attributes:
        input: the file.
        picture: (height, width, channels) uint8; None where it cannot be read.
        found: the objects in it; None where it cannot be read.
        error: why there is no answer.
    """

    input: str
    picture: np.ndarray | None = None
    found: Found | None = None
    error: str | None = None


def detect(
    bundle: Bundle, picture: np.ndarray, *, min_score: float | None = None, max_overlap: float | None = None
) -> Found:
    """The objects in a picture, (height, width, channels) uint8.

    Args:
        bundle: that finds objects.
        picture: of any size.
        min_score: objects that the network is less sure of are left out; None for what was chosen at export.
        max_overlap: of two objects of a class whose boxes overlap more than this (intersection over union), the surer
            is told; None for what was chosen at export.

    Raises:
        DlappError: the bundle finds no objects.
        ValueError: dtype or channels are not those of the signature.
    """
    return detect_all(bundle, picture[np.newaxis], min_score=min_score, max_overlap=max_overlap)[0]


def detect_all(
    bundle: Bundle, pictures: np.ndarray, *, min_score: float | None = None, max_overlap: float | None = None
) -> list[Found]:
    """Of pictures of one size, (n, height, width, channels) uint8, what :func:`detect` gives for each."""
    signature = bundle.signature
    if signature.task not in TASKS:
        raise DlappError(f"{bundle.folder} does {signature.task} and finds no objects: use dlapp.inference.predicting.")
    outputs = bundle.run(pictures, min_score=min_score, max_overlap=max_overlap)
    rows = zip(*(outputs[name] for name in ("boxes", "scores", "classes", "count")), strict=True)
    return [
        Found(
            labels=tuple(signature.labels[index] for index in classes[:count].tolist()),
            scores=tuple(scores[:count].tolist()),
            boxes=tuple((y1, x1, y2, x2) for y1, x1, y2, x2 in boxes[:count].tolist()),
        )
        for boxes, scores, classes, count in rows
    ]


def detect_files(
    bundle: Bundle, files: Iterable[Path], *, min_score: float | None = None, max_overlap: float | None = None
) -> Iterator[Detected]:
    """Answers in the order of ``files``; a file that cannot be read gives its reason instead.

    Pictures of one size that follow each other go through the network together.

    Raises:
        DlappError: the bundle finds no objects.
    """
    for batch in in_batches(read_pictures(bundle, files)):
        values = [given.value for given in batch if given.value is not None]
        if not values:  # such an input stands alone
            yield Detected(batch[0].name, error=batch[0].error)
            continue
        answers = detect_all(bundle, np.stack(values), min_score=min_score, max_overlap=max_overlap)
        for given, found in zip(batch, answers, strict=True):
            yield Detected(given.name, given.value, found)
