"""``export/<name>/``: what deployment needs, written whole and proven before it gets its name."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import tensorflow as tf

import dlapp
from dlapp import signature as signatures
from dlapp.architectures.heads import for_inference, with_final_output
from dlapp.architectures.sliding import fully_convolutional, windows
from dlapp.errors import AlreadyExists, ParityError, UnknownName
from dlapp.exporting import onnx_file, parity, readme, saved_model
from dlapp.exporting.graph import large_kernels, serving_function, with_onnx_operators
from dlapp.files import replacing_folder, sha256, write_text
from dlapp.inference.bundle import ONNX, SIGNATURE
from dlapp.recipe import Format
from dlapp.signature import Detection, Preprocessing, Signature, Target, Windows

_TOLD = 10  # boxes of the first sample, which are compared whatever the threshold of the bundle


def export(
    model: keras.Model,
    folder: str | Path,
    *,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing,
    samples: np.ndarray,
    target: Target | None = None,
    detection: Detection | None = None,
    sliding: bool = False,
    approximate: bool = False,
    formats: Sequence[str] = ("savedmodel", "onnx"),
    provenance: Mapping[str, Any] | None = None,
) -> parity.Parity:
    """Writes a bundle and proves that it computes what the model does.

    The graph takes raw values and gives final ones; ``preprocessing`` and ``target`` become part of it. Nothing
    is left under the name of ``folder`` unless every runtime agrees with Keras; a bundle that was
    there before stays until then.

    Args:
        model: as a builder or ``keras.models.load_model`` gives it; auxiliary classifiers are left out.
        folder: where the bundle goes; its last part is its name.
        labels: the classes, in the order of a classifier's outputs.
        preprocessing: what the model was trained with.
        samples: a few raw inputs to prove it with: (n, height, width, channels) uint8 or
            (n, columns) float32.
        target: what a regression predicts, and how the targets were scaled; None for all others.
        detection: the grid of a detector and its thresholds; None for all others.
        sliding: let the classifier slide over pictures of any size, by :func:`fully_convolutional`; they are not
            resized.
        approximate: of a sliding classifier: take networks with padding too.
        formats: ``savedmodel``, ``onnx`` or both.
        provenance: where the model comes from; goes into the metadata.

    Returns:
        What ``verify`` measured.

    Raises:
        ParityError: a runtime gives another answer.
        BundleError: the network has no such form.
        UnknownName: ``formats`` names something else, or nothing.
        AlreadyExists: ``folder`` is something else than a bundle.
        ValueError: ``labels`` or ``samples`` do not fit the model, or it cannot slide.
    """
    model = for_inference(model)
    folder = Path(folder)
    if folder.exists() and not (folder / SIGNATURE).is_file():
        raise AlreadyExists(f"{folder} is not a bundle and is not overwritten. Choose another name.")
    unknown = [name for name in formats if name not in get_args(Format)]
    if unknown or not formats:
        raise UnknownName("format", unknown[0] if unknown else "", get_args(Format))
    facts = {"name": folder.name, "architecture": model.name, **(provenance or {})}
    facts["exported_with"] = {"dlapp": dlapp.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    if sliding:
        if target is not None or detection is not None or preprocessing.size is None:
            raise ValueError("only a classifier of pictures can slide over them.")
        moved = windows(model)
        signature = signatures.sliding_classification(tuple(labels), preprocessing, moved, facts)
        model = fully_convolutional(model, approximate=approximate)
        samples = _enlarge(samples, moved)
    elif detection is not None:
        signature = signatures.boxes(tuple(labels), preprocessing, detection, facts)
    elif target is None:
        signature = signatures.classification(tuple(labels), preprocessing, facts)
    else:
        signature = signatures.regression(target, preprocessing, facts)
    _check_outputs(model, signature)
    if not len(samples):
        raise ValueError("samples must hold at least one raw input: without any, nothing is proven.")
    signature.inputs[0].check(samples)
    with replacing_folder(folder) as scratch:
        serve = serving_function(model, signature)
        if "savedmodel" in formats:
            adjustable = serving_function(model, signature, thresholds=True) if detection is not None else None
            saved_model.write(serve, signature, scratch, adjustable)
        if "onnx" in formats:
            network = with_onnx_operators(model)
            kernels = large_kernels(network)
            function = serve
            if network is not model or kernels or detection is not None:
                function = serving_function(network, signature, kernels, thresholds=detection is not None)
            onnx_file.write(function, signature, scratch / ONNX, kernels)
        parity.write_samples(scratch / parity.SAMPLES, signature, _cases(model, signature, samples))
        write_text(scratch / "README.md", readme.render(signature, folder.name, formats))
        _write_hashes(scratch, signature)
        found = parity.verify(scratch, model=model)
        if not found.holds:
            worst = max(found.results, key=lambda result: result.largest_difference)
            raise ParityError(
                f"{worst.runtime} differs from Keras by {worst.largest_difference:.2g} "
                f"(at most {found.tolerance:.0e} is allowed); no bundle was left in {folder}."
            )
    return found


def _enlarge(samples: np.ndarray, moved: Windows) -> np.ndarray:
    """Pictures side by side until there is room for a window and some steps."""
    wanted = [size + 3 * step for size, step in zip(moved.size, moved.stride, strict=True)]
    down, right = (-(-side // own) for side, own in zip(wanted, samples.shape[1:3], strict=True))
    return np.tile(samples, (1, down, right, 1))


def _check_outputs(model: keras.Model, signature: Signature) -> None:
    if signature.detection is not None:
        detection = signature.detection
        wanted = math.prod(detection.grid) * detection.boxes * (5 + len(signature.labels))
        if math.prod(model.output_shape[1:]) != wanted:
            raise ValueError(
                f"a detector of {len(signature.labels)} labels and {detection.boxes} boxes in each of "
                f"{' x '.join(map(str, detection.grid))} cells must have {wanted:,} outputs; {model.name} has "
                f"{model.output_shape[1:]}."
            )
        return
    outputs = with_final_output(model, signature.target).output_shape[-1]
    if signature.target is not None and outputs != 1:
        raise ValueError(f"a network that predicts {signature.target.name} must have one output; got {outputs}.")
    if signature.target is None and outputs != len(signature.labels):
        raise ValueError(f"labels must name the {outputs} classes of {model.name}; got {len(signature.labels)}.")


def _cases(model: keras.Model, signature: Signature, samples: np.ndarray) -> list[parity.Case]:
    """Several inputs, one alone and, of pictures, a second size, with Keras's answers.

    Of a detector also what it is less sure of, since its threshold may let nothing through.
    """
    inputs = [samples, samples[:1]]
    if signature.preprocessing.size is not None:
        height, width = samples.shape[1:3]
        larger = tf.image.resize(samples, (height + height // 2 + 1, width + width // 3 + 1))
        inputs.append(tf.cast(tf.round(larger), tf.uint8).numpy())
    run = parity.keras_run(model, signature)
    cases = [parity.Case(given, run(given)) for given in inputs]
    if signature.detection is not None:
        everything = run(samples, min_score=0.0)["scores"][0]
        # between two scores, so that no rounding decides what is told
        least = float((everything[_TOLD - 1] + everything[_TOLD]) / 2) if len(everything) > _TOLD else 0.0
        cases.append(parity.Case(samples, run(samples, min_score=least), least))
    return cases


def _write_hashes(folder: Path, signature: Signature) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    hashed = dataclasses.replace(signature, files={name: sha256(folder / name) for name in names})
    hashed.write(folder / SIGNATURE)
