"""Darknet-19, the classifier that the second YOLO detector was made from.

Redmon, J. and Farhadi, A. (2016), YOLO9000: better, faster, stronger. Table 6. https://arxiv.org/abs/1612.08242
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures.inputs import check_classes, feature_maps

_LEAK = 0.1  # as in the authors' code
# filters of the convolutions between poolings: 3 x 3 and 1 x 1 in turn
_STAGES = ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024))


def convolution(x: Any, filters: int, kernel_size: int, *, name: str, kernel_regularizer: Any = None) -> Any:
    """A convolution, normalization and leaky ReLU: (batch, h, w, c) -> (batch, h, w, filters)."""
    x = layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=kernel_regularizer,
        name=name,
    )(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.LeakyReLU(_LEAK, name=f"{name}_relu")(x)


def darknet19(
    input_shape: Sequence[int | None] = (224, 224, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    kernel_regularizer: Any = None,
) -> keras.Model:
    """Nineteen convolutions of 3 x 3 and 1 x 1, which YOLO9000 is built on.

    Convolutions with batch normalization and leaky ReLU, 3 x 3 and 1 x 1 in turn, in six stages between which
    pooling halves height and width; a 1 x 1 convolution gives a map for each class, whose mean is its logit.

    Args:
        input_shape: (height, width, channels); height and width may be None.
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        include_top: False ends with the feature maps of the last stage.
        kernel_regularizer: of every kernel; the paper has ``keras.regularizers.L2(2.5e-4)``, its weight decay of 5e-4.

    Returns:
        A model from (batch, height, width, channels) to (batch, classes), with 20,842,376 trainable parameters at the
        defaults; without the top to (batch, height / 32, width / 32, 1024).

    Raises:
        ValueError: these are no pictures, they are too small, or ``classes`` is less than 2.

    Departures:
        The mean over the classes' maps comes before the 1 x 1 convolution, which is then a dense layer: both are
        linear, so that the result is the same.
    """
    check_classes(classes)

    def features(x: Any) -> Any:
        for stage, filters in enumerate(_STAGES, start=1):
            if stage > 1:
                x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
            for number, count in enumerate(filters, start=1):
                x = convolution(
                    x,
                    count,
                    3 if number % 2 else 1,
                    name=f"stage{stage}_conv{number}",
                    kernel_regularizer=kernel_regularizer,
                )
        return x  # (batch, 7, 7, 1024) at the defaults

    inputs, x = feature_maps("darknet19", input_shape, features, any_size=True)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(
            classes, activation=classifier_activation, kernel_regularizer=kernel_regularizer, name="classifier"
        )(x)
    return keras.Model(inputs, x, name="darknet19")
