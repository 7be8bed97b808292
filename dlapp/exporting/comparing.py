"""Answers of a runtime against those of Keras."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from dlapp.boxes import intersection_over_union
from dlapp.exporting.recording import Case, StepCase
from dlapp.exporting.replaying import Replay
from dlapp.exporting.runtimes import Outputs
from dlapp.signature import Signature

INCOMPARABLE = float(np.finfo(np.float32).max)  # another shape, or NaN; JSON has no infinity
TOLERANCE = 1e-5  # of a probability; float32 sums in another order differ by about 1e-7
_SCORE_TOLERANCE = 1e-4  # of a box, whose place and size vary with it
_SAME_BOX = 0.99  # intersection over union
_SAME_CORNER = 0.01  # pixels; of boxes narrower than that the intersection says nothing


class Comparison(NamedTuple):
    """How far answers are apart.

    Attributes:
        absolute: the largest difference, in the unit of :func:`tolerance`.
        relative: the largest difference, as a share of the largest number of that output.
        agreement: the share of samples with the same answer: class (a tie within the tolerance counts), tags, tokens,
            boxes, or values that differ by no more than the tolerance.
        output, case, sample: where the largest difference is: the name of an output, which case of ``samples.npz``
            (from 1 on; 0 are the steps), which of its samples (from 0 on).
    """

    absolute: float = 0.0
    relative: float = 0.0
    agreement: float = 1.0
    output: str = ""
    case: int = 0
    sample: int = 0


def tolerance(signature: Signature) -> float:
    """The largest absolute difference that counts as equal: of a probability; of values as a share of the target's
    deviation or mean, whichever is larger; of boxes of their scores; of all other numbers as a share of the largest in
    the output, if that is above 1."""
    return TOLERANCE if signature.detection is None else _SCORE_TOLERANCE


def equal(signature: Signature, compared: Comparison) -> bool:
    """Whether the answers are the same, and no number of them is further off than the tolerance."""
    return compared.agreement == 1.0 and compared.absolute <= tolerance(signature)


def compare(signature: Signature, cases: Sequence[Case], steps: StepCase | None, found: Replay) -> Comparison:
    """The largest differences over all the cases that were run, and the share of equal answers."""
    parts: list[tuple[Comparison, int]] = []
    for number, (case, outputs) in enumerate(zip(cases, found.outputs, strict=False), start=1):
        size = case.shape[0]
        if signature.detection is not None:
            parts.append((_compare_boxes(outputs, case.outputs, number), size))
            continue
        each = [_compare(signature, name, outputs.get(name), case.outputs[name], number) for name in case.outputs]
        told = 0 if signature.task == "sequence_to_sequence" else size  # states are no answer
        parts += [(one, told) for one in each]
    if steps is not None and found.steps is not None:
        probabilities, after = found.steps
        size = len(steps.tokens)
        parts.append((_compare_classes("probabilities", probabilities, steps.probabilities, 0), size))
        names = [tensor.name for tensor in signature.step.outputs[1:]] if signature.step else []
        parts += [
            (_compare_values(name, given, wanted, 0, _size(wanted)), 0)
            for name, given, wanted in zip(names, after, steps.after, strict=True)
        ]
    worst = max((part for part, _ in parts), key=lambda part: part.absolute)
    total = max(sum(size for _, size in parts), 1)
    return worst._replace(
        relative=max(part.relative for part, _ in parts),
        agreement=1 - sum((1 - part.agreement) * size for part, size in parts) / total,
    )


def _compare(signature: Signature, name: str, given: np.ndarray | None, wanted: np.ndarray, case: int) -> Comparison:
    if name == "probabilities" and signature.task != "tensors":
        return _compare_classes(name, given, wanted, case)
    target = signature.target
    unit = _size(wanted) if target is None else max(target.deviation, abs(target.mean))
    return _compare_values(name, given, wanted, case, unit)


def _compare_classes(name: str, given: np.ndarray | None, wanted: np.ndarray, case: int) -> Comparison:
    compared = _compare_values(name, given, wanted, case, 1.0)
    if given is None or given.shape != wanted.shape:
        return compared
    best = np.take_along_axis(given, wanted.argmax(axis=-1)[..., np.newaxis], axis=-1)[..., 0]
    same = best >= given.max(axis=-1) - TOLERANCE  # False for NaN
    return compared._replace(agreement=float(same.reshape(len(same), -1).all(axis=1).mean()))


def _compare_values(name: str, given: np.ndarray | None, wanted: np.ndarray, case: int, unit: float) -> Comparison:
    if given is None or given.shape != wanted.shape or given.dtype != wanted.dtype:
        return Comparison(INCOMPARABLE, INCOMPARABLE, 0.0, name, case)
    difference = _finite(np.abs(given.astype(np.float64) - wanted))
    each = difference.reshape(len(difference), -1).max(axis=1, initial=0.0)
    share = each.max() / max(float(np.abs(wanted).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    return Comparison(
        absolute=min(float(each.max()) / unit, INCOMPARABLE),
        relative=min(float(share), INCOMPARABLE),
        agreement=float((each / unit <= TOLERANCE).mean()),
        output=name,
        case=case,
        sample=int(each.argmax()),
    )


def _finite(differences: np.ndarray) -> np.ndarray:
    return np.nan_to_num(differences, nan=INCOMPARABLE, posinf=INCOMPARABLE)


def _size(values: np.ndarray) -> float:
    """What differences between numbers without bound are measured in, such as the cell of an LSTM."""
    return max(1.0, float(np.abs(values).max(initial=0.0)))


def _compare_boxes(given: Outputs, wanted: Outputs, case: int) -> Comparison:
    """The largest difference between the scores of boxes that are the same; incomparable where there are others."""
    for name, values in wanted.items():
        if name not in given or given[name].shape != values.shape or given[name].dtype != values.dtype:
            return Comparison(INCOMPARABLE, INCOMPARABLE, 0.0, name, case)
    each, shares = np.zeros(len(wanted["count"])), np.zeros(len(wanted["count"]))
    for row, count in enumerate(wanted["count"].tolist()):
        if given["count"][row] != count:
            each[row] = shares[row] = INCOMPARABLE
            continue
        overlap = intersection_over_union(given["boxes"][row, :count], wanted["boxes"][row, :count])
        other = given["classes"][row, :count, np.newaxis] != wanted["classes"][row, :count]
        corners = np.abs(given["boxes"][row, :count, np.newaxis] - wanted["boxes"][row, :count]).max(axis=-1)
        apart = np.abs(given["scores"][row, :count, np.newaxis] - wanted["scores"][row, :count])
        same = ((overlap > _SAME_BOX) | (corners < _SAME_CORNER)) & ~other
        cost = _finite(np.where(same, apart, INCOMPARABLE).astype(np.float64))  # ties come in another order
        pairs = linear_sum_assignment(np.minimum(cost, 2.0))
        each[row] = cost[pairs].max(initial=0.0)
        shares[row] = (cost[pairs] / np.maximum(wanted["scores"][row, :count][pairs[1]], 1e-7)).max(initial=0.0)
    worst = int(each.argmax())
    differs = given["count"][worst] != wanted["count"][worst]
    name = "count" if differs else "boxes" if each[worst] == INCOMPARABLE else "scores"
    agreement = float((each < INCOMPARABLE).mean())
    return Comparison(float(each[worst]), min(float(shares.max()), INCOMPARABLE), agreement, name, case, worst)
