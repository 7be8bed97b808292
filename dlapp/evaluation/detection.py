"""How good boxes are: mean average precision by COCO's own code, curves, confusion, and the worst of both kinds."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlapp.boxes import Boxes, areas, intersection_over_union

MIN_OVERLAP = 0.5  # intersection over union from which on an object counts as found
_LEVELS = 101  # of recall, at which COCO reads precision


class Curve(NamedTuple):
    """Precision at IoU 0.5 against recall, of one class.

    Attributes:
        recall: (101,) from 0 to 1.
        precision: (101,) the highest at that recall or above; 0 where it is not reached.
        scores: (101,) from which score on boxes have to be taken for it.
    """

    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray

    @property
    def f1(self) -> np.ndarray:
        """(101,) harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / np.maximum(self.precision + self.recall, np.finfo(float).tiny)


class Hit(NamedTuple):
    """What became of boxes and objects when the surest box chooses first.

    Attributes:
        objects: (found boxes,) the object that each box found; -1 for a false alarm.
        boxes: (objects,) the box that found each; -1 for a miss.
    """

    objects: np.ndarray
    boxes: np.ndarray


def score_detection(
    wanted: Boxes, found: Boxes, labels: Sequence[str], *, min_score: float | None = None
) -> dict[str, Any]:
    """Average precision of a detector, as COCO defines it, and precision, recall and F1 of each class.

    Classes without an object do not count in the means. Objects that are ignored are neither misses when they are
    not found nor false alarms when they are.

    Args:
        wanted: the objects.
        found: what the detector says, down to low scores.
        labels: the classes.
        min_score: of the boxes that precision, recall and F1 are of; where it is None, the one with the best mean F1.

    Returns:
        ``examples`` and ``objects``; ``map_50`` and ``map_50_95``, None where there is no object; ``threshold``, the
        score that precision, recall and F1 are of; and ``per_class``.
    """
    evaluation = _evaluate(wanted, found, len(labels))
    curves = _curves(evaluation)
    threshold = _best_threshold(curves) if min_score is None else min_score
    told = found.where(found.scores >= threshold)
    hits = match(wanted, told)
    precision = evaluation["precision"][:, :, :, 0, -1]  # (thresholds, recall, classes) of all sizes, most boxes
    rows = []
    for index, label in enumerate(labels):
        objects = int((wanted.wanted.classes == index).sum())
        own = precision[:, :, index]
        own = own[:, own.max(axis=0, initial=-1) > -1] if objects else own[:, :0]
        right = int((hits.boxes[wanted.classes == index] >= 0)[~_ignored(wanted)[wanted.classes == index]].sum())
        mine = told.classes == index
        counted = int(mine.sum()) - int(_ignored(wanted)[hits.objects[mine & (hits.objects >= 0)]].sum())
        rows.append(
            {
                "label": label,
                "objects": objects,
                "ap_50": float(own[0].mean()) if objects else None,
                "ap_50_95": float(own.mean()) if objects else None,
                "precision": right / counted if counted else 0.0,
                "recall": right / objects if objects else 0.0,
                "f1": 2 * right / (counted + objects) if counted + objects else 0.0,
            }
        )
    present = [row for row in rows if row["objects"]]
    return {
        "examples": len(wanted),
        "objects": len(wanted.wanted.corners),
        "map_50": float(np.mean([row["ap_50"] for row in present])) if present else None,
        "map_50_95": float(np.mean([row["ap_50_95"] for row in present])) if present else None,
        "threshold": float(threshold),
        "per_class": rows,
    }


