"""Dense networks: one neuron for a number, one hidden layer, any list of hidden layers.

Rosenblatt, F. (1958), The perceptron, Psychological Review 65(6). https://doi.org/10.1037/h0042519
Rumelhart, D. E., Hinton, G. E. and Williams, R. J. (1986), Learning representations by
back-propagating errors, Nature 323. https://doi.org/10.1038/323533a0
Initial weights: Glorot and Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html; He et al.
(2015), https://arxiv.org/abs/1502.01852
Dropout: Srivastava et al. (2014), https://jmlr.org/papers/v15/srivastava14a.html
Batch normalization: Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers

_INITIALIZERS: Mapping[str, Any] = {
    "small_normal": {"class_name": "RandomNormal", "config": {"stddev": 0.01}},  # the course's randn * 0.01
    "he": "he_normal",
    "glorot": "glorot_uniform",
}


def linear_unit(
    input_shape: Sequence[int] = (1,),
    *,
    classes: int = 1,
    activation: Any = None,
    kernel_initializer: Any = "zeros",
    bias_initializer: Any = None,
    kernel_regularizer: Any = None,
) -> keras.Model:
    """One neuron for a number.

    The price of a house from its size is the course's first example, with ReLU as its first picture.

    Args:
        input_shape: (columns,) or (height, width, channels).
        classes: always 1; it is an argument so that every builder takes it.
        activation: None for a straight line; ``"relu"`` for a value that is never negative.
        kernel_initializer, kernel_regularizer: as in ``keras.layers.Dense``.
        bias_initializer: zeros where it is None, but ones with an activation: ReLU's gradient at 0 is
            0, so that a unit of zeros would never leave it.

    Returns:
        A model from (batch, *input_shape) to (batch, 1). It has features + 1 parameters.

    Raises:
        ValueError: ``classes`` is not 1.
    """
    if classes != 1:
        raise ValueError(
            f"linear_unit predicts one number; got classes={classes}. Use logistic_unit() for 2 classes or "
            "softmax_regression() for more."
        )
    if bias_initializer is None:
        bias_initializer = "zeros" if activation in (None, "linear") else "ones"
    x, inputs = _flattened(input_shape)
    outputs = layers.Dense(
        1,
        activation=activation,
        kernel_initializer=_initializer(kernel_initializer),
        bias_initializer=bias_initializer,
        kernel_regularizer=kernel_regularizer,
        name="value",
    )(x)
    return keras.Model(inputs, outputs, name="linear_unit")


def shallow_network(
    input_shape: Sequence[int] = (2,),
    *,
    classes: int = 2,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    units: int = 4,
    activation: Any = "tanh",
    kernel_initializer: Any = "small_normal",
    kernel_regularizer: Any = None,
    dropout: float = 0.0,
    batch_normalization: bool = False,
) -> keras.Model:
    """One hidden layer, tanh by default.

    Args:
        units: of the hidden layer.
        kernel_initializer: ``"small_normal"`` is the course's normal times 0.01.
        input_shape, classes, classifier_activation, include_top, activation, kernel_regularizer, dropout,
            batch_normalization: as in :func:`deep_network`.

    Returns:
        A model from (batch, *input_shape) to (batch, classes). It has (features + 1) x units +
        (units + 1) x classes parameters.

    Raises:
        ValueError: an argument does not fit.
    """
    if isinstance(units, Sequence):
        raise ValueError(
            f"shallow_network has one hidden layer, units must be a number; got {units}. Use deep_network()."
        )
    return _network(
        "shallow_network",
        input_shape,
        classes=classes,
        classifier_activation=classifier_activation,
        include_top=include_top,
        units=[units],
        activation=activation,
        kernel_initializer=kernel_initializer,
        kernel_regularizer=kernel_regularizer,
        dropout=dropout,
        batch_normalization=batch_normalization,
    )


def deep_network(
    input_shape: Sequence[int] = (64, 64, 3),
    *,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    units: Sequence[int] = (64, 32),
    activation: Any = "relu",
    kernel_initializer: Any = "he",
    kernel_regularizer: Any = None,
    dropout: float | Sequence[float] = 0.0,
    batch_normalization: bool = False,
) -> keras.Model:
    """Any list of hidden layers on a flattened picture or a row of features.

    Args:
        input_shape: (columns,) or (height, width, channels), which is flattened row by row.
        classes: outputs; 1 for a number, or for the probability of the second of two classes.
        classifier_activation: ``None`` gives logits, or the number; one output takes ``"sigmoid"`` for a
            probability.
        include_top: False ends with the last hidden layer.
        units: of each hidden layer; an empty list is softmax regression.
        activation: any name that Keras knows (sigmoid, tanh, relu, leaky_relu, ...); a list has one for
            each hidden layer.
        kernel_initializer: zeros (every unit then learns the same), ``"small_normal"`` (the course's
            normal times 0.01), ``"he"``, ``"glorot"``, or what ``keras.initializers.get`` takes; a seed in
            it is that of the first layer, and each further one takes the next.
        kernel_regularizer: of every kernel. ``keras.regularizers.L2(l2)`` adds l2 x the sum of squared
            weights to the loss; the course's form is lambda / (2 m) times that sum, with m training
            examples, so that l2 = lambda / (2 m). L1 likewise: l1 = lambda / (2 m).
        dropout: the fraction of units dropped behind each hidden layer, 1 minus the course's keep
            probability; a list has one for each. Kept units are divided by the keep probability.
        batch_normalization: z is normalized before the activation; its bias is that of the normalization.

    Returns:
        A model from (batch, *input_shape) to (batch, classes). A layer of n units on k values has
        (k + 1) n parameters, and with batch normalization (k + 4) n, of which 2 n are moving averages.

    Raises:
        ValueError: an argument does not fit.
    """
    return _network(
        "deep_network",
        input_shape,
        classes=classes,
        classifier_activation=classifier_activation,
        include_top=include_top,
        units=[units] if isinstance(units, int) else list(units),
        activation=activation,
        kernel_initializer=kernel_initializer,
        kernel_regularizer=kernel_regularizer,
        dropout=dropout,
        batch_normalization=batch_normalization,
    )


def _network(
    name: str,
    input_shape: Sequence[int],
    *,
    classes: int,
    classifier_activation: str | None,
    include_top: bool,
    units: Sequence[int],
    activation: Any,
    kernel_initializer: Any,
    kernel_regularizer: Any,
    dropout: float | Sequence[float],
    batch_normalization: bool,
) -> keras.Model:
    if any(not isinstance(count, int) or count < 1 for count in units):
        raise ValueError(f"units must be positive whole numbers, one for each hidden layer; got {list(units)}.")
    if classes < 1:
        raise ValueError(f"classes must be at least 1; got {classes}.")
    if classes == 1 and classifier_activation == "softmax":
        raise ValueError(
            "the softmax of one output is always 1: use classifier_activation='sigmoid' for a yes/no answer, or None "
            "for a number."
        )
    activations = _each("activation", activation, len(units))
    rates = _each("dropout", dropout, len(units))
    if any(not 0 <= rate < 1 for rate in rates):
        raise ValueError(f"dropout must be at least 0 and less than 1, the fraction that is dropped; got {dropout}.")

    x, inputs = _flattened(input_shape)
    for number, (count, activate, rate) in enumerate(zip(units, activations, rates, strict=True), start=1):
        x = layers.Dense(
            count,
            use_bias=not batch_normalization,
            kernel_initializer=_initializer(kernel_initializer, number),
            kernel_regularizer=kernel_regularizer,
            name=f"dense{number}",
        )(x)
        if batch_normalization:
            x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.Activation(activate, name=f"activation{number}")(x)
        if rate:
            x = layers.Dropout(rate, name=f"dropout{number}")(x)
    if include_top:
        x = layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=_initializer(kernel_initializer, len(units) + 1),
            kernel_regularizer=kernel_regularizer,
            name="classifier",
        )(x)
    return keras.Model(inputs, x, name=name)


def _flattened(input_shape: Sequence[int]) -> tuple[Any, Any]:
    """The input as a row of features, and the input itself."""
    inputs = keras.Input(tuple(input_shape), name="input")
    return (layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs), inputs


def _initializer(wanted: Any, number: int = 1) -> Any:
    """One of its own for the layer of that number; a seed counts up, or layers of one shape would begin alike."""
    if isinstance(wanted, str):
        return keras.initializers.get(_INITIALIZERS.get(wanted, wanted))
    found = keras.initializers.get(wanted)
    if not isinstance(found, keras.Initializer) or isinstance(getattr(found, "seed", None), keras.random.SeedGenerator):
        return found  # a SeedGenerator counts up by itself
    config = found.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += number - 1
    return type(found).from_config(config)


def _each(name: str, value: Any, count: int) -> list[Any]:
    """One value for each hidden layer."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != count:
            raise ValueError(
                f"a list of {name} has one value for each hidden layer, here {count}; got {list(value)}. "
                "One value outside of a list is for all of them."
            )
        return list(value)
    return [value] * count
