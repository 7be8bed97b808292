"""Smaller forms of a bundle's ONNX files, beside them: int8 and float16.

What surrounds the network stays in float32: values of a table may be too large for float16, 8 bits are too few for the
corners of a box, and an answer of 256 steps would make ties.
"""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto
from onnxruntime import quantization

from dlapp.errors import BundleError, DlappError, MetricDropped
from dlapp.exporting import recurrent
from dlapp.exporting.onnx_operators import normalizes_responses
from dlapp.files import write_json
from dlapp.inference.bundle import ONNX, STEP, VARIANTS, Bundle, file_of
from dlapp.signature import Signature

MEASURED = "variants.json"
_WEIGHTED = {"Conv": 1, "Gemm": 1, "MatMul": 1, "Gather": 0, "LSTM": 1, "GRU": 1, "RNN": 1}  # operator: its weights
_QUANTIZED = (
    *(
        "Conv",
        "Gemm",
        "MatMul",
        "Add",
        "Mul",
        "Relu",
        "LeakyRelu",
        "Clip",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
    ),
    *("Concat", "Pad", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"),
)
# that ONNX Runtime has no kernel for on a processor (activations become five operators), or that lose too much
_IN_FLOAT32 = (
    *("LSTM", "GRU", "RNN", "Resize", "Cast", "CumSum", "Range", "TopK", "NonMaxSuppression"),
    *("LeakyRelu", "PRelu", "Elu", "Selu", "HardSigmoid", "Softplus", "Softsign"),
)
_LARGE = 256  # numbers: weights of what computes in float32 are stored as float16 from here on
_LARGEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class Measured:
    """How good a bundle is.

    Attributes:
        metric: its name.
        value: None where the examples tell nothing, as those without objects.
        examples: how many were asked.
        smaller_is_better: as of bits a character.
    """

    metric: str
    value: float | None
    examples: int
    smaller_is_better: bool = False


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The variants that a bundle is to have, and what they must be worth.

    Attributes:
        names: ``int8``, ``float16`` or both.
        calibration: gives batches of raw training examples, which are read one after another; for int8.
        measure: on the dev split.
        max_drop: how much worse than float32 the metric may be.
    """

    names: Sequence[str]
    calibration: Callable[[], Iterable[np.ndarray]]
    measure: Callable[[Bundle], Measured]
    max_drop: float = 0.01


def check(model: keras.Model, wanted: Wanted, formats: Sequence[str]) -> None:
    """Refuses what cannot be written, before anything is.

    Raises:
        BundleError: there is no ONNX file to be made smaller, or a layer has no such form.
    """
    if "onnx" not in formats:
        raise BundleError(f"{' and '.join(wanted.names)} are variants of the ONNX file: export with --to onnx.")
    found = [layer.name for layer in model.layers if recurrent.has_operator(layer)]
    if "int8" in wanted.names and found:
        raise BundleError(
            f"{found[0]} of {model.name} is recurrent, and its operator has no static int8 form: give --float16 "
            "instead of --quantize int8."
        )


def write(folder: Path, signature: Signature, wanted: Wanted) -> None:
    """Writes the variants of the ONNX files in ``folder``, with the same inputs, outputs and metadata.

    Raises:
        BundleError: the result is not valid ONNX.
    """
    for variant in wanted.names:
        for name in (ONNX, STEP):
            if not (folder / name).is_file():
                continue
            proto = onnx.load(folder / name)
            if variant == "int8":
                proto = quantize(proto, signature.inputs[0].name, wanted.calibration())
            else:
                proto = to_float16(proto)
            entry = proto.metadata_props.add()
            entry.key, entry.value = "variant", variant
            try:
                onnx.checker.check_model(proto, full_check=True)
            except onnx.checker.ValidationError as error:
                raise BundleError(f"the {variant} variant of {name} is not valid: {error}") from error
            onnx.save(proto, folder / file_of(name, variant))


def judge(folder: Path, wanted: Wanted, samples: Mapping[str, np.ndarray], *, name: Path) -> None:
    """Measures every variant against the float32 file and writes ``variants.json``.

    Args:
        folder: the bundle, whose signature has the hashes.
        wanted: its variants.
        samples: a few raw inputs, by name.
        name: of the bundle, for the error.

    Raises:
        MetricDropped: a variant is worse by more than it may be.
        DlappError: the dev split tells nothing.
    """
    whole = Bundle(folder)
    reference, outputs, size = wanted.measure(whole), whole.run(samples), _size(folder, "float32")
    if reference.value is None:
        raise DlappError(f"dev has nothing to measure {reference.metric} with, so that no variant can be proven.")
    variants = {}
    for variant in wanted.names:
        smaller = Bundle(folder, variant=variant)
        value = wanted.measure(smaller).value
        assert value is not None
        drop = value - reference.value if reference.smaller_is_better else reference.value - value
        # 0.98 - 0.97 is a little more than 0.01, and NaN is no number at all
        if not drop <= wanted.max_drop + 1e-9:
            raise MetricDropped(
                f"{reference.metric} of {variant} on dev is {value:.4f}, of float32 {reference.value:.4f}: worse by "
                f"{drop:.4f}, more than --max-drop {wanted.max_drop:g}; {name} was not written. Allow more, or leave "
                f"{VARIANTS[variant]} out."
            )
        bytes_ = _size(folder, variant)
        variants[variant] = {
            "file": file_of(ONNX, variant),
            "bytes": bytes_,
            "size_ratio": round(bytes_ / size, 4),
            reference.metric: value,
            "drop": drop,
            "largest_difference": _largest_difference(smaller.run(samples), outputs, whole.signature),
        }
    found = {
        "metric": reference.metric,
        "split": "dev",
        "examples": reference.examples,
        "max_drop": wanted.max_drop,
        "float32": {"file": ONNX, "bytes": size, reference.metric: reference.value},
        "variants": variants,
    }
    write_json(folder / MEASURED, found)


def quantize(proto: onnx.ModelProto, name: str, calibration: Iterable[np.ndarray]) -> onnx.ModelProto:
    """The same graph with 8 bits between the weights of the network: unsigned activations, signed weights, per channel.

    Args:
        proto: whose weights stand in convolutions and matrix products.
        name: of its input.
        calibration: batches of raw inputs, from which the ranges of activations are taken.
    """
    batches = iter(calibration)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {name: batch}

    _name_nodes(proto)
    inside = _network(proto)
    with _quiet(), _scratch_file() as path:
        quantization.quantize_static(
            proto,
            path,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_quantize=[node.name for node in inside],
            # what the last of them gives is the answer: the others are quantized as inputs of the next
            extra_options={"OpTypesToExcludeOutputQuantization": ["Conv", "Gemm", "MatMul"]},
        )
        result = onnx.load(path)
    _finish(result, proto)
    _shorten(result.graph, proto.graph)
    return result


def to_float16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, whose network computes in float16 between its weights.

    Operators that cannot, recurrent ones among them, compute in float32 with weights that are stored as float16.
    """
    _name_nodes(proto)
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    network = _network(result)
    inside = {node.name for node in network if node.op_type not in _IN_FLOAT32}
    kept = {name for node in network if node.name not in inside for name in node.input}
    floats = _floats(result)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made_inside = {name for node in graph.node if node.name in inside for name in node.output if name in floats}
    read_outside = {name for node in graph.node if node.name not in inside for name in node.input}
    read_outside |= {tensor.name for tensor in graph.output}
    nodes, halves = [], {}
    for node in graph.node:
        if node.name in inside:
            for place, name in enumerate(node.input):
                if name not in floats:
                    continue
                half = f"{name}_float16"
                if name not in made_inside and half not in halves:
                    halves[half] = name
                    if name in constants:
                        graph.initializer.append(_to_half(constants[name], half))
                    else:
                        nodes.append(onnx.helper.make_node("Cast", [name], [half], name=half, to=TensorProto.FLOAT16))
                node.input[place] = half
            made = [name for name in node.output if name in floats]
            node.output[:] = [f"{name}_float16" if name in floats else name for name in node.output]
            nodes.append(node)
            for name in made:
                if name in read_outside:
                    cast = onnx.helper.make_node("Cast", [f"{name}_float16"], [name], name=name, to=TensorProto.FLOAT)
                    nodes.append(cast)
        else:
            nodes.append(node)
    nodes = [*_store_as_half(graph, nodes, kept), *nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    _finish(result, proto)
    return result


def _store_as_half(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto], names: set[str]) -> list[onnx.NodeProto]:
    """Drops constants that nobody reads; stores the half of large ones among ``names`` and gives what turns it back.

    The means of a table, say, are none of them: they may be too large.
    """
    read = {name for node in nodes for name in node.input} | {tensor.name for tensor in graph.output}
    casts, kept = [], []
    for tensor in graph.initializer:
        if tensor.name not in read:
            continue
        if tensor.data_type == TensorProto.FLOAT and tensor.name in names and np.prod(tensor.dims) >= _LARGE:
            half = f"{tensor.name}_stored"
            kept.append(_to_half(tensor, half))
            casts.append(onnx.helper.make_node("Cast", [half], [tensor.name], name=half, to=TensorProto.FLOAT))
        else:
            kept.append(onnx.TensorProto.FromString(tensor.SerializeToString()))  # which the next line would empty
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return casts


def _to_half(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = np.clip(onnx.numpy_helper.to_array(tensor), -_LARGEST, _LARGEST).astype(np.float16)
    return onnx.numpy_helper.from_array(values, name)


def _floats(proto: onnx.ModelProto) -> set[str]:
    """The tensors that are float32."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    tensors = [*graph.input, *graph.value_info, *graph.output]
    found = {tensor.name for tensor in tensors if tensor.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _network(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Operators with weights, and all that stands between two of them: neither preprocessing nor decoding.

    Without the normalization of responses, which stays as it is.
    """
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    weighted = {
        node.name for node in graph.node if node.op_type in _WEIGHTED and node.input[_WEIGHTED[node.op_type]] in weights
    }
    behind: set[str] = set()  # tensors that a weighted operator had a part in
    after = set()
    for node in graph.node:  # in the order of computation
        if any(name in behind for name in node.input):
            after.add(node.name)
        if node.name in weighted or node.name in after:
            behind.update(node.output)
    ahead: set[str] = set()  # tensors that reach a weighted operator
    before = set()
    for node in reversed(graph.node):
        if any(name in ahead for name in node.output):
            before.add(node.name)
        if node.name in weighted or node.name in before:
            ahead.update(node.input)
    network = weighted | (after & before)
    return [node for node in graph.node if node.name in network and not normalizes_responses(node)]


def _name_nodes(proto: onnx.ModelProto) -> None:
    """Gives a name to what has none, by which it is told apart."""
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"


def _finish(result: onnx.ModelProto, proto: onnx.ModelProto) -> None:
    """Gives a variant what tells of the float32 file, and takes away what the way there left."""
    del result.graph.value_info[:]
    result.graph.value_info.extend(proto.graph.value_info)  # which stands in front of the network
    del result.metadata_props[:]
    result.metadata_props.extend(proto.metadata_props)
    for field in ("producer_name", "producer_version", "doc_string", "ir_version"):
        setattr(result, field, getattr(proto, field))
    result.graph.name = proto.graph.name
    domains = {node.domain for node in result.graph.node}
    kept = [opset for opset in result.opset_import if opset.domain in domains]
    del result.opset_import[:]
    result.opset_import.extend(kept)


def _shorten(graph: onnx.GraphProto, before: onnx.GraphProto) -> None:
    """Numbers what the quantizer made: its names, each made of another, are a tenth of the file of a small network."""
    known = {name for node in before.node for name in (node.name, *node.input, *node.output)} | {""}
    short: dict[str, str] = {}

    def rename(name: str) -> str:
        return name if name in known else short.setdefault(name, f"q{len(short)}")

    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    for node in graph.node:
        node.name = rename(node.name)
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]


def _size(folder: Path, variant: str) -> int:
    """Bytes of the ONNX files of a variant, the one of a step among them."""
    files = (folder / file_of(name, variant) for name in (ONNX, STEP))
    return sum(file.stat().st_size for file in files if file.is_file())


def _largest_difference(given: dict[str, np.ndarray], expected: dict[str, np.ndarray], signature: Signature) -> float:
    """Of all numbers; of boxes, whose order may be another, of the scores."""
    names = ["scores"] if signature.detection is not None else list(expected)
    differences = (np.abs(given[name].astype(np.float64) - expected[name]).max(initial=0.0) for name in names)
    return round(float(max(differences)), 6)


@contextlib.contextmanager
def _scratch_file() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "quantized.onnx"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises on the root logger, and its sessions warn of inputs that have defaults."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        onnxruntime.set_default_logger_severity(2)  # its own default, which it does not tell
