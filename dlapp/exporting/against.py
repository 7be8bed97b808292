"""An ONNX file from anywhere against the Keras model that it is said to be."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import google.protobuf.message
import keras
import onnx

from dlapp.architectures.heads import for_inference
from dlapp.errors import BundleError, ModelError
from dlapp.exporting import any_model, recording
from dlapp.exporting.runtimes import keras_model
from dlapp.exporting.sampling import make_cases
from dlapp.files import link, sha256
from dlapp.inference.bundle import ONNX, SIGNATURE
from dlapp.signature import Signature, Tensor


def write_bundle(path: Path, model: keras.Model, folder: Path, *, seed: int = 0) -> None:
    """What ``verify`` needs: a copy of the file, random inputs, and what Keras answers to them.

    A file that dlapp wrote takes raw values and says so; of any other, inputs and outputs are those of the model, by
    name where the names are the same, else in their order.

    Args:
        path: of the ONNX file.
        model: that it should compute.
        folder: empty.
        seed: of the inputs.

    Raises:
        BundleError: the file is no valid ONNX, or a file with its constants is missing.
        ModelError: its inputs or outputs cannot be those of the model.
    """
    proto = _load(path)
    own = _own_signature(proto, path)
    facts = {"name": path.stem, "exported_with": {"keras": keras.__version__}}
    if own is not None:
        model = for_inference(model)
        signature = dataclasses.replace(own, step=None, provenance={**own.provenance, **facts})
    else:
        model = any_model.as_functional(model)
        described = any_model.signature_of(model, facts)
        constants = {constant.name for constant in proto.graph.initializer}
        inputs = [one.name for one in proto.graph.input if one.name not in constants]
        outputs = [one.name for one in proto.graph.output]
        signature = dataclasses.replace(
            described,
            inputs=_renamed(described.inputs, inputs, f"inputs of {path}"),
            outputs=_renamed(described.outputs, outputs, f"outputs of {path}"),
        )
    try:
        runtime = keras_model.of(model, signature)
        cases = make_cases(runtime.run, signature, any_model.draw_samples(model, signature, seed=seed))
    except ValueError as error:
        told = any_model.explain(str(error), model)
        raise ModelError(f"{path} is not {model.name}, which does not take what the file does. {told}") from error
    shutil.copyfile(path, folder / ONNX)
    for name in _external(proto):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        link(path.parent / name, folder / name)  # ONNX Runtime follows no other link out of the folder
    recording.write(folder / recording.SAMPLES, signature, cases)
    dataclasses.replace(signature, files={ONNX: sha256(folder / ONNX)}).write(folder / SIGNATURE)


def _load(path: Path) -> onnx.ModelProto:
    """The graph, without constants that lie in other files."""
    try:
        proto = onnx.load(path, load_external_data=False)
        for name in _external(proto):
            if not (path.parent / name).is_file():
                raise BundleError(f"{path.parent / name} is missing: it holds constants of {path.name}.")
        onnx.checker.check_model(path, full_check=True)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (
        google.protobuf.message.DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise BundleError(f"{path} is not a valid ONNX file: {str(error).strip().splitlines()[0]}") from error
    return proto


def _external(proto: onnx.ModelProto) -> list[str]:
    """The names of the files with its constants."""
    return sorted(
        {
            entry.value
            for constant in proto.graph.initializer
            for entry in constant.external_data
            if entry.key == "location"
        }
    )


def _own_signature(proto: onnx.ModelProto, path: Path) -> Signature | None:
    """That of a file of dlapp's, out of its metadata."""
    told = {entry.key: entry.value for entry in proto.metadata_props}
    if not {"format", "task", "preprocessing"} <= told.keys():
        return None
    known = {field.name for field in dataclasses.fields(Signature)} | {"format"}
    try:
        fields = {key: json.loads(value) for key, value in told.items() if key in known}
    except ValueError as error:
        raise BundleError(f"the metadata of {path} is no signature of dlapp's: {error}.") from error
    return Signature.from_dict({**fields, "files": {}}, where=str(path))


def _renamed(tensors: Sequence[Tensor], names: Sequence[str], what: str) -> tuple[Tensor, ...]:
    if len(tensors) != len(names):
        raise ModelError(f"the {what} must be as many as the model has, {len(tensors)}; got {', '.join(names)}.")
    if {tensor.name for tensor in tensors} == set(names):
        return tuple(tensors)
    return tuple(dataclasses.replace(tensor, name=name) for tensor, name in zip(tensors, names, strict=True))
