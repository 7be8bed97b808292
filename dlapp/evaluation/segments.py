"""Where the mistakes are: the kinds of examples on which a model is worse than elsewhere."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

_LEAST = 10  # examples of a segment
_LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Segment:
    """Examples that have something in common, and on which the error is significantly higher.

    Attributes:
        name, value: of what they have in common: ``class`` and ``cat``, ``brightness`` and ``3 to 71``.
        examples: how many there are.
        error, rest_error: the mean error of them, and of all the others.
        p_value: one-sided, after Holm's correction over all the segments that were tested.
    """

    name: str
    value: str
    examples: int
    error: float
    rest_error: float
    p_value: float


@dataclasses.dataclass(frozen=True)
class ConfusedPair:
    """A class that is taken for another: how often, and which share of its examples."""

    true: str
    predicted: str
    count: int
    share: float


def worst_segments(errors: np.ndarray, segments: Mapping[str, np.ndarray]) -> tuple[Segment, ...]:
    """Segments whose error is significantly above that of all other examples, those first that cost most.

    Tested by Fisher's exact test where errors are 0 or 1, by Welch's otherwise.

    Args:
        errors: (n,) per example.
        segments: by name: (n,) the value of each example.
    """
    counts = bool(np.isin(errors, (0.0, 1.0)).all())
    tested: list[Segment] = []
    for name, values in segments.items():
        for value in np.unique(values):
            inside = values == value
            if inside.sum() < _LEAST or (~inside).sum() < _LEAST:
                continue
            a, b = errors[inside], errors[~inside]
            tested.append(Segment(name, str(value), len(a), float(a.mean()), float(b.mean()), _p_value(a, b, counts)))
    tested.sort(key=lambda segment: segment.p_value)
    found, corrected = [], 0.0
    for place, segment in enumerate(tested):  # Holm (1979)
        corrected = max(corrected, min(segment.p_value * (len(tested) - place), 1.0))
        if corrected >= _LEVEL:
            break
        found.append(dataclasses.replace(segment, p_value=corrected))
    return tuple(sorted(found, key=lambda segment: -segment.examples * (segment.error - segment.rest_error)))


def by_quantile(values: np.ndarray, bins: int = 4) -> np.ndarray:
    """(n,) strings: the quantile range of each number, ``"3 to 71"``; ``"missing"`` for NaN."""
    present = values[~np.isnan(values)]
    labels = np.full(len(values), "missing", dtype=object)
    if not len(present):
        return labels.astype(str)
    edges = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)))
    # as many digits as tell the edges apart: 4, and more of times and other large numbers that lie close together
    told = next(told for k in range(4, 18) if len(set(told := [f"{edge:.{k}g}" for edge in edges])) == len(edges))
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    for place in range(max(len(edges) - 1, 1)):
        low, high = told[place], told[min(place + 1, len(edges) - 1)]
        labels[(places == place) & ~np.isnan(values)] = f"{low} to {high}"
    return labels.astype(str)


def confused_pairs(targets: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> tuple[ConfusedPair, ...]:
    """Pairs of classes that are mistaken, most frequent first.

    Args:
        targets, predicted: (n,) indices into ``labels``.
        labels: the classes, of which there may be thousands.
    """
    wrong = targets != predicted
    mistaken = np.column_stack([targets[wrong], predicted[wrong]]).astype(np.int64)
    cells, counts = np.unique(mistaken, axis=0, return_counts=True)
    totals = np.bincount(targets, minlength=len(labels))
    pairs = [
        ConfusedPair(labels[int(cell[0])], labels[int(cell[1])], int(count), float(count / totals[cell[0]]))
        for cell, count in zip(cells, counts, strict=True)
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.share)))


def _p_value(inside: np.ndarray, rest: np.ndarray, counts: bool) -> float:
    if counts:
        table = [[inside.sum(), len(inside) - inside.sum()], [rest.sum(), len(rest) - rest.sum()]]
        return float(stats.fisher_exact(table, alternative="greater").pvalue)
    if np.ptp(inside) == 0 and np.ptp(rest) == 0:
        return 0.0 if inside[0] > rest[0] else 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all of one side are equal, SciPy doubts their spread
        return float(stats.ttest_ind(inside, rest, equal_var=False, alternative="greater").pvalue)
