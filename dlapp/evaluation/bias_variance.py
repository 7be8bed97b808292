"""Bias or variance: which of the differences between human, train, dev and test error are real?

Ng, A. (2018), Machine Learning Yearning, chapters 20 to 24 and 40 to 43.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from dlapp.evaluation.intervals import ENDLESS, Interval, of_difference, of_errors

Verdict = Literal["yes", "no", "cannot tell"]

_LEAST = 15  # examples: of fewer, drawn by class besides, an interval promises more than it holds
_MARGIN = 0.02  # of an error rate: what is less than 2 points is nothing to act on
_RISE = 0.05  # of the loss on dev; less is up and down
_TOO_MANY = 1000  # times the examples there are: such a number helps nobody
_CALLED = {
    "avoidable_bias": "high bias (underfitting)",
    "variance": "high variance (overfitting)",
    "mismatch": "data mismatch (dev is of another kind than train)",
    "dev_overfitting": "dev is overfitted",
    "overtraining": "overfitting after the best epoch",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One difference of errors.

    Attributes:
        name: ``avoidable_bias``, ``variance``, ``mismatch``, ``dev_overfitting`` or ``overtraining``.
        interval: of the difference, in shares or in the target's unit.
        verdict: ``yes`` where the interval lies above zero, ``no`` where it ends below what would matter,
            ``cannot tell`` where there are not enough examples for either.
        sentence: the same in words.
    """

    name: str
    interval: Interval
    verdict: Verdict
    sentence: str


def bias_and_variance(
    errors: Mapping[str, np.ndarray], *, bayes_error: float = 0.0, margin: float | None = None
) -> tuple[Finding, ...]:
    """Avoidable bias, variance, mismatch (with a train-dev) and overfitting of dev, in this order.

    Args:
        errors: by split (train, dev, test and perhaps train_dev): (n,) 1 for a mistake and 0 for none, or
            absolute errors.
        bayes_error: the error of the best there can be, in the same unit.
        margin: a difference below it, and below half of the error that it is added to (unless that is a Bayes
            error of 0, which nobody measured), is none to act on; 2 percentage points where it is None.
    """
    shares = margin is None
    margin = _MARGIN if margin is None else margin
    train = of_errors(errors["train"])
    bias = Interval(train.value - bayes_error, train.low - bayes_error, train.high - bayes_error)
    compared = {"train": errors["train"]}
    small = _is_small(bias, bayes_error or math.inf, margin)
    findings = [_find("avoidable_bias", bias, compared, margin, shares, _bias(train, bayes_error, shares), small=small)]
    steps = [("variance", "train", "dev"), ("dev_overfitting", "dev", "test")]
    if "train_dev" in errors:
        steps = [("variance", "train", "train_dev"), ("mismatch", "train_dev", "dev"), steps[1]]
    for name, a, b in steps:
        interval = of_difference(errors[a], errors[b])
        compared = {a: errors[a], b: errors[b]}
        small = _is_small(interval, float(errors[a].mean()), margin)
        findings.append(_find(name, interval, compared, margin, shares, _compare(errors, a, b, shares), small=small))
    return tuple(findings)


def overtraining(
    kept: Mapping[str, np.ndarray],
    last: Mapping[str, np.ndarray],
    *,
    epoch: int,
    last_epoch: int,
    rise: float,
    shares: bool,
) -> Finding:
    """Whether training went on to overfit, after the epoch whose weights were kept.

    It did where the loss on dev rose since, and the last weights are better on train than the kept ones, but
    worse on dev than on train.

    Args:
        kept, last: errors on train and dev of the weights of ``epoch`` and of ``last_epoch``, from 1.
        rise: of the loss on dev between the two, as a share of the lower one.
        shares: whether errors are shares of wrong answers.
    """
    interval = of_difference(last["train"], last["dev"])
    enough = min(len(last["train"]), len(last["dev"])) >= _LEAST
    verdict: Verdict = "cannot tell"
    worse = last["train"].mean() >= kept["train"].mean()
    if enough and (worse or rise < _RISE):
        verdict = "no"
    elif enough and interval.low > 0:
        verdict = "yes"
    told = {
        "yes": f"the run overfits after epoch {epoch}, whose weights were kept",
        "no": (
            "the last weights are no better on train than the kept ones"
            if worse
            else f"the loss on dev rose by {100 * rise:.0f} % only"
        )
        + f", so the run does not overfit after epoch {epoch}",
        "cannot tell": "not enough examples to tell whether the run overfits at its end",
    }[verdict]
    train, dev = _tell(float(last["train"].mean()), shares), _tell(float(last["dev"].mean()), shares)
    size = _tell_difference(interval.value, shares)
    ends = f"{_tell(interval.low, shares)} to {_tell(interval.high, shares)}"
    numbers = f"after the last epoch ({last_epoch}) the error was {train} on train and {dev} on dev"
    return Finding("overtraining", interval, verdict, f"{numbers}, {size} apart ({ends}): {told}.")


