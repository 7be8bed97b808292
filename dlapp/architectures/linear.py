"""Linear classifiers: one layer between the values and the answer.

Cox, D. R. (1958), The regression analysis of binary sequences, J. R. Stat. Soc. B 20.
https://doi.org/10.1111/j.2517-6161.1958.tb00292.x
Cox, D. R. (1966), Some procedures connected with the logistic qualitative response curve.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers


def logistic_unit(
    input_shape: Sequence[int] = (64, 64, 3),
    *,
    classes: int = 2,
    classifier_activation: str | None = "sigmoid",
    kernel_initializer: Any = "zeros",
    kernel_regularizer: Any = None,
) -> keras.Model:
    """One sigmoid unit on a flattened picture or a row of features.

    The loss is convex, so zero weights are as good a start as any.

    Args:
        input_shape: (height, width, channels) or (columns,).
        classes: always 2; it is an argument so that every builder takes it.
        classifier_activation: ``None`` gives logits.
        kernel_initializer, kernel_regularizer: as in ``keras.layers.Dense``.

    Returns:
        A model from (batch, *input_shape) to the probability of the second class, (batch, 1).
        It has features + 1 parameters.

    Raises:
        ValueError: ``classes`` is not 2.
    """
    if classes != 2:
        raise ValueError(f"logistic_unit separates exactly 2 classes; got {classes}. Use softmax_regression().")
    return _one_layer("logistic_unit", input_shape, 1, classifier_activation, kernel_initializer, kernel_regularizer)


def softmax_regression(
    input_shape: Sequence[int] = (28, 28, 1),
    *,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    kernel_initializer: Any = "zeros",
    kernel_regularizer: Any = None,
) -> keras.Model:
    """One softmax layer on a flattened picture or a row of features.

    The loss is convex, so zero weights are as good a start as any.

    Args:
        input_shape: (height, width, channels) or (columns,).
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        kernel_initializer, kernel_regularizer: as in ``keras.layers.Dense``.

    Returns:
        A model from (batch, *input_shape) to (batch, classes). It has (features + 1) x classes
        parameters.

    Raises:
        ValueError: ``classes`` is less than 2.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}. For a yes/no output use logistic_unit().")
    return _one_layer(
        "softmax_regression", input_shape, classes, classifier_activation, kernel_initializer, kernel_regularizer
    )


def _one_layer(
    name: str, input_shape: Sequence[int], units: int, activation: str | None, initializer: Any, regularizer: Any
) -> keras.Model:
    inputs = keras.Input(tuple(input_shape), name="input")
    x = layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    outputs = layers.Dense(
        units,
        activation=activation,
        kernel_initializer=initializer,
        kernel_regularizer=regularizer,
        name="classifier",
    )(x)
    return keras.Model(inputs, outputs, name=name)
