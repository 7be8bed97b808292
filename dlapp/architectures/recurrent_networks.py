"""Recurrent networks: SimpleRNN, GRU and LSTM in every shape of the course.

Elman, J. L. (1990), Finding structure in time, Cognitive Science 14(2). https://doi.org/10.1207/s15516709cog1402_1
Hochreiter, S. and Schmidhuber, J. (1997), Long short-term memory, Neural Computation 9(8).
https://doi.org/10.1162/neco.1997.9.8.1735
Cho, K. et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine translation.
https://arxiv.org/abs/1406.1078 (the GRU, and the encoder-decoder); Sutskever, Vinyals and Le (2014), Sequence to
sequence learning with neural networks. https://arxiv.org/abs/1409.3215
Both directions: Schuster, M. and Paliwal, K. K. (1997), https://doi.org/10.1109/78.650093
Dropout between layers, never from step to step: Zaremba, Sutskever and Vinyals (2014), https://arxiv.org/abs/1409.2329
Orthogonal start: Saxe, McClelland and Ganguli (2013), https://arxiv.org/abs/1312.6120
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import keras
from keras import layers

Form = Literal["one_to_one", "one_to_many", "many_to_one", "many_to_many", "encoder_decoder"]
Cell = Literal["simple", "gru", "lstm"]
Pooling = Literal["last", "average"]

_CELLS: Mapping[str, type[keras.Layer]] = {"simple": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}


def recurrent(
    input_shape: Sequence[int | None] = (None,),
    *,
    classes: int = 2,
    classifier_activation: str | None = "softmax",
    include_top: bool = True,
    form: Form = "many_to_one",
    cell: Cell = "lstm",
    units: int | Sequence[int] = 128,
    bidirectional: bool = False,
    pooling: Pooling = "last",
    vocabulary: int = 10_000,
    target_vocabulary: int = 0,
    embedding_size: int = 64,
    reset_after: bool = True,
    recurrent_initializer: Any = "orthogonal",
    kernel_regularizer: Any = None,
    dropout: float = 0.0,
) -> keras.Model:
    """A network that keeps a state from step to step of a sequence.

    Args:
        input_shape: (None,) for tokens: whole numbers below ``vocabulary``, where 0 is padding behind a sequence;
            (time, features) for vectors, with None for any time; (height, width, channels) for a picture, whose
            rows are the steps; (features,) for a row of a table, which is one step.
        classes: of the answer, or of the answer at each step.
        classifier_activation: None gives logits.
        include_top: False ends with the last recurrent layer.
        form: ``many_to_one`` answers behind the last step, ``many_to_many`` at every step. ``one_to_many`` is the
            same network where each answer is the next token: trained on what was to be answered (teacher forcing),
            in use on what it answered itself. ``encoder_decoder`` reads one sequence, then writes another,
            beginning with the states that the first left. ``one_to_one`` is a row of one step.
        cell: ``simple``, ``gru`` or ``lstm``.
        units: of each recurrent layer, from the input to the answer. One number is one layer.
        bidirectional: a second layer reads every sequence from its end. Without, an answer depends on this step
            and the past alone. A decoder always writes in one direction, from states of both.
        pooling: what of the last layer's steps is answered from where there is one answer: the ``last`` state of each
            direction, or the ``average`` of all steps, padding left out.
        vocabulary: tokens that there are, of the input.
        target_vocabulary: tokens that there are, of what a decoder writes; ``classes`` where it is 0.
        embedding_size: numbers that a token becomes.
        reset_after: of a GRU: the reset gate acts behind the recurrent matrix, as in cuDNN, or before it, as published.
        recurrent_initializer: orthogonal keeps the norm of a state at the start.
        kernel_regularizer: of every kernel; recurrent kernels have none.
        dropout: the fraction dropped of what goes into each recurrent layer and into the last one.

    Returns:
        A model from (batch, *input_shape) to (batch, classes), or (batch, time, classes) where there is an answer at
        each step; an encoder-decoder takes ``tokens`` (batch, time) and ``target_tokens`` (batch, target time), what
        was written so far, and gives (batch, target time, classes). Behind the end of a sequence answers mean nothing;
        they never change those before.
        With k numbers in and n units a layer has n (k + n + 1) parameters, a GRU 3 n (k + n + 2) (3 n (k + n + 1)
        without ``reset_after``), an LSTM 4 n (k + n + 1); both directions have twice as many, and 2 n units.

    Raises:
        ValueError: an argument does not fit.

    Departures: Sutskever et al. reverse the input; here its order stays. The GRU of Cho et al. resets before the
    recurrent matrix; ``reset_after=False`` does that.
    """
    sizes = [units] if isinstance(units, int) else list(units)
    _check(form, cell, pooling, sizes, classes, dropout)
    recipe = _Layers(cell, bidirectional, reset_after, recurrent_initializer, kernel_regularizer, dropout)
    inputs, x, steps = _steps(tuple(input_shape), form, vocabulary, embedding_size)
    top = layers.Dense(
        classes, activation=classifier_activation, kernel_regularizer=kernel_regularizer, name="classifier"
    )
    if form == "encoder_decoder":
        states = recipe.encoder(x, sizes)
        decoded = keras.Input((None,), dtype="int32", name="target_tokens")
        x = _embedding(target_vocabulary or classes, embedding_size, "decoder_embedding")(decoded)
        x = recipe.decoder(x, states)
        inputs = [inputs, decoded]
    else:
        answers = form in ("one_to_many", "many_to_many") and steps
        x = recipe.stack(x, sizes, at_every_step=answers or pooling == "average")
        if pooling == "average" and not answers:
            x = layers.GlobalAveragePooling1D(name="average")(x)
    if include_top:
        if dropout:
            x = layers.Dropout(dropout, name="classifier_dropout")(x)
        x = top(x)
    return keras.Model(inputs, x, name="recurrent")


def reads_one_way(model: keras.Model) -> bool:
    """Whether there are recurrent layers, and none of them reads from the end."""
    found = [layer for layer in model.layers if isinstance(layer, layers.RNN | layers.Bidirectional)]
    return bool(found) and not any(isinstance(layer, layers.Bidirectional) for layer in found)


def sees_the_past_alone(model: keras.Model) -> bool:
    """Whether it answers at every step, and knows nothing of those that follow."""
    return reads_one_way(model) and len(model.outputs[0].shape) == 3 and not isinstance(model.input, list)


class _Layers:
    """Recurrent layers that differ in nothing but their place and units."""

    def __init__(
        self, cell: Cell, bidirectional: bool, reset_after: bool, initializer: Any, regularizer: Any, dropout: float
    ) -> None:
        self._make = _CELLS[cell]
        self._bidirectional = bidirectional
        self._dropout = dropout
        self._options: dict[str, Any] = {
            "recurrent_initializer": initializer,
            "kernel_regularizer": regularizer,
        }
        if cell == "gru":
            self._options["reset_after"] = reset_after

    def stack(self, x: Any, sizes: Sequence[int], *, at_every_step: bool) -> Any:
        for number, units in enumerate(sizes, start=1):
            x = self._drop(x, f"dropout{number}")
            every = at_every_step or number < len(sizes)
            x = self._layer(units, f"recurrent{number}", return_sequences=every)(x)
        return x

    def encoder(self, x: Any, sizes: Sequence[int]) -> list[list[Any]]:
        """The states that each layer leaves; of both directions side by side."""
        left = []
        for number, units in enumerate(sizes, start=1):
            x = self._drop(x, f"encoder_dropout{number}")
            every = number < len(sizes)
            x, *states = self._layer(units, f"encoder{number}", return_sequences=every, return_state=True)(x)
            if self._bidirectional:
                half = len(states) // 2
                states = [
                    layers.Concatenate(name=f"state{number}_{place}")([states[place], states[half + place]])
                    for place in range(half)
                ]
            left.append(states)
        return left

    def decoder(self, x: Any, states: Sequence[Sequence[Any]]) -> Any:
        for number, before in enumerate(states, start=1):
            x = self._drop(x, f"decoder_dropout{number}")
            layer = self._one_way(before[0].shape[-1], f"decoder{number}", return_sequences=True)
            x = layer(x, initial_state=list(before))
        return x

    def _layer(self, units: int, name: str, **returned: bool) -> keras.Layer:
        layer = self._one_way(units, name, **returned)
        return layers.Bidirectional(layer, name=name) if self._bidirectional else layer

    def _one_way(self, units: int, name: str, **returned: bool) -> keras.Layer:
        # behind a sequence there is nothing, as in every other runtime, instead of its last output again; of a last
        # output alone Keras would make nothing too, wherever there is padding
        zero = returned["return_sequences"]
        return self._make(units, name=name, zero_output_for_mask=zero, **self._options, **returned)

    def _drop(self, x: Any, name: str) -> Any:
        return layers.Dropout(self._dropout, name=name)(x) if self._dropout else x


def _steps(shape: tuple[int | None, ...], form: Form, vocabulary: int, embedding_size: int) -> tuple[Any, Any, bool]:
    """The input, the vectors of its steps (batch, time, features), and whether there is more than one step."""
    if len(shape) == 1 and shape[0] is None:
        if vocabulary < 2:
            raise ValueError(f"vocabulary must be at least 2, padding and one token; got {vocabulary}.")
        inputs = keras.Input(shape, dtype="int32", name="tokens")
        name = "encoder_embedding" if form == "encoder_decoder" else "embedding"
        return inputs, _embedding(vocabulary, embedding_size, name)(inputs), True
    if form in ("one_to_many", "encoder_decoder"):
        raise ValueError(f"{form} reads tokens, input_shape (None,); got {shape}.")
    if len(shape) not in (1, 2, 3) or None in shape[1:] or (len(shape) == 3 and shape[0] is None):
        raise ValueError(
            "recurrent needs tokens (None,), vectors (time, features), pictures (height, width, channels) or one row "
            f"(features,); got {shape}."
        )
    if (form == "one_to_one") != (len(shape) == 1) and form in ("one_to_one", "many_to_many"):
        raise ValueError(
            f"{form} needs {'one row (features,)' if form == 'one_to_one' else 'more than one step'}; got {shape}."
        )
    inputs = keras.Input(shape, name="input")
    if len(shape) == 2:
        return inputs, inputs, True
    rows = (shape[0] if len(shape) == 3 else 1, -1)
    return inputs, layers.Reshape(rows, name="steps")(inputs), len(shape) > 1


def _embedding(vocabulary: int, size: int, name: str) -> keras.Layer:
    return layers.Embedding(vocabulary, size, mask_zero=True, name=name)


def _check(form: str, cell: str, pooling: str, sizes: Sequence[int], classes: int, dropout: float) -> None:
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {', '.join(get_args(Form))}; got {form!r}.")
    if cell not in _CELLS:
        raise ValueError(f"cell must be one of {', '.join(_CELLS)}; got {cell!r}.")
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling must be one of {', '.join(get_args(Pooling))}; got {pooling!r}.")
    if not sizes or any(not isinstance(count, int) or count < 1 for count in sizes):
        raise ValueError(f"units must be positive whole numbers, one for each recurrent layer; got {list(sizes)}.")
    if classes < 1:
        raise ValueError(f"classes must be at least 1; got {classes}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, the fraction that is dropped; got {dropout}.")
