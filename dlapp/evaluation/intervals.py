"""95 % intervals of errors, of their differences, and of the area under a ROC curve."""

import dataclasses
import math
import warnings

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score

ENDLESS = 1e300  # an end or a width from here on: of one value, no interval is known
_LEVEL = 0.95
_Z = float(stats.norm.ppf(0.5 + _LEVEL / 2))


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def of_errors(errors: np.ndarray) -> Interval:
    """The mean of per-example errors: Wilson's interval where all are 0 or 1, Student's t otherwise."""
    if _are_counts(errors):
        return of_proportion(int(errors.sum()), len(errors))
    return of_mean(errors)


def of_difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """The mean of ``b`` minus the mean of ``a``: Newcombe's interval where all are 0 or 1, Welch's otherwise."""
    if _are_counts(a) and _are_counts(b):
        return of_proportion_difference(int(a.sum()), len(a), int(b.sum()), len(b))
    return of_mean_difference(a, b)


def of_proportion(wrong: int, count: int) -> Interval:
    """Wilson's score interval of ``wrong`` out of ``count``."""
    found = stats.binomtest(wrong, count).proportion_ci(_LEVEL, method="wilson")
    return Interval(wrong / count, float(found.low), float(found.high))


def of_proportion_difference(wrong_a: int, count_a: int, wrong_b: int, count_b: int) -> Interval:
    """The share of b minus that of a, by Newcombe's hybrid score interval.

    Newcombe, R. G. (1998), Interval estimation for the difference between independent proportions,
    method 10, Statistics in Medicine 17(8).
    """
    a, b = of_proportion(wrong_a, count_a), of_proportion(wrong_b, count_b)
    difference = b.value - a.value
    return Interval(
        difference,
        difference - math.hypot(b.value - b.low, a.high - a.value),
        difference + math.hypot(b.high - b.value, a.value - a.low),
    )


def of_mean(values: np.ndarray) -> Interval:
    """Student's t interval of the mean; without end where there is one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, mean - _UNKNOWN, mean + _UNKNOWN)
    reach = float(stats.t.ppf(0.5 + _LEVEL / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - reach, mean + reach)


def of_ratio(parts: np.ndarray, wholes: np.ndarray) -> Interval:
    """The sum of ``parts`` over the sum of ``wholes``, kept within 0 and 1: the share of what belongs together.

    Right words of a sentence are no independent draws, sentences are. Cochran, W. G. (1977), Sampling techniques,
    third edition, section 6.3 (the variance of a ratio).

    Args:
        parts, wholes: (n,) of each group, such as the right words of a sentence, and its words.
    """
    share = float(parts.sum() / wholes.sum())
    if len(parts) < 2:
        return Interval(share, 0.0, 1.0)
    if np.ptp(parts / wholes) == 0:  # groups that are all alike tell nothing of their spread
        found = of_proportion(round(share * len(parts)), len(parts))
        return Interval(share, found.low, found.high)
    variance = len(parts) / (len(parts) - 1) * float(((parts - share * wholes) ** 2).sum()) / float(wholes.sum()) ** 2
    reach = float(stats.t.ppf(0.5 + _LEVEL / 2, len(parts) - 1)) * math.sqrt(variance)
    return Interval(share, max(share - reach, 0.0), min(share + reach, 1.0))


def of_mean_difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """The mean of ``b`` minus the mean of ``a``, by Welch's t; without end where either has one value."""
    difference = float(np.mean(b) - np.mean(a))
    if min(len(a), len(b)) < 2:
        return Interval(difference, difference - _UNKNOWN, difference + _UNKNOWN)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return Interval(difference, difference, difference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all of one side are equal, SciPy doubts their spread
        found = stats.ttest_ind(b, a, equal_var=False).confidence_interval(_LEVEL)
    return Interval(difference, float(found.low), float(found.high))


def of_auc(targets: np.ndarray, scores: np.ndarray) -> Interval:
    """The area under the ROC curve with DeLong's interval, kept within 0 and 1.

    DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988), Biometrics 44(3). Where that has no width, as
    when every pair is in order, or where a class has one example: Newcombe, R. G. (2006), Confidence intervals
    for an effect size measure based on the Mann-Whitney statistic, part 2, method 5, Statistics in Medicine 25(4).

    Args:
        targets: (n,) 1 for one class, anything else for the other. Where one is absent, nothing is known: 0 to 1.
        scores: (n,) larger for the class 1.
    """
    ranks = stats.rankdata(scores)
    positive = targets == 1
    if positive.all() or not positive.any():
        return Interval(0.5, 0.0, 1.0)
    value = float(roc_auc_score(positive, scores))
    if min(positive.sum(), (~positive).sum()) < 2:
        return _score_interval(value, int(positive.sum()), int((~positive).sum()))
    within_positive, within_negative = stats.rankdata(scores[positive]), stats.rankdata(scores[~positive])
    # the share of the other class that each example is ranked above (below)
    above = (ranks[positive] - within_positive) / (~positive).sum()
    below = 1 - (ranks[~positive] - within_negative) / positive.sum()
    variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    if variance == 0:
        return _score_interval(value, len(above), len(below))
    reach = _Z * float(np.sqrt(variance))
    return Interval(value, max(value - reach, 0.0), min(value + reach, 1.0))


def _score_interval(value: float, positive: int, negative: int) -> Interval:
    """The areas from which ``value`` is 1.96 standard deviations away, by Hanley and McNeil's of 1982."""

    def excess(area: float) -> float:
        more = (positive + negative) / 2 - 1
        spread = 1 + more * (1 - area) / (2 - area) + more * area / (1 + area)
        return (value - area) ** 2 - _Z**2 * area * (1 - area) * spread / (positive * negative)

    aside = 1e-9  # from the ends, where the deviation is none
    low = float(brentq(excess, 0.0, value - aside)) if value > aside else 0.0
    high = float(brentq(excess, value + aside, 1.0)) if value < 1 - aside else 1.0
    return Interval(value, low, high)


def _are_counts(errors: np.ndarray) -> bool:
    return bool(np.isin(errors, (0.0, 1.0)).all())


_UNKNOWN = float(np.finfo(np.float64).max)  # JSON has no infinity
