"""Recurrent networks: every form and cell, what padding and neighbours change (nothing)."""

import numpy as np
import pytest

from dlapp.architectures import recurrent
from dlapp.architectures.recurrent_networks import sees_the_past_alone

CELLS = ("simple", "gru", "lstm")
GATES = {"simple": 1, "gru": 3, "lstm": 4}


def cell_parameters(cell, inputs, units):
    biases = 2 if cell == "gru" else 1  # with reset_after the recurrent matrix has biases of its own
    return GATES[cell] * units * (inputs + units + biases)


@pytest.mark.parametrize("cell", CELLS)
def test_counts_by_hand(cell):
    model = recurrent(classes=3, cell=cell, units=(7, 5), vocabulary=11, embedding_size=4)
    layers = cell_parameters(cell, 4, 7) + cell_parameters(cell, 7, 5)
    assert model.count_params() == 11 * 4 + layers + (5 + 1) * 3
    assert model.output_shape == (None, 3)
    both = recurrent(classes=3, cell=cell, units=(7, 5), vocabulary=11, embedding_size=4, bidirectional=True)
    layers = 2 * cell_parameters(cell, 4, 7) + 2 * cell_parameters(cell, 14, 5)
    assert both.count_params() == 11 * 4 + layers + (10 + 1) * 3


@pytest.mark.parametrize(("bidirectional", "decoder"), [(False, 6), (True, 12)])
def test_a_decoder_begins_with_the_states_of_both_directions(bidirectional, decoder):
    model = recurrent(
        form="encoder_decoder",
        classes=9,
        units=6,
        vocabulary=11,
        embedding_size=4,
        bidirectional=bidirectional,
    )
    encoding = (2 if bidirectional else 1) * cell_parameters("lstm", 4, 6)
    decoding = cell_parameters("lstm", 4, decoder)
    assert model.count_params() == 11 * 4 + 9 * 4 + encoding + decoding + (decoder + 1) * 9
    assert [given.name for given in model.inputs] == ["tokens", "target_tokens"]
    assert model.output_shape == (None, None, 9)


def test_an_old_gru_has_one_bias_for_each_gate():
    options = {"classes": 2, "cell": "gru", "units": 5, "vocabulary": 3, "embedding_size": 2}
    assert recurrent(**options).count_params() - recurrent(reset_after=False, **options).count_params() == 3 * 5


@pytest.mark.parametrize(
    ("shape", "form", "output"),
    [
        ((None,), "many_to_one", (None, 4)),
        ((None,), "many_to_many", (None, None, 4)),
        ((None,), "one_to_many", (None, None, 4)),
        ((None, 3), "many_to_one", (None, 4)),
        ((7, 3), "many_to_many", (None, 7, 4)),
        ((5, 3, 2), "many_to_one", (None, 4)),
        ((6,), "one_to_one", (None, 4)),
        ((6,), "many_to_one", (None, 4)),
    ],
)
def test_forms(shape, form, output):
    assert recurrent(shape, classes=4, form=form, units=2).output_shape == output


def test_rows_of_a_picture_are_steps():
    model = recurrent((3, 2, 2), classes=2, cell="simple", units=4, kernel_regularizer="l2")
    picture = np.random.default_rng(0).normal(size=(1, 3, 2, 2)).astype(np.float32)
    kernel, recurrent_kernel, bias = model.get_layer("recurrent1").get_weights()
    state = np.zeros(4)
    for row in picture[0]:
        state = np.tanh(row.reshape(-1) @ kernel + state @ recurrent_kernel + bias)
    weights, biases = model.get_layer("classifier").get_weights()
    logits = state @ weights + biases
    np.testing.assert_allclose(model(picture)[0], np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "both directions"])
