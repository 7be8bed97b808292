"""Multiply-adds and receptive fields against calculation by hand and against the gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlapp.architectures import builder
from dlapp.architectures.summary import summarize


def two_branches():
    x = inputs = keras.Input((32, 32, 3), name="input")
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    a = layers.Conv2D(4, 3, dilation_rate=2, padding="same", name="dilated")(x)
    b = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Concatenate(name="join")([a, b])
    x = layers.Conv2D(6, (5, 1), padding="same", groups=2, name="tall")(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Conv2D(5, 3, name="last")(x)
    x = layers.Flatten(name="flatten")(x)
    return keras.Model(inputs, layers.Dense(10, name="classifier")(x), name="two_branches")


# layer: output shape, multiply-adds, receptive field
TWO_BRANCHES = {
    "input": ((32, 32, 3), 0, None),
    "stem": ((16, 16, 8), 16 * 16 * 8 * (3 * 3 * 3), (3, 3)),
    # from here on a step is 2 pixels: 3 + (3 - 1) x dilation 2 x step 2
    "dilated": ((16, 16, 4), 16 * 16 * 4 * (3 * 3 * 8), (11, 11)),
    "depthwise": ((16, 16, 8), 16 * 16 * 8 * (3 * 3), (7, 7)),
    "join": ((16, 16, 12), 0, None),
    # two groups: each of 6 filters sees 6 of the 12 channels; the wider branch counts: 11 + (5 - 1) x 2
    "tall": ((16, 16, 6), 16 * 16 * 6 * (5 * 1 * 6), (19, 11)),
    "pool": ((8, 8, 6), 0, (21, 13)),  # + (2 - 1) x 2
    "last": ((6, 6, 5), 6 * 6 * 5 * (3 * 3 * 6), (29, 21)),  # a step is 4 pixels: + (3 - 1) x 4
    "flatten": ((180,), 0, None),
    "classifier": ((10,), 180 * 10, None),
}
# LeCun et al. 1998, section II: C1 5 x 5 to 28 x 28 x 6, S2, C3 5 x 5 to 10 x 10 x 16, S4, 120, 84, 10
LENET5 = {
    "input": ((32, 32, 1), 0, None),
    "conv1": ((28, 28, 6), 28 * 28 * 6 * 25, (5, 5)),
    "pool1": ((14, 14, 6), 0, (6, 6)),
    "conv2": ((10, 10, 16), 10 * 10 * 16 * 25 * 6, (14, 14)),
    "pool2": ((5, 5, 16), 0, (16, 16)),
    "flatten": ((400,), 0, None),
    "dense1": ((120,), 400 * 120, None),
    "dense2": ((84,), 120 * 84, None),
    "classifier": ((10,), 84 * 10, None),
}
# 5 steps of 4 units that see 6 numbers and their own state, from both ends
BOTH_WAYS = {
    "input": ((5, 3, 2), 0, None),
    "steps": ((5, 6), 0, None),
    "recurrent1": ((8,), 2 * 5 * (6 * 4 + 4 * 4), None),
    "classifier": ((2,), 8 * 2, None),
}


def both_ways():
    return builder("recurrent")((5, 3, 2), cell="simple", units=4, bidirectional=True)


NETWORKS = {
    "both_ways": (both_ways, BOTH_WAYS),
    "two_branches": (two_branches, TWO_BRANCHES),
    "lenet5": (builder("lenet5"), LENET5),
}


@pytest.mark.parametrize(("make", "expected"), NETWORKS.values(), ids=NETWORKS)
def test_rows_agree_with_the_calculation_by_hand(make, expected):
    model = make()
    rows = {row.name: row for row in summarize(model)}
    assert {n: (r.output_shape, r.multiply_adds, r.receptive_field) for n, r in rows.items()} == expected
    assert sum(row.parameters for row in rows.values()) == model.count_params()


def test_the_receptive_field_is_where_the_gradient_is():
    model = two_branches()
    for weight in model.trainable_weights:
        weight.assign(tf.ones_like(weight))
    x = tf.Variable(tf.ones((1, 32, 32, 3)))
    with tf.GradientTape() as tape:
        # row and column 2, whose field begins with pixels 0 and 4 and stays inside the picture
        value = keras.Model(model.input, model.get_layer("last").output)(x)[0, 2, 2, 0]
    rows, columns = np.nonzero(tape.gradient(value, x).numpy()[0].sum(axis=-1))
    # dilation and stride leave holes in the field, not at its edges
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == TWO_BRANCHES["last"][2]


def test_multiply_adds_are_open_where_the_size_is():
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(inputs, layers.Dense(2, name="classifier")(x))
    rows = {row.name: row for row in summarize(model)}
    assert rows["conv"].multiply_adds is None
    assert rows["conv"].output_shape == (None, None, 4)
    assert rows["classifier"].multiply_adds == 8


def test_layers_that_return_states_have_the_shape_of_what_they_give_beside_them():
    model = builder("recurrent")(form="encoder_decoder", classes=6, units=4, vocabulary=6, embedding_size=3)
    shapes = {row.name: row.output_shape for row in summarize(model)}
    assert all(isinstance(shape, tuple) for shape in shapes.values())
    assert shapes[model.layers[-1].name] == (None, 6)
