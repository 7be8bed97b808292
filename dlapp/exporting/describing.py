"""What goes into a bundle and what comes out of it: the signature of a network that was trained here."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from dlapp import signature as signatures
from dlapp.architectures.heads import with_final_output
from dlapp.architectures.sliding import fully_convolutional, windows
from dlapp.architectures.stepping import encoder, state_sizes
from dlapp.errors import BundleError
from dlapp.signature import Detection, Preprocessing, Signature, Target, Windows


def describe(
    model: keras.Model,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    facts: Mapping[str, Any],
    *,
    target: Target | None = None,
    detection: Detection | None = None,
) -> Signature:
    """The signature of a classifier, a regression, a detector or a network of texts.

    Raises:
        BundleError: the network has no such form, or cannot go on by one token where it must.
        ValueError: ``labels`` or the vocabulary do not fit the model.
    """
    if detection is not None:
        signature = signatures.boxes(labels, preprocessing, detection, facts)
    elif target is None:
        signature = _classifier(model, labels, preprocessing, facts)
    else:
        signature = signatures.regression(target, preprocessing, facts)
    _check_outputs(model, signature)
    _check_tokens(encoder(model) if signature.task == "sequence_to_sequence" else model, signature)
    return signature


def describe_sliding(
    model: keras.Model,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    facts: Mapping[str, Any],
    samples: np.ndarray,
    *,
    approximate: bool,
) -> tuple[keras.Model, Signature, np.ndarray]:
    """The same of a classifier that slides: also the network that does, and samples that have room for windows.

    Raises:
        ValueError: it reads no pictures or cannot slide, or ``labels`` do not fit.
    """
    if preprocessing.size is None:
        raise ValueError("only a classifier of pictures can slide over them.")
    moved = windows(model)
    signature = signatures.sliding_classification(labels, preprocessing, moved, facts)
    model = fully_convolutional(model, approximate=approximate)
    _check_outputs(model, signature)
    return model, signature, _enlarge(samples, moved)


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
