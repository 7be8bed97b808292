"""What can be said of labelled boxes without a model: how many, how large, which are there twice."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlapp.boxes import intersection_over_union
from dlapp.data import corpora
from dlapp.data.examples import Examples

TINY = 8 / 256  # of the height or width of the picture: 8 pixels, where it is resized to 256
_SAME = 0.99  # intersection over union


def count_classes(parts: Mapping[str, Examples], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many objects of each class each split has."""
    counts = {
        name: np.bincount(part.boxes.classes, minlength=len(labels))
        for name, part in parts.items()
        if part.boxes is not None
    }
    return {label: {name: int(count[place]) for name, count in counts.items()} for place, label in enumerate(labels)}


def measure(parts: Mapping[str, Examples]) -> dict[str, Any]:
    """Numbers and sizes of objects, ready for JSON.

    ``count`` and, of these, ``ignored`` and ``tiny``; pictures ``without`` any and the ``most`` in one; ``height`` and
    ``width`` as shares of the picture and ``area``, each with its smallest, median and largest where there are objects.
    """
    counts = np.concatenate([part.targets for part in parts.values()])
    shares = np.concatenate([_shares(part) for part in parts.values()])
    found: dict[str, Any] = {
        "count": int(counts.sum()),
        "ignored": sum(int(part.boxes.ignored.sum()) for part in parts.values() if part.boxes is not None),
        "tiny": int((shares.min(axis=1, initial=1) < TINY).sum()),
        "without": int((counts == 0).sum()),
        "most": int(counts.max(initial=0)),
    }
    if len(shares):
        sizes = {"height": shares[:, 0], "width": shares[:, 1], "area": shares.prod(axis=1)}
        for name, values in sizes.items():
            found[name] = {
                "min": float(values.min()),
                "median": float(np.median(values)),
                "max": float(values.max()),
            }
    return found


def find_doubles(part: Examples) -> list[tuple[int, int, list[float]]]:
    """Picture, class and corners of each box that is an earlier one of its class once more: IoU above 0.99."""
    if part.boxes is None:
        return []
    corners, classes, splits = part.boxes.corners, part.boxes.classes, part.boxes.splits
    found = []
    for picture in np.flatnonzero(part.boxes.counts > 1).tolist():
        own = slice(splits[picture], splits[picture + 1])
        same = intersection_over_union(corners[own], corners[own]) > _SAME
        same &= classes[own, np.newaxis] == classes[own]
        again = np.triu(same, 1).any(axis=0)  # each box that equals an earlier one
        found += [
            (picture, int(classes[own][box]), corners[own][box].tolist()) for box in np.flatnonzero(again).tolist()
        ]
    return found


def kinds(part: Examples) -> np.ndarray:
    """(n,) int64, equal for pictures with as many objects of each class, and of others for equal targets."""
    if part.boxes is None:
        return corpora.kinds(part)
    classes, splits = part.boxes.classes, part.boxes.splits.tolist()
    sets = [np.sort(classes[first:last]).tobytes() for first, last in itertools.pairwise(splits)]
    return np.array([hash(content) for content in sets], np.int64)


def describe(part: Examples, index: int, labels: Sequence[str]) -> str:
    """Which objects a picture has: ``2 cat, 1 dog``."""
    if part.boxes is None or not part.targets[index]:
        return "no object"
    counts = Counter(labels[number] for number in part.boxes[index].classes.tolist())
    return ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))


def _shares(part: Examples) -> np.ndarray:
    """(m, 2) height and width of each object, as shares of those of its picture."""
    if part.boxes is None:
        return np.zeros((0, 2))
    sides = part.boxes.corners[:, 2:] - part.boxes.corners[:, :2]
    return sides / part.picture_sizes[part.boxes.pictures]
