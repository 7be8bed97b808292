"""The division of errors: each kind made on purpose, and what repairing it brings."""

import numpy as np
import pytest

from dlapp.boxes import Boxes
from dlapp.evaluation.detection_errors import KINDS, divide_errors

LABELS = ("disc", "square")
A, FAR = (0, 0, 10, 10), (60, 60, 80, 80)
BESIDE = (0, 4, 10, 14)  # 6 of 14 columns of A: 0.43


def boxes(rows, scores=()):
    """All in one picture: (class, corners) of each."""
    return Boxes(
        np.array([len(rows)]),
        np.array([corners for _, corners in rows], np.float32).reshape(-1, 4),
        np.array([kind for kind, _ in rows], np.int32),
        np.array(scores, np.float32),
    )


def divide(wanted, found, **options):
    divided = divide_errors(
        boxes(wanted), boxes([row[:2] for row in found], [row[2] for row in found]), LABELS, **options
    )
    counts = {kind: error["count"] for kind, error in divided["errors"].items() if error["count"]}
    cost = {kind: error["cost"] for kind, error in divided["errors"].items() if error["cost"] > 1e-9}
    return counts, cost, divided["map_50"]


@pytest.mark.parametrize(
    ("found", "counts", "cost"),
    [
        ([(0, A, 0.9)], {}, {}),
        ([(1, A, 0.9)], {"classification": 1}, {"classification": 1}),
        ([(0, BESIDE, 0.9)], {"localization": 1}, {"localization": 1}),
        ([(1, BESIDE, 0.9)], {"both": 1, "missed": 1}, {}),  # a missed object that is not asked for leaves no object
        ([(0, A, 0.9), (0, A, 0.8)], {"duplicate": 1}, {}),  # behind the last object, precision does not matter
        ([(0, FAR, 0.9), (0, A, 0.8)], {"background": 1}, {"background": 0.5}),
        ([], {"missed": 1}, {}),
    ],
    ids=["right", *list(KINDS)],
)
def test_each_kind_of_error(found, counts, cost):
    found_counts, found_cost, _ = divide([(0, A)], found)
    assert found_counts == counts
    assert found_cost == pytest.approx(cost)


def test_a_missed_object_costs_recall():
    counts, cost, before = divide([(0, A), (0, FAR)], [(0, A, 0.9)])
    assert counts == {"missed": 1}
    assert before == pytest.approx(51 / 101)  # recall up to a half
    assert cost == {"missed": pytest.approx(1 - 51 / 101)}


def test_a_duplicate_that_is_surer_than_another_object_costs_precision():
    counts, cost, before = divide([(0, A), (0, FAR)], [(0, A, 0.9), (0, A, 0.8), (0, FAR, 0.7)])
    assert counts == {"duplicate": 1}
    assert before == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert cost == {"duplicate": pytest.approx(1 - before)}


def test_of_two_boxes_that_would_find_an_object_the_surer_one_is_mended():
    counts, cost, _ = divide([(0, A), (0, FAR)], [(1, A, 0.9), (1, A, 0.8), (0, FAR, 0.7)])
    assert counts == {"classification": 2}
    assert cost["classification"] == pytest.approx(1 - 51 / 101), "no duplicate is left behind"


def test_low_scores_are_not_counted_but_cost():
    counts, cost, _ = divide([(0, A), (0, FAR)], [(0, A, 0.9), (0, BESIDE, 0.2)], min_score=0.5)
    assert counts == {"missed": 1}
    counts, _, _ = divide([(0, A)], [(0, BESIDE, 0.2)], min_score=0.5)
    assert counts == {"missed": 1}
    assert cost == {"missed": pytest.approx(1 - 51 / 101)}


def test_what_is_ignored_is_no_error():
    wanted = boxes([(0, A), (0, FAR)])
    ignored = Boxes(wanted.counts, wanted.corners, wanted.classes, ignored=np.array([False, True]))
    divided = divide_errors(ignored, boxes([(0, A), (0, FAR)], [0.8, 0.9]), LABELS)
    assert divided["map_50"] == pytest.approx(1)
    assert all(error["count"] == 0 for error in divided["errors"].values())


def test_nothing_to_find_has_no_precision():
    divided = divide_errors(boxes([]), boxes([(0, A)], [0.9]), LABELS)
    assert divided["map_50"] is None
    assert divided["errors"]["background"]["count"] == 1
