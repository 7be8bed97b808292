"""How good a classifier's answers are."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn import metrics

from dlapp.evaluation.segments import confused_pairs

THRESHOLD = 0.5
_MOST_IN_MATRIX = 100  # classes
_CONFUSED = 1000  # pairs of classes


def score(targets: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Metrics of one split, under scikit-learn's names, ready for JSON.

    Args:
        targets: (n,) indices into ``labels``.
        probabilities: (n, classes), each row summing to 1.
        labels: the classes.

    Returns:
        ``examples``, ``loss`` (cross-entropy in nats, without regularization), ``accuracy`` with its
        95 % Wilson interval, ``f1_macro`` over the classes that occur or are predicted, ``per_class``
        precision, recall and F1, and ``confusion_matrix`` (rows are true, columns predicted). For more than
        100 classes there is no matrix, which would be nearly all zeros, but ``confused``: the 1,000 pairs of
        classes that are mistaken most often. With two classes also the ``threshold`` on the probability of
        the second, and ``roc_auc`` where both occur.

    Raises:
        ValueError: shapes do not fit, or a probability is NaN.
    """
    if probabilities.shape != (len(targets), len(labels)):
        raise ValueError(
            f"probabilities must be (n, classes) = ({len(targets)}, {len(labels)}); got {probabilities.shape}."
        )
    if np.isnan(probabilities).any():
        raise ValueError("probabilities must not be NaN: the network has diverged.")
    normalized = probabilities.astype(np.float64)
    normalized /= normalized.sum(axis=1, keepdims=True)  # float32 sums to 1 only to 1e-7, and scikit-learn warns
    predicted = predict_classes(probabilities)
    correct = int((predicted == targets).sum())
    interval = binomtest(correct, len(targets)).proportion_ci(0.95, method="wilson")
    scores: dict[str, Any] = {
        "examples": len(targets),
        "loss": float(metrics.log_loss(targets, normalized, labels=np.arange(len(labels)))),
        "accuracy": correct / len(targets),
        "accuracy_interval": [float(interval.low), float(interval.high)],
        **score_classes(targets, predicted, labels),
    }
    if len(labels) == 2:
        scores["threshold"] = THRESHOLD
        if len(np.unique(targets)) == 2:
            scores["roc_auc"] = float(metrics.roc_auc_score(targets, probabilities[:, 1]))
    return scores


def score_classes(targets: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """``f1_macro``, ``per_class`` and ``confusion_matrix`` or ``confused`` of :func:`score`.

    Args:
        targets, predicted: (n,) indices into ``labels``.
        labels: the classes.
    """
    every = np.arange(len(labels))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, predicted, labels=every, zero_division=0
    )
    scores: dict[str, Any] = {
        "f1_macro": float(metrics.f1_score(targets, predicted, average="macro", zero_division=0)),
        "per_class": [
            {
                "label": label,
                "examples": int(support[k]),
                "precision": float(precision[k]),
                "recall": float(recall[k]),
                "f1": float(f1[k]),
            }
            for k, label in enumerate(labels)
        ],
    }
    if len(labels) <= _MOST_IN_MATRIX:
        scores["confusion_matrix"] = metrics.confusion_matrix(targets, predicted, labels=every).tolist()
    else:
        pairs = confused_pairs(targets, predicted, labels)[:_CONFUSED]
        scores["confused"] = [dataclasses.asdict(pair) for pair in pairs]
    return scores


def predict_classes(probabilities: np.ndarray) -> np.ndarray:
    """The class of each row: the most probable; of two, the second from ``THRESHOLD`` on."""
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= THRESHOLD).astype(np.int64)
    return probabilities.argmax(axis=1)


def worst_classes(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows ``per_class`` of :func:`score` that have examples, those with the lowest F1 first."""
    return sorted((row for row in rows if row["examples"]), key=lambda row: row["f1"])


def worst_mistakes(targets: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Indices of the wrong answers that gave the true class the least, worst first; at most ``count``."""
    wrong = np.flatnonzero(predict_classes(probabilities) != targets)
    return wrong[np.argsort(probabilities[wrong, targets[wrong]], kind="stable")][:count]
