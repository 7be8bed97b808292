"""A graph as tf2onnx leaves it, made the same at every export and readable for every runtime."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

_ELEMENTWISE = ("Add", "Cast", "Div", "Identity", "Mul", "Sub")


def tidy(graph: onnx.GraphProto, network: str, *, pictures: Sequence[int | str] | None) -> None:
    """Does all of what is below.

    Args:
        graph: as tf2onnx gives it, with its own names for inputs and outputs already.
        network: its name, which names of nodes begin with.
        pictures: (batch, channels, height, width) of those that the network itself takes; None where it takes others,
            or pictures of any size.
    """
    del graph.value_info[:]  # tf2onnx's shapes, with invented names for the dimensions
    fold_padding(graph)
    give_axes(graph)
    rename(graph, network)
    if pictures is not None:
        tell_size(graph, pictures)


def tell_size(graph: onnx.GraphProto, pictures: Sequence[int | str]) -> None:
    """Says what size pictures have in front of the first convolution of a network with shortcuts, in order.

    How they were resized or padded to it, ONNX cannot follow. Without it no runtime would know which shapes behind it
    are equal, and ONNX Runtime would copy each shortcut instead of adding to it. All other networks are as fast
    without, and tract, which can then take the batch by its name alone, runs them with a number too.
    """
    makers = {tensor: node for node in graph.node for tensor in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    if not any(node.op_type == "Add" and not any(name in constants for name in node.input) for node in graph.node):
        return
    first = next((node for node in graph.node if node.op_type == "Conv"), None)
    if first is None or first.input[1] not in constants or constants[first.input[1]].dims[1] != pictures[1]:
        return
    tensor = first.input[0]
    while tensor in makers and makers[tensor].op_type in _ELEMENTWISE:
        tensor = next((name for name in makers[tensor].input if name not in constants), "")
    if tensor in makers and _is_prepared(makers[tensor], pictures, makers, constants):
        graph.value_info.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, pictures))


def _is_prepared(
    last: onnx.NodeProto,
    pictures: Sequence[int | str],
    makers: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
) -> bool:
    """Whether a node ends the preprocessing, which resizes once: a layer that did would give another size."""
    pending, found = [last], {last.output[0]: last}
    while pending:
        for maker in (makers[name] for name in pending.pop().input if name in makers):
            if maker.output[0] not in found:
                found[maker.output[0]] = maker
                pending.append(maker)
    count = Counter(node.op_type for node in found.values())
    pads = [node for node in found.values() if node.op_type == "Pad"]
    # averaging is two products; padding around a picture of any size has any width, that of layers a known one
    if (count["Resize"], count["MatMul"]) not in ((1, 0), (0, 2)) or any(pad.input[1] in constants for pad in pads):
        return False
    if last.op_type == "Reshape":  # of one channel, which can stand in front or behind
        shape = constants.get(last.input[1])
        return shape is not None and onnx.numpy_helper.to_array(shape)[1:].tolist() == list(pictures[1:])
    return last.op_type in (("Pad",) if pads else ("Resize", "MatMul"))


def fold_padding(graph: onnx.GraphProto) -> None:
    """Makes zeros around a picture padding of the max pooling behind them, where no number is less than zero.

    Then they can never be the largest, and neither can what ONNX pads with. A runtime need not move the picture.
    """
    makers = {tensor: node for node in graph.node for tensor in node.output}
    uses = Counter(tensor for node in graph.node for tensor in node.input)
    uses.update(tensor.name for tensor in graph.output)
    constants = {constant.name: constant for constant in graph.initializer}
    for pool in [node for node in graph.node if node.op_type == "MaxPool"]:
        pad = makers.get(pool.input[0])
        if pad is None or pad.op_type != "Pad" or uses[pool.input[0]] > 1 or pad.input[1] not in constants:
            continue
        options = {one.name: onnx.helper.get_attribute_value(one) for one in pool.attribute}
        widths = onnx.numpy_helper.to_array(constants[pad.input[1]]).reshape(2, -1)
        before = makers.get(pad.input[0])
        if (
            before is not None
            and before.op_type == "Relu"
            and _pads_zeros(pad, constants)
            and set(options) <= {"strides", "kernel_shape"}
            and len(options["kernel_shape"]) == widths.shape[1] - 2
            and not widths[:, :2].any()
            and (widths[:, 2:] < options["kernel_shape"]).all()  # or a window would see nothing else
        ):
            pool.input[0] = pad.input[0]
            pool.attribute.append(onnx.helper.make_attribute("pads", widths[:, 2:].ravel().tolist()))
            graph.node.remove(pad)


def _pads_zeros(pad: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    mode = next((one.s for one in pad.attribute if one.name == "mode"), b"constant")
    value = pad.input[2] if len(pad.input) > 2 else ""
    axes = len(pad.input) > 3
    zero = not value or (value in constants and not onnx.numpy_helper.to_array(constants[value]).any())
    return mode == b"constant" and zero and not axes


def rename(graph: onnx.GraphProto, network: str) -> None:
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


def give_axes(graph: onnx.GraphProto) -> None:
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
