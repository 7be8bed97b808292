"""Average precision by hand, and what boxes and objects make of each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlapp.boxes import Boxes, empty
from dlapp.evaluation import detection
from dlapp.evaluation.detection import score_detection, score_localization

LABELS = ("disc", "square")


def made(*pictures, scored=False):
    """Boxes of pictures, each a list of (class, corners) or (class, corners, score)."""
    rows = [row for picture in pictures for row in picture]
    return Boxes(
        np.array([len(picture) for picture in pictures]),
        np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[0] for row in rows], np.int32),
        np.array([row[2] for row in rows] if scored else [], np.float32),
    )


def found(*pictures):
    return made(*pictures, scored=True)


A, B, C, D = (0, 0, 10, 10), (20, 20, 40, 40), (50, 0, 60, 20), (0, 50, 30, 80)
ELSEWHERE = (70, 70, 90, 90)
# discs: three objects; squares: one
WANTED = made([(0, A), (0, B)], [(0, C), (1, D)], [])
# discs, surest first: right, wrong, right, and C is missed; the square is right, with an alarm that is surer
FOUND = found(
    [(0, A, 0.9), (0, ELSEWHERE, 0.8), (0, B, 0.7)],
    [(1, D, 0.6)],
    [(1, A, 0.95)],
)


def test_average_precision_by_hand():
    scores = score_detection(WANTED, FOUND, LABELS)
    # discs: precision 1 up to recall 1/3, 2/3 up to recall 2/3, and 0 beyond: of the levels 0, 0.01, ..., 1 these
    # are 34 and 33; squares: 1/2 at every level
    discs = (34 * 1 + 33 * 2 / 3) / 101
    rows = scores["per_class"]
    np.testing.assert_allclose([row["ap_50"] for row in rows], [discs, 0.5])
    assert scores["map_50"] == pytest.approx((discs + 0.5) / 2)
    assert scores["map_50_95"] == pytest.approx((discs + 0.5) / 2), "the boxes are exact"
    assert [row["objects"] for row in rows] == [3, 1]
    assert (scores["examples"], scores["objects"]) == (3, 4)


def test_precision_recall_and_f1_at_a_score():
    rows = score_detection(WANTED, FOUND, LABELS, min_score=0.75)["per_class"]
    assert [row["precision"] for row in rows] == [1 / 2, 0.0]
    assert [row["recall"] for row in rows] == [1 / 3, 0.0]
    assert rows[0]["f1"] == pytest.approx(2 / 5)
    best = score_detection(WANTED, FOUND, LABELS)
    assert best["threshold"] == pytest.approx(0.6)
    assert best["per_class"][1]["f1"] == pytest.approx(2 / 3)


def test_a_box_beside_its_object_counts_at_the_thresholds_that_it_reaches():
    # 8 of 10 columns: intersection over union 0.8, which is reached at 0.5, 0.55, ..., 0.8: 7 of the 10
    scores = score_detection(made([(0, A)]), found([(0, (0, 0, 8, 10), 0.9)]), LABELS)
    assert scores["map_50"] == pytest.approx(1)
    assert scores["map_50_95"] == pytest.approx(0.7)
    assert scores["per_class"][1]["ap_50"] is None, "no object, no precision"


def test_an_object_that_is_ignored_is_neither_missed_nor_found():
    crowd = Boxes(*(getattr(WANTED, name) for name in ("counts", "corners", "classes")))
    crowd = Boxes(crowd.counts, crowd.corners, crowd.classes, ignored=np.array([False, False, True, False]))
    scores = score_detection(crowd, FOUND, LABELS, min_score=0.5)
    # without C: recall 1/2 and 1, precision 1 and 2/3
    assert scores["per_class"][0]["ap_50"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert scores["per_class"][0]["recall"] == 1
    told = found([(0, A, 0.9)], [(0, C, 0.8)], [])
    assert score_detection(crowd, told, LABELS, min_score=0.5)["per_class"][0]["precision"] == 1


def test_nothing_found_and_nothing_there():
    nothing = found([], [], [])
    scores = score_detection(WANTED, nothing, LABELS)
    assert (scores["map_50"], scores["map_50_95"]) == (0, 0)
    assert scores["per_class"][0]["recall"] == 0
    scores = score_detection(empty(3), FOUND, LABELS)
    assert scores["map_50"] is None
    assert score_detection(empty(3), nothing, LABELS)["per_class"][0]["f1"] == 0


BOX = st.tuples(st.integers(0, 1), st.integers(0, 80), st.integers(0, 80), st.integers(5, 20), st.integers(5, 20))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(BOX, max_size=3), min_size=1, max_size=4).filter(lambda pictures: any(pictures)))
def test_who_finds_everything_is_perfect(pictures):
    rows = [[(kind, (y, x, y + h, x + w)) for kind, y, x, h, w in picture] for picture in pictures]
    told = found(*[[(*row, 0.5 + 0.01 * place) for place, row in enumerate(picture)] for picture in rows])
    scores = score_detection(made(*rows), told, LABELS)
    assert scores["map_50"] == pytest.approx(1)
    assert scores["map_50_95"] == pytest.approx(1)
    present = [row for row in scores["per_class"] if row["objects"]]
    assert all(row["f1"] == 1 for row in present)


def test_curves_are_those_of_the_average():
    discs, squares = detection.precision_recall_curves(WANTED, FOUND, 2)
    np.testing.assert_allclose(discs.precision[[0, 33, 34, 66, 67, 100]], [1, 1, 2 / 3, 2 / 3, 0, 0])
    np.testing.assert_allclose(discs.scores[[33, 66]], [0.9, 0.7], rtol=1e-6)
    assert detection.f1_at(squares, 0.6) == pytest.approx(2 / 3)
    assert detection.f1_at(discs, 0.99) == 0
    assert detection.precision_recall_curves(made([(0, A)]), FOUND[[0]], 2)[1] is None


def test_the_surest_box_chooses_first():
    wanted = made([(0, A), (0, (0, 4, 10, 14))])
    told = found([(0, (0, 3, 10, 13), 0.6), (0, (0, 3, 10, 13), 0.9), (0, (0, 3, 10, 13), 0.3)])
    hits = detection.match(wanted, told)
    assert hits.objects.tolist() == [0, 1, -1], "the second overlaps most; the third has none left"
    assert hits.boxes.tolist() == [0, 1]


def test_confusion_has_a_row_and_a_column_for_background():
    wanted = made([(0, A), (1, B)], [(1, C)])
    told = found([(1, A, 0.9), (1, B, 0.8), (0, ELSEWHERE, 0.7)], [(1, C, 0.1)])
    matrix = detection.confusion_with_background(wanted, told, 2, min_score=0.5)
    assert matrix.tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]


def test_the_worst_of_both_kinds():
    assert detection.worst_misses(WANTED, FOUND, 5, min_score=0.75).tolist() == [3, 1, 2], "D, B and C by size"
    assert FOUND.scores[detection.worst_alarms(WANTED, FOUND, 5)].tolist() == pytest.approx([0.95, 0.8])
    assert len(detection.worst_alarms(WANTED, FOUND, 1)) == 1


def test_localization_by_hand():
    wanted = made([(0, A)], [(1, B)], [(0, C)], [], [])
    # 0.8 of the object; the wrong class; nothing; nothing where there is nothing; an alarm
    told = found([(0, (0, 0, 8, 10), 0.9)], [(0, B, 0.9)], [], [], [(1, A, 0.9)])
    scores = score_localization(wanted, told, LABELS)
    assert scores["accuracy"] == pytest.approx(2 / 5)
    assert scores["mean_iou"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert scores["localization_error"] == pytest.approx(2 / 3)
    assert scores["per_class"][0] == {
        "label": "disc",
        "objects": 2,
        "mean_iou": pytest.approx(0.4),
        "localization_error": 0.5,
    }
    assert score_localization(empty(2), found([], []), LABELS)["mean_iou"] is None
