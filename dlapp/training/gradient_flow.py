"""How far back a recurrent network learns: the gradient that reaches each step of a sequence.

Bengio, Y., Simard, P. and Frasconi, P. (1994), Learning long-term dependencies with gradient descent is difficult,
IEEE Transactions on Neural Networks 5(2). https://doi.org/10.1109/72.279181
Pascanu, R., Mikolov, T. and Bengio, Y. (2013), On the difficulty of training recurrent neural networks, ICML.
https://arxiv.org/abs/1211.5063
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from dlapp.data import Examples
from dlapp.data.pipelines import Pipeline
from dlapp.data.sequences import SequencePipeline
from dlapp.signature import Signature
from dlapp.training.compiling import loss_and_metric
from dlapp.training.preparing import scaled

_SEQUENCES = 32  # at most
_ENOUGH = 8  # sequences, for as many steps as these have
_STEPS = 100  # at most
_NOTHING = 1e-3  # of the largest norm: what arrives there teaches nothing
_TOO_MUCH = 1e2  # times the norm at the last step


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """The gradient of the loss at the last step, at that step and those before it.

    Attributes:
        norms: mean Euclidean norm over some sequences of the gradient for what goes into the first recurrent layer,
            0, 1, 2, ... steps before the last.
        sentence: what it shows.
    """

    norms: tuple[float, ...]
    sentence: str


def gradient_flow(model: keras.Model, examples: Examples, signature: Signature) -> GradientFlow | None:
    """Measures a network on the longest of the first sequences; None where it has no two steps.

    The loss is that of the last step where there is an answer at each; of an encoder-decoder that of all it writes,
    and the steps are those of what it reads. Sequences are cut to one length, so that none has padding.
    """
    first = next((layer for layer in model.layers if isinstance(layer, layers.RNN | layers.Bidirectional)), None)
    if first is None:
        return None
    inputs, targets = _sequences(examples, signature)
    loss, _ = loss_and_metric(model, signature.task)
    loss.reduction = "sum"  # what one sequence loses has no gradient for another
    with tf.GradientTape() as tape, _watching(first, tape) as seen:
        answers: Any = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        if len(answers.shape) == 3 and len(inputs) == 1:
            answers, targets = answers[:, -1], targets[:, -1]
        total = loss(targets, answers)
    gradient: Any = tape.gradient(total, seen[0])
    norms = np.linalg.norm(gradient.numpy().astype(np.float64), axis=2).mean(axis=0)[::-1]
    return GradientFlow(tuple(norms.tolist()), _tell(norms)) if len(norms) > 1 else None


@contextlib.contextmanager
def _watching(layer: keras.Layer, tape: tf.GradientTape) -> Iterator[list[tf.Tensor]]:
    """Collects what goes into a layer while the context lasts, where the tape can see it."""
    call, seen = layer.call, []

    def watched(inputs: tf.Tensor, *arguments: Any, **options: Any) -> Any:
        tape.watch(inputs)
        seen.append(inputs)
        return call(inputs, *arguments, **options)

    layer.call = watched
    try:
        yield seen
    finally:
        layer.call = call


def _sequences(examples: Examples, signature: Signature) -> tuple[list[np.ndarray], np.ndarray]:
    """Inputs of one length each, and their targets."""
    if signature.preprocessing.vocabulary is None:
        part = scaled(examples.take(np.arange(min(len(examples), _SEQUENCES))), signature.target)
        batch = Pipeline(part, signature.preprocessing, cache_bytes=0).batches(_SEQUENCES)
        values, targets = next(iter(batch.as_numpy_iterator()))
        return [values], targets
    some = SequencePipeline(examples, signature.preprocessing, signature.task, _STEPS).stretches
    longest = sorted(some, key=lambda stretch: -len(stretch.inputs[0]))[:_SEQUENCES]
    length = min(len(longest[min(_ENOUGH, len(longest)) - 1].inputs[0]), _STEPS)
    kept = [stretch for stretch in longest if len(stretch.inputs[0]) >= length]
    inputs = [np.stack([stretch.inputs[0][:length] for stretch in kept])]
    if len(kept[0].inputs) == 1:
        if kept[0].targets.ndim == 0:
            return inputs, np.array([stretch.targets for stretch in kept])
        return inputs, np.stack([stretch.targets[:length] for stretch in kept])
    written = min(len(stretch.targets) for stretch in kept)
    inputs.append(np.stack([stretch.inputs[1][:written] for stretch in kept]))
    return inputs, np.stack([stretch.targets[:written] for stretch in kept])


def _tell(norms: np.ndarray) -> str:
    last = len(norms) - 1
    if not norms.max() > 0:
        return "no gradient reaches any step: the network has stopped learning."
    if norms[-1] > _TOO_MUCH * norms[0]:
        return f"it explodes: {last} steps back it is {norms[-1] / norms[0]:,.0f} times what it is at the last step."
    alive = int(np.flatnonzero(norms >= _NOTHING * norms.max())[-1])
    if alive < last:
        return (
            f"it vanishes: more than {alive} step{'' if alive == 1 else 's'} back less than a thousandth of it is "
            "left, and nothing there is learned."
        )
    share = norms[-1] / norms[0] if norms[0] else 1.0
    return f"it reaches back all {last} steps, where it is {share:.2g} times what it is at the last step."