def headline(findings: Sequence[Finding], differing: Sequence[str] = ()) -> str:
    """The verdict in a sentence.

    Args:
        findings: of :func:`bias_and_variance`.
        differing: pairs of splits that do not come from one distribution, ``"train and dev"``.
    """
    names = [finding.name for finding in findings if finding.verdict == "yes" and finding.name != "mismatch"]
    if "overtraining" in names:  # what can overfit is large enough, so that bias comes last
        names = [
            *(name for name in names if name != "avoidable_bias"),
            *(["avoidable_bias"] * ("avoidable_bias" in names)),
        ]
    called = [_CALLED[name] for name in names]
    if differing or any(finding.name == "mismatch" and finding.verdict == "yes" for finding in findings):
        which = " and ".join(differing) or "train and dev"
        called.insert(0, f"data mismatch ({which} come from different distributions)")
    unknown = [finding.name.replace("_", " ") for finding in findings if finding.verdict == "cannot tell"]
    if called:
        text = f"Verdict: {'; '.join(called)}."
        return text + (f" Not enough examples to tell: {', '.join(unknown)}." if unknown else "")
    if unknown:
        return f"Verdict: not enough examples to tell ({', '.join(unknown)})."
    return "Verdict: good: neither bias nor variance to speak of."


def _is_small(interval: Interval, base: float, margin: float) -> bool:
    """Whether a difference is too small to act on, though it may be no accident: 9.1 % where train has 8.2 %."""
    return interval.high <= margin and interval.value <= base / 2


def _find(
    name: str,
    interval: Interval,
    compared: Mapping[str, np.ndarray],
    margin: float,
    shares: bool,
    words: tuple[str, str],
    *,
    small: bool,
) -> Finding:
    enough = min(map(len, compared.values())) >= _LEAST
    if interval.low > 0 and enough and not small:
        verdict: Verdict = "yes"
    elif interval.high <= (margin if enough else 0.0):
        verdict = "no"
    else:
        verdict = "cannot tell"
    told = {
        "yes": _CALLED[name],
        "no": f"no {_plain(name)} to speak of",
        "cannot tell": f"not enough examples to tell whether there is {_plain(name)}{_needed(interval, compared)}",
    }[verdict]
    numbers, reference = words
    size = _tell_difference(abs(interval.value), shares)
    ends = f"{_tell(interval.low, shares)} to {_tell(interval.high, shares)}"
    direction = "below" if interval.value < 0 else "above"
    return Finding(name, interval, verdict, f"{numbers}, {size} {direction} {reference} ({ends}): {told}.")


def _bias(train: Interval, bayes_error: float, shares: bool) -> tuple[str, str]:
    numbers = f"error on train {_tell_interval(train, shares)}"
    reference = f"the Bayes error {_tell(bayes_error, shares)}" if bayes_error else "a Bayes error taken as 0"
    if train.value < bayes_error:
        reference += " (which is estimated too high, or train was learnt by heart)"
    return numbers, reference


def _compare(errors: Mapping[str, np.ndarray], a: str, b: str, shares: bool) -> tuple[str, str]:
    return f"error on {b.replace('_', '-')} {_tell_interval(of_errors(errors[b]), shares)}", a.replace("_", "-")


def _needed(interval: Interval, compared: Mapping[str, np.ndarray]) -> str:
    """About how many examples would show a difference of this size: of the smallest split, or of each.

    Reaches are taken to shrink with the root of the examples, and to add up by Pythagoras.
    """
    if interval.value <= 0:
        return ""
    found = [of_errors(errors) for errors in compared.values()]
    reaches = [*(one.high - one.value for one in found[:-1]), found[-1].value - found[-1].low]
    counts = [len(errors) for errors in compared.values()]
    smallest = counts.index(min(counts))
    others = math.hypot(*(reach for place, reach in enumerate(reaches) if place != smallest))
    if others < interval.value and all(count >= _LEAST for count in sorted(counts)[1:]):
        ratio = reaches[smallest] / math.sqrt(interval.value * interval.value - others * others)
        growing = [list(compared)[smallest]]
    else:
        ratio = math.hypot(*reaches) / interval.value
        growing = list(compared)
    times = max(ratio * ratio, _LEAST / counts[smallest])  # of one example, the ratio is too large for a power
    if not 1 < times < _TOO_MANY:
        return ""
    wanted = [f"{math.ceil(len(compared[name]) * times / 10) * 10:,} in {name.replace('_', '-')}" for name in growing]
    return f" (about {' and '.join(wanted)} would show a difference of this size)"


def _plain(name: str) -> str:
    return {"dev_overfitting": "overfitting of dev"}.get(name, name.replace("_", " "))


def _tell_interval(found: Interval, shares: bool) -> str:
    return f"{_tell(found.value, shares)} ({_tell(found.low, shares)} to {_tell(found.high, shares)})"


def _tell_difference(value: float, shares: bool) -> str:
    return f"{100 * value:.1f} points" if shares else f"{value:.4g}"


def _tell(value: float, shares: bool) -> str:
    if not shares and abs(value) >= ENDLESS:  # of one example, no interval is known
        return "unknown"
    return f"{100 * value:.1f} %" if shares else f"{value:.4g}"
