"""TensorFlow's operators that tf2onnx writes otherwise than every runtime reads them, or not at all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import tf2onnx

from dlapp.exporting import recurrent

_RESPONSES = "response_normalization"  # in the names of its nodes
_THREE_QUARTERS = 0.75  # the power of local response normalization in every paper


def _resize_bilinear(context: Any, node: Any, name: str, _: Any) -> None:
    # tf2onnx writes `scales`, which one runtime rounds to another size; `sizes` is exact everywhere, if it has all axes
    _replace(context, node, _resize)


def _scale_and_translate(context: Any, node: Any, name: str, _: Any) -> None:
    # what tf.image.resize(antialias=True) becomes; tf2onnx lacks it
    if node.get_attr_str("kernel_type") != "triangle":
        raise ValueError(f"{node.name} resizes by {node.get_attr_str('kernel_type')}; only bilinear has an ONNX form")
    _replace(context, node, _average)


def _local_response_normalization(context: Any, node: Any, name: str, _: Any) -> None:
    # ONNX's own LRN takes ONNX Runtime some six times as long, and onnx's evaluator gives other numbers for it
    channels = context.get_shape(node.input[0])[-1]
    radius = node.get_attr_int("depth_radius")
    bias, alpha, beta = (node.get_attr_value(key) for key in ("bias", "alpha", "beta"))

    def normalize(nodes: _Nodes, values: str) -> str:
        place = np.arange(channels)
        neighbours = np.abs(place[:, np.newaxis] - place) <= radius
        band = nodes.constant(alpha * neighbours[..., np.newaxis, np.newaxis], np.float32)
        biases = nodes.constant(np.full(channels, bias), np.float32)
        energy = nodes("Conv", nodes("Mul", values, values), band, biases, kernel_shape=[1, 1])
        if beta != _THREE_QUARTERS:
            return nodes("Div", values, nodes("Pow", energy, nodes.constant(beta, np.float32)))
        root = nodes("Sqrt", energy)
        return nodes("Div", values, nodes("Mul", root, nodes("Sqrt", root)))

    _replace(context, node, normalize, scope=f"{node.name}/{_RESPONSES}/")


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


def normalizes_responses(node: onnx.NodeProto) -> bool:
    """Whether it is part of a local response normalization, whose sums of squares need many digits."""
    return f"/{_RESPONSES}/" in node.name


def _replace(context: Any, node: Any, write: "Callable[..., str]", *, scope: str = "") -> None:
    """Puts other nodes in the place of one of (batch, height, width, channels).

    Args:
        context: tf2onnx's graph.
        node: of it.
        write: adds nodes, of float32 values (batch, channels, height, width) and the node's further inputs, and tells
            their output.
        scope: in front of their names, where they belong to a layer.
    """
    images, *others = node.input
    dtypes, shapes = [context.get_dtype(node.output[0])], [context.get_shape(node.output[0])]
    cast = context.get_dtype(images) != onnx.TensorProto.FLOAT
    context.remove_node(node.name)
    nodes = _Nodes(context, scope)
    # TensorFlow resizes uint8 to float32; ONNX would round the result to uint8
    values = nodes("Cast", images, to=onnx.TensorProto.FLOAT) if cast else images
    written = write(nodes, nodes("Transpose", values, perm=[0, 3, 1, 2]), *others)
    if dtypes[0] != onnx.TensorProto.FLOAT:
        written = nodes("Cast", written, to=dtypes[0])
    context.make_node(
        "Transpose",
        [written],
        attr={"perm": [0, 2, 3, 1]},
        name=node.name,
        outputs=node.output,
        dtypes=dtypes,
        shapes=shapes,
    )


class _Nodes:
    """Writes nodes of one output, and constants, into a graph of tf2onnx's."""

    def __init__(self, context: Any, scope: str = "") -> None:
        self._context, self._scope = context, scope

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._context.make_node(operator, list(inputs), attr=attributes, name=self._name(operator)).output[0]

    def constant(self, value: Any, dtype: Any) -> str:
        return self._context.make_const(self._name("constant"), np.array(value, dtype)).output[0]

    def _name(self, what: str) -> str:
        return tf2onnx.utils.make_name(f"{self._scope}{what}")


def _resize(nodes: _Nodes, values: str, size: str, *_: str) -> str:
    """In another size, bilinear."""
    shape, size = nodes("Shape", values), nodes("Cast", size, to=onnx.TensorProto.INT64)
    sizes = nodes("Concat", nodes("Gather", shape, nodes.constant([0, 1], np.int64)), size, axis=0)
    return nodes("Resize", values, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")


def _average(nodes: _Nodes, values: str, size: str, *_: str) -> str:
    """The same with an average over all the pixels that are dropped: by two products with matrices of weights.

    ONNX's ``Resize`` has an attribute for it which OpenVINO reads otherwise and OpenCV not at all.
    """
    shape, size = nodes("Shape", values), nodes("Cast", size, to=onnx.TensorProto.INT64)
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


HANDLERS: dict[str, tuple[Callable[..., None], list[Any]]] = {
    "ResizeBilinear": (_resize_bilinear, []),
    "ScaleAndTranslate": (_scale_and_translate, []),
    "LRN": (_local_response_normalization, []),
    "Erfc": (_erfc, []),
    recurrent.SIGN: (recurrent.write_operator, []),
}
