"""What kinds of errors a detector makes, and what each costs.

Bolya, D., Foley, S., Hays, J. and Hoffman, J. (2020), TIDE: a general toolbox for identifying object detection errors.
https://arxiv.org/abs/2008.08050
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlapp.boxes import Boxes, intersection_over_union
from dlapp.evaluation.detection import MIN_OVERLAP, Hit, average_precision_50, match

KINDS = {  # in the paper's order
    "classification": "the right place, another class",
    "localization": "the right class, in a place that is off",
    "both": "another class, in a place that is off",
    "duplicate": "an object that a surer box has found",
    "background": "nothing is there",
    "missed": "an object that no box is near",
}
_BACKGROUND = 0.1  # intersection over union below which a box lies on background


def divide_errors(wanted: Boxes, found: Boxes, labels: Sequence[str], *, min_score: float = 0.0) -> dict[str, Any]:
    """Every false alarm and every missed object by its kind, and the mean average precision that each kind costs.

    Args:
        wanted: the objects; those that are ignored do not count.
        found: what the detector says, down to low scores.
        labels: the classes.
        min_score: only boxes with at least this are counted; the cost is that of all.

    Returns:
        ``map_50``; and ``errors``: by kind ``what`` it is, its ``count``, and ``cost``, by how much mAP@0.5 would rise
        if these errors alone were repaired: the class or the place put right, a false alarm taken away, a missed
        object not asked for.

    Departures:
        The paper counts all boxes. Objects that are ignored are taken out first, with the boxes that find them.
    """
    wanted, found = _without_ignored(wanted, found)
    before = average_precision_50(wanted, found, len(labels))
    kinds, objects = _judge(wanted, found, match(wanted, found))
    told = found.where(found.scores >= min_score)
    counted, covered = _judge(wanted, told, match(wanted, told))
    counts = {kind: int((counted == kind).sum()) for kind in KINDS}
    counts["missed"] = int(_missed(wanted, covered).sum())
    cost: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    if before is not None:
        for kind in KINDS:
            repaired = _repair(kind, wanted, found, kinds, objects)
            cost[kind] = max((average_precision_50(*repaired, len(labels)) or 0.0) - before, 0.0)
    return {
        "map_50": before,
        "errors": {kind: {"what": what, "count": counts[kind], "cost": cost[kind]} for kind, what in KINDS.items()},
    }


def _without_ignored(wanted: Boxes, found: Boxes) -> tuple[Boxes, Boxes]:
    if not len(wanted.ignored):
        return wanted, found
    of = match(wanted, found).objects
    return wanted.wanted, found.where((of < 0) | ~wanted.ignored[of])


def _judge(wanted: Boxes, found: Boxes, hits: Hit) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each box, empty text for what is right, and the object that it concerns, -1 for none."""
    kinds = np.full(len(found.corners), "", dtype="U14")
    objects = hits.objects.copy()
    starts, splits = wanted.splits, found.splits
    for picture in np.unique(found.pictures[hits.objects < 0]).tolist():
        true, told = slice(starts[picture], starts[picture + 1]), slice(splits[picture], splits[picture + 1])
        rows = told.start + np.flatnonzero(hits.objects[told] < 0)
        overlap = intersection_over_union(found.corners[rows], wanted.corners[true])
        if not overlap.shape[1]:
            kinds[rows] = "background"
            continue
        same = found.classes[rows][:, np.newaxis] == wanted.classes[true]
        own, others = np.where(same, overlap, 0.0), np.where(same, 0.0, overlap)
        best, best_other = own.max(axis=1), others.max(axis=1)
        rules = [
            ((best >= _BACKGROUND) & (best < MIN_OVERLAP), "localization"),
            (best_other >= MIN_OVERLAP, "classification"),
            (best >= MIN_OVERLAP, "duplicate"),
            (overlap.max(axis=1) < _BACKGROUND, "background"),
        ]
        kinds[rows] = np.select([holds for holds, _ in rules], [kind for _, kind in rules], "both")
        concerned = np.where(kinds[rows] == "classification", others.argmax(axis=1), own.argmax(axis=1))
        objects[rows] = np.where(np.isin(kinds[rows], ("classification", "localization")), true.start + concerned, -1)
    return kinds, objects


def _missed(wanted: Boxes, objects: np.ndarray) -> np.ndarray:
    """(objects,) whether no box found it, nor has one its class or its place alone wrong."""
    missed = np.ones(len(wanted.corners), bool)
    missed[objects[objects >= 0]] = False
    return missed


def _repair(kind: str, wanted: Boxes, found: Boxes, kinds: np.ndarray, objects: np.ndarray) -> tuple[Boxes, Boxes]:
    """Objects and boxes as they would be without errors of that kind."""
    if kind == "missed":
        return wanted.where(~_missed(wanted, objects)), found
    if kind not in ("classification", "localization"):
        return wanted, found.where(kinds != kind)
    mended = np.flatnonzero(kinds == kind)
    corners, classes = found.corners.copy(), found.classes.copy()
    if kind == "classification":
        classes[mended] = wanted.classes[objects[mended]]
    else:
        corners[mended] = wanted.corners[objects[mended]]
    # of the boxes that would then find one object, the surest alone
    rivals = np.flatnonzero(np.isin(kinds, ("", kind)))
    order = rivals[np.argsort(-found.scores[rivals], kind="stable")]
    kept = np.ones(len(kinds), bool)
    kept[order] = False
    kept[order[np.unique(objects[order], return_index=True)[1]]] = True
    return wanted, dataclasses.replace(found, corners=corners, classes=classes).where(kept)
