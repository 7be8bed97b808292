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
    """Values in the range that the network is trained on; the shape stays."""
    if preprocessing.scale == "unit":
        return values / 255.0
    if preprocessing.scale == "standardize":
        variance = np.array(preprocessing.variance)
        deviation = np.sqrt(np.where(variance > _CONSTANT, variance, 1.0)).astype(np.float32)
        return (values - np.array(preprocessing.mean, np.float32)) / deviation
    return values


def preprocess(inputs: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Everything between the raw input of a bundle and the input of the network."""
    return scale(resize(inputs, preprocessing), preprocessing)
