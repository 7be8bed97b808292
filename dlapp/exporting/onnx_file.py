"""An ONNX file from the same function, by tf2onnx and operators of our own."""

import contextlib
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tf2onnx
from tf2onnx.optimizer.merge_duplicated_nodes_optimizer import MergeDuplicatedNodesOptimizer

import dlapp
from dlapp.errors import BundleError, ModelError
from dlapp.exporting import recurrent
from dlapp.exporting.any_model import layer_of
from dlapp.exporting.graph import function_inputs, step_inputs
from dlapp.inference.bundle import DATA
from dlapp.signature import THRESHOLDS, Detection, Signature, Tensor

OPSET = 18  # the newest that tf2onnx writes
_LARGEST = 2**31 - 2**20  # bytes of one file; protobuf reads 2 GiB
_SMALL = 1024  # bytes of constants that stay in the file
_REMEDY = "Export it with --to savedmodel alone."


def write(
    serve: Any,
    signature: Signature,
    path: Path,
    variables: Sequence[keras.Variable] = (),
    *,
    layers: Sequence[str] = (),
) -> None:
    """Writes the ONNX file, with names, dimensions and metadata of the signature.

    The thresholds of a detector are inputs with defaults: who gives none gets those of the signature.

    Args:
        serve: as :func:`serving_function` gives it.
        signature: of the function.
        path: of the file.
        variables: whose values ``serve`` takes. tf2onnx copies constants some forty times, and does not see these.
        layers: names of layers, one of which is named where an operator has no ONNX form.

    Raises:
        ModelError: an operator has no ONNX form.
        BundleError: the result is not valid ONNX.
    """
    specs = function_inputs(signature, variables, thresholds=signature.detection is not None)
    proto = _convert(serve, specs)
    _check_operators(proto, layers)
    _fill_in_captured(proto, serve)
    _fill_in(proto, variables, behind=len(signature.inputs))
    if signature.detection is not None:
        _give_defaults(proto, signature.detection)
    optional = THRESHOLDS if signature.detection is not None else ()
    _check_loops(proto, layers)
    _finish(proto, signature, signature.inputs, signature.outputs, optional)
    proto.doc_string = f"{proto.graph.name} for {signature.task}: raw values in, final values out"
    _save(proto, path)


def write_step(go_on: Any, signature: Signature, path: Path, variables: Sequence[keras.Variable] = ()) -> None:
    """The same for the graph that goes on by one token.

    Args:
        go_on: as :func:`step_function` gives it.
        signature: of the bundle.
        path: of the file.
        variables: whose values ``go_on`` takes.

    Raises:
        BundleError: an operator has no ONNX form, or the result is not valid ONNX.
    """
    step = signature.step
    assert step is not None
    proto = _convert(go_on, step_inputs(signature, variables))
    _fill_in(proto, variables, behind=len(step.inputs))
    _check_loops(proto, ())
    _finish(proto, signature, step.inputs, step.outputs)
    proto.doc_string = f"one step of {proto.graph.name} for {signature.task}: token and states in, states out"
    _save(proto, path)


def _convert(function: Any, specs: Sequence[Any]) -> onnx.ModelProto:
    with _without_logging(), _repeatable():
        try:
            proto, _ = tf2onnx.convert.from_function(
                function,
                input_signature=specs,
                opset=OPSET,
                custom_op_handlers={
                    "ResizeBilinear": (_resize_bilinear, []),
                    "ScaleAndTranslate": (_scale_and_translate, []),
                    "Erfc": (_erfc, []),
                    recurrent.SIGN: (recurrent.write_operator, []),
                },
            )
        except ValueError as error:
            raise ModelError(f"the network has no ONNX form: {error} {_REMEDY}") from error
    return proto


def _check_operators(proto: onnx.ModelProto, layers: Sequence[str]) -> None:
    """Refuses what tf2onnx left as TensorFlow's operator: it only logs that, and writes a file."""
    for node in proto.graph.node:
        if not onnx.defs.has(node.op_type, OPSET, node.domain):
            raise ModelError(
                f"{layer_of(node.name, layers)} has no ONNX form: nothing stands for TensorFlow's {node.op_type} "
                f"({node.name}). {_REMEDY}"
            )


