"""Recurrent layers become ONNX's operators, and these give what Keras gives."""

import itertools
from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from dlapp.errors import BundleError
from dlapp.exporting import onnx_file
from dlapp.exporting.graph import with_onnx_operators
from dlapp.signature import Preprocessing, Signature, Tensor

CELLS = {"RNN": layers.SimpleRNN, "GRU": layers.GRU, "LSTM": layers.LSTM}
UNITS, FEATURES, TOKENS = 3, 4, 9


def variants(kind):
    """Options of layers, with their merge mode where they read in both directions."""
    gates = {} if kind == "RNN" else {"recurrent_activation": "hard_sigmoid"}
    relu = {"activation": "relu", **gates}
    own = [{}, {"zero_output_for_mask": True}, {"go_backwards": True}]
    for options, every in itertools.product(own, (True, False)):
        yield {**options, "return_sequences": every}, None
    yield {"go_backwards": True, "zero_output_for_mask": True, "return_sequences": True}, None
    yield {"use_bias": False, **relu}, None
    yield {"activation": "linear", "dropout": 0.5}, None
    yield {"activation": "softsign", "recurrent_dropout": 0.5, "return_state": True}, None
    yield {"return_sequences": True}, "concat"
    yield {"use_bias": False, **relu}, "concat"
    yield {"return_sequences": True, "return_state": True}, "sum"
    yield {}, "mul"
    yield {"return_sequences": True}, "ave"
    yield {"return_state": True}, "apart"
    if kind == "GRU":
        yield {"reset_after": False}, None
        yield {"reset_after": False, "return_sequences": True}, "concat"


def build(kind, options, mode):
    """A layer with biases that say something."""
    bias = {"bias_initializer": "uniform"} if options.get("use_bias", True) else {}
    layer = CELLS[kind](UNITS, **options, **bias)
    if mode is None:
        return layer
    return layers.Bidirectional(layer, merge_mode=None if mode == "apart" else mode)


