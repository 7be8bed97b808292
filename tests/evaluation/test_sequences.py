"""Metrics of sequences, worked by hand; and the interval that knows what belongs together."""

import math

import numpy as np
import pytest
from scipy import stats

from dlapp.evaluation import intervals
from dlapp.evaluation.sequences import (
    Steps,
    edit_distance,
    errors_of_steps,
    score_language_model,
    score_replies,
    score_tagging,
)

# three sequences of 2, 1 and 3 steps
STEPS = Steps(
    lengths=np.array([2, 1, 3]),
    wanted=np.array([0, 1, 1, 0, 0, 1], np.int32),
    predicted=np.array([0, 1, 0, 0, 1, 0], np.int32),
    nats=np.array([0.1, 0.2, 1.5, 0.3, 0.9, 1.2], np.float32),
    characters=np.array([4, 2, 6]),
    replies=("cat", "dg", "bird"),
)


def test_tags_by_hand():
    scores = score_tagging(STEPS, ["N", "V"])
    assert (scores["examples"], scores["tokens"]) == (3, 6)
    assert scores["loss"] == pytest.approx(4.2 / 6)
    assert scores["accuracy"] == pytest.approx(3 / 6)
    assert scores["whole_sentences"] == pytest.approx(1 / 3)
    assert scores["confusion_matrix"] == [[2, 1], [2, 1]]
    assert scores["per_class"][1] == {"label": "V", "examples": 3, "precision": 0.5, "recall": 1 / 3, "f1": 0.4}
    assert scores["f1_macro"] == pytest.approx((4 / 7 + 0.4) / 2)


def test_bits_by_hand():
    scores = score_language_model(STEPS)
    assert scores["perplexity"] == pytest.approx(math.exp(0.7))
    assert scores["bits_per_character"] == pytest.approx(4.2 / math.log(2) / 12)
    assert (scores["tokens"], scores["characters"], scores["accuracy"]) == (6, 12, 0.5)


def test_replies_by_hand():
    scores = score_replies(STEPS, ["cat", "dog", "bard"])
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["edit_distance"] == pytest.approx(2 / 3)
    assert scores["character_error_rate"] == pytest.approx(2 / 10)
    low, high = scores["exact_match_interval"]
    assert 0 < low < 1 / 3 < high < 1


def test_errors_of_each_sequence():
    assert errors_of_steps(STEPS, "tagging").tolist() == pytest.approx([0, 1, 2 / 3])
    assert errors_of_steps(STEPS, "sequence_to_sequence", ["cat", "dog", "bard"]).tolist() == [0, 1, 1]
    expected = np.array([0.3 / 4, 1.5 / 2, 2.4 / 6]) / math.log(2)
    np.testing.assert_allclose(errors_of_steps(STEPS, "language_model"), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0)],
)
def test_edit_distance(a, b, distance):
    assert edit_distance(a, b) == distance
    assert edit_distance(b, a) == distance


def test_the_interval_of_a_ratio_is_wide_where_groups_differ():
    wholes = np.full(50, 10.0)
    alike = intervals.of_ratio(np.tile([4.0, 6.0], 25), wholes)
    apart = intervals.of_ratio(np.tile([0.0, 10.0], 25), wholes)
    assert alike.value == apart.value == 0.5
    # of groups of one size the ratio is the mean of their shares
    reach = stats.t.ppf(0.975, 49) * stats.sem(np.tile([0.0, 1.0], 25))
    assert apart.high == pytest.approx(0.5 + reach)
    assert alike.high - alike.low < (apart.high - apart.low) / 4
    for share in (0.5, 1.0):  # all alike: no less is unknown than of as many draws
        alike = intervals.of_ratio(share * wholes, wholes)
        assert alike == intervals.of_proportion(round(share * 50), 50)
