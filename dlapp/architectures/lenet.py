"""LeNet-5.

LeCun, Y., Bottou, L., Bengio, Y. and Haffner, P. (1998), Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11). https://doi.org/10.1109/5.726791
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures.inputs import check_classes, feature_maps


def lenet5(
    input_shape: Sequence[int | None] = (32, 32, 1),
    *,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    activation: str = "tanh",
    pooling: str = "average",
    kernel_regularizer: Any = None,
    dropout: float = 0.0,
) -> keras.Model:
    """Two convolutions and two hidden layers, made to read digits.

    Args:
        input_shape: (height, width, channels); height and width at least 16, or None without the top.
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        include_top: False ends with the feature maps of the second pooling.
        activation: of the hidden layers.
        pooling: ``"average"`` or ``"max"``, 2 x 2 with stride 2.
        kernel_regularizer: of every kernel, e.g. ``keras.regularizers.L2(1e-4)``.
        dropout: fraction of the 84 units dropped before the classifier; the paper has none.

    Returns:
        A model from (batch, height, width, channels) to (batch, classes), 61,706 parameters at the
        defaults; without the top to (batch, 5, 5, 16).

    Raises:
        ValueError: the picture is too small, ``classes`` is less than 2, or ``pooling`` is unknown.

    Departures:
        The paper's subsampling multiplies each average by a trained coefficient and adds a trained
        bias; here it is the plain average. Its second convolution connects each map to a chosen
        subset of the first six (table I); here to all of them. Its activation is
        1.7159 tanh(2x / 3); here tanh. Its output layer measures distances to drawn characters
        (RBF); here it is softmax. All four are as the network has been taught and built since.
    """
    check_classes(classes)
    pools = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}
    if pooling not in pools:
        raise ValueError(f"pooling must be 'average' or 'max'; got {pooling!r}.")

    def features(x: Any) -> Any:
        for number, filters in enumerate((6, 16), start=1):
            x = layers.Conv2D(
                filters, 5, activation=activation, kernel_regularizer=kernel_regularizer, name=f"conv{number}"
            )(x)
            x = pools[pooling](2, name=f"pool{number}")(x)
        return x  # (batch, 5, 5, 16) at the defaults

    inputs, x = feature_maps("lenet5", input_shape, features, any_size=not include_top)
    if not include_top:
        return keras.Model(inputs, x, name="lenet5")

    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate((120, 84), start=1):
        x = layers.Dense(units, activation=activation, kernel_regularizer=kernel_regularizer, name=f"dense{number}")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    outputs = layers.Dense(
        classes, activation=classifier_activation, kernel_regularizer=kernel_regularizer, name="classifier"
    )(x)
    return keras.Model(inputs, outputs, name="lenet5")