def score_localization(wanted: Boxes, found: Boxes, labels: Sequence[str]) -> dict[str, Any]:
    """How good at most one box a picture is.

    Args:
        wanted: an object of each picture, or none.
        found: what is told of each picture: one box, or none.
        labels: the classes.

    Returns:
        ``examples`` and ``objects``; ``accuracy``, the share of pictures whose class, or emptiness, is told; of
        those with an object ``mean_iou`` (0 where nothing is told) and ``localization_error``, the share whose box
        has another class or overlaps it by less than a half (Russakovsky et al. 2015, section 4.2,
        https://arxiv.org/abs/1409.0575), both None where there is no object; and ``per_class``.
    """
    true, told = _only(wanted), _only(found)
    overlap = np.zeros(len(wanted))
    both = (true >= 0) & (told >= 0)
    overlap[both] = [
        float(intersection_over_union(wanted.corners[[a]], found.corners[[b]])[0, 0])
        for a, b in zip(true[both], told[both], strict=True)
    ]
    classes, answers = (
        np.where(at >= 0, boxes.classes[at] if len(boxes.classes) else -1, -1)
        for at, boxes in ((true, wanted), (told, found))
    )
    there = true >= 0
    wrong = (classes != answers) | (overlap < MIN_OVERLAP)

    def mean(values: np.ndarray, kept: np.ndarray) -> float | None:
        return float(values[kept].mean()) if kept.any() else None

    return {
        "examples": len(wanted),
        "objects": int(there.sum()),
        "accuracy": float((classes == answers).mean()) if len(wanted) else None,
        "mean_iou": mean(overlap, there),
        "localization_error": mean(wrong, there),
        "per_class": [
            {
                "label": label,
                "objects": int((classes == index).sum()),
                "mean_iou": mean(overlap, classes == index),
                "localization_error": mean(wrong, classes == index),
            }
            for index, label in enumerate(labels)
        ],
    }


def average_precision_50(wanted: Boxes, found: Boxes, classes: int) -> float | None:
    """Mean average precision at IoU 0.5; None where there is no object."""
    precision = _evaluate(wanted, found, classes, thresholds=[MIN_OVERLAP])["precision"][0, :, :, 0, -1]
    present = precision.max(axis=0) > -1
    return float(precision[:, present].mean()) if present.any() else None


def precision_recall_curves(wanted: Boxes, found: Boxes, classes: int) -> list[Curve | None]:
    """Of each class; None where it has no object."""
    return _curves(_evaluate(wanted, found, classes, thresholds=[MIN_OVERLAP]))


def match(wanted: Boxes, found: Boxes, *, min_overlap: float = MIN_OVERLAP, by_class: bool = True) -> Hit:
    """Which box found which object: the surest first, each the free object that it overlaps most.

    An ignored object is found only by what finds no other.

    Args:
        wanted: the objects.
        found: with scores.
        min_overlap: intersection over union from which on a box finds an object.
        by_class: whether both have to be of the same class.
    """
    objects = np.full(len(found.corners), -1)
    boxes = np.full(len(wanted.corners), -1)
    ignored = _ignored(wanted)
    starts, splits = wanted.splits, found.splits
    for picture in range(len(wanted)):
        true, told = slice(starts[picture], starts[picture + 1]), slice(splits[picture], splits[picture + 1])
        overlap = intersection_over_union(found.corners[told], wanted.corners[true])
        if by_class:
            overlap[found.classes[told][:, np.newaxis] != wanted.classes[true]] = 0
        overlap -= 2.0 * (ignored[true] & (overlap >= min_overlap))  # behind all others, from -1 on
        for row in np.argsort(-found.scores[told], kind="stable").tolist():
            if not overlap.shape[1]:
                break
            best = int(overlap[row].argmax())
            real = overlap[row, best] >= min_overlap
            if not real:
                negative = overlap[row] < 0
                if not negative.any():
                    continue
                best = int(np.where(negative, overlap[row], -9).argmax())
            objects[told.start + row] = true.start + best
            boxes[true.start + best] = told.start + row
            if real:  # an ignored object may be found more than once: it may be a crowd
                overlap[:, best] = 0
    return Hit(objects, boxes)


def confusion_with_background(
    wanted: Boxes, found: Boxes, classes: int, *, min_score: float, min_overlap: float = MIN_OVERLAP
) -> np.ndarray:
    """(classes + 1, classes + 1) int64: a row a true class, a column what was told; the last of both is background.

    A box and an object of any class that overlap make a pair; objects without are misses, boxes without false alarms.
    """
    told, objects = found.where(found.scores >= min_score), wanted.wanted
    hits = match(objects, told, min_overlap=min_overlap, by_class=False)
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    answers = np.append(told.classes, classes)[hits.boxes]  # -1 is the last
    np.add.at(matrix, (objects.classes, answers), 1)
    np.add.at(matrix[classes], told.classes[hits.objects < 0], 1)
    return matrix


