"""A trained network that goes on by one token: state in, state out. Layers and weights are shared."""

from typing import Any

import keras
from keras import layers, ops

from dlapp.architectures.heads import with_probabilities

_RECURRENT = (layers.SimpleRNN, layers.GRU, layers.LSTM)
# what does the same at every step, besides recurrent layers
_AT_ONE_STEP = (
    layers.Embedding, layers.Dense, layers.Dropout, layers.Activation, layers.LayerNormalization, layers.Softmax,
)  # fmt: skip


def step_model(model: keras.Model) -> keras.Model:
    """One step of a network that gives the next token.

    Args:
        model: from (batch, time) tokens to (batch, time, classes), or an encoder-decoder from ``tokens`` and
            ``target_tokens``, of which this is the decoder.

    Returns:
        A model from [``token`` (batch,) int32, ``state1`` (batch, units), ...] to [probabilities (batch, classes),
        the next states]. The states are those of the recurrent layers from the first to the last, of an LSTM its output
        and then its cell; a sequence begins with zeros, or with what :func:`encoder` gives.

    Raises:
        ValueError: a layer needs more than the past.
    """
    x = token = keras.Input((), dtype="int32", name="token")
    before, after = [], []
    for operation, _ in _path(with_probabilities(model)):
        if isinstance(operation, _RECURRENT):
            states = [
                keras.Input((size,), name=f"state{len(before) + number}")
                for number, size in enumerate(operation.state_size, start=1)
            ]
            one_step = layers.RNN(operation.cell, return_state=True, unroll=True, name=operation.name)
            x, *left = one_step(ops.expand_dims(x, 1), initial_state=states)
            before, after = before + states, after + left
        else:
            x = operation(x)
    return keras.Model([token, *before], [x, *after], name=f"{model.name}_step")


def encoder(model: keras.Model) -> keras.Model:
    """The first half of an encoder-decoder.

    Args:
        model: from ``tokens`` and ``target_tokens``.

    Returns:
        A model from ``tokens`` (batch, time) to the states, each (batch, units), that the step begins with.

    Raises:
        ValueError: it takes one sequence alone, or its decoder begins with zeros.
    """
    if len(model.inputs) != 2:
        raise ValueError(f"an encoder-decoder takes two sequences; {model.name} takes {len(model.inputs)}.")
    states: list[Any] = []
    for operation, node in _path(model):
        if isinstance(operation, _RECURRENT):
            given = keras.tree.flatten(node.arguments.kwargs.get("initial_state"))
            if None in given or not given:
                raise ValueError(f"{operation.name} of {model.name} must begin with the states of an encoder.")
            states += given
    return keras.Model(model.inputs[0], states, name=f"{model.name}_encoder")


def state_sizes(model: keras.Model) -> tuple[int, ...]:
    """How many numbers each state of :func:`step_model` has."""
    found = (operation for operation, _ in _path(model) if isinstance(operation, _RECURRENT))
    return tuple(size for layer in found for size in layer.state_size)


def _path(model: keras.Model) -> list[tuple[Any, Any]]:
    """The operations between the last input and the output, and how each was called.

    Raises:
        ValueError: one of them needs more than the past.
    """
    tensor, path = model.outputs[0], []
    first = model.inputs[-1]._keras_history.operation
    while (operation := tensor._keras_history.operation) is not first:
        node = operation._inbound_nodes[tensor._keras_history.node_index]
        steps = isinstance(operation, _RECURRENT) and not operation.go_backwards
        # what is no layer is a function of keras.ops: the softmax behind logits
        if not steps and isinstance(operation, keras.Layer) and not isinstance(operation, _AT_ONE_STEP):
            raise ValueError(
                f"{operation.name} ({type(operation).__name__}) of {model.name} needs more than the past of a "
                "sequence; a network that goes on by one token must read in one direction (bidirectional=False)."
            )
        path.append((operation, node))
        tensor = node.input_tensors[0]
    return path[::-1]
