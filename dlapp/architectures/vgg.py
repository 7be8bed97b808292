"""VGG-11, 13, 16 and 19.

Simonyan, K. and Zisserman, A. (2014), Very deep convolutional networks for large-scale image recognition.
https://arxiv.org/abs/1409.1556
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures.inputs import check_classes, feature_maps

_FILTERS = (64, 128, 256, 512, 512)
# convolutions of each block: table 1 of the paper, configurations A, B, D and E
_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


def vgg11(
    input_shape: Sequence[int | None] = (224, 224, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    kernel_regularizer: Any = None,
    dropout: float = 0.5,
) -> keras.Model:
    """Eight convolutions of 3 x 3 in five blocks, and three dense layers (configuration A).

    132,863,336 parameters at the defaults; arguments and all else as in :func:`vgg16`.
    """
    return _vgg("vgg11", input_shape, classes, classifier_activation, include_top, kernel_regularizer, dropout)


def vgg13(
    input_shape: Sequence[int | None] = (224, 224, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    kernel_regularizer: Any = None,
    dropout: float = 0.5,
) -> keras.Model:
    """Ten convolutions of 3 x 3 in five blocks, and three dense layers (configuration B).

    133,047,848 parameters at the defaults; arguments and all else as in :func:`vgg16`.
    """
    return _vgg("vgg13", input_shape, classes, classifier_activation, include_top, kernel_regularizer, dropout)


def vgg16(
    input_shape: Sequence[int | None] = (224, 224, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    kernel_regularizer: Any = None,
    dropout: float = 0.5,
) -> keras.Model:
    """Thirteen convolutions of 3 x 3 in five blocks, and three dense layers (configuration D).

    Args:
        input_shape: (height, width, channels); height and width at least 32, or None without the top.
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        include_top: False ends with the feature maps of the last pooling.
        kernel_regularizer: of every kernel; the paper's weight decay of 0.0005 is ``keras.regularizers.L2(0.00025)``.
        dropout: fraction of the units dropped behind each hidden layer.

    Returns:
        A model from (batch, height, width, channels) to (batch, classes), 138,357,544 parameters at the
        defaults; without the top to (batch, 7, 7, 512).

    Raises:
        ValueError: the picture is too small, or ``classes`` is less than 2.

    Departures:
        The paper trains configuration A from small normal numbers and the deeper ones from A's weights. It
        found afterwards that Glorot's initialisation makes this needless; here it is Keras's default.
        Its preprocessing subtracts the mean of each channel; here the preprocessing scales.
    """
    return _vgg("vgg16", input_shape, classes, classifier_activation, include_top, kernel_regularizer, dropout)


def vgg19(
    input_shape: Sequence[int | None] = (224, 224, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    kernel_regularizer: Any = None,
    dropout: float = 0.5,
) -> keras.Model:
    """Sixteen convolutions of 3 x 3 in five blocks, and three dense layers (configuration E).

    143,667,240 parameters at the defaults; arguments and all else as in :func:`vgg16`.
    """
    return _vgg("vgg19", input_shape, classes, classifier_activation, include_top, kernel_regularizer, dropout)


def _vgg(
    name: str,
    input_shape: Sequence[int | None],
    classes: int,
    classifier_activation: str | None,
    include_top: bool,
    kernel_regularizer: Any,
    dropout: float,
) -> keras.Model:
    """The network of that name; layers and weights stand in the order of ``keras.applications``."""
    check_classes(classes)

    def features(x: Any) -> Any:
        for block, (filters, count) in enumerate(zip(_FILTERS, _CONVOLUTIONS[name], strict=True), start=1):
            for number in range(1, count + 1):
                x = layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    activation="relu",
                    kernel_regularizer=kernel_regularizer,
                    name=f"block{block}_conv{number}",
                )(x)
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        return x  # (batch, 7, 7, 512) at the defaults

    inputs, x = feature_maps(name, input_shape, features, any_size=not include_top)
    if not include_top:
        return keras.Model(inputs, x, name=name)

    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(4096, activation="relu", kernel_regularizer=kernel_regularizer, name=f"dense{number}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    outputs = layers.Dense(
        classes, activation=classifier_activation, kernel_regularizer=kernel_regularizer, name="classifier"
    )(x)
    return keras.Model(inputs, outputs, name=name)
