"""Errors of a regression against scikit-learn, SciPy and sums by hand."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from dlapp.evaluation import score_regression, worst_values

RANDOM = np.random.default_rng(0)
TARGETS = RANDOM.normal(200_000, 50_000, 40).astype(np.float32)
VALUES = (TARGETS + RANDOM.normal(0, 9_000, 40)).astype(np.float32)


def test_metrics_are_those_of_scikit_learn():
    scores = score_regression(TARGETS, VALUES, deviation=50_000.0)
    true, given = TARGETS.astype(float), VALUES.astype(float)
    expected = {
        "examples": 40,
        "loss": np.mean(((given - true) / 50_000) ** 2),
        "mean_absolute_error": metrics.mean_absolute_error(true, given),
        "mean_squared_error": metrics.mean_squared_error(true, given),
        "root_mean_squared_error": metrics.root_mean_squared_error(true, given),
        "r2": 1 - np.sum((given - true) ** 2) / np.sum((true - true.mean()) ** 2),
    }
    assert {key: scores[key] for key in expected} == pytest.approx(expected, rel=1e-12)  # float64 on both sides
    assert scores.keys() - expected.keys() == {"mean_absolute_error_interval"}
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_the_interval_is_that_of_a_mean_by_student():
    scores = score_regression(TARGETS, VALUES, deviation=1.0)
    errors = np.abs(VALUES.astype(float) - TARGETS)
    expected = stats.ttest_1samp(errors, 0).confidence_interval(0.95)
    assert scores["mean_absolute_error_interval"] == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_an_error_does_not_reach_below_0():
    scores = score_regression(np.zeros(3), np.array([0.0, 0.0, 9.0]), deviation=1.0)
    low, high = scores["mean_absolute_error_interval"]
    assert (low, scores["mean_absolute_error"]) == (0, 3)
    assert high > 9


@pytest.mark.parametrize(
    ("targets", "values", "expected"),
    [
        ([4.0], [1.0], {"mean_absolute_error": 3, "mean_squared_error": 9, "loss": 2.25}),
        ([4.0, 4.0], [1.0, 5.0], {"mean_absolute_error": 2, "mean_squared_error": 5, "loss": 1.25}),
    ],
    ids=["one example", "equal targets"],
)
def test_where_targets_do_not_differ_there_is_no_r2(targets, values, expected):
    scores = score_regression(np.array(targets), np.array(values), deviation=2.0)
    assert "r2" not in scores
    assert {key: scores[key] for key in expected} == pytest.approx(expected)
    assert np.isfinite(scores["mean_absolute_error_interval"]).all()


def test_a_perfect_answer():
    scores = score_regression(TARGETS, TARGETS, deviation=1.0)
    assert (scores["loss"], scores["r2"], scores["mean_absolute_error_interval"]) == (0, 1, [0, 0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.where(np.arange(40) == 7, np.nan, VALUES), "must not be NaN: the network has diverged"),
        (VALUES[:39], r"values must be \(n,\) = \(40,\); got \(39,\)"),
        (VALUES[:, np.newaxis], r"values must be \(n,\) = \(40,\); got \(40, 1\)"),  # would broadcast to (40, 40)
    ],
    ids=["NaN", "examples", "a column"],
)
def test_what_cannot_be_scored_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        score_regression(TARGETS, values, deviation=1.0)


def test_targets_are_one_number_an_example():
    with pytest.raises(ValueError, match=r"values must be \(n,\) = \(40, 1\); got \(40, 1\)"):
        score_regression(TARGETS[:, np.newaxis], VALUES[:, np.newaxis], deviation=1.0)


@pytest.mark.parametrize(("count", "expected"), [(2, [3, 0]), (9, [3, 0, 2, 1])])
def test_the_worst_are_furthest_off_in_either_direction(count, expected):
    targets, values = np.array([10.0, 10.0, 10.0, 10.0]), np.array([5.0, 10.0, 12.0, 17.0])
    assert worst_values(targets, values, count).tolist() == expected


def test_equally_wrong_values_keep_their_order():
    assert worst_values(np.zeros(4), np.array([1.0, -1.0, 1.0, 2.0]), 4).tolist() == [3, 0, 1, 2]
