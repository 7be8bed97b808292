"""Triton: a model repository, with a ``config.pbtxt`` for each graph of the bundle.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlapp.exporting.servers.names import TYPES, model_name
from dlapp.files import link, write_text
from dlapp.inference.bundle import DATA, ONNX, SAVED_MODEL, STEP
from dlapp.signature import Signature, Tensor

FOLDER = "triton"
RELEASE = "25.02"  # of the container: the last that has the backend for a SavedModel
MOST = 64  # examples in a batch
_LABELS = "labels.txt"

_VARYING = """\
# Of sizes that vary, requests share a batch where all of theirs are equal; others run one after another.
"""
_THRESHOLDS = """\
# min_score and max_overlap are left out: Triton takes no optional inputs of models that batch. They are as at export.
"""


def write(bundle: Path, name: str, signature: Signature) -> None:
    """Writes ``triton/`` with links to the files of the formats that are there."""
    repository, model = bundle / FOLDER, model_name(name)
    whole = signature.inputs, signature.outputs
    steps = None if signature.step is None else (signature.step.inputs, signature.step.outputs)
    if (bundle / ONNX).is_file():
        _write_model(repository / model, "onnxruntime_onnx", signature, *whole)
        for name in (ONNX, ONNX + DATA):  # of a large network the constants lie beside
            if (bundle / name).is_file():
                link(bundle / name, repository / model / "1" / name)
        if steps is not None:
            _write_model(repository / f"{model}-step", "onnxruntime_onnx", signature, *steps)
            link(bundle / STEP, repository / f"{model}-step" / "1" / "model.onnx")
    if (bundle / SAVED_MODEL).is_dir():
        chosen = {"serving_default": (f"{model}-savedmodel", whole)}
        if steps is not None:
            chosen["step"] = f"{model}-step-savedmodel", steps
        for served, (called, tensors) in chosen.items():
            _write_model(repository / called, "tensorflow_savedmodel", signature, *tensors, served=served)
            _link_folder(bundle / SAVED_MODEL, repository / called / "1" / "model.savedmodel")


def _write_model(
    folder: Path,
    platform: str,
    signature: Signature,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    served: str | None = None,
) -> None:
    """Writes ``config.pbtxt``, and the labels of a classifier."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig(name=folder.name, platform=platform, max_batch_size=MOST)
    config.dynamic_batching.SetInParent()
    for tensor in inputs:
        _describe(config.input.add(), tensor)
    for tensor in outputs:
        described = _describe(config.output.add(), tensor)
        # Triton counts classes over all that an example has: of a row for each token its names would be wrong
        if signature.labels and tensor.name == "probabilities" and len(tensor.shape) == 2:
            described.label_filename = _LABELS
    if served is not None:
        config.parameters["TF_SIGNATURE_DEF"].string_value = served
    (folder / "1").mkdir(parents=True)
    if any(one.label_filename for one in config.output):
        write_text(folder / _LABELS, "".join(" ".join(label.split()) + "\n" for label in signature.labels))
    comment = _VARYING if any(-1 in one.dims for one in config.input) else ""
    comment += _THRESHOLDS if signature.detection is not None else ""
    write_text(folder / "config.pbtxt", comment + text_format.MessageToString(config))


def _describe(described: Any, tensor: Tensor) -> Any:
    """Name, type and dimensions behind the batch, which is Triton's own."""
    from tritonclient.grpc import model_config_pb2

    described.name = tensor.name
    described.data_type = model_config_pb2.DataType.Value(f"TYPE_{TYPES[tensor.dtype]}")
    described.dims.extend(-1 if isinstance(size, str) else size for size in tensor.shape[1:])
    if not described.dims:  # Triton has no (batch,): (batch, 1) is reshaped to it
        described.dims.append(1)
        described.reshape.SetInParent()
    return described


def _link_folder(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            link(path, place)
