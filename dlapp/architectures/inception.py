"""Inception, version 1: GoogLeNet.

Szegedy, C., Liu, W., Jia, Y., Sermanet, P., Reed, S., Anguelov, D., Erhan, D., Vanhoucke, V. and
Rabinovich, A. (2014), Going deeper with convolutions. https://arxiv.org/abs/1409.4842
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures.auxiliary import WithAuxiliaryClassifiers
from dlapp.architectures.custom_layers import LocalResponseNormalization
from dlapp.architectures.inputs import check_classes, feature_maps

# filters: 1 x 1, reduction and 3 x 3, reduction and 5 x 5, projection after pooling (table 1)
_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_POOLED = ("3b", "4e")  # followed by max pooling
_AUXILIARY = ("4a", "4d")  # followed by an auxiliary classifier


def inception_v1(
    input_shape: Sequence[int | None] = (224, 224, 3),
    *,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    auxiliary: bool = True,
    dropout: float = 0.4,
    auxiliary_dropout: float = 0.7,
    kernel_regularizer: Any = None,
) -> keras.Model:
    """Nine modules of four branches each, which won ImageNet in 2014.

    A module convolves 1 x 1, 3 x 3 and 5 x 5 and pools, all of the same maps, and concatenates the results.
    1 x 1 convolutions in front of the larger ones reduce the maps that these see.

    Args:
        input_shape: (height, width, channels); None without the top or the auxiliary classifiers.
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        include_top: False ends with the feature maps of the last module, without auxiliary classifiers.
        auxiliary: two more classifiers behind modules 4a and 4d, whose losses count 0.3 each in training and
            which are not computed in inference (:class:`WithAuxiliaryClassifiers`). They need pictures of at least
            65 pixels a side.
        dropout: fraction of the 1,024 means dropped before the classifier.
        auxiliary_dropout: fraction of the units dropped before each auxiliary classifier.
        kernel_regularizer: of every kernel.

    Returns:
        A model from (batch, height, width, channels) to (batch, classes); 6,998,552 parameters at the defaults
        and 6,379,728 more in the auxiliary classifiers. Without the top to (batch, 7, 7, 1024).

    Raises:
        ValueError: the picture is too small, or ``classes`` is less than 2.

    Departures:
        The paper does not say how weights begin. Here those of convolutions are as in He et al. (2015),
        https://arxiv.org/abs/1502.01852: from Glorot's, 22 layers without normalization hardly begin to learn.
        Nor does it give the constants of the response normalization; these are AlexNet's. keras.applications has
        InceptionV3, another network: there are no weights to compare with.
    """
    check_classes(classes)

    def convolution(x: Any, filters: int, kernel_size: int, name: str, strides: int = 1) -> Any:
        return layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer=kernel_regularizer,
            name=name,
        )(x)

    def module(x: Any, name: str) -> Any:
        """(batch, h, w, c) -> (batch, h, w, the filters of the four branches)."""
        single, reduce3, filters3, reduce5, filters5, projection = _MODULES[name]
        branches = [
            convolution(x, single, 1, f"module{name}_1x1"),
            convolution(convolution(x, reduce3, 1, f"module{name}_3x3_reduce"), filters3, 3, f"module{name}_3x3"),
            convolution(convolution(x, reduce5, 1, f"module{name}_5x5_reduce"), filters5, 5, f"module{name}_5x5"),
            convolution(_pool(x, f"module{name}_pool", strides=1), projection, 1, f"module{name}_pool_projection"),
        ]
        return layers.Concatenate(name=f"module{name}")(branches)

    def dense(x: Any, units: int, name: str, activation: str | None = "relu") -> Any:
        return layers.Dense(units, activation=activation, kernel_regularizer=kernel_regularizer, name=name)(x)

    def features(x: Any) -> list[Any]:
        """The maps of the last module, then those that the auxiliary classifiers flatten."""
        x = convolution(x, 64, 7, "conv1", strides=2)
        x = LocalResponseNormalization(name="norm1")(_pool(x, "pool1"))
        x = convolution(convolution(x, 64, 1, "conv2_reduce"), 192, 3, "conv2")
        x = _pool(LocalResponseNormalization(name="norm2")(x), "pool2")
        # (batch, 28, 28, 192) at the defaults
        flattened = []
        for name in _MODULES:
            x = module(x, name)
            if name in _AUXILIARY and auxiliary and include_top:
                mean = layers.AveragePooling2D(5, strides=3, name=f"auxiliary{name}_pool")(x)
                flattened.append(convolution(mean, 128, 1, f"auxiliary{name}_conv"))  # (batch, 4, 4, 128)
            if name in _POOLED:
                x = _pool(x, f"pool{name[0]}")
        return [x, *flattened]

    def classifier(x: Any, rate: float, prefix: str) -> Any:
        if rate:
            x = layers.Dropout(rate, name=f"{prefix}dropout")(x)
        return dense(x, classes, f"{prefix}classifier", classifier_activation)

    open_size = not (auxiliary and include_top)
    inputs, (x, *flattened) = feature_maps(
        "inception_v1",
        input_shape,
        features,
        any_size=open_size,
        remedy="" if open_size else "Or leave the auxiliary classifiers out (auxiliary=False).",
    )
    if not include_top:
        return keras.Model(inputs, x, name="inception_v1")
    outputs = [classifier(layers.GlobalAveragePooling2D(name="pool5")(x), dropout, "")]
    for name, maps in zip(_AUXILIARY, flattened, strict=False):
        hidden = dense(layers.Flatten(name=f"auxiliary{name}_flatten")(maps), 1024, f"auxiliary{name}_dense")
        outputs.append(classifier(hidden, auxiliary_dropout, f"auxiliary{name}_"))
    if not auxiliary:
        return keras.Model(inputs, outputs[0], name="inception_v1")
    return WithAuxiliaryClassifiers(inputs, outputs, name="inception_v1")


def _pool(x: Any, name: str, strides: int = 2) -> Any:
    """Max pooling 3 x 3: (batch, h, w, c) -> (batch, h / strides, w / strides, c)."""
    return layers.MaxPooling2D(3, strides=strides, padding="same", name=name)(x)
