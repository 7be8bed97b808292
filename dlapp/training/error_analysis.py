"""Where the mistakes are, and which examples deserve a look."""

import dataclasses
from typing import Any, cast

import numpy as np

from dlapp.boxes import Boxes, areas
from dlapp.data import Examples
from dlapp.data.auditing import judge_repeats
from dlapp.data.corpora import kinds
from dlapp.data.duplicates import find_repeats
from dlapp.evaluation.classification import predict_classes
from dlapp.evaluation.detection_errors import divide_errors
from dlapp.evaluation.label_errors import out_of_fold, suspicious_labels
from dlapp.evaluation.segments import by_quantile, confused_pairs, worst_segments
from dlapp.evaluation.sequences import Steps
from dlapp.training.measured import Measured

_SHOWN = 10  # rows of each list


def analyse_errors(measured: Measured) -> dict[str, Any]:
    """Where the mistakes on dev are, and which examples of all splits deserve a look."""
    data, dev = measured.data, measured.data.dev
    confused, divided = (), None
    answers = measured.answers["dev"]
    if isinstance(answers, Boxes):
        assert dev.boxes is not None
        divided = divide_errors(dev.boxes, answers, data.labels, min_score=measured.min_score)
    elif isinstance(answers, Steps):
        if data.labels:
            confused = confused_pairs(answers.wanted, answers.predicted, data.labels)[:_SHOWN]
    elif data.labels:
        predicted = predict_classes(answers)
        confused = confused_pairs(dev.targets, predicted, data.labels)[:_SHOWN]
    segments = worst_segments(measured.errors["dev"], _segments(measured))
    groups = find_repeats(
        {name: found.hashes for name, found in measured.audited.items()},
        {name: found.thumbnails for name, found in measured.audited.items()},
        {name: kinds(part) for name, part in data.splits().items()},
    )
    return {
        "confused": [dataclasses.asdict(pair) for pair in confused],
        "segments": [dataclasses.asdict(segment) for segment in segments[:_SHOWN]],
        "segments_of": "dev",
        "repeats": [
            f"{line['text']}, such as {line['details'][0]}" if line["details"] else line["text"]
            for line in judge_repeats(groups, data.splits(), data.labels)
            if line["verdict"] != "ok"
        ],
        "labels": _suspect_labels(measured) if data.task == "classification" else [],
        "boxes": divided,
    }


def _segments(measured: Measured) -> dict[str, Any]:
    """What the examples of dev may have in common: class, brightness and size, or the columns of a table."""
    data, dev, audited = measured.data, measured.data.dev, measured.audited["dev"]
    classes = data.task == "classification"
    found: dict[str, Any] = {"class": np.array(data.labels)[dev.targets]} if classes else {}
    if dev.boxes is not None:
        found["objects"] = by_quantile(dev.boxes.wanted.counts.astype(np.float64))
        found["smallest object"] = by_quantile(_smallest_shares(dev))
    if data.channels:
        found["brightness"] = by_quantile(audited.brightness.astype(np.float64))
        found["contrast"] = by_quantile(audited.contrast.astype(np.float64))
        if len(np.unique(audited.sizes, axis=0)) > 1:
            found["pixels"] = by_quantile(audited.sizes.prod(axis=1).astype(np.float64))
        return found
    if dev.are_texts:
        if len(dev) == len(measured.errors["dev"]):  # else they are parts of a running text
            found["length"] = by_quantile(np.array([len(text) for text in dev.inputs], np.float64))
        return found
    for place, column in enumerate(dev.columns):
        cells = dev.inputs[:, place].astype(np.float64)
        if column.categories is None:
            found[column.name] = by_quantile(cells)
        else:
            names = np.array([*column.categories, "some other value"], dtype=object)
            told = names[np.where(np.isnan(cells), -1, cells).astype(np.int64)]
            found[column.name] = np.where(np.isnan(cells), "missing", told).astype(str)
    return found


def _smallest_shares(examples: Examples) -> np.ndarray:
    """(n,) the area of the smallest object of each picture, as a share of it; NaN where there is none."""
    assert examples.boxes is not None
    objects = examples.boxes.wanted
    shares = areas(objects.corners) / examples.picture_sizes.prod(axis=1)[objects.pictures]
    smallest = np.full(len(examples), np.inf)
    np.minimum.at(smallest, objects.pictures, shares)
    return np.where(np.isinf(smallest), np.nan, smallest)


def _suspect_labels(measured: Measured) -> list[dict[str, Any]]:
    """Labels most likely wrong: of train by classifiers in folds, of dev and test by the model itself."""
    data = measured.data
    found = []
    for split, part in data.splits().items():
        if split == "train":
            rows, probabilities = out_of_fold(measured.features["train"], part.targets)
        else:
            rows, probabilities = range(len(part)), cast(np.ndarray, measured.answers[split])
        for suspicion in suspicious_labels(part.targets[rows], probabilities):
            index = int(rows[suspicion.index])
            found.append(
                {
                    "where": part.name(index, split),
                    "details": part.describe(index),
                    "given": data.labels[suspicion.given],
                    "suggested": data.labels[suspicion.suggested],
                    "confidence": suspicion.confidence,
                }
            )
    return sorted(found, key=lambda suspicion: -suspicion["confidence"])[: 2 * _SHOWN]
