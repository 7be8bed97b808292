"""Segments with more mistakes than the rest, tested by hand; ranges; pairs of classes."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from dlapp.evaluation.segments import ConfusedPair, by_quantile, confused_pairs, worst_segments


def wrong(*counts):
    return np.concatenate([np.repeat([1.0, 0.0], [count, n - count]) for count, n in counts])


def test_a_segment_by_hand():
    errors = wrong((15, 50), (10, 200))
    kind = np.repeat(["dark", "light"], [50, 200])
    (found,) = worst_segments(errors, {"brightness": kind})
    # the chance of 15 or more of the 25 mistakes among 50 of 250, times the two segments that were tested
    expected = 2 * stats.hypergeom.sf(14, 250, 50, 25)
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    assert dataclasses.astuple(found)[:5] == ("brightness", "dark", 50, 0.3, 0.05)
    values = dataclasses.asdict(found)
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_welchs_test_for_absolute_errors():
    random = np.random.default_rng(0)
    errors = np.concatenate([random.gamma(2, 9, 40), random.gamma(2, 4, 300)])
    (found,) = worst_segments(errors, {"town": np.repeat(["a", "b"], [40, 300])})
    share_a, share_b = errors[:40].var(ddof=1) / 40, errors[40:].var(ddof=1) / 300
    freedom = (share_a + share_b) ** 2 / (share_a**2 / 39 + share_b**2 / 299)
    t = (errors[:40].mean() - errors[40:].mean()) / np.sqrt(share_a + share_b)
    assert (found.value, found.examples) == ("a", 40)
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, freedom))


def test_holms_correction_by_hand():
    # three kinds; the p-values of the first two are multiplied by 3 and 2, and the third does not count
    errors = wrong((20, 40), (14, 40), (10, 200))
    kinds = np.repeat(["a", "b", "c"], [40, 40, 200])
    found = {segment.value: segment for segment in worst_segments(errors, {"kind": kinds})}
    total = 44
    assert found.keys() == {"a", "b"}
    assert found["a"].p_value == pytest.approx(3 * stats.hypergeom.sf(19, 280, 40, total))
    assert found["b"].p_value == pytest.approx(2 * stats.hypergeom.sf(13, 280, 40, total))


def test_those_that_cost_most_come_first():
    errors = wrong((12, 12), (80, 200), (20, 600))
    kinds = np.repeat(["worst", "costly", "good"], [12, 200, 600])
    found = worst_segments(errors, {"kind": kinds})
    assert [segment.value for segment in found] == ["costly", "worst"]
    # 80 of 200 against 32 of 612 of the rest, and 12 of 12 against 100 of 800
    spared = [segment.examples * (segment.error - segment.rest_error) for segment in found]
    assert spared == pytest.approx([80 - 200 * 32 / 612, 12 - 12 * 100 / 800])


@pytest.mark.parametrize(("n", "found"), [(9, 0), (10, 1)])
def test_fewer_than_ten_examples_are_not_judged(n, found):
    errors = wrong((n, n), (0, 200))
    assert len(worst_segments(errors, {"kind": np.repeat(["few", "rest"], [n, 200])})) == found


def test_segments_that_do_not_matter_are_rarely_found():
    random = np.random.default_rng(1)
    called = 0
    for _ in range(100):
        segments = {str(k): random.integers(0, 5, 300).astype(str) for k in range(4)}
        called += bool(worst_segments((random.random(300) < 0.2).astype(float), segments))
    assert called <= 11  # 5 of 100, and three deviations


@pytest.mark.parametrize("errors", [np.zeros(60), np.ones(60), np.full(60, 2.5)], ids=["right", "wrong", "equal"])
def test_equal_errors_have_no_segments(errors):
    assert worst_segments(errors, {"kind": np.repeat(["a", "b"], 30)}) == ()
    assert worst_segments(errors, {}) == ()


@pytest.mark.parametrize("rest", [0.1, None], ids=["both without spread", "one without spread"])
def test_regression_errors_without_spread(rest):
    others = np.full(33, 0.1) if rest else np.random.default_rng(0).normal(0.1, 0.01, 33)
    (found,) = worst_segments(np.concatenate([np.full(17, 2.3), others]), {"k": np.repeat(["a", "b"], [17, 33])})
    assert found.value == "a"
    assert found.p_value < 1e-6


def test_quantile_ranges():
    values = np.concatenate([np.arange(100.0), [np.nan, np.nan]])
    labels = by_quantile(values)
    assert labels.dtype.kind == "U"
    names, counts = np.unique(labels, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "0 to 24.75": 25,
        "24.75 to 49.5": 25,
        "49.5 to 74.25": 25,
        "74.25 to 99": 25,
        "missing": 2,
    }
    assert labels[0] == "0 to 24.75"
    assert labels[99] == "74.25 to 99"
    assert len(np.unique(by_quantile(np.arange(100.0), bins=10))) == 10


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([np.nan] * 3, ["missing"] * 3),
        ([3.0] * 3, ["3 to 3"] * 3),
        ([0, 0, 0, 0, 0, 1], ["0 to 1"] * 6),
        ([], []),
    ],
    ids=["missing", "one value", "mostly zero", "none"],
)
def test_ranges_of_what_hardly_varies(values, expected):
    assert by_quantile(np.array(values, float)).tolist() == expected


@pytest.mark.parametrize("start", [1.7e9, 1234.5, -1e6])
def test_ranges_of_large_numbers_that_lie_close_together_keep_their_names_apart(start):
    values = start + np.linspace(0, 0.1, 80)
    assert np.unique(by_quantile(values), return_counts=True)[1].tolist() == [20] * 4


def test_confused_pairs():
    matrix = np.array([[50, 3, 0], [8, 20, 2], [0, 3, 7]])
    targets, predicted = np.repeat(np.argwhere(matrix >= 0), matrix.ravel(), axis=0).T
    assert confused_pairs(targets, predicted, ["cat", "dog", "owl"]) == (
        ConfusedPair("dog", "cat", 8, 8 / 30),
        ConfusedPair("owl", "dog", 3, 3 / 10),
        ConfusedPair("cat", "dog", 3, 3 / 53),
        ConfusedPair("dog", "owl", 2, 2 / 30),
    )
    assert confused_pairs(np.zeros(4, np.int32), np.zeros(4, np.int64), ["cat", "dog"]) == ()
