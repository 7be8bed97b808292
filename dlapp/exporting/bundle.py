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
from dlapp.architectures.stepping import encoder, state_sizes, step_model
from dlapp.errors import AlreadyExists, BundleError, ParityError, UnknownName
from dlapp.exporting import onnx_file, parity, readme, saved_model
from dlapp.exporting import variants as smaller
from dlapp.exporting.graph import large_kernels, serving_function, step_function, with_onnx_operators
from dlapp.files import replacing_folder, sha256, write_text
from dlapp.inference.bundle import ONNX, SIGNATURE, STEP
from dlapp.recipe import Format
from dlapp.signature import Detection, Preprocessing, Signature, Target, Windows

_TOLD = 10  # boxes of the first sample, which are compared whatever the threshold of the bundle
_STEPS = 5  # tokens that are written one by one
_RECORDED = 2**20  # probabilities of tokens in a case, at most: a bundle carries them


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
    variants: smaller.Wanted | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> parity.Parity:
    """Writes a bundle and proves that it computes what the model does.

    The graph takes raw values and gives final ones; ``preprocessing`` and ``target`` become part of it. Nothing
    is left under the name of ``folder`` unless every runtime agrees with Keras; a bundle that was
    there before stays until then.

    Args:
        model: as a builder or ``keras.models.load_model`` gives it; auxiliary classifiers are left out.
        folder: where the bundle goes; its last part is its name.
        labels: the classes, in the order of a classifier's outputs; none where the answer is the next token or
            another text.
        preprocessing: what the model was trained with.
        samples: a few raw inputs to prove it with: (n, height, width, channels) uint8, (n, columns) float32 or
            (n, time) int32 tokens with zeros behind the shorter sequences.
        target: what a regression predicts, and how the targets were scaled; None for all others.
        detection: the grid of a detector and its thresholds; None for all others.
        sliding: let the classifier slide over pictures of any size, by :func:`fully_convolutional`; they are not
            resized.
        approximate: of a sliding classifier: take networks with padding too.
        formats: ``savedmodel``, ``onnx`` or both.
        variants: smaller ONNX files beside the first; what they are worth goes into ``variants.json``.
        provenance: where the model comes from; goes into the metadata.

    Returns:
        What ``verify`` measured.

    Raises:
        ParityError: a runtime gives another answer.
        MetricDropped: a variant is worse by more than it may be.
        BundleError: the network has no such form, or cannot go on by one token where it must.
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
        signature = _classifier(model, tuple(labels), preprocessing, facts)
    else:
        signature = signatures.regression(target, preprocessing, facts)
    _check_outputs(model, signature)
    if not len(samples):
        raise ValueError("samples must hold at least one raw input: without any, nothing is proven.")
    signature.inputs[0].check(samples)
    if variants is not None:
        smaller.check(model, variants, formats)
    whole = encoder(model) if signature.task == "sequence_to_sequence" else model
    _check_tokens(whole, signature)
    one_step = None if signature.step is None else step_model(model)
    with replacing_folder(folder) as scratch:
        serve = serving_function(whole, signature)
        if "savedmodel" in formats:
            adjustable = serving_function(whole, signature, thresholds=True) if detection is not None else None
            go_on = None if one_step is None else step_function(one_step, signature)
            saved_model.write(serve, signature, scratch, adjustable, go_on)
        if "onnx" in formats:
            tokens = preprocessing.vocabulary is not None
            network = with_onnx_operators(whole, tokens=tokens)
            kernels = large_kernels(network)
            function = serve
            if network is not whole or kernels or detection is not None:
                function = serving_function(network, signature, kernels, thresholds=detection is not None)
            onnx_file.write(function, signature, scratch / ONNX, kernels)
            if one_step is not None:
                network = with_onnx_operators(one_step, tokens=tokens, loops=False)
                kernels = large_kernels(network)
                onnx_file.write_step(step_function(network, signature, kernels), signature, scratch / STEP, kernels)
        if variants is not None:
            smaller.write(scratch, signature, variants)
        runtime = parity.keras_runtime(model, signature)
        cases = _cases(runtime.run, signature, samples)
        steps = None if runtime.step is None else _step_case(runtime.step, signature, cases[0])
        parity.write_samples(scratch / parity.SAMPLES, signature, cases, steps)
        write_text(scratch / "README.md", readme.render(signature, folder.name, formats))
        _write_hashes(scratch, signature)
        if variants is not None:
            smaller.judge(scratch, variants, cases[0].inputs, name=folder)
            _write_hashes(scratch, signature)
        found = parity.verify(scratch, loaded=runtime)
        if not found.holds:
            worst = max(found.results, key=lambda result: result.largest_difference)
            raise ParityError(
                f"{worst.runtime} differs from Keras by {worst.largest_difference:.2g} "
                f"(at most {found.tolerance:.0e} is allowed); no bundle was left in {folder}."
            )
    return found


def _classifier(
    model: keras.Model, labels: tuple[str, ...], preprocessing: Preprocessing, facts: Mapping[str, Any]
) -> Signature:
    """The signature of what answers with a class: of the input, of each token, or the token that comes next.

    Raises:
        BundleError: it must go on by one token and cannot.
    """
    at_every_step = len(model.output_shape) == 3
    if preprocessing.vocabulary is None or (preprocessing.target_vocabulary is None and not at_every_step):
        return signatures.classification(labels, preprocessing, facts)
    if labels and preprocessing.target_vocabulary is None:
        return signatures.tagging(labels, preprocessing, facts)
    make = signatures.language_model if preprocessing.target_vocabulary is None else signatures.sequence_to_sequence
    try:
        return make(preprocessing, state_sizes(model), facts)
    except ValueError as error:
        raise BundleError(f"{model.name} cannot go on by one token: {error}") from error


def _enlarge(samples: np.ndarray, moved: Windows) -> np.ndarray:
    """Pictures side by side until there is room for a window and some steps."""
    wanted = [size + 3 * step for size, step in zip(moved.size, moved.stride, strict=True)]
    down, right = (-(-side // own) for side, own in zip(wanted, samples.shape[1:3], strict=True))
    return np.tile(samples, (1, down, right, 1))


def _check_tokens(whole: keras.Model, signature: Signature) -> None:
    vocabulary = signature.preprocessing.vocabulary
    for layer in whole.layers:
        if vocabulary is not None and isinstance(layer, keras.layers.Embedding) and layer.input_dim < len(vocabulary):
            raise ValueError(
                f"{layer.name} of {whole.name} must have a row for each of {len(vocabulary)} tokens; it has "
                f"{layer.input_dim}."
            )


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
    vocabulary = signature.preprocessing.target_vocabulary or signature.preprocessing.vocabulary
    outputs = with_final_output(model, signature.target).output_shape[-1]
    if signature.target is not None:
        if outputs != 1:
            raise ValueError(f"a network that predicts {signature.target.name} must have one output; got {outputs}.")
    elif signature.step is not None:
        assert vocabulary is not None
        if outputs != len(vocabulary):
            raise ValueError(
                f"a network that gives one of {len(vocabulary)} tokens must have as many outputs; {model.name} has "
                f"{outputs}."
            )
    elif outputs != len(signature.labels):
        raise ValueError(f"labels must name the {outputs} classes of {model.name}; got {len(signature.labels)}.")


def _cases(run: parity.Run, signature: Signature, samples: np.ndarray) -> list[parity.Case]:
    """Several inputs, one alone and others of a second size, with Keras's answers: pictures that are larger, sequences
    that are shorter and longer.

    Of a detector also what it is less sure of, since its threshold may let nothing through.
    """
    if signature.task in ("tagging", "language_model"):
        classes = signature.outputs[0].shape[-1]
        assert isinstance(classes, int)
        samples = samples[:, : max(1, _RECORDED // (2 * len(samples) * classes))]
    inputs = [samples, samples[:1]]
    if signature.preprocessing.vocabulary is not None:
        inputs += [samples[:, : (samples.shape[1] + 1) // 2], np.tile(samples, (1, 2))]
    if signature.preprocessing.size is not None:
        height, width = samples.shape[1:3]
        larger = tf.image.resize(samples, (height + height // 2 + 1, width + width // 3 + 1))
        inputs.append(tf.cast(tf.round(larger), tf.uint8).numpy())
    cases = [parity.Case(given, run(given)) for given in inputs]
    if signature.detection is not None:
        everything = run(samples, min_score=0.0)["scores"][0]
        # between two scores, so that no rounding decides what is told
        least = float((everything[_TOLD - 1] + everything[_TOLD]) / 2) if len(everything) > _TOLD else 0.0
        cases.append(parity.Case(samples, run(samples, min_score=least), least))
    return cases


def _step_case(step: parity.Step, signature: Signature, case: parity.Case) -> parity.StepCase:
    """A few steps of Keras, each with the token that it found likeliest, from the start or the first of the inputs."""
    assert signature.step is not None
    given, vocabulary = case.inputs, signature.preprocessing.target_vocabulary
    if vocabulary is None:
        token = given[:, 0]
        states = [np.zeros((len(given), int(state.shape[1])), np.float32) for state in signature.step.inputs[1:]]
    else:
        token = np.full(len(given), vocabulary.start, np.int32)
        states = list(case.outputs.values())
    first, tokens, answers = tuple(states), [], []
    for _ in range(_STEPS):
        probabilities, states = step(token, states)
        tokens.append(token)
        answers.append(probabilities)
        token = probabilities.argmax(axis=-1).astype(np.int32)
    return parity.StepCase(np.stack(tokens, axis=1), first, np.stack(answers, axis=1), tuple(states))


def _write_hashes(folder: Path, signature: Signature) -> None:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    hashed = dataclasses.replace(signature, files={n: sha256(folder / n) for n in names if n != SIGNATURE})
    hashed.write(folder / SIGNATURE)
