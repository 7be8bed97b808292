"""Boxes of many pictures: taken, joined, compared."""

import numpy as np
import pytest

from dlapp import boxes
from dlapp.boxes import Boxes

THREE = Boxes(
    np.array([1, 0, 2]),
    np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 9, 9]], np.float32),
    np.array([0, 1, 2], np.int32),
    ignored=np.array([False, True, False]),
)


def test_pictures_are_taken_in_any_order():
    taken = THREE[[2, 1, 0, 2]]
    assert taken.counts.tolist() == [2, 0, 1, 2]
    assert taken.classes.tolist() == [1, 2, 0, 1, 2]
    assert taken.ignored.tolist() == [True, False, False, True, False]
    assert taken.splits.tolist() == [0, 2, 2, 3, 5]
    assert THREE[1].corners.shape == (0, 4)
    assert len(THREE[np.array([], int)]) == 0


def test_some_boxes_are_left_out():
    assert THREE.wanted.counts.tolist() == [1, 0, 1]
    assert THREE.wanted.classes.tolist() == [0, 2]
    assert THREE.where(np.zeros(3, bool)).counts.tolist() == [0, 0, 0]


def test_parts_are_joined():
    plain = Boxes(np.array([1]), np.array([[0, 0, 4, 4]], np.float32), np.array([3], np.int32))
    joined = boxes.join([plain, THREE])
    assert joined.counts.tolist() == [1, 1, 0, 2]
    assert joined.pictures.tolist() == [0, 1, 3, 3]
    assert joined.ignored.tolist() == [False, False, True, False]
    assert len(boxes.join([plain]).ignored) == 0
    assert len(boxes.join([])) == 0


def test_the_largest_of_each_picture_stays():
    assert boxes.largest(THREE).classes.tolist() == [0, 2]
    assert boxes.largest(boxes.empty(2)).counts.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((0, 0, 2, 2), 1.0),
        ((0, 1, 2, 3), 2 / 6),  # half of each
        ((1, 1, 3, 3), 1 / 7),
        ((2, 0, 4, 2), 0.0),  # a common side
        ((0, 0, 1, 1), 1 / 4),
        ((1, 1, 1, 1), 0.0),  # empty
        ((2, 2, 0, 0), 0.0),  # reversed
    ],
)
def test_overlap_by_hand(second, expected):
    first = np.array([[0, 0, 2, 2], [50, 50, 51, 51]], np.float32)
    found = boxes.intersection_over_union(first, np.array([second], np.float32))
    np.testing.assert_allclose(found, [[expected], [0]], rtol=1e-6)


def test_what_lies_outside_is_cut_off():
    corners = np.array([[-3, -2, 5, 6], [1, 1, 30, 30]], np.float32)
    np.testing.assert_array_equal(boxes.clip(corners, np.array([[4, 8], [10, 20]])), [[0, 0, 4, 6], [1, 1, 10, 20]])