@pytest.mark.parametrize("form", ["many_to_one", "many_to_many"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_does_not_depend_on_its_neighbours(cell, form, bidirectional):
    model = recurrent(classes=3, form=form, cell=cell, units=(6, 5), bidirectional=bidirectional, vocabulary=20)
    draw = np.random.default_rng(0)
    alone = draw.integers(1, 20, (1, 5))
    together = np.concatenate([np.pad(alone, ((0, 0), (0, 4))), draw.integers(1, 20, (2, 9))])
    expected, found = model(alone), model(together)[:1]
    # as far as the sequence goes; float32 sums in batches of another size
    np.testing.assert_allclose(found if form == "many_to_one" else found[:, :5], expected, atol=1e-6)


def test_the_loss_counts_no_padding():
    model = recurrent(classes=4, form="many_to_many", units=3, vocabulary=6)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    tokens, targets = np.array([[1, 2, 3], [4, 0, 0]]), np.array([[1, 2, 3], [3, 0, 0]])
    answers = model.predict(tokens, verbose=0)
    told = [answers[0, 0, 1], answers[0, 1, 2], answers[0, 2, 3], answers[1, 0, 3]]
    right = [answers[row, place].argmax() == targets[row, place] for row, place in [(0, 0), (0, 1), (0, 2), (1, 0)]]
    loss, accuracy = model.evaluate(tokens, targets, verbose=0)
    assert loss == pytest.approx(-np.log(told).mean(), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(right))


def test_one_direction_sees_the_past_alone():
    tagger = {"classes": 3, "form": "many_to_many", "units": 2, "vocabulary": 4}
    assert sees_the_past_alone(recurrent(**tagger))
    assert not sees_the_past_alone(recurrent(**tagger, bidirectional=True))
    assert not sees_the_past_alone(recurrent(classes=3, units=2, vocabulary=4))
    assert not sees_the_past_alone(recurrent(classes=3, form="encoder_decoder", units=2, vocabulary=4))


def test_a_state_starts_orthogonal():
    model = recurrent(cell="simple", units=8)
    recurrent_kernel = model.get_layer("recurrent1").cell.recurrent_kernel
    np.testing.assert_allclose(recurrent_kernel.numpy() @ recurrent_kernel.numpy().T, np.eye(8), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((None,), {"form": "many"}, "form must be one of one_to_one, .*; got 'many'"),
        ((None,), {"cell": "rnn"}, "cell must be one of simple, gru, lstm; got 'rnn'"),
        ((None,), {"pooling": "max"}, "pooling must be one of last, average; got .max."),
        ((None,), {"units": ()}, r"units must be positive whole numbers, .*; got \[\]"),
        ((None,), {"vocabulary": 1}, "vocabulary must be at least 2, padding and one token; got 1"),
        ((None,), {"dropout": 1.0}, "dropout must be at least 0 and less than 1"),
        ((None,), {"classes": 0}, "classes must be at least 1; got 0"),
        ((4, 3), {"form": "encoder_decoder"}, r"encoder_decoder reads tokens, input_shape \(None,\); got \(4, 3\)"),
        ((4, 3), {"form": "one_to_one"}, r"one_to_one needs one row \(features,\); got \(4, 3\)"),
        ((4,), {"form": "many_to_many"}, r"many_to_many needs more than one step; got \(4,\)"),
        ((None, None, 1), {}, r"pictures \(height, width, channels\) .*; got \(None, None, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        recurrent(shape, **options)


def test_an_average_leaves_padding_out():
    model = recurrent(classes=3, units=4, vocabulary=9, pooling="average", bidirectional=True)
    every = recurrent(classes=3, units=4, vocabulary=9, form="many_to_many", bidirectional=True, include_top=False)
    every.set_weights(model.get_weights()[:-2])
    tokens = np.array([[5, 6, 7, 0, 0]])
    weights, biases = model.get_layer("classifier").get_weights()
    logits = every(tokens)[0, :3].numpy().mean(axis=0) @ weights + biases
    np.testing.assert_allclose(model(tokens)[0], np.exp(logits) / np.exp(logits).sum(), rtol=1e-5)
