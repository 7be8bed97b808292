"""An ONNX file from the same function, by tf2onnx and operators of our own."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tf2onnx
from tf2onnx.constants import ENV_TF2ONNX_CATCH_ERRORS
from tf2onnx.optimizer.merge_duplicated_nodes_optimizer import MergeDuplicatedNodesOptimizer

import dlapp
from dlapp.errors import BundleError, ModelError
from dlapp.exporting import recurrent
from dlapp.exporting.any_model import layer_of
from dlapp.exporting.graph import function_inputs, step_inputs
from dlapp.exporting.onnx_operators import HANDLERS
from dlapp.exporting.onnx_tidying import tidy
from dlapp.exporting.silence import silently
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
        variables: whose values ``serve`` takes. tf2onnx handles constants many times over, and does not see these.
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
    try:
        try:
            return _convert_by_tf2onnx(function, specs, copies=False)
        except (ValueError, MemoryError):
            raise
        except Exception:
            # one of its passes failed, which class whatever, and has left the graph half changed: with copies tf2onnx
            # goes on with the graph before
            return _convert_by_tf2onnx(function, specs, copies=True)
    except ValueError as error:
        raise ModelError(f"the network has no ONNX form: {error} {_REMEDY}") from error


def _convert_by_tf2onnx(function: Any, specs: Sequence[Any], *, copies: bool) -> onnx.ModelProto:
    """With ``copies`` of the graph, weights and all, before each of some forty passes, or without."""
    with silently(), _repeatable(), _copies(wanted=copies):
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=specs, opset=OPSET, custom_op_handlers=dict(HANDLERS)
        )
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
    architecture = str(signature.provenance.get("architecture", "dlapp"))
    recurrent.simplify(proto.graph)
    tidy(proto.graph, architecture, pictures=_pictures(signature))
    domains = {node.domain for node in proto.graph.node}
    kept = [opset for opset in proto.opset_import if opset.domain in domains]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    proto.graph.name = architecture
    proto.producer_name = "dlapp"
    proto.producer_version = dlapp.__version__
    onnx.helper.set_model_props(proto, {**_about(signature), **signature.metadata()})


def _pictures(signature: Signature) -> tuple[int | str, ...] | None:
    """(batch, channels, height, width) of what the network itself takes.

    None of a detector: in tract its suppression needs a number for the batch, which a shape with its name rules out.
    """
    preprocessing = signature.preprocessing
    if preprocessing.size is None or signature.windows is not None or signature.detection is not None:
        return None
    return signature.inputs[0].shape[0], preprocessing.channels, *preprocessing.size


def _about(signature: Signature) -> dict[str, str]:
    """What a viewer of ONNX files shall show at once, beside the signature."""
    facts = signature.provenance
    return {
        key: json.dumps(facts[key], ensure_ascii=False)
        for key in ("name", "version", "license", "author")
        if facts.get(key)
    }


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
def _copies(*, wanted: bool) -> Iterator[None]:
    before = os.environ.pop(ENV_TF2ONNX_CATCH_ERRORS, None)
    if not wanted:
        os.environ[ENV_TF2ONNX_CATCH_ERRORS] = "FALSE"  # to catch errors is what it copies for
    try:
        yield
    finally:
        os.environ.pop(ENV_TF2ONNX_CATCH_ERRORS, None)
        if before is not None:
            os.environ[ENV_TF2ONNX_CATCH_ERRORS] = before
