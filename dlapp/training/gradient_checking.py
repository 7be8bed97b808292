"""Gradient checking: what backpropagation gives, against differences of the cost.

(J(w + h) - J(w - h)) / 2h is nearly the derivative, and the distance of the two gradients in relation to their size
tells whether backpropagation is right: the course "Deep Learning" (Ng, Katanforoosh and Mourri), week on practical
aspects. Bengio, Y. (2012), Practical recommendations for gradient-based training of deep architectures, section on
gradient checking and controlled overfitting. https://arxiv.org/abs/1206.5533
"""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from dlapp.architectures.auxiliary import WithAuxiliaryClassifiers

Verdict = Literal["correct", "look at it", "wrong", "no gradient", "kinks only"]

# the course: 1e-7 is great, look at 1e-5, worry at 1e-3; the first two meet in the middle
_CORRECT = 1e-6
_WRONG = 1e-3
# Differences over h and h/2 together are off by h^4/480 times the fifth derivative, far less than rounding leaves
# in them: 1e-12 at the first step, and ten times as much at each that follows. These are for the places where the step
# before met a kink: a tenth of the step passes by nine in ten of them.
_STEPS = (1e-4, 1e-5, 1e-6)
_ROUNDING = 32 * np.finfo(np.float64).eps  # of a cost of 1, at the most; it is 1 to 2 eps on average
_FAINT = 1e-7  # a kink that bends the slope by less than this part of it changes no verdict


@dataclasses.dataclass(frozen=True)
class LayerGradient:
    """What was found for one tensor of weights.

    Attributes:
        name: layer and tensor, ``conv1/kernel``.
        shape: of the tensor.
        relative_error: |g - d| / (|g| + |d|) in the Euclidean norm over the checked entries, g from
            backpropagation and d from differences; 1 where g is not a number, None where there is nothing to compare.
        checked: entries that were compared.
        kinks: entries left out because the cost has a kink or a jump beside them.
        verdict: ``correct`` (about 1e-7), ``look at it``, ``wrong`` (1e-3 and above); ``no gradient``: zero, or too
            small for differences to see; ``kinks only``: no entry could be compared.
    """

    name: str
    shape: tuple[int, ...]
    relative_error: float | None
    checked: int
    kinks: int
    verdict: Verdict


