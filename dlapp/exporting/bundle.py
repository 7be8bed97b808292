"""``export/<name>/``: what deployment needs, written whole and proven before it gets its name."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf

import dlapp
from dlapp.architectures.heads import for_inference
from dlapp.architectures.stepping import encoder, step_model
from dlapp.errors import AlreadyExists, ModelError, ParityError, UnknownName
from dlapp.exporting import any_model, onnx_file, parity, readme, recording, saved_model, servers
from dlapp.exporting import variants as smaller
from dlapp.exporting.comparing import tolerance
from dlapp.exporting.describing import describe, describe_sliding
from dlapp.exporting.graph import large_kernels, serving_function, step_function, with_onnx_operators
from dlapp.exporting.replaying import as_recorded
from dlapp.exporting.runtimes import keras_model, version_of
from dlapp.exporting.sampling import make_cases, make_steps
from dlapp.files import replacing_folder, sha256, write_text
from dlapp.inference.bundle import ONNX, ROOT, SIGNATURE, STEP
from dlapp.recipe import Format
from dlapp.signature import Detection, Preprocessing, Signature, Target

_PROVEN_BY = {"savedmodel": "savedmodel", "onnx": "onnxruntime"}  # the runtime that every file has to agree in


def export(
    model: keras.Model,
    folder: str | Path | None = None,
    *,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    samples: np.ndarray | Mapping[str, np.ndarray] | None = None,
    target: Target | None = None,
    detection: Detection | None = None,
    sliding: bool = False,
    approximate: bool = False,
    input_signature: Any = None,
    formats: Sequence[str] = ("savedmodel", "onnx"),
    layouts: Sequence[str] = (),
    storage_uri: str | None = None,
    variants: smaller.Wanted | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> parity.Parity:
    """Writes a bundle and proves that it computes what the model does.

    The graph takes raw values and gives final ones; ``preprocessing`` and ``target`` become part of it. Of a model
    without ``preprocessing``, which can be any of Keras's, inputs and outputs are its own. Nothing is left under the
    name of ``folder`` unless every runtime agrees with Keras; a bundle that was there before stays until then.

    Args:
        model: as a builder or ``keras.models.load_model`` gives it; auxiliary classifiers are left out. Or any other.
        folder: where the bundle goes; its last part is its name. Below ``export/`` under the name of the model where it
            is None.
        labels: the classes, in the order of a classifier's outputs; none where the answer is the next token or
            another text.
        preprocessing: what the model was trained with; None for a model that dlapp did not train.
        samples: a few raw inputs to prove it with: (n, height, width, channels) uint8, (n, columns) float32 or
            (n, time) int32 tokens with zeros behind the shorter sequences. Without ``preprocessing`` what the model
            takes, by name where there are several; random ones where it is None.
        target: what a regression predicts, and how the targets were scaled; None for all others.
        detection: the grid of a detector and its thresholds; None for all others.
        sliding: let the classifier slide over pictures of any size, by :func:`fully_convolutional`; they are not
            resized.
        approximate: of a sliding classifier: take networks with padding too.
        input_signature: of a model that is a class of its own, what it takes: ``keras.InputSpec`` or ``tf.TensorSpec``,
            or a list or dict of them.
        formats: ``savedmodel``, ``onnx`` or both.
        layouts: for servers: ``tfserving``, ``triton``, ``kserve``; :func:`dlapp.exporting.servers.chosen` says what
            each needs.
        storage_uri: where KServe finds the folder of the bundle.
        variants: smaller ONNX files beside the first; what they are worth goes into ``variants.json``.
        provenance: where the model comes from, its version, license and author; goes into the metadata.

    Returns:
        What ``verify`` measured.

    Raises:
        ParityError: a runtime gives another answer.
        MetricDropped: a variant is worse by more than it may be.
        DlappError: a layout lacks a format or a package.
        ModelError: a layer has no exported form, or the model does not say what it takes.
        BundleError: the network has no such form, or cannot go on by one token where it must.
        UnknownName: ``formats`` names something else, or nothing; ``layouts`` names something else.
        AlreadyExists: ``folder`` is something else than a bundle.
        ValueError: ``labels`` or ``samples`` do not fit the model, or it cannot slide.
    """
    folder = ROOT / model.name if folder is None else Path(folder)
    if folder.exists() and not (folder / SIGNATURE).is_file():
        raise AlreadyExists(f"{folder} is not a bundle and is not overwritten. Choose another name.")
    unknown = [name for name in formats if name not in get_args(Format)]
    if unknown or not formats:
        raise UnknownName("format", unknown[0] if unknown else "", get_args(Format))
    servers.check(layouts, formats)
    facts = {"name": folder.name, "architecture": model.name, **(provenance or {})}
    facts["exported_with"] = {"dlapp": dlapp.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    if preprocessing is None:
        if labels or target is not None or detection is not None or sliding or approximate:
            raise ValueError("labels, target, detection and sliding are for models with preprocessing: give it too.")
        model, signature, inputs = _describe_any(model, input_signature, samples, facts, one_input=bool(layouts))
    else:
        options = {"target": target, "detection": detection, "sliding": sliding, "approximate": approximate}
        model, signature, inputs = _describe_trained(model, tuple(labels), preprocessing, samples, facts, **options)
    if variants is not None:
        smaller.check(model, variants, formats)
    facts["parity"] = {  # a bundle of which this is not true is not left behind
        "tolerance": tolerance(signature),
        "runtimes": {name: version_of(name) for name in ("keras", *(_PROVEN_BY[one] for one in formats))},
    }
    signature = dataclasses.replace(signature, provenance=facts)
    with replacing_folder(folder) as scratch:
        _write_formats(scratch, model, signature, formats, encoded="tfserving" in layouts)
        if variants is not None:
            smaller.write(scratch, signature, variants)
        runtime = keras_model.of(model, signature)
        cases = make_cases(runtime.run, signature, inputs)
        steps = None if runtime.step is None else make_steps(runtime.step, signature, cases[0])
        recording.write(scratch / recording.SAMPLES, signature, cases, steps)
        servers.write(layouts, scratch, folder.name, signature, cases[0].inputs, steps, storage_uri)
        write_text(scratch / "README.md", readme.render(signature, folder.name, formats, layouts))
        _write_hashes(scratch, signature)
        if variants is not None:
            smaller.judge(scratch, variants, cases[0].inputs, name=folder)
            _write_hashes(scratch, signature)
        found = parity.verify(scratch, answered={"keras": as_recorded(runtime, version_of("keras"), cases, steps)})
        if not found.holds:
            worst = max(found.results, key=lambda result: result.largest_difference or 0.0)
            raise ParityError(
                f"{worst.runtime} differs from Keras by {worst.largest_difference:.2g} in {worst.where} "
                f"(at most {found.tolerance:.0e} is allowed); no bundle was left in {folder}."
            )
    return found


_Described = tuple[keras.Model, Signature, "np.ndarray | list[dict[str, np.ndarray]]"]


def _describe_any(
    model: keras.Model,
    input_signature: Any,
    samples: np.ndarray | Mapping[str, np.ndarray] | None,
    facts: dict[str, Any],
    *,
    one_input: bool,
) -> _Described:
    """A model that dlapp knows nothing of: as a functional one, its signature, and inputs to prove it with."""
    model = any_model.as_functional(model, input_signature)
    signature = any_model.signature_of(model, facts)
    if one_input and len(signature.inputs) > 1:
        raise ModelError(f"layouts for servers are for models of one input; {model.name} has several: leave --to out.")
    if samples is None:
        facts["samples"] = "random"
    return model, signature, any_model.samples_of(model, signature, samples)


def _describe_trained(
    model: keras.Model,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    samples: np.ndarray | Mapping[str, np.ndarray] | None,
    facts: Mapping[str, Any],
    *,
    target: Target | None,
    detection: Detection | None,
    sliding: bool,
    approximate: bool,
) -> _Described:
    """A model with its preprocessing: as it is exported, its signature, and raw inputs to prove it with."""
    model = for_inference(model)
    if not isinstance(samples, np.ndarray) or not len(samples):
        raise ValueError("samples must hold at least one raw input: without any, nothing is proven.")
    if sliding:
        if target is not None or detection is not None:
            raise ValueError("only a classifier of pictures can slide over them.")
        model, signature, samples = describe_sliding(
            model, labels, preprocessing, facts, samples, approximate=approximate
        )
    else:
        signature = describe(model, labels, preprocessing, facts, target=target, detection=detection)
    signature.inputs[0].check(samples)
    return model, signature, samples


def _write_formats(
    scratch: Path, model: keras.Model, signature: Signature, formats: Sequence[str], *, encoded: bool
) -> None:
    """SavedModel and ONNX files, as far as they are wanted."""
    whole = encoder(model) if signature.task == "sequence_to_sequence" else model
    one_step = None if signature.step is None else step_model(model)
    thresholds = signature.detection is not None
    serve = serving_function(whole, signature)
    if signature.task == "tensors":
        any_model.check_traced(serve, model)
    if "savedmodel" in formats:
        adjustable = serving_function(whole, signature, thresholds=True) if thresholds else None
        go_on = None if one_step is None else step_function(one_step, signature)
        of_files = servers.decoding_function(serve, signature) if encoded else None
        saved_model.write(serve, signature, scratch, adjustable, go_on, of_files)
    if "onnx" in formats:
        tokens = signature.preprocessing.vocabulary is not None
        network = with_onnx_operators(whole, tokens=tokens)
        kernels = large_kernels(network)
        function = serve
        if network is not whole or kernels or thresholds:
            function = serving_function(network, signature, kernels, thresholds=thresholds)
        names = [layer.name for layer in any_model.layers_of(network)]
        onnx_file.write(function, signature, scratch / ONNX, kernels, layers=names)
        if one_step is not None:
            network = with_onnx_operators(one_step, tokens=tokens, loops=False)
            kernels = large_kernels(network)
            onnx_file.write_step(step_function(network, signature, kernels), signature, scratch / STEP, kernels)


def _write_hashes(folder: Path, signature: Signature) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    hashed = dataclasses.replace(signature, files={n: sha256(folder / n) for n in names if n != SIGNATURE})
    hashed.write(folder / SIGNATURE)
