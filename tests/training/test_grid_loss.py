"""The terms of a detector's loss, against the papers' formulas in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.training.grid_loss import BoxOverlap, GridLoss

GRID, CLASSES = (2, 3), 2
ANCHORS = ((0.3, 0.2), (0.5, 0.6))
SEVEN = 5 + CLASSES


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def drawn(anchors, *, seed=0):
    """Random outputs and labels with an object in about every third box."""
    random = np.random.default_rng(seed)
    boxes = max(len(anchors), 1)
    outputs = random.normal(size=(4, *GRID, boxes * SEVEN)).astype(np.float32)
    labels = np.zeros((4, *GRID, boxes, SEVEN), np.float32)
    there = random.random(labels.shape[:-1]) < 0.3
    there[3] = False  # a picture without objects
    labels[there, 0] = 1
    labels[there, 1:3] = random.random((there.sum(), 2))
    labels[there, 3:5] = random.uniform(0.2, 1.5, (there.sum(), 2))
    labels[there, 5 + random.integers(0, CLASSES, there.sum())] = 1
    return outputs, labels


def boxes_of(outputs, labels, anchors):
    """y, x, h, w of the network and of the label, as fractions of the picture: (..., 4) each."""
    cells = outputs.astype(np.float64).reshape(labels.shape)
    rows, columns = np.meshgrid(np.arange(GRID[0]), np.arange(GRID[1]), indexing="ij")
    place = np.stack([rows, columns], axis=-1)[:, :, np.newaxis]
    found = (sigmoid(cells[..., [2, 1]]) + place) / GRID
    size = np.exp(cells[..., 3:5]) * np.array(anchors) if anchors else sigmoid(cells[..., 3:5])
    wanted = (labels[..., [2, 1]] + place) / GRID
    return np.concatenate([found, size], -1), np.concatenate([wanted, labels[..., 3:5] / GRID], -1)


def overlap(a, b):
    low = np.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = np.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    return shared / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared)


def ciou_loss(a, b):
    low = np.minimum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = np.maximum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    distance = ((a[..., :2] - b[..., :2]) ** 2).sum(-1) / ((high - low) ** 2).sum(-1)
    shape = 4 / np.pi**2 * (np.arctan(a[..., 3] / a[..., 2]) - np.arctan(b[..., 3] / b[..., 2])) ** 2
    return 1 - overlap(a, b) + distance + shape**2 / (1 - overlap(a, b) + shape)


def sqrt_loss(a, b):
    centre = ((a[..., :2] - b[..., :2]) * GRID) ** 2
    return (centre + (np.sqrt(a[..., 2:]) - np.sqrt(b[..., 2:])) ** 2).sum(-1)


@pytest.mark.parametrize("anchors", [(), ANCHORS], ids=["course", "anchors"])
@pytest.mark.parametrize(("box_loss", "formula"), [("ciou", ciou_loss), ("sqrt", sqrt_loss)])
def test_terms_are_those_of_the_papers(anchors, box_loss, formula):
    outputs, labels = drawn(anchors)
    loss = GridLoss(GRID, anchors, CLASSES, box_loss=box_loss)
    cells, there = outputs.astype(np.float64).reshape(labels.shape), labels[..., 0] == 1
    with np.errstate(invalid="ignore", divide="ignore"):  # of boxes that are not there
        boxes = formula(*boxes_of(outputs, labels, anchors))
    logits = cells[..., 5:]
    classes = np.log(np.exp(logits).sum(-1)) - (logits * labels[..., 5:]).sum(-1)
    each = {
        "object": np.where(there, -np.log(sigmoid(cells[..., 0])), 0),
        "no_object": np.where(there, 0, -np.log(1 - sigmoid(cells[..., 0]))),
        "box": np.where(there, boxes, 0),
        "class": np.where(there, classes, 0),
    }
    found = loss.terms(tf.constant(labels), tf.constant(outputs))
    for name, values in each.items():
        # float32 against float64
        np.testing.assert_allclose(found[name], values.sum((1, 2, 3)), rtol=2e-5, atol=1e-5, err_msg=name)
    total = loss.call(tf.constant(labels), tf.constant(outputs))
    weights = {"object": 1.0, "no_object": 0.5, "box": 5.0, "class": 1.0}
    expected = sum(weights[name] * values.sum((1, 2, 3)) for name, values in each.items())
    np.testing.assert_allclose(total, expected, rtol=2e-5)
    metric = BoxOverlap(GRID, anchors, CLASSES)
    metric.update_state(labels, outputs)
    np.testing.assert_allclose(metric.result(), overlap(*boxes_of(outputs, labels, anchors))[there].mean(), rtol=1e-5)


@pytest.mark.parametrize("weight", ["object_weight", "no_object_weight", "box_weight", "class_weight"])
def test_a_term_without_weight_does_not_count(weight):
    outputs, labels = drawn(ANCHORS)
    terms = GridLoss(GRID, ANCHORS, CLASSES).terms(tf.constant(labels), tf.constant(outputs))
    weights = dict.fromkeys(("object_weight", "no_object_weight", "box_weight", "class_weight"), 0.0)
    loss = GridLoss(GRID, ANCHORS, CLASSES, **(weights | {weight: 2.0}))
    np.testing.assert_allclose(loss(labels, outputs), 2 * np.mean(terms[weight.removesuffix("_weight")]), rtol=1e-5)


@pytest.mark.parametrize("box_loss", ["ciou", "sqrt"])
@pytest.mark.parametrize("scale", [1.0, 60.0], ids=["usual", "huge"])
def test_gradients_are_finite_whatever_the_network_says(box_loss, scale):
    outputs, labels = drawn(ANCHORS)
    outputs = tf.Variable(scale * outputs)
    with tf.GradientTape() as tape:
        loss = GridLoss(GRID, ANCHORS, CLASSES, box_loss=box_loss)(labels, outputs)
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, outputs)).all()


def test_a_box_without_object_moves_nothing_but_its_own_doubt():
    outputs, labels = drawn(ANCHORS)
    outputs = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        loss = GridLoss(GRID, ANCHORS, CLASSES)(labels, outputs)
    gradient = tape.gradient(loss, outputs).numpy().reshape(labels.shape)
    nothing = labels[..., 0] == 0
    assert (gradient[nothing][:, 0] > 0).all()
    assert not gradient[nothing][:, 1:].any()
    assert (gradient[~nothing][:, 0] < 0).all()


def test_loss_and_metric_are_kept_with_a_model():
    loss = GridLoss(GRID, ANCHORS, CLASSES, box_loss="sqrt", box_weight=3.0)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    outputs, labels = drawn(ANCHORS)
    assert again(labels, outputs) == loss(labels, outputs)
    assert again.get_config() == loss.get_config()
    metric = keras.metrics.deserialize(keras.metrics.serialize(BoxOverlap(GRID, ANCHORS, CLASSES)))
    assert metric.name == "iou"