def check_gradients(
    model: keras.Model,
    inputs: Any,
    targets: Any,
    loss: Callable[[Any, Any], Any],
    *,
    samples: int = 20,
    seed: int = 0,
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[LayerGradient]:
    """The gradient of every trainable tensor against two-sided differences, in float64 and in training mode.

    The cost is the mean of the loss plus the regularization losses, and what auxiliary classifiers add. It is
    computed by a copy of the network, so ``model``, its moving averages and Keras's dtype policy stay as they are.
    Every evaluation starts from the same state: dropout has one mask for all of them, and batch normalization uses
    the statistics of the batch.

    The step is 1e-4 of the weight, or 1e-4 for weights below 1, and half of it; the two differences are
    extrapolated. Where the cost has a kink between the points (ReLU, max pooling) none of them is the
    derivative: f(w + h) - 2 f(w) + f(w - h) then does not fall with the square of h. A tenth of the step is
    tried there, then a hundredth; entries that have a kink even so are left out and counted.

    A layer that stops a gradient on purpose (``keras.layers.SpectralNormalization``) is told as wrong: what it
    gives is not the derivative of the cost.

    Args:
        model: functional or sequential; layers of one's own inside of others must be registered with Keras.
        inputs: a batch as the network takes it, in arrays; 8 examples are enough.
        targets: arrays as the loss takes them.
        loss: a Keras loss, or a function of targets and outputs.
        samples: entries of each tensor, drawn at random; half of them where there is a gradient.
        seed: of the draw.
        track: goes over the numbers of the tensors, perhaps with a progress bar.

    Returns:
        One for each tensor, the worst at the end.

    Raises:
        ValueError: ``samples`` is less than 1, there is no trainable weight, or the cost is not a number.
        TypeError: the graph of the model is not known.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}.")
    with _float64():
        network = _in_float64(model)
        if not network.trainable_variables:
            raise ValueError(
                f"{model.name} has no trainable weight, so there is no gradient to check. Unfreeze a layer."
            )
        cost = _cost(network, inputs, targets, loss)
        start, gradients = _backpropagate(cost, network.trainable_variables)
    if not np.isfinite(start):
        raise ValueError(f"the cost of {model.name} must be a number; got {start}. Scale the inputs, or train anew.")
    rounding = _ROUNDING * max(1.0, abs(start))
    chance = np.random.default_rng(seed)
    found = []
    for place in track(range(len(gradients))):
        weight, gradient = network.trainable_variables[place], gradients[place].ravel()
        entries = _choose(gradient, samples, chance)
        differences, steps = _differentiate(cost, start, weight, entries, rounding)
        found.append(_judge(weight.path, tuple(weight.shape), gradient[entries], differences, rounding / steps))
    return sorted(found, key=lambda tensor: -1.0 if tensor.relative_error is None else tensor.relative_error)


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    """Layers and losses that are made inside compute in float64; the state of Python's random numbers comes back."""
    policy, floatx, state = keras.config.dtype_policy(), keras.config.floatx(), random.getstate()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        random.setstate(state)  # layers draw their seeds from it


def _in_float64(model: keras.Model) -> keras.Model:
    """A copy of the network that computes in float64, with the same weights and states."""
    try:
        single = isinstance(model, keras.Sequential)
        ends = (model.inputs[0], model.outputs[0]) if single else (model.input, model.output)
    except AttributeError as error:
        raise TypeError(
            f"model must be functional, or sequential and built; {model.name} is neither: {error}"
        ) from error
    kind = WithAuxiliaryClassifiers if isinstance(model, WithAuxiliaryClassifiers) else keras.Model
    graph = kind(*ends, name=model.name)  # without optimizer and loss
    network = keras.models.clone_model(
        graph,
        input_tensors=keras.tree.map_structure(
            lambda tensor: keras.Input(tensor.shape[1:], dtype=_wide(tensor.dtype), name=tensor.name), graph.input
        ),
        clone_function=lambda layer: type(layer).from_config(_wide_config(layer.get_config())),
    )
    for copy, original in zip(network.variables, graph.variables, strict=True):
        copy.assign(original)
    return network


def _wide_config(config: Any) -> Any:
    """The configuration of a layer, and of those inside of it, with float64 in place of other floats."""
    if isinstance(config, dict):
        return {key: _wide(value) if key == "dtype" else _wide_config(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_wide_config(value) for value in config)
    return config


def _wide(dtype: Any) -> Any:
    """``float64`` for any policy or float; integers and strings stay."""
    return "float64" if not isinstance(dtype, str) or "float" in dtype else dtype


def _cost(network: keras.Model, inputs: Any, targets: Any, loss: Any) -> Callable[[], tf.Tensor]:
    """A compiled function of the network's present weights that changes no state."""
    if isinstance(loss, keras.losses.Loss):
        loss = type(loss).from_config(loss.get_config())  # in the present float type
    batch = keras.tree.map_structure(
        lambda values, tensor: tf.convert_to_tensor(np.asarray(values), tensor.dtype), inputs, network.input
    )
    wanted = keras.tree.map_structure(
        lambda values: tf.convert_to_tensor(np.asarray(values), _wide(np.asarray(values).dtype.name)), targets
    )

    @tf.function(autograph=False)  # as Keras traces a step
    def cost() -> tf.Tensor:
        outputs, _, penalties = network.stateless_call(
            network.trainable_variables, network.non_trainable_variables, batch, training=True, return_losses=True
        )
        others = []
        if isinstance(network, WithAuxiliaryClassifiers):
            outputs, *others = outputs
        auxiliary = sum(WithAuxiliaryClassifiers.WEIGHT * tf.reduce_mean(loss(wanted, output)) for output in others)
        return tf.reduce_mean(loss(wanted, outputs)) + auxiliary + sum(penalties)

    return cost


def _backpropagate(cost: Callable[[], tf.Tensor], weights: Sequence[Any]) -> tuple[float, list[np.ndarray]]:
    """The cost and its gradient with respect to each tensor."""
    with tf.GradientTape() as tape:
        value = cost()
    gradients = tape.gradient(
        value, [weight.value for weight in weights], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return float(value), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


def _choose(gradient: np.ndarray, samples: int, chance: np.random.Generator) -> np.ndarray:
    """Places of ``samples`` entries, or of all; the first half have a gradient, where there are as many."""
    order = chance.permutation(gradient.size)
    alive = order[gradient[order] != 0][: (samples + 1) // 2]
    return np.array(list(dict.fromkeys([*alive, *order[:samples]]))[:samples])


def _differentiate(
    cost: Callable[[], tf.Tensor], start: float, weight: Any, entries: np.ndarray, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives by differences, NaN beside a kink, and the step that each was found with."""
    derivatives = np.full(len(entries), np.nan)
    steps = np.full(len(entries), np.nan)
    for step in _STEPS:
        todo = np.flatnonzero(np.isnan(derivatives))
        if not len(todo):
            break
        slopes, bends, lengths = np.transpose([_difference(cost, start, weight, entries[k], step) for k in todo])
        scale = np.linalg.norm(slopes[np.isfinite(slopes)]) / np.sqrt(len(slopes))
        smooth = bends <= np.maximum(rounding / lengths, _FAINT * scale)
        derivatives[todo[smooth]] = slopes[smooth]
        steps[todo[smooth]] = lengths[smooth]
    return derivatives, steps


def _difference(
    cost: Callable[[], tf.Tensor], start: float, weight: Any, entry: int, step: float
) -> tuple[float, float, float]:
    """The derivative at one entry; by how much a kink bends the slope there, 0 in a smooth place; the step."""
    place = np.unravel_index(entry, weight.shape)
    value = float(weight.value[place])
    length = step * max(1.0, abs(value))

    def move(by: float) -> float:
        weight.value[place].assign(value + by)
        return float(cost())

    far, near = ((move(by), move(-by)) for by in (length, length / 2))
    weight.value[place].assign(value)
    slope_far, slope_near = (far[0] - far[1]) / (2 * length), (near[0] - near[1]) / length
    # f(w + h) - 2 f(w) + f(w - h) is h^2 f''(w) in a smooth place, four times as much as over half the step
    bend_far, bend_near = sum(far) - 2 * start, sum(near) - 2 * start
    return (4 * slope_near - slope_far) / 3, abs(4 * bend_near - bend_far) / (2 * length), length


def _judge(
    name: str, shape: tuple[int, ...], gradient: np.ndarray, differences: np.ndarray, rounding: np.ndarray
) -> LayerGradient:
    """The verdict on one tensor; ``rounding`` is what it may do to each difference."""
    smooth = np.isfinite(differences)
    g, d = gradient[smooth], differences[smooth]
    apart, size = np.linalg.norm(g - d), np.linalg.norm(g) + np.linalg.norm(d)
    within_rounding = apart <= np.linalg.norm(rounding[smooth])
    error: float | None = float(apart / size) if size > 0 else 0.0
    verdict: Verdict
    if not len(d):
        verdict, error = "kinks only", None
    elif not np.isfinite(g).all():
        verdict, error = "wrong", 1.0
    elif size == 0 or (within_rounding and error >= _WRONG):
        verdict, error = "no gradient", None
    elif within_rounding or error < _CORRECT:
        verdict = "correct"
    else:
        verdict = "look at it" if error < _WRONG else "wrong"
    return LayerGradient(name, shape, error, len(d), len(gradient) - len(d), verdict)
