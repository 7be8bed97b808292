"""From what a network says to boxes in the picture that was given: an inverse of the label, and suppression."""

import numpy as np
import pytest
import tensorflow as tf

from dlapp.boxes import Boxes
from dlapp.data import grid
from dlapp.data.detections import detect
from dlapp.signature import Detection, Preprocessing

SIZE = 96, 64
ANCHORS = ((0.1, 0.1), (0.4, 0.3))
SURE = 12.0  # a logit


def say(labels, detection):
    """The outputs of a network that is sure of exactly these labels."""
    p, xy, hw, classes = np.split(labels, [1, 3, 5], axis=-1)
    logits = [np.where(p > 0, SURE, -SURE), np.log(np.clip(xy, 1e-6, 1 - 1e-6) / (1 - np.clip(xy, 1e-6, 1 - 1e-6)))]
    shares = np.maximum(hw / np.array(detection.grid), 1e-6)
    if detection.anchors:
        logits.append(np.log(shares / np.array(detection.anchors)))
    else:
        shares = np.minimum(shares, 1 - 1e-6)
        logits.append(np.log(shares / (1 - shares)))
    outputs = np.concatenate([*logits, SURE * classes], axis=-1)
    return tf.constant(outputs.reshape(*labels.shape[:3], -1), tf.float32)


PICTURES = [(50, 100), (96, 64), (300, 40)]
MADE = Boxes(
    np.array([2, 1, 0]),
    np.array([[5, 10, 40, 60], [30, 70, 50, 100], [0, 0, 96, 64]], np.float32),
    np.array([0, 2, 1], np.int32),
)


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("anchors", [(), ANCHORS], ids=["course", "anchors"])
def test_boxes_come_back_in_pixels_of_each_picture(letterbox, anchors):
    detection = Detection((6, 4), anchors, most=5)
    preprocessing = Preprocessing(3, SIZE, letterbox=letterbox)
    sizes = np.array(PICTURES)
    inside = grid.resized(MADE, sizes, preprocessing)
    labels = grid.encode(*map(tf.constant, grid.pad(inside)), size=SIZE, detection=detection, count=3).numpy()
    found = detect(
        say(labels, detection), tf.constant(sizes), preprocessing=preprocessing, detection=detection, count=3
    )
    assert found["count"].numpy().tolist() == [2, 1, 0]
    for row, count in enumerate(MADE.counts):
        order = np.argsort(found["classes"].numpy()[row, :count])
        np.testing.assert_allclose(found["boxes"].numpy()[row, :count][order], MADE[row].corners, atol=2e-3)  # pixels
        assert found["classes"].numpy()[row, :count][order].tolist() == MADE[row].classes.tolist()
        assert not found["boxes"].numpy()[row, count:].any()
        assert not found["scores"].numpy()[row, count:].any()
    assert found["boxes"].shape == (3, 5, 4)
    assert found["classes"].dtype == found["count"].dtype == tf.int32


@pytest.mark.parametrize(
    ("classes", "max_overlap", "min_score", "expected"),
    [
        ((0, 0, 0), 0.8, 0.1, [0.9, 0.7]),
        ((0, 0, 0), 0.9, 0.1, [0.9, 0.8, 0.7]),
        ((0, 0, 0), 0.9, 0.75, [0.9, 0.8]),
        ((0, 1, 0), 0.8, 0.1, [0.9, 0.8, 0.7]),  # another class is suppressed by its own alone
        ((0, 0, 0), 0.8, 0.95, []),
    ],
)
def test_of_boxes_that_overlap_the_surest_of_a_class_stays(classes, max_overlap, min_score, expected):
    # columns 8 to 56, 12 to 60 and 40 to 88: the first two share 44 of 52
    labels = np.zeros((1, 3, 3, 1, 7), np.float32)
    labels[0, 1, :, 0, 0] = 1
    labels[0, 1, :, 0, 1:3] = [[1.0, 0.5], [0.125, 0.5], [0.0, 0.5]]
    labels[0, 1, :, 0, 3:5] = [0.5, 1.5]
    labels[0, 1, :, 0, 5:] = np.eye(2)[list(classes)]
    detection = Detection((3, 3), ((1.0, 1.0),), min_score, max_overlap, most=4)
    outputs = say(labels, detection).numpy().reshape(1, 3, 3, 1, 7)
    scores = np.array([0.9, 0.8, 0.7])
    outputs[0, 1, :, 0, 0] = np.log(scores / (1 - scores))
    found = detect(
        tf.constant(outputs.reshape(1, 3, 3, 7)),
        tf.constant([[96, 96]]),
        preprocessing=Preprocessing(3, (96, 96)),
        detection=detection,
        count=2,
    )
    np.testing.assert_allclose(found["scores"].numpy()[0, : found["count"][0]], expected, rtol=1e-3)


def test_boxes_end_where_the_picture_ends():
    detection = Detection((1, 1), ((2.0, 2.0),), most=1)
    outputs = tf.constant([[SURE, 0, 0, 0, 0, SURE, 0]])
    found = detect(outputs, tf.constant([[30, 20]]), preprocessing=Preprocessing(3, SIZE), detection=detection, count=2)
    assert found["boxes"].numpy().tolist() == [[[0, 0, 30, 20]]]
    assert detection.task == "localization"