def network(kind):
    """All of them side by side on one embedding."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, FEATURES, mask_zero=True)(tokens)
    outputs = []
    for options, mode in variants(kind):
        outputs += keras.tree.flatten(build(kind, options, mode)(x))
    # the mask flows on, and states are taken up
    first, *left = build(kind, {"return_sequences": True, "return_state": True}, None)(x)
    outputs.append(build(kind, {}, None)(first, initial_state=left))
    both, *left = build(kind, {"return_sequences": True, "return_state": True}, "concat")(first)
    outputs.append(build(kind, {}, "concat")(both, initial_state=left))
    return keras.Model(tokens, outputs, name="toy")


def write(model, path, *, tokens=True):
    """Writes the ONNX file of a model with any outputs."""
    dtype, shape = model.inputs[0].dtype, model.inputs[0].shape
    given = Tensor(
        model.inputs[0].name, dtype, tuple(f"n{k}" if size is None else size for k, size in enumerate(shape))
    )
    outputs = [
        Tensor(f"output{number}", "float32", tuple(f"d{k}" if size is None else size for k, size in enumerate(o.shape)))
        for number, o in enumerate(model.outputs)
    ]
    signature = Signature("test", (given,), tuple(outputs), (), Preprocessing(0))
    marked = with_onnx_operators(model, tokens=tokens)

    def serve(inputs):
        return {f"output{k}": values for k, values in enumerate(keras.tree.flatten(marked(inputs, training=False)))}

    spec = tf.TensorSpec(shape, dtype, name=given.name)
    onnx_file.write(tf.function(serve, input_signature=[spec]), signature, path)
    return onnx.load(path).graph, onnxruntime.InferenceSession(path)


def draw(random, batch, time):
    """Tokens, with zeros behind sequences of several lengths."""
    tokens = random.integers(1, TOKENS, (batch, time)).astype(np.int32)
    tokens[np.arange(time) >= random.integers(1, time + 1, (batch, 1))] = 0
    return tokens


@pytest.mark.parametrize("kind", CELLS)
def test_operators_give_what_keras_gives(kind, tmp_path):
    model = network(kind)
    graph, session = write(model, tmp_path / "model.onnx")
    count = Counter(node.op_type for node in graph.node)
    assert count[kind] == len([layer for layer in model.layers if isinstance(layer, layers.RNN | layers.Bidirectional)])
    assert not count.keys() & {"Loop", "Scan", "If", "Sigmoid", "Tanh"}
    for seed, (batch, time) in enumerate([(5, 4), (1, 3), (2, 1)]):
        tokens = draw(np.random.default_rng(seed), batch, time)
        found = session.run(None, {"tokens": tokens})
        for number, (values, expected) in enumerate(zip(found, model(keras.ops.array(tokens)), strict=True)):
            # float32 sums in another order
            np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=f"output {number}, {batch} x {time}")


@pytest.mark.parametrize("kind", CELLS)
def test_attributes_and_inputs_of_the_operators(kind, tmp_path):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, FEATURES, mask_zero=True)(tokens)
    x = build(kind, {"return_sequences": True, **({"reset_after": False} if kind == "GRU" else {})}, "concat")(x)
    options = {"activation": "relu", "use_bias": False, "go_backwards": True}
    options |= {} if kind == "RNN" else {"recurrent_activation": "hard_sigmoid"}
    graph, _ = write(keras.Model(tokens, build(kind, options, None)(x), name="toy"), tmp_path / "model.onnx")
    first, second = (node for node in graph.node if node.op_type == kind)
    attributes = [
        {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute} for node in (first, second)
    ]
    gru = [{"linear_before_reset": 0}, {"linear_before_reset": 1}] if kind == "GRU" else [{}, {}]
    # what is the default is left out
    assert attributes[0] == {"direction": b"bidirectional", "hidden_size": UNITS} | gru[0]
    activations = {"RNN": [b"Relu"], "GRU": [b"HardSigmoid", b"Relu"], "LSTM": [b"HardSigmoid", b"Relu", b"Relu"]}
    numbers = {} if kind == "RNN" else {"activation_alpha": [pytest.approx(1 / 6)], "activation_beta": [0.5]}
    wanted = {"direction": b"reverse", "hidden_size": UNITS, "activations": activations[kind], **numbers}
    assert attributes[1] == wanted | gru[1]
    assert [bool(name) for name in first.input] == [True] * 5  # sequences, three kinds of weights and lengths
    assert [bool(name) for name in second.input] == [True, True, True, False, True]
    assert [bool(name) for name in first.output] == [True]  # nothing that nobody reads
    assert [bool(name) for name in second.output] == [False, True]
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used, "the sign leaves nothing behind"


@pytest.mark.parametrize("kind", CELLS)
def test_sequences_without_a_mask(kind, tmp_path):
    inputs = keras.Input((None, FEATURES), name="input")
    x = build(kind, {"return_sequences": True}, "concat")(inputs)
    x = layers.Dense(3)(build(kind, {"return_sequences": True}, None)(x))
    model = keras.Model(inputs, [x, build(kind, {"go_backwards": True}, None)(x)], name="toy")
    graph, session = write(model, tmp_path / "model.onnx", tokens=False)
    assert [len(node.input) for node in graph.node if node.op_type == kind] == [4] * 3, "no lengths"
    for batch, time in ((3, 4), (1, 2)):
        vectors = np.random.default_rng(0).normal(size=(batch, time, FEATURES)).astype(np.float32)
        for values, expected in zip(session.run(None, {"input": vectors}), model(vectors), strict=True):
            np.testing.assert_allclose(values, expected, atol=1e-5)


def test_cells_alone_and_unrolled(tmp_path):
    inputs = keras.Input((3, FEATURES), name="input")
    x = layers.GRU(UNITS, return_sequences=True, unroll=True)(inputs)
    x = layers.RNN(layers.LSTMCell(UNITS), return_sequences=True)(x)
    # of which ONNX has no operator; unrolled it needs no loop
    cells = [layers.SimpleRNNCell(2), layers.SimpleRNNCell(3)]
    model = keras.Model(inputs, layers.RNN(cells, unroll=True)(x), name="toy")
    graph, session = write(model, tmp_path / "model.onnx", tokens=False)
    count = Counter(node.op_type for node in graph.node)
    assert (count["GRU"], count["LSTM"], count["RNN"]) == (1, 1, 0)
    vectors = np.random.default_rng(0).normal(size=(2, 3, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {"input": vectors})[0], model(vectors), atol=1e-5)


def stack(*made):
    """A network of layers one behind the other, on vectors."""
    x = inputs = keras.Input((None, FEATURES), batch_size=2, name="input")
    for layer in made:
        x = layer(x)
    return keras.Model(inputs, x, name="toy")


REFUSED = {
    "stateful": (lambda: [layers.GRU(2, stateful=True, name="kept")], "kept keeps its state .* stateful=False"),
    "activation": (
        lambda: [layers.LSTM(2, activation="gelu", name="odd")],
        "odd has the activation gelu, which .*LSTM",
    ),
    "unlike": (
        lambda: [layers.Bidirectional(layers.GRU(2), backward_layer=layers.GRU(3, go_backwards=True), name="both")],
        "both has no ONNX operator: its directions must have the same",
    ),
    "turned": (
        lambda: [layers.Bidirectional(layers.GRU(2, go_backwards=True), backward_layer=layers.GRU(2), name="both")],
        "the first of its directions must go forwards",
    ),
    "half": (lambda: [layers.GRU(2, dtype="mixed_float16", name="half")], "half computes in float16: only float32"),
    "masking": (
        lambda: [layers.Masking(name="holes"), layers.GRU(2)],
        r"holes \(Masking\) masks steps that may stand anywhere",
    ),
    "cells": (
        lambda: [layers.RNN([layers.LSTMCell(2), layers.LSTMCell(2)], name="stacked")],
        "would be a loop in the ONNX file.*unroll=True",
    ),
}


@pytest.mark.parametrize(("make", "told"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_operator_is_refused(make, told, tmp_path):
    with pytest.raises(BundleError, match=told):
        write(stack(*make()), tmp_path / "model.onnx")


def test_zeros_among_tokens_must_be_known_to_be_padding():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(TOKENS, FEATURES, mask_zero=True, name="embedding")(tokens)
    with pytest.raises(BundleError, match=r"embedding \(Embedding\) masks steps that may stand anywhere"):
        with_onnx_operators(keras.Model(tokens, layers.GRU(2)(x)))


def test_another_mask_is_refused():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(TOKENS, FEATURES)(tokens)
    model = keras.Model(tokens, layers.GRU(2, name="odd")(x, mask=keras.ops.greater(tokens, 3)))
    with pytest.raises(BundleError, match=r"odd is masked by greater.*mask by an Embedding"):
        with_onnx_operators(model, tokens=True)


def test_tokens_have_time_first_before_they_are_looked_up(tmp_path):
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.GRU(2)(layers.Embedding(TOKENS, FEATURES, mask_zero=True)(tokens))
    graph, _ = write(keras.Model(tokens, x, name="toy"), tmp_path / "model.onnx")
    first, second = (node for node in graph.node if node.op_type in ("Transpose", "Gather"))
    assert (first.op_type, second.op_type) == ("Transpose", "Gather")
    assert list(first.attribute[0].ints) == [1, 0]
    (operator,) = (node for node in graph.node if node.op_type == "GRU")
    assert operator.input[0] == second.output[0]
    assert len([node for node in graph.node if node.op_type in ("Equal", "Not", "Cast")]) == 0
