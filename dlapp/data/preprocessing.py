"""From raw values to what the network sees, in TensorFlow operations.

The training pipeline and the exported graph both call these functions, so that they cannot differ.
"""

import numpy as np
import tensorflow as tf

from dlapp.signature import Preprocessing

_CONSTANT = 1e-14  # variance of a column that never changed in train; it is not divided, as in scikit-learn


def resize(images: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Pictures of (batch, height, width, channels) or (height, width, channels) in the network's size.

    The result is float32 in the range of the input and is not rounded. Rows pass through as float32.
    """
    if preprocessing.size is not None:
        # uint8 goes in as it is: a photograph of floats would cost four times the memory to move
        images = tf.image.resize(images, preprocessing.size, antialias=preprocessing.antialias)
    return tf.cast(images, tf.float32)


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
            known = tf.cast(tf.equal(code, np.arange(len(column.categories), dtype=np.float32)), tf.float32)
            parts += [known, tf.cast(tf.less(code, 0.0), tf.float32)]
    return tf.concat(parts, axis=1)  # (batch, width)


def preprocess(inputs: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Everything between the raw input of a bundle and the input of the network."""
    return scale(resize(inputs, preprocessing), preprocessing)