def _check_loops(proto: onnx.ModelProto, layers: Sequence[str]) -> None:
    for node in proto.graph.node:
        if node.op_type in ("Loop", "Scan", "If"):
            what = "a branch" if node.op_type == "If" else "a loop"
            raise BundleError(
                f"{layer_of(node.name, layers)} would be {what} in the ONNX file, which some runtimes refuse: of the "
                "recurrent layers SimpleRNN, GRU and LSTM are operators, all others need unroll=True. "
                f"Or: {_REMEDY[0].lower()}{_REMEDY[1:]}"
            )


def _finish(
    proto: onnx.ModelProto,
    signature: Signature,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    optional: Sequence[str] = (),
) -> None:
    """Gives names, dimensions and metadata, and takes away what tf2onnx left behind."""
    order = [output.name for output in outputs]
    proto.graph.output.sort(key=lambda tensor: order.index(tensor.name) if tensor.name in order else -1)
    names = [tensor.name for tensor in proto.graph.input], [tensor.name for tensor in proto.graph.output]
    wanted = [tensor.name for tensor in inputs] + list(optional), order
    if names != wanted:
        raise BundleError(f"the ONNX graph must have inputs and outputs {wanted}; tf2onnx gave {names}.")
    for tensors, told in ((proto.graph.input[: len(inputs)], inputs), (proto.graph.output, outputs)):
        for tensor, one in zip(tensors, told, strict=True):
            _name_dimensions(tensor, one)
    del proto.graph.value_info[:]  # tf2onnx's shapes, with invented names for the dimensions
    recurrent.simplify(proto.graph)
    _give_axes(proto.graph)
    architecture = str(signature.provenance.get("architecture", "dlapp"))
    _rename(proto.graph, architecture)
    domains = {node.domain for node in proto.graph.node}
    kept = [opset for opset in proto.opset_import if opset.domain in domains]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    proto.graph.name = architecture
    proto.producer_name = "dlapp"
    proto.producer_version = dlapp.__version__
    onnx.helper.set_model_props(proto, {**_about(signature), **signature.metadata()})


def _about(signature: Signature) -> dict[str, str]:
    """What a viewer of ONNX files shall show at once, beside the signature."""
    facts = signature.provenance
    return {
        key: json.dumps(facts[key], ensure_ascii=False)
        for key in ("name", "version", "license", "author")
        if facts.get(key)
    }


