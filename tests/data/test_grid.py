"""Labels of a grid: the course's, back and forth, and objects that want the same place."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dlapp.boxes import Boxes
from dlapp.data import grid
from dlapp.signature import Detection, Preprocessing

SIZE = 96, 64
ANCHORS = ((0.1, 0.1), (0.3, 0.2), (0.3, 0.6))


def label(corners, classes, detection, *, size=SIZE, count=3):
    made = Boxes(np.array([len(corners)]), np.array(corners, np.float32).reshape(-1, 4), np.array(classes, np.int32))
    padded = map(tf.constant, grid.pad(made))
    return made, grid.encode(*padded, size=size, detection=detection, count=count).numpy()


def in_order(boxes):
    """Of each picture, in an order of their own."""
    rows = np.column_stack([boxes.pictures, boxes.classes, boxes.corners])
    return rows[np.lexsort(rows.T[::-1])]


def test_the_label_of_the_course():
    # a car (class 2 of 3) with its middle in the lower middle cell of 3 x 3, twice as wide as a cell
    _, found = label([(70, 16, 90, 80)], [1], Detection((3, 3)), size=(96, 96))
    assert found.shape == (1, 3, 3, 1, 8)
    vectors = found.reshape(3, 3, 8)
    # x = 48 / 32 - 1, y = 80 / 32 - 2, h = 20 / 32, w = 64 / 32
    np.testing.assert_allclose(vectors[2, 1], [1, 0.5, 0.5, 0.625, 2, 0, 1, 0])
    vectors[2, 1] = 0
    assert not vectors.any()


def test_one_cell_is_the_label_of_the_whole_picture():
    _, found = label([(24, 16, 72, 48)], [2], Detection((1, 1)))
    np.testing.assert_allclose(found.reshape(8), [1, 0.5, 0.5, 0.5, 0.5, 0, 0, 1])
    _, found = label([], [], Detection((1, 1)))
    assert not found.any()


@st.composite
def pictures(draw):
    """Boxes of up to four pictures, whole pixels of which at least one is inside."""
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    corners = []
    for _ in range(sum(counts)):
        top, left = draw(st.integers(0, SIZE[0] - 1)), draw(st.integers(0, SIZE[1] - 1))
        corners.append((top, left, draw(st.integers(top + 1, SIZE[0])), draw(st.integers(left + 1, SIZE[1]))))
    classes = draw(st.lists(st.integers(0, 2), min_size=len(corners), max_size=len(corners)))
    return Boxes(np.array(counts), np.array(corners, np.float32).reshape(-1, 4), np.array(classes, np.int32))


@settings(max_examples=60, deadline=None)
@given(boxes=pictures(), cells=st.sampled_from([(1, 1), (3, 3), (6, 4)]), anchors=st.sampled_from([(), ANCHORS]))
def test_there_and_back_is_the_same(boxes, cells, anchors):
    detection = Detection(cells, anchors)
    labels = grid.encode(*map(tf.constant, grid.pad(boxes)), size=SIZE, detection=detection, count=3)
    back = grid.decode(labels.numpy(), size=SIZE)
    lost = grid.count_lost(boxes, labels)
    assert len(back.corners) + lost == len(boxes.corners)
    there = in_order(boxes)
    if not lost:
        np.testing.assert_allclose(in_order(back), there, atol=1e-3)  # pixels; float32 fractions of a hundred
    # an object is lost only where its cell has no box left
    middle = (boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2 * np.array(cells) / SIZE
    cell = np.minimum(np.floor(middle), np.array(cells) - 1)
    _, crowd = np.unique(np.column_stack([boxes.pictures, cell]), axis=0, return_counts=True)
    assert lost == np.maximum(crowd - detection.boxes, 0).sum()


def test_objects_of_one_cell_take_the_boxes_of_their_shapes():
    # all have their middle at (16, 16): tall, wide, small and one more small
    corners = [(2, 10, 30, 22), (12, 0, 20, 32), (12, 12, 20, 20), (13, 13, 19, 19)]
    boxes, found = label(corners, [0, 1, 2, 0], Detection((3, 2), ((0.08, 0.12), (0.3, 0.2), (0.1, 0.5))))
    taken = found[0, 0, 0]
    assert taken[:, 0].tolist() == [1, 1, 1]
    np.testing.assert_allclose(taken[:, 3] * 32, [8, 28, 8], rtol=1e-5)  # small, tall, wide
    assert taken[:, 5:].argmax(axis=1).tolist() == [2, 0, 1]
    assert grid.count_lost(boxes, found) == 1, "the last has no box left"


def test_the_second_best_box_is_taken_where_the_best_is_not_free():
    _, found = label([(0, 0, 10, 10), (2, 2, 12, 12)], [0, 1], Detection((1, 1), ((0.1, 0.15), (0.9, 0.9))))
    assert found[0, 0, 0, :, 0].tolist() == [1, 1]
    assert found[0, 0, 0, :, 5:].argmax(axis=1).tolist() == [0, 1], "who comes first chooses first"


def test_a_middle_on_the_last_edge_stays_in_the_last_cell():
    _, found = label([(96, 64, 96, 64)], [0], Detection((3, 2)))
    assert found[0, 2, 1, 0, :3].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("letterbox", "expected"),
    # 50 x 100 into 96 x 64: stretched by 1.92 and 0.64; or 32 x 64, 32 from the top
    [(False, [0, 0, 48, 32]), (True, [32, 0, 48, 32])],
)
def test_boxes_follow_their_pictures_into_the_network(letterbox, expected):
    preprocessing = Preprocessing(3, SIZE, letterbox=letterbox)
    made = Boxes(np.array([0, 1]), np.array([[0, 0, 25, 50]], np.float32), np.array([0], np.int32))
    moved = grid.resized(made, np.array([[10, 10], [50, 100]]), preprocessing)
    np.testing.assert_allclose(moved.corners, [expected], atol=1e-4)


def test_what_a_network_says_is_read_as_it_was_written():
    detection = Detection((3, 2), ANCHORS)
    outputs = np.zeros((1, 3, 2, 3, 8), np.float32)
    outputs[0, 1, 0, 2] = [4.0, np.log(3), 0.0, np.log(0.5), 0.0, 1, 2, 3]  # x = 0.75, y = 0.5, half as high
    cells = grid.read_cells(tf.constant(outputs.reshape(1, 3, 2, 24)), detection, 3)
    assert cells.object[0, 1, 0, 2] == 4
    np.testing.assert_allclose(cells.centres[0, 1, 0, 2], [0.5, 0.75], rtol=1e-6)
    np.testing.assert_allclose(cells.sizes[0, 1, 0, 2], [0.15, 0.6], rtol=1e-6)
    assert cells.classes[0, 1, 0, 2].numpy().tolist() == [1, 2, 3]
    corners = grid.to_corners(cells.centres, cells.sizes, detection.grid)[0, 1, 0, 2]
    np.testing.assert_allclose(corners, [0.5 - 0.075, 0.375 - 0.3, 0.5 + 0.075, 0.375 + 0.3], rtol=1e-5)
    one = grid.read_cells(tf.zeros((1, 8)), Detection((1, 1)), 3)
    assert one.sizes.numpy().ravel().tolist() == [0.5, 0.5], "without anchors a share of the picture"


def test_anchors_are_the_middles_of_clusters():
    random = np.random.default_rng(0)
    middles = np.array([[0.05, 0.06], [0.2, 0.1], [0.5, 0.7]])
    sizes = np.concatenate([middle * random.uniform(0.95, 1.05, (200, 2)) for middle in middles])
    anchors, fit = grid.find_anchors(sizes, 3)
    np.testing.assert_allclose(anchors, middles, rtol=0.02)
    assert fit > 0.93
    assert grid.find_anchors(sizes, 3) == (anchors, fit)


def test_too_few_sizes_for_anchors_are_refused():
    with pytest.raises(ValueError, match=r"2 different boxes in train, too few for 3 anchors\. Set .*boxes to fewer"):
        grid.find_anchors(np.array([[0.1, 0.1], [0.2, 0.2], [0.1, 0.1]]), 3)
