"""AlexNet.

Krizhevsky, A., Sutskever, I. and Hinton, G. E. (2012), ImageNet classification with deep convolutional
neural networks, NIPS 25. https://papers.nips.cc/paper/4824
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures.custom_layers import GroupedConv2D, LocalResponseNormalization
from dlapp.architectures.inputs import check_classes, feature_maps

# filters, kernel size, strides, padding, halved (each half sees half of the maps), normalized, pooled
_CONVOLUTIONS = (
    (96, 11, 4, "valid", False, True, True),
    (256, 5, 1, "same", True, True, True),
    (384, 3, 1, "same", False, False, False),
    (384, 3, 1, "same", True, False, False),
    (256, 3, 1, "same", True, False, True),
)
_SMALL_NORMAL = {"class_name": "RandomNormal", "config": {"stddev": 0.01}}
# kernels of the hidden layers; biases of the halved convolutions and the dense hidden layers
_INITIALIZATIONS = {"he": ("he_normal", "zeros"), "paper": (_SMALL_NORMAL, "ones")}


def alexnet(
    input_shape: Sequence[int | None] = (227, 227, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    groups: int = 2,
    initialization: str = "he",
    kernel_regularizer: Any = None,
    dropout: float = 0.5,
) -> keras.Model:
    """Five convolutions and two hidden layers, which won ImageNet in 2012.

    Args:
        input_shape: (height, width, channels); height and width at least 67, or None without the top.
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        include_top: False ends with the feature maps of the last pooling.
        groups: of the second, fourth and fifth convolution: 2 as published, where each of two GPUs held
            one half of the maps; 1 as it is taught.
        initialization: ``"paper"`` draws kernels from a normal distribution with a deviation of 0.01 and
            begins with biases of 1 in the second, fourth and fifth convolution and the hidden layers;
            ``"he"`` draws those of He et al. (2015), https://arxiv.org/abs/1502.01852, with biases of 0. Both draw
            the classifier's with a deviation of 0.01.
        kernel_regularizer: of every kernel; the paper's weight decay of 0.0005 is ``keras.regularizers.L2(0.00025)``.
        dropout: fraction of the units dropped behind each hidden layer.

    Returns:
        A model from (batch, height, width, channels) to (batch, classes), 60,965,224 parameters at the
        defaults and 62,378,344 with ``groups=1``; without the top to (batch, 6, 6, 256).

    Raises:
        ValueError: the picture is too small, ``classes`` is less than 2, or an argument does not fit.

    Departures:
        The paper says 224 x 224; its 55 x 55 maps follow from 227 x 227. It subtracts the mean picture of
        the training set; here the preprocessing scales. The paper's initialisation fits its pixels of up
        to 255 and its long training; from values of up to 1 it hardly learns, so that the default is He's.
    """
    check_classes(classes)
    if groups < 1 or 32 % groups:  # that divide 96, 256 and 384
        raise ValueError(f"groups must be a power of two up to 32, to divide the maps of every layer; got {groups}.")
    if initialization not in _INITIALIZATIONS:
        raise ValueError(f"initialization must be 'he' or 'paper'; got {initialization!r}.")
    kernel, bias = _INITIALIZATIONS[initialization]

    def features(x: Any) -> Any:
        for number, row in enumerate(_CONVOLUTIONS, start=1):
            filters, kernel_size, strides, padding, halved, normalized, pooled = row
            convolution: Any = GroupedConv2D if halved and groups > 1 else layers.Conv2D
            x = convolution(
                filters,
                kernel_size,
                strides=strides,
                padding=padding,
                groups=groups if halved else 1,
                activation="relu",
                kernel_initializer=kernel,
                bias_initializer=bias if halved else "zeros",
                kernel_regularizer=kernel_regularizer,
                name=f"conv{number}",
            )(x)
            if normalized:
                x = LocalResponseNormalization(name=f"norm{number}")(x)
            if pooled:
                x = layers.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)  # windows overlap by 1
        return x  # (batch, 6, 6, 256) at the defaults

    inputs, x = feature_maps("alexnet", input_shape, features, any_size=not include_top)
    if not include_top:
        return keras.Model(inputs, x, name="alexnet")

    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(
            4096,
            activation="relu",
            kernel_initializer=kernel,
            bias_initializer=bias,
            kernel_regularizer=kernel_regularizer,
            name=f"dense{number}",
        )(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    outputs = layers.Dense(
        classes,
        activation=classifier_activation,
        kernel_initializer=_SMALL_NORMAL,
        kernel_regularizer=kernel_regularizer,
        name="classifier",
    )(x)
    return keras.Model(inputs, outputs, name="alexnet")