def _rename(graph: onnx.GraphProto, network: str) -> None:
    """Puts nodes and constants in the order of their use, and names all but ``network`` by what and where they are.

    tf2onnx counts on from one file to the next, sorts by these names and keeps some in sets; the same model shall be
    the same bytes.
    """
    graph.doc_string = ""
    constants = {constant.name: constant for constant in graph.initializer}
    uses = Counter(tensor for node in graph.node for tensor in node.input)
    kept = ["", *(tensor.name for tensor in (*graph.input, *graph.output))]
    names, taken = {name: name for name in kept}, set(kept)

    def name(given: str) -> str:
        base = re.sub(r"__\d+", "", given)
        if not base.startswith(network):  # elsewhere numbers tell equal nodes apart
            base = re.sub(r"_\d+(?=[/:]|$)", "", base)
        number, free = 2, base
        while free in taken:
            free, number = f"{base}_{number}", number + 1
        taken.add(free)
        return free

    nodes = [type(node).FromString(node.SerializeToString()) for node in _in_order(graph)]
    for node in nodes:
        node.name = name(node.name)
        for names_of in (node.input, node.output):
            for place, tensor in enumerate(names_of):
                if tensor not in names:
                    # of equal constants, which have several uses, it kept one name by chance; others tell the layer
                    shared = tensor in constants and uses[tensor] > 1
                    names[tensor] = name(f"{node.name}/input{place}" if shared else tensor)
                names_of[place] = names[tensor]
    used = [constants[old] for old in names if old in constants]
    for constant in used:
        constant.name = names[constant.name]
    used = [type(constant).FromString(constant.SerializeToString()) for constant in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(used)


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that an output needs, each behind those that it needs itself, whatever their names."""
    makers = {tensor: node for node in graph.node for tensor in node.output if tensor}
    ordered: list[onnx.NodeProto] = []
    seen: set[int] = set()
    pending = [(makers[tensor.name], False) for tensor in reversed(graph.output) if tensor.name in makers]
    while pending:
        node, ready = pending.pop()
        if ready:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            pending.append((node, True))
            pending += [(makers[tensor], False) for tensor in reversed(node.input) if tensor in makers]
    return ordered


def _give_axes(graph: onnx.GraphProto) -> None:
    """Turns the limits of non-maximum suppression into tensors of one number, as in the standard's examples.

    Scalars, which the standard's words ask for, are refused by tract and by onnx's own evaluator.
    """
    nodes = list(graph.node)
    one = "one_number"
    for node in nodes:
        if node.op_type != "NonMaxSuppression":
            continue
        for place in range(2, len(node.input)):
            if not node.input[place]:  # left out
                continue
            name = f"{node.name}_limit{place}"
            graph.node.insert(
                list(graph.node).index(node),
                onnx.helper.make_node("Reshape", [node.input[place], one], [name], name=name),
            )
            node.input[place] = name
        if all(initializer.name != one for initializer in graph.initializer):
            graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), one))


def _save(proto: onnx.ModelProto, path: Path) -> None:
    """Writes one file, or of a network of more than 2 GiB a second one beside it with the constants."""
    large = sum(constant.ByteSize() for constant in proto.graph.initializer) > _LARGEST
    if large:
        onnx.save(proto, path, save_as_external_data=True, location=path.name + DATA, size_threshold=_SMALL)
    else:
        onnx.save(proto, path)
    try:
        onnx.checker.check_model(path if large else proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"tf2onnx wrote an invalid graph: {error}") from error


def _fill_in_captured(proto: onnx.ModelProto, function: Any) -> None:
    """Turns tensors that a function took from around it into constants: tf2onnx makes them inputs."""
    taken = {inside.name: outside for outside, inside in function.get_concrete_function().graph.captures}
    for given in list(proto.graph.input):
        if given.name in taken:
            values = np.asarray(taken[given.name].numpy())
            proto.graph.initializer.append(onnx.numpy_helper.from_array(values, given.name))
            proto.graph.input.remove(given)


def _fill_in(proto: onnx.ModelProto, variables: Sequence[keras.Variable], *, behind: int) -> None:
    """Turns the inputs behind so many others into constants, in the order of the variables."""
    end = behind + len(variables)
    for given, variable in zip(proto.graph.input[behind:end], variables, strict=True):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(variable.numpy(), given.name))
    del proto.graph.input[behind:end]


def _give_defaults(proto: onnx.ModelProto, detection: Detection) -> None:
    """Makes thresholds optional: an input that is also a constant is one that a caller may give."""
    for name in THRESHOLDS:
        default = np.array(getattr(detection, name), np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(default, name))


def _name_dimensions(tensor: onnx.ValueInfoProto, wanted: Tensor) -> None:
    del tensor.type.tensor_type.shape.dim[:]  # which tf2onnx may know less of than the signature
    for size in wanted.shape:
        dimension = tensor.type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size


def _resize_bilinear(context: Any, node: Any, name: str, _: Any) -> None:
    # tf2onnx writes `scales`, which one runtime rounds to another size; `sizes` is exact everywhere, if it has all axes
    _replace(context, node, _resize)


def _scale_and_translate(context: Any, node: Any, name: str, _: Any) -> None:
    # what tf.image.resize(antialias=True) becomes; tf2onnx lacks it
    if node.get_attr_str("kernel_type") != "triangle":
        raise ValueError(f"{node.name} resizes by {node.get_attr_str('kernel_type')}; only bilinear has an ONNX form")
    _replace(context, node, _average)


def _erfc(context: Any, node: Any, name: str, _: Any) -> None:
    # of gelu; tf2onnx knows Erf alone
    dtype, shape = context.get_dtype(node.output[0]), context.get_shape(node.output[0])
    values = node.input[0]
    context.remove_node(node.name)
    nodes = _Nodes(context)
    one = nodes.constant(1, onnx.helper.tensor_dtype_to_np_dtype(dtype))
    context.make_node(
        "Sub", [one, nodes("Erf", values)], name=node.name, outputs=node.output, dtypes=[dtype], shapes=[shape]
    )


def _replace(context: Any, node: Any, resize: "Callable[[_Nodes, str, str, str], str]") -> None:
    """Puts ``resize`` in the place of a node of (batch, height, width, channels)."""
    images, size = node.input[:2]
    dtypes, shapes = [context.get_dtype(node.output[0])], [context.get_shape(node.output[0])]
    context.remove_node(node.name)
    nodes = _Nodes(context)
    # TensorFlow resizes uint8 to float32; ONNX would round the result to uint8
    values = nodes("Cast", images, to=onnx.TensorProto.FLOAT)
    values = nodes("Transpose", values, perm=[0, 3, 1, 2])
    shape = nodes("Shape", values)
    resized = resize(nodes, values, shape, nodes("Cast", size, to=onnx.TensorProto.INT64))
    context.make_node(
        "Transpose",
        [resized],
        attr={"perm": [0, 2, 3, 1]},
        name=node.name,
        outputs=node.output,
        dtypes=dtypes,
        shapes=shapes,
    )


class _Nodes:
    """Writes nodes of one output, and constants, into a graph of tf2onnx's."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._context.make_node(operator, list(inputs), attr=attributes).output[0]

    def constant(self, value: Any, dtype: Any) -> str:
        name = tf2onnx.utils.make_name("resize_constant")
        return self._context.make_const(name, np.array(value, dtype)).output[0]


def _resize(nodes: _Nodes, values: str, shape: str, size: str) -> str:
    """(batch, channels, height, width) in another size, bilinear."""
    sizes = nodes("Concat", nodes("Gather", shape, nodes.constant([0, 1], np.int64)), size, axis=0)
    return nodes("Resize", values, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")


def _average(nodes: _Nodes, values: str, shape: str, size: str) -> str:
    """The same with an average over all the pixels that are dropped: by two products with matrices of weights.

    ONNX's ``Resize`` has an attribute for it which OpenVINO reads otherwise and OpenCV not at all.
    """
    heights, widths = (_weights(nodes, shape, size, axis) for axis in (0, 1))
    return nodes("MatMul", nodes("MatMul", heights, values), nodes("Transpose", widths, perm=[1, 0]))


def _weights(nodes: _Nodes, shape: str, size: str, axis: int) -> str:
    """(new, old) float32: what each old row or column adds to a new one, a triangle as wide as two steps.

    The kernel of tensorflow/core/kernels/image/scale_and_translate_op.cc.
    """
    zero, half, one = (nodes.constant(number, np.float32) for number in (0, 0.5, 1))
    old = nodes("Gather", shape, nodes.constant(2 + axis, np.int64))
    old = nodes("Cast", old, to=onnx.TensorProto.FLOAT)
    new = nodes("Cast", nodes("Gather", size, nodes.constant(axis, np.int64)), to=onnx.TensorProto.FLOAT)
    step = nodes("Div", old, new)
    centres = nodes("Mul", nodes("Add", nodes("Range", zero, new, one), half), step)
    pixels = nodes("Add", nodes("Range", zero, old, one), half)
    apart = nodes("Sub", nodes("Unsqueeze", centres, nodes.constant([1], np.int64)), pixels)
    reach = nodes("Max", step, one)  # of a picture that is enlarged, as plain bilinear
    weights = nodes("Max", nodes("Sub", one, nodes("Div", nodes("Abs", apart), reach)), zero)
    total = nodes("ReduceSum", weights, nodes.constant([1], np.int64), keepdims=1)
    return nodes("Div", weights, total)


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """tf2onnx without what differs from one file to the next.

    It counts on, and sorts by names: by counters of other lengths in another order. Of equal nodes it keeps one with
    the most outputs, and of those one by chance.
    """
    before = MergeDuplicatedNodesOptimizer.__dict__["_len_of_node_output"]
    tf2onnx.utils.INTERNAL_NAME = 1
    MergeDuplicatedNodesOptimizer._len_of_node_output = staticmethod(lambda node: (len(node.output), node.name))
    try:
        yield
    finally:
        MergeDuplicatedNodesOptimizer._len_of_node_output = before


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    """tf2onnx and TensorFlow tell of every optimization pass; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
