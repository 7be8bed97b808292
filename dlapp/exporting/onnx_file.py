"""An ONNX file from the same function, by tf2onnx and operators of our own."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tf2onnx

import dlapp
from dlapp.errors import BundleError
from dlapp.exporting import recurrent
from dlapp.exporting.graph import function_inputs
from dlapp.signature import THRESHOLDS, Detection, Signature

OPSET = 18  # the newest that tf2onnx writes


def write(serve: Any, signature: Signature, path: Path, variables: Sequence[keras.Variable] = ()) -> None:
    """Writes the ONNX file, with names, dimensions and metadata of the signature.

    The thresholds of a detector are inputs with defaults: who gives none gets those of the signature.

    Args:
        serve: as :func:`serving_function` gives it.
        signature: of the function.
        path: of the file.
        variables: whose values ``serve`` takes. tf2onnx copies constants some forty times, and does not see these.

    Raises:
        BundleError: an operator has no ONNX form, or the result is not valid ONNX.
    """
    with _without_logging():
        try:
            proto, _ = tf2onnx.convert.from_function(
                serve,
                input_signature=function_inputs(signature, variables, thresholds=signature.detection is not None),
                opset=OPSET,
                custom_op_handlers={
                    "ResizeBilinear": (_resize_bilinear, []),
                    "ScaleAndTranslate": (_scale_and_translate, []),
                    recurrent.SIGN: (recurrent.write_operator, []),
                },
            )
        except ValueError as error:
            raise BundleError(f"the network has no ONNX form: {error}") from error
    _fill_in(proto, variables)
    if signature.detection is not None:
        _give_defaults(proto, signature.detection)
    order = [output.name for output in signature.outputs]
    proto.graph.output.sort(key=lambda tensor: order.index(tensor.name) if tensor.name in order else -1)
    names = [tensor.name for tensor in proto.graph.input], [tensor.name for tensor in proto.graph.output]
    given = [tensor.name for tensor in signature.inputs] + list(THRESHOLDS if signature.detection else ())
    wanted = given, [tensor.name for tensor in signature.outputs]
    if names != wanted:
        raise BundleError(f"the ONNX graph must have inputs and outputs {wanted}; tf2onnx gave {names}.")
    _name_dimensions(proto, signature)
    del proto.graph.value_info[:]  # tf2onnx's shapes, with invented names for the dimensions
    loops = [node.name for node in proto.graph.node if node.op_type in ("Loop", "Scan")]
    if loops:
        raise BundleError(
            f"{loops[0]} would be a loop in the ONNX file, which some runtimes refuse: of the recurrent layers "
            "SimpleRNN, GRU and LSTM are operators, all others need unroll=True."
        )
    recurrent.leave_out_unused(proto)
    domains = {node.domain for node in proto.graph.node}
    kept = [opset for opset in proto.opset_import if opset.domain in domains]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    proto.graph.name = str(signature.provenance.get("architecture", "dlapp"))
    proto.producer_name = "dlapp"
    proto.producer_version = dlapp.__version__
    proto.doc_string = f"{proto.graph.name} for {signature.task}: raw values in, final values out"
    onnx.helper.set_model_props(proto, signature.metadata())
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.checker.ValidationError as error:
        raise BundleError(f"tf2onnx wrote an invalid graph: {error}") from error
    onnx.save(proto, path)


def _fill_in(proto: onnx.ModelProto, variables: Sequence[keras.Variable]) -> None:
    """Turns the inputs behind the first into constants, in the order of the variables."""
    for given, variable in zip(proto.graph.input[1 : len(variables) + 1], variables, strict=True):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(variable.numpy(), given.name))
    del proto.graph.input[1 : len(variables) + 1]


def _give_defaults(proto: onnx.ModelProto, detection: Detection) -> None:
    """Makes thresholds optional: an input that is also a constant is one that a caller may give."""
    for name in THRESHOLDS:
        default = np.array(getattr(detection, name), np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(default, name))


def _name_dimensions(proto: onnx.ModelProto, signature: Signature) -> None:
    given = [*zip(proto.graph.input[:1], signature.inputs, strict=True)]
    given += [*zip(proto.graph.output, signature.outputs, strict=True)]
    for tensor, wanted in given:
        del tensor.type.tensor_type.shape.dim[:]  # which tf2onnx may know less of than the signature
        for size in wanted.shape:
            dimension = tensor.type.tensor_type.shape.dim.add()
            if isinstance(size, str):
                dimension.dim_param = size
            else:
                dimension.dim_value = size


def _resize_bilinear(context: Any, node: Any, name: str, _: Any) -> None:
    # tf2onnx writes `scales`, which one runtime rounds to another size; `sizes` is exact everywhere
    _replace_by_resize(context, node, antialias=False)


def _scale_and_translate(context: Any, node: Any, name: str, _: Any) -> None:
    # what tf.image.resize(antialias=True) becomes; tf2onnx lacks it
    if node.get_attr_str("kernel_type") != "triangle":
        raise ValueError(f"{node.name} resizes by {node.get_attr_str('kernel_type')}; only bilinear has an ONNX form")
    _replace_by_resize(context, node, antialias=True)


def _replace_by_resize(context: Any, node: Any, *, antialias: bool) -> None:
    images, size = node.input[:2]
    dtypes = [context.get_dtype(node.output[0])]
    shapes = [context.get_shape(node.output[0])]
    context.remove_node(node.name)
    # TensorFlow resizes uint8 to float32; ONNX would round the result to uint8
    values = context.make_node("Cast", [images], attr={"to": onnx.TensorProto.FLOAT}).output[0]
    sizes = context.make_node("Cast", [size], attr={"to": onnx.TensorProto.INT64}).output[0]
    attributes: dict[str, Any] = {
        "mode": "linear",
        "coordinate_transformation_mode": "half_pixel",
        "axes": [1, 2],  # height and width of (batch, height, width, channels)
    }
    if antialias:
        # exclude_outside renormalizes the weights at the borders as TensorFlow does; without, they are off by 15 of 255
        attributes |= {"antialias": 1, "exclude_outside": 1}
    context.make_node(
        "Resize",
        [values, "", "", sizes],
        attr=attributes,
        name=node.name,
        outputs=node.output,
        dtypes=dtypes,
        shapes=shapes,
    )


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    """tf2onnx and TensorFlow tell of every optimization pass; what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
