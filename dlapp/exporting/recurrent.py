"""Recurrent layers as ONNX's own operators, where Keras computes a loop over time.

A layer is replaced by one whose call is a sign that only stands for the operator: TensorFlow carries the sign
through, and a handler of tf2onnx turns it into ``RNN``, ``GRU`` or ``LSTM`` with the weights of the layer.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import layers

from dlapp.errors import BundleError

_CELLS = (layers.SimpleRNNCell, layers.GRUCell, layers.LSTMCell)
SIGN = "PyFuncStateless"  # TensorFlow's operator that the sign is
_OPERATORS = dict(zip(_CELLS, ("RNN", "GRU", "LSTM"), strict=True))
# Keras's gates in the order of ONNX: input, output, forget and cell of an LSTM
_GATES = {"RNN": (0,), "GRU": (0, 1, 2), "LSTM": (0, 3, 1, 2)}
# name in ONNX, alpha and beta; other activations have no such form
_ACTIVATIONS: dict[Any, tuple[str, float | None, float | None]] = {
    keras.activations.tanh: ("Tanh", None, None),
    keras.activations.sigmoid: ("Sigmoid", None, None),
    keras.activations.relu: ("Relu", None, None),
    keras.activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
    keras.activations.linear: ("Affine", 1.0, 0.0),
    keras.activations.softsign: ("Softsign", None, None),
}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def has_operator(layer: keras.Layer) -> bool:
    """Whether :func:`with_operator` knows an operator for it."""
    inner = layer.forward_layer if type(layer) is layers.Bidirectional else layer
    return isinstance(inner, layers.RNN) and type(inner.cell) in _CELLS


def with_operator(layer: Any) -> keras.Layer:
    """A layer of which :func:`has_operator` holds, in the form that becomes one operator.

    Raises:
        BundleError: some option of it has no such form.
    """
    directions = [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else [layer]
    if layer.stateful:
        raise BundleError(
            f"{layer.name} keeps its state from one batch to the next, which a bundle does not: build it with "
            "stateful=False."
        )
    if len(directions) == 2 and directions[0].go_backwards:
        raise BundleError(f"{layer.name} has no ONNX operator: the first of its directions must go forwards.")
    return _Recurrent(layer, directions)


def check_masks(model: keras.Model, *, right_padded: bool) -> None:
    """Refuses masks that need not be at the end of a sequence: an operator knows how long it is, and nothing else.

    Args:
        model: with recurrent layers.
        right_padded: whether zeros are known to stand behind all other tokens.

    Raises:
        BundleError: there is such a mask.
    """
    for layer in model.layers:
        by_zeros = isinstance(layer, layers.Embedding) and layer.mask_zero and not right_padded
        if by_zeros or isinstance(layer, layers.Masking):
            raise BundleError(
                f"{layer.name} ({type(layer).__name__}) masks steps that may stand anywhere; ONNX leaves out steps at "
                "the end of a sequence alone, which is sure for tokens with a vocabulary. Export it with "
                "--to savedmodel alone."
            )


def call(layer: Any, *given: Any, **options: Any) -> Any:
    """Calls a layer of a network whose mask is where tokens are not zero; a recurrent one takes that as whole numbers.

    A comparison and the sum over it are four operators in ONNX, which take as long as some steps of a small layer.

    Raises:
        BundleError: there is another mask.
    """
    mask = options.get("mask")
    if isinstance(layer, _Recurrent) and mask is not None:
        operation, number, _ = mask._keras_history
        compared, *to = operation._inbound_nodes[number].arguments.args
        source = compared._keras_history.operation
        if not (operation.name.startswith("not_equal") and to == [0] and isinstance(source, layers.InputLayer)):
            raise BundleError(
                f"{layer.name} is masked by {operation.name}, which ONNX has no form for: mask by an Embedding of the "
                "tokens (mask_zero=True)."
            )
        options["mask"] = keras.ops.minimum(compared, 1)
    return layer(*given, **options)


@dataclasses.dataclass(frozen=True, eq=False)
class _Operator:
    """What ONNX has to know of the cells of one or two directions.

    Attributes:
        kind: ``RNN``, ``GRU`` or ``LSTM``.
        attributes: of the operator.
        weights: kernels, recurrent kernels and, where there are any, biases, a direction below the other.
    """

    kind: str
    attributes: dict[str, Any]
    weights: list[np.ndarray]

    @classmethod
    def of(cls, layer: keras.Layer, cells: Sequence[Any], *, backwards: bool = False) -> "_Operator":
        """The operator of cells that are alike; ``layer`` is named in errors."""
        first = cells[0]
        kind = _OPERATORS[type(first)]
        alike = {(type(cell), cell.units, cell.use_bias, getattr(cell, "reset_after", False)) for cell in cells}
        if len(alike) > 1:
            raise BundleError(
                f"{layer.name} has no ONNX operator: its directions must have the same cell, units and options. Let "
                "Bidirectional make the second."
            )
        if layer.compute_dtype != "float32":
            raise BundleError(f"{layer.name} computes in {layer.compute_dtype}: only float32 has an ONNX operator.")
        attributes: dict[str, Any] = {"hidden_size": first.units}
        if len(cells) > 1 or backwards:
            attributes["direction"] = "bidirectional" if len(cells) > 1 else "reverse"
        if kind == "GRU":
            attributes["linear_before_reset"] = int(first.reset_after)
        attributes |= _activations(layer, kind, cells)
        parts = zip(*(_weights(cell, kind) for cell in cells), strict=True)
        return cls(kind, attributes, [np.stack(part).astype(np.float32) for part in parts])

    @property
    def directions(self) -> int:
        """One or two."""
        return len(self.weights[0])

    def __call__(
        self, sequences: tf.Tensor, lengths: tf.Tensor | None, states: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The sign.

        Args:
            sequences: (batch, time, features).
            lengths: (batch,) int32, the steps of each; all of them where it is None.
            states: that it begins with, each (batch, directions x units); none for zeros.

        Returns:
            (batch, time, directions x units), zero behind each length, and the last states.
        """
        form = {
            "kind": self.kind,
            "attributes": self.attributes,
            "bias": len(self.weights) == 3,
            "lengths": lengths is not None,
        }
        count = 2 if self.kind == "LSTM" else 1
        outputs = tf.numpy_function(
            _refuse,
            [json.dumps(form), sequences, *self.weights, *([] if lengths is None else [lengths]), *states],
            [tf.float32] * (1 + count),
            stateful=False,
        )
        width = self.directions * self.attributes["hidden_size"]
        # an operator of its own, which outlives the graph in Python
        states = [tf.ensure_shape(state, (sequences.shape[0], width)) for state in outputs[1:]]
        return tf.ensure_shape(outputs[0], (*sequences.shape[:2], width)), states


