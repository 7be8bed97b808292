"""From raw values to what the network sees, in TensorFlow operations.

The training pipeline and the exported graph both call these functions, so that they cannot differ.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dlapp.signature import Preprocessing

_GREY = 127.5  # of what a letterboxed picture does not fill
_CONSTANT = 1e-14  # variance of a column that never changed in train; it is not divided, as in scikit-learn


def resize(images: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Pictures of (batch, height, width, channels) or (height, width, channels) in the network's size.

    The result is float32 in the range of the input and is not rounded. Rows pass through as float32.
    """
    if preprocessing.size is not None:
        if preprocessing.letterbox:
            return _letterbox(images, preprocessing)
        # uint8 goes in as it is: a photograph of floats would cost four times the memory to move
        images = tf.image.resize(images, preprocessing.size, antialias=preprocessing.antialias)
    return tf.cast(images, tf.float32)


class Placement(NamedTuple):
    """Where a picture lies within the network's input, in its pixels: int32 scalars, or one for each picture."""

    height: tf.Tensor
    width: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor


def place(height: Any, width: Any, preprocessing: Preprocessing) -> Placement:
    """Where pictures of that height and width come to lie: everywhere, or in the middle with letterboxing."""
    assert preprocessing.size is not None
    height, width = tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    down, right = preprocessing.size
    if not preprocessing.letterbox:
        zeros = tf.zeros_like(height)
        return Placement(zeros + down, zeros + right, zeros, zeros)
    # whole numbers, so that every runtime rounds alike
    new_height = tf.maximum(tf.minimum((2 * height * right + width) // (2 * width), down), 1)
    new_width = tf.maximum(tf.minimum((2 * width * down + height) // (2 * height), right), 1)
    return Placement(new_height, new_width, (down - new_height) // 2, (right - new_width) // 2)


def _letterbox(images: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    assert preprocessing.size is not None
    shape = tf.shape(images)
    placed = place(shape[-3], shape[-2], preprocessing)
    resized = tf.image.resize(images, (placed.height, placed.width), antialias=preprocessing.antialias)
    below = preprocessing.size[0] - placed.height - placed.top
    behind = preprocessing.size[1] - placed.width - placed.left
    around: Any = [[0, 0]] * (images.shape.rank - 3) + [[placed.top, below], [placed.left, behind], [0, 0]]
    padded = tf.pad(tf.cast(resized, tf.float32), around, constant_values=_GREY)
    return tf.ensure_shape(padded, (*images.shape[:-3], *preprocessing.size, preprocessing.channels))


def scale(values: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Values in the range that the network is trained on; the shape stays, but for the columns of a table.

    Rows of a table become (batch, width): numbers, with the mean where one is missing, then a flag for each
    column that lacks cells in train, then for each category a slot and one for all other values.
    """
    if preprocessing.columns:
        return _encode(values, preprocessing)
    return _standardize(values, preprocessing)


def _standardize(values: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    if preprocessing.scale == "unit":
        return values / 255.0
    if preprocessing.scale == "standardize":
        variance = np.array(preprocessing.variance)
        deviation = np.sqrt(np.where(variance > _CONSTANT, variance, 1.0)).astype(np.float32)
        return (values - np.array(preprocessing.mean, np.float32)) / deviation
    return values


def _encode(rows: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    columns = preprocessing.columns
    absent = tf.math.is_nan(rows)
    filled = tf.where(absent, tf.constant(preprocessing.mean, tf.float32), rows)
    standardized = _standardize(filled, preprocessing)
    numbers = [place for place, column in enumerate(columns) if column.categories is None]
    flagged = [place for place, column in enumerate(columns) if column.missing]
    parts = [tf.gather(standardized, numbers, axis=1)] if numbers else []
    if flagged:
        parts.append(tf.cast(tf.gather(absent, flagged, axis=1), tf.float32))
    for place, column in enumerate(columns):
        if column.categories is not None:
            # a missing cell is NaN, which equals none of them and is not less than 0
            code = rows[:, place : place + 1]
            if column.categories:  # of none of them OpenVINO makes a column
                known = tf.equal(code, np.arange(len(column.categories), dtype=np.float32))
                parts.append(tf.cast(known, tf.float32))
            parts.append(tf.cast(tf.less(code, 0.0), tf.float32))
    return tf.concat(parts, axis=1)  # (batch, width)


def preprocess(inputs: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Everything between the raw input of a bundle and the input of the network."""
    return scale(resize(inputs, preprocessing), preprocessing)
