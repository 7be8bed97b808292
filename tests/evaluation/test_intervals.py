"""Intervals against published examples, resampling and their own coverage."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from dlapp.evaluation import intervals
from dlapp.evaluation.intervals import of_auc, of_difference, of_errors, of_mean, of_mean_difference, of_proportion


def ends(interval):
    return interval.low, interval.high


def test_newcombes_example():
    # Newcombe 1998, table II (a): 56/70 and 48/80, method 10
    found = intervals.of_proportion_difference(48, 80, 56, 70)
    assert found.value == pytest.approx(0.2)
    assert ends(found) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # printed with 4 digits
    back = intervals.of_proportion_difference(56, 70, 48, 80)
    assert (back.value, *ends(back)) == pytest.approx((-found.value, -found.high, -found.low))


def test_wilsons_formula():
    z, n, p = 1.959963984540054, 263, 81 / 263
    reach = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(p + z**2 / (2 * n) + sign * reach) / (1 + z**2 / n) for sign in (-1, 1)]
    assert ends(of_proportion(81, 263)) == pytest.approx(expected, rel=1e-12)
    assert ends(of_proportion(81, 263)) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, 81/263


def test_students_and_welchs_formulas():
    random = np.random.default_rng(0)
    a, b = random.gamma(2, 3, 12), random.gamma(2, 4, 30)
    reach = stats.t.ppf(0.975, 11) * a.std(ddof=1) / math.sqrt(12)
    assert ends(of_mean(a)) == pytest.approx((a.mean() - reach, a.mean() + reach))
    share_a, share_b = a.var(ddof=1) / 12, b.var(ddof=1) / 30
    freedom = (share_a + share_b) ** 2 / (share_a**2 / 11 + share_b**2 / 29)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(share_a + share_b)
    found = of_mean_difference(a, b)
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert ends(found) == pytest.approx((found.value - reach, found.value + reach))


def test_the_kind_of_error_chooses_the_interval():
    wrong = np.repeat([1.0, 0.0], [3, 17])
    more = np.repeat([1.0, 0.0], [9, 11])
    assert of_errors(wrong) == of_proportion(3, 20)
    assert of_difference(wrong, more) == intervals.of_proportion_difference(3, 20, 9, 20)
    absolute = np.array([0.0, 1.0, 2.5])
    assert of_errors(absolute) == of_mean(absolute)
    assert of_difference(wrong, absolute) == of_mean_difference(wrong, absolute)


def test_delong_against_the_bootstrap():
    random = np.random.default_rng(1)
    targets = np.repeat([0, 1], [150, 90])
    scores = np.where(targets == 1, random.normal(0.9, 1.5, 240), random.normal(0, 1, 240)).round(1)  # with ties
    found = of_auc(targets, scores)

    def area(zero, one):
        return (one[:, None] > zero).mean() + 0.5 * (one[:, None] == zero).mean()

    zero, one = scores[targets == 0], scores[targets == 1]
    assert found.value == pytest.approx(area(zero, one))
    drawn = [area(random.choice(zero, 150), random.choice(one, 90)) for _ in range(2000)]
    # the error of a deviation from 2,000 draws is 1.6 %
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.06)
    assert found.high - found.value == pytest.approx(found.value - found.low)


@pytest.mark.parametrize(
    ("targets", "scores", "value"),
    [
        ([0, 1], [0.1, 0.2], 1),
        ([0, 0, 0, 1], [0.1, 0.3, 0.4, 0.3], 0.5),
        ([0] * 5 + [1] * 5, range(10), 1),
        ([1] * 5 + [0] * 5, range(10), 0),
        ([0, 1] * 5, [0.3] * 10, 0.5),
        ([1] * 6, range(6), 0.5),
        ([0] * 6, range(6), 0.5),
    ],
    ids=["two", "one of a class", "in order", "in reverse", "all tied", "only ones", "only zeros"],
)
def test_an_area_that_has_no_spread_still_has_an_interval(targets, scores, value):
    found = of_auc(np.array(targets), np.array(scores, float))
    assert found.value == pytest.approx(value)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.25, "ten examples leave much open"


def test_an_area_of_one_is_narrower_with_more_examples():
    lows = [of_auc(np.repeat([0, 1], n), np.arange(2.0 * n)).low for n in (3, 10, 100)]
    assert lows == sorted(lows)
    # Newcombe 2006, method 5, solved for areas A: (1 - A) m n = z^2 A (1 + more (1 - A) / (2 - A) + more A / (1 + A))
    area, more = lows[1], 9
    spread = 1 + more * (1 - area) / (2 - area) + more * area / (1 + area)
    assert (1 - area) * 100 == pytest.approx(1.959963984540054**2 * area * spread, rel=1e-6)


def test_without_spread_of_its_own_a_mean_is_exact_and_one_value_tells_nothing():
    assert ends(of_mean(np.full(5, 3.75))) == (3.75, 3.75)
    assert ends(of_mean_difference(np.full(5, 3.75), np.full(4, 4.0))) == (0.25, 0.25)
    for one in (of_mean(np.array([3.75])), of_mean_difference(np.ones(5), np.array([3.0]))):
        assert one.low < -1e300
        assert one.high > 1e300


def test_one_side_without_spread():
    b = np.array([1.0, 2.0, 4.0])
    # warnings are errors here: SciPy warns of "precision loss"
    found = of_mean_difference(np.full(7, 0.1), b)
    alone = of_mean(b)
    assert ends(found) == pytest.approx((alone.low - 0.1, alone.high - 0.1))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([0.0], [1.0]),
        ([1.0], [1.0]),
        ([1.0] * 9, [1.0] * 9),
        ([0.0] * 9, [0.0] * 9),
        ([0.0] * 9, [1.0] * 9),
        ([2.5], [0.5]),
        ([2.5, 2.5], [2.5, 0.5]),
        ([0.1] * 7, [0.30000000000000004] * 6 + [0.3]),
    ],
)
def test_whatever_the_errors_figures_are_finite_and_fit_into_json(a, b):
    found = [of_errors(np.array(a)), of_errors(np.array(b)), of_difference(np.array(a), np.array(b))]
    for interval in found:
        values = dataclasses.asdict(interval)
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert interval.low <= interval.value + 1e-12
        assert interval.value <= interval.high + 1e-12


@pytest.mark.parametrize(("share_a", "share_b", "n"), [(0.02, 0.02, 200), (0.05, 0.15, 60), (0.0, 0.1, 30)])
def test_the_difference_of_shares_is_covered(share_a, share_b, n):
    random = np.random.default_rng(2)
    wrong = zip(random.binomial(5 * n, share_a, 1000).tolist(), random.binomial(n, share_b, 1000).tolist(), strict=True)
    found = [intervals.of_proportion_difference(a, 5 * n, b, n) for a, b in wrong]
    covered = np.mean([one.low <= share_b - share_a <= one.high for one in found])
    assert covered > 0.93  # 0.95 less three deviations of a share of 1,000