class _Recurrent(keras.Layer):
    """ONNX: ``RNN``, ``GRU`` or ``LSTM``; of a :class:`Bidirectional`, one for both directions."""

    def __init__(self, layer: Any, directions: Sequence[Any]) -> None:
        super().__init__(name=layer.name)
        backwards = len(directions) == 1 and layer.go_backwards
        self._operator = _Operator.of(layer, [direction.cell for direction in directions], backwards=backwards)
        self._backwards = backwards
        self._merge = getattr(layer, "merge_mode", "concat")
        self._zero = directions[0].zero_output_for_mask
        self._return_sequences, self._return_state = layer.return_sequences, layer.return_state
        self.compute_mask = layer.compute_mask
        self.supports_masking = self.built = True

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Any = None,
        mask: tf.Tensor | None = None,  # 1 and 0
        training: bool = False,
    ) -> Any:
        count = self._operator.directions
        given = [] if initial_state is None else list(tf.nest.flatten(initial_state))
        # Keras has all the states of one direction, then those of the other
        joined = [tf.concat(given[number :: len(given) // count], -1) for number in range(len(given) // count)]
        lengths = None if mask is None else tf.reduce_sum(mask, axis=1)
        outputs, states = self._operator(sequences, lengths, joined if count > 1 else given)
        last = states[0]
        if mask is not None and not self._backwards:
            mask = tf.cast(mask, tf.bool)
            if not self._zero and self._return_sequences:
                outputs = tf.where(tf.expand_dims(mask, -1), outputs, tf.expand_dims(last, 1))
            elif self._zero and not self._return_sequences:
                last = tf.where(mask[:, -1:], last, 0.0)
        if self._backwards and self._return_sequences:
            outputs = tf.reverse(outputs, [1])
        answer = self._merged(outputs if self._return_sequences else last)
        if not self._return_state:
            return answer
        parted = states if count == 1 else [part[k] for k in range(2) for part in (tf.split(s, 2, -1) for s in states)]
        return (*answer, *parted) if self._merge is None else (answer, *parted)

    def _merged(self, values: tf.Tensor) -> Any:
        if self._merge == "concat":
            return values
        forward, backward = tf.split(values, 2, axis=-1)
        match self._merge:
            case "sum":
                return forward + backward
            case "mul":
                return forward * backward
            case "ave":
                return (forward + backward) / 2
            case _:
                return forward, backward


def _weights(cell: Any, kind: str) -> list[np.ndarray]:
    """Of one direction: (gates x units, features), (gates x units, units) and (2 x gates x units,)."""

    def ordered(values: np.ndarray) -> np.ndarray:
        parts = np.split(values, len(_GATES[kind]), axis=-1)
        return np.concatenate([parts[gate] for gate in _GATES[kind]], axis=-1)

    found = [ordered(kernel.numpy()).T for kernel in (cell.kernel, cell.recurrent_kernel)]
    if cell.use_bias:
        given = ordered(np.atleast_2d(cell.bias.numpy()))
        # ONNX has a second one for the recurrent kernel, Keras for some GRUs
        found.append(np.concatenate([given, np.zeros((2 - len(given), given.shape[1]))]).ravel())
    return found


def _activations(layer: keras.Layer, kind: str, cells: Sequence[Any]) -> dict[str, Any]:
    """The attributes for them; none where they are ONNX's defaults, since some runtimes refuse all others."""
    chosen = []
    for cell in cells:
        used = [cell.activation]
        if kind != "RNN":
            used = [cell.recurrent_activation] + used * (2 if kind == "LSTM" else 1)
        unknown = [function for function in used if function not in _ACTIVATIONS]
        if unknown:
            known = ", ".join(sorted(function.__name__ for function in _ACTIVATIONS))
            name = getattr(unknown[0], "__name__", unknown[0])
            raise BundleError(f"{layer.name} has the activation {name}, which ONNX's {kind} lacks. It has {known}.")
        chosen += [_ACTIVATIONS[function] for function in used]
    names = [name for name, _, _ in chosen]
    if names == _DEFAULTS[kind] * len(cells):
        return {}
    attributes: dict[str, Any] = {"activations": names}
    for place, name in ((1, "activation_alpha"), (2, "activation_beta")):
        numbers = [one[place] for one in chosen if one[place] is not None]
        if numbers:
            attributes[name] = numbers
    return attributes


def _refuse(*_: Any) -> Any:
    raise NotImplementedError("a sign for an ONNX operator, which does not run in TensorFlow")


def write_operator(context: Any, node: Any, name: str, _: Any) -> None:
    """A handler of tf2onnx: the operator that a sign stands for, between batches that come first.

    ONNX has time first, (time, batch, features) and (time, directions, batch, units).
    """
    form = json.loads(node.inputs[0].get_tensor_value(as_list=False).item())
    given = iter(node.input[1:])
    sequences, weights = next(given), [next(given), next(given)]
    bias = next(given) if form["bias"] else ""
    lengths = next(given) if form["lengths"] else ""
    two = form["attributes"].get("direction") == "bidirectional"
    outputs, shapes = list(node.output), node.output_shapes

    def make(kind: str, *inputs: str, **attributes: Any) -> str:
        return context.make_node(kind, list(inputs), attr=attributes).output[0]

    def constant(values: list[int]) -> str:
        return context.make_const(f"{name}_{len(context.get_nodes())}", np.array(values, np.int64)).output[0]

    context.remove_node(node.name)
    if two:
        states = [make("Transpose", make("Reshape", s, constant([0, 2, -1])), perm=[1, 0, 2]) for s in given]
    else:
        states = [make("Unsqueeze", state, constant([0])) for state in given]
    inputs = [make("Transpose", sequences, perm=[1, 0, 2]), *weights, bias, lengths, *states]
    while not inputs[-1]:
        inputs.pop()
    operator = context.make_node(
        form["kind"], inputs, attr=form["attributes"], name=name, outputs=[f"{output}_raw" for output in outputs],
        dtypes=[onnx.TensorProto.FLOAT] * len(outputs), shapes=[None] * len(outputs),
    )  # fmt: skip
    for number, (raw, output) in enumerate(zip(operator.output, outputs, strict=True)):
        if not context.find_output_consumers(output):
            continue
        if two:
            moved = make("Transpose", raw, perm=[1, 0, 2] if number else [2, 0, 1, 3])
            last, more = "Reshape", [moved, constant([0, -1] if number else [0, 0, -1])]
            attributes = {}
        elif number:
            last, more, attributes = "Squeeze", [raw, constant([0])], {}
        else:
            last, more = "Transpose", [make("Squeeze", raw, constant([1]))]
            attributes = {"perm": [1, 0, 2]}
        context.make_node(
            last, more, attr=attributes, outputs=[output], dtypes=[onnx.TensorProto.FLOAT], shapes=[shapes[number]]
        )


def simplify(graph: onnx.GraphProto) -> None:
    """Takes away what recurrent operators do not need."""
    used = Counter(name for node in graph.node for name in node.input) + Counter(one.name for one in graph.output)
    for node in graph.node:
        if node.op_type in _GATES:  # runtimes would write what nothing reads all the same
            kept = [name if name in used else "" for name in node.output]
            while kept and not kept[-1]:
                kept.pop()
            del node.output[:]
            node.output.extend(kept)
    tables = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    gathers = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Gather" and node.input[0] in tables and not any(one.i for one in node.attribute)  # axis 0
    }
    for node in graph.node:
        gather = gathers.get(node.input[0]) if node.op_type == "Transpose" else None
        if gather is None or used[node.input[0]] > 1 or list(node.attribute[0].ints) != [1, 0, 2]:
            continue
        # tokens that have time first are fewer numbers to move than what they become
        moved, vectors = f"{node.name}_tokens", node.output[0]
        node.input[0], node.output[0] = gather.input[1], moved
        node.attribute[0].CopyFrom(onnx.helper.make_attribute("perm", [1, 0]))
        gather.input[1], gather.output[0] = moved, vectors
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(node)
        second.CopyFrom(gather)
        gather.CopyFrom(first)  # the graph is in the order of its nodes
        node.CopyFrom(second)