def worst_misses(wanted: Boxes, found: Boxes, count: int, *, min_score: float) -> np.ndarray:
    """Objects that no box of their class found, the largest first: indices into the boxes of ``wanted``."""
    missed = (match(wanted, found.where(found.scores >= min_score)).boxes < 0) & ~_ignored(wanted)
    rows = np.flatnonzero(missed)
    return rows[np.argsort(-areas(wanted.corners[rows]), kind="stable")][:count]


def worst_alarms(wanted: Boxes, found: Boxes, count: int) -> np.ndarray:
    """Boxes that found no object of their class, the surest first: indices into the boxes of ``found``."""
    rows = np.flatnonzero(match(wanted, found).objects < 0)
    return rows[np.argsort(-found.scores[rows], kind="stable")][:count]


def _only(boxes: Boxes) -> np.ndarray:
    """(n,) the place of the box of each picture; -1 where there is none."""
    return np.where(boxes.counts > 0, boxes.splits[:-1], -1)


def _ignored(boxes: Boxes) -> np.ndarray:
    return boxes.ignored if len(boxes.ignored) else np.zeros(len(boxes.corners), bool)


def _evaluate(
    wanted: Boxes, found: Boxes, classes: int, *, thresholds: Sequence[float] | None = None
) -> dict[str, Any]:
    """What COCO accumulates: ``precision`` and ``scores``, (thresholds, 101, classes, areas, most)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    ignored = _ignored(wanted)
    truth = _annotations(wanted)
    for annotation, crowd in zip(truth, ignored.tolist(), strict=True):
        annotation["iscrowd"] = int(crowd)
    told = _annotations(found)
    for annotation, score in zip(told, found.scores.tolist(), strict=True):
        annotation["score"] = score
    common = {"images": [{"id": index + 1} for index in range(len(wanted))]}
    common["categories"] = [{"id": index + 1} for index in range(classes)]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of every step
        indexed = []
        for annotations in (truth, told):
            coco: Any = COCO()
            coco.dataset = {**common, "annotations": annotations}  # loadRes refuses a detector that finds nothing
            coco.createIndex()
            indexed.append(coco)
        evaluation = COCOeval(*indexed, iouType="bbox")
        if thresholds is not None:
            evaluation.params.iouThrs = np.array(thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    return dict(evaluation.eval)


def _annotations(boxes: Boxes) -> list[dict[str, Any]]:
    sizes = boxes.corners[:, 2:] - boxes.corners[:, :2]
    corners = np.concatenate([boxes.corners[:, 1::-1], sizes[:, ::-1]], axis=1).astype(np.float64)  # x, y, w, h
    rows = zip(boxes.pictures.tolist(), boxes.classes.tolist(), corners.tolist(), strict=True)
    return [
        {
            "id": number,  # from 1: COCO takes 0 for none
            "image_id": picture + 1,
            "category_id": kind + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for number, (picture, kind, box) in enumerate(rows, start=1)
    ]


def _curves(evaluation: dict[str, Any]) -> list[Curve | None]:
    precision, scores = (evaluation[name][0, :, :, 0, -1] for name in ("precision", "scores"))
    recall = np.linspace(0, 1, _LEVELS)
    return [
        None if precision[:, index].max() < 0 else Curve(recall, precision[:, index], scores[:, index])
        for index in range(precision.shape[1])
    ]


def _best_threshold(curves: Sequence[Curve | None]) -> float:
    """The score at which the mean F1 of all classes is the best."""
    known = [curve for curve in curves if curve is not None and curve.scores.max() > 0]
    if not known:
        return 0.0
    levels = np.unique(np.concatenate([curve.scores[curve.precision > 0] for curve in known]))
    levels = levels[:: max(len(levels) // 200, 1)]
    return float(levels[np.argmax([np.mean([f1_at(curve, level) for curve in known]) for level in levels])])


def f1_at(curve: Curve, threshold: float) -> float:
    """F1 of the boxes with at least that score."""
    taken = curve.f1[(curve.scores >= threshold) & (curve.precision > 0)]
    return float(taken[-1]) if len(taken) else 0.0
