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
from dlapp.exporting.graph import function_inputs, step_inputs
from dlapp.signature import THRESHOLDS, Detection, Signature, Tensor

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
    specs = function_inputs(signature, variables, thresholds=signature.detection is not None)
    proto = _convert(serve, specs)
    _fill_in(proto, variables, behind=len(signature.inputs))
    if signature.detection is not None:
        _give_defaults(proto, signature.detection)
    optional = THRESHOLDS if signature.detection is not None else ()
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
    _finish(proto, signature, step.inputs, step.outputs)
    proto.doc_string = f"one step of {proto.graph.name} for {signature.task}: token and states in, states out"
    _save(proto, path)


def _convert(function: Any, specs: Sequence[Any]) -> onnx.ModelProto:
    with _without_logging():
        try:
            proto, _ = tf2onnx.convert.from_function(
                function,
                input_signature=specs,
                opset=OPSET,
                custom_op_handlers={
                    "ResizeBilinear": (_resize_bilinear, []),
                    "ScaleAndTranslate": (_scale_and_translate, []),
                    recurrent.SIGN: (recurrent.write_operator, []),
                },
            )
        except ValueError as error:
            raise BundleError(f"the network has no ONNX form: {error}") from error
    return proto


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
    loops = [node.name for node in proto.graph.node if node.op_type in ("Loop", "Scan")]
    if loops:
        raise BundleError(
            f"{loops[0]} would be a loop in the ONNX file, which some runtimes refuse: of the recurrent layers "
            "SimpleRNN, GRU and LSTM are operators, all others need unroll=True."
        )
    recurrent.simplify(proto.graph)
    domains = {node.domain for node in proto.graph.node}
    kept = [opset for opset in proto.opset_import if opset.domain in domains]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    proto.graph.name = str(signature.provenance.get("architecture", "dlapp"))
    proto.producer_name = "dlapp"
    proto.producer_version = dlapp.__version__
    onnx.helper.set_model_props(proto, signature.metadata())


def _save(proto: onnx.ModelProto, path: Path) -> None:
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.checker.ValidationError as error:
        raise BundleError(f"tf2onnx wrote an invalid graph: {error}") from error
    onnx.save(proto, path)


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
