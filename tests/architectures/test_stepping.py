"""One step after another gives what the whole sequence gives."""

import keras
import numpy as np
import pytest
from keras import layers

from dlapp.architectures.stepping import encoder, state_sizes, step_model

CELLS = {"simple": layers.SimpleRNN, "gru": layers.GRU, "lstm": layers.LSTM}
STATES = {"simple": (3, 5), "gru": (3, 5), "lstm": (3, 3, 5, 5)}  # an LSTM has an output and a cell


def language_model(cell, *, activation="softmax", **options):
    """Two layers and all that may stand between them."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(7, 4, mask_zero=True)(tokens)
    x = CELLS[cell](3, return_sequences=True, bias_initializer="uniform", name="recurrent1", **options)(x)
    x = layers.LayerNormalization()(layers.Dropout(0.5)(x))
    x = CELLS[cell](5, return_sequences=True, name="recurrent2")(x)
    return keras.Model(tokens, layers.Dense(6, activation=activation)(x), name="toy")


def encoder_decoder(cell):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    written = keras.Input((None,), dtype="int32", name="target_tokens")
    x = layers.Embedding(7, 4, mask_zero=True)(tokens)
    x, *first = CELLS[cell](3, return_sequences=True, return_state=True)(x)
    _, *second = CELLS[cell](5, return_state=True)(x)
    y = layers.Embedding(6, 4, mask_zero=True)(written)
    y = CELLS[cell](3, return_sequences=True, name="decoder1")(y, initial_state=first)
    y = CELLS[cell](5, return_sequences=True, name="decoder2")(y, initial_state=second)
    return keras.Model([tokens, written], layers.Dense(6, activation="softmax")(y), name="toy")


def steps(model, tokens, states):
    """(batch, time, classes): what a step model gives for each token, states fed back."""
    answers = []
    for token in tokens.T:
        probabilities, *states = model([keras.ops.array(token), *states])
        answers.append(probabilities)
    return np.stack(answers, axis=1)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_a_language_model(cell):
    model = language_model(cell)
    tokens = np.random.default_rng(0).integers(1, 7, (3, 4)).astype(np.int32)
    zeros = [keras.ops.zeros((3, size)) for size in STATES[cell]]
    assert state_sizes(model) == STATES[cell]
    found = step_model(model)
    assert [tensor.shape[1:] for tensor in found.inputs] == [(), *((size,) for size in STATES[cell])]
    assert [tensor.name for tensor in found.inputs[:2]] == ["token", "state1"]
    # float32 sums in another order
    np.testing.assert_allclose(steps(found, tokens, zeros), model(tokens), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_a_decoder_begin_where_its_encoder_ends(cell):
    model = encoder_decoder(cell)
    random = np.random.default_rng(0)
    tokens = np.array([[3, 1, 5], [2, 0, 0]], np.int32)
    written = random.integers(1, 6, (2, 4)).astype(np.int32)
    states = encoder(model)(tokens)
    assert tuple(state.shape[-1] for state in states) == state_sizes(model) == STATES[cell]
    expected = model([tokens, written])
    np.testing.assert_allclose(steps(step_model(model), written, states), expected, atol=1e-6)


def test_logits_become_probabilities():
    found = step_model(language_model("gru", activation=None))
    zeros = [keras.ops.zeros((2, size)) for size in STATES["gru"]]
    probabilities = found([keras.ops.array([1, 2]), *zeros])[0]
    np.testing.assert_allclose(np.sum(probabilities, axis=-1), 1, atol=1e-6)


def test_weights_are_shared():
    model = language_model("lstm")
    found = step_model(model)
    model.get_layer("recurrent2").cell.kernel.assign_add(np.ones((3, 20)))
    tokens = np.array([[4, 2]], np.int32)
    zeros = [keras.ops.zeros((1, size)) for size in STATES["lstm"]]
    np.testing.assert_allclose(steps(found, tokens, zeros), model(tokens), atol=1e-6)


def both_directions():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(layers.Embedding(7, 4)(tokens))
    return keras.Model(tokens, layers.Dense(6, activation="softmax")(x), name="toy")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (both_directions, r"both \(Bidirectional\) of toy needs more than the past of a sequence; .*one direction"),
        (lambda: language_model("gru", go_backwards=True), r"recurrent1 \(GRU\) of toy needs more"),
    ],
    ids=["two directions", "backwards"],
)
def test_what_looks_ahead_has_no_step(make, told):
    model = make()
    for function in (step_model, state_sizes):
        with pytest.raises(ValueError, match=told):
            function(model)


def test_an_encoder_needs_a_decoder():
    with pytest.raises(ValueError, match="takes two sequences; toy takes 1"):
        encoder(language_model("gru"))
    written = keras.Input((None,), dtype="int32")
    x = layers.GRU(3, return_sequences=True, name="alone")(layers.Embedding(7, 4)(written))
    model = keras.Model([keras.Input((None,)), written], layers.Dense(2, activation="softmax")(x), name="toy")
    with pytest.raises(ValueError, match="alone of toy must begin with the states of an encoder"):
        encoder(model)
