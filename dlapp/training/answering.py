"""What a network answers on examples, whatever its task, and how good that is."""

from collections.abc import Mapping
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from dlapp import boxes
from dlapp.architectures.heads import with_final_output
from dlapp.boxes import Boxes
from dlapp.data import Examples
from dlapp.data.detections import detect
from dlapp.data.pipelines import Pipeline
from dlapp.evaluation import score, score_detection, score_localization, score_regression
from dlapp.evaluation.classification import predict_classes
from dlapp.evaluation.sequences import Steps, errors_of_steps, score_language_model, score_replies, score_tagging
from dlapp.signature import Signature
from dlapp.training.answering_texts import answer_steps, classify
from dlapp.training.grid_loss import GridLoss

# probabilities (n, classes), values (n, 1), what was found, or what was answered at every step
Answers = np.ndarray | Boxes | Steps

SHARES = ("classification", "tagging", "sequence_to_sequence")  # tasks whose errors are shares of wrong answers
# the metric that a network is judged by, and can lose a hundredth of; it need not be the one that a person reads first
JUDGED_BY = {
    **{"classification": "accuracy", "tagging": "accuracy", "regression": "r2", "sequence_to_sequence": "exact_match"},
    **{"localization": "mean_iou", "detection": "map_50", "language_model": "bits_per_character"},
}
SMALLER_IS_BETTER = ("bits_per_character",)
_BATCH = 32
UNSURE = 0.01  # boxes from here on count in mean average precision, which looks at all thresholds
_ENOUGH = 0.5  # intersection over union from which on an object counts as found


def answer(model: keras.Model, examples: Examples, signature: Signature) -> Answers:
    """What a network gives in inference mode, in the order of ``examples``."""
    return answer_and_measure(model, examples, signature)[0]


def answer_and_measure(
    model: keras.Model, examples: Examples, signature: Signature, grid_loss: GridLoss | None = None
) -> tuple[Answers, float | None]:
    """As :func:`answer`, and in the same pass the loss of a detector; None for others, and without ``grid_loss``."""
    if signature.detection is not None:
        return _detect(model, examples, signature, grid_loss)
    if signature.preprocessing.vocabulary is not None:
        return (classify if signature.task == "classification" else answer_steps)(model, examples, signature), None
    network = with_final_output(model, signature.target)
    pipeline = Pipeline(examples, signature.preprocessing, cache_bytes=0)  # read once
    inputs = pipeline.batches(2 * _BATCH).map(lambda inputs, _: inputs)
    return np.asarray(network.predict(inputs, verbose=0)), None


def _detect(
    model: keras.Model, examples: Examples, signature: Signature, grid_loss: GridLoss | None
) -> tuple[Boxes, float | None]:
    detection, count = signature.detection, len(signature.labels)
    assert detection is not None

    @tf.function(  # traced once, for batches of any length
        input_signature=[
            tf.TensorSpec(model.input_shape, tf.float32),
            tf.TensorSpec((None, *detection.grid, detection.boxes, 5 + count), tf.float32),
            tf.TensorSpec((None, 2), tf.int32),
        ]
    )
    def look(images: tf.Tensor, labels: tf.Tensor, sizes: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        outputs = model(images, training=False)
        found = detect(
            outputs,
            sizes,
            preprocessing=signature.preprocessing,
            detection=detection,
            count=count,
            min_score=min(UNSURE, detection.min_score),
        )
        loss = tf.constant(0.0) if grid_loss is None else tf.reduce_sum(grid_loss.call(labels, outputs))
        return found, loss

    parts, total, start = [], 0.0, 0
    pipeline = Pipeline(examples, signature.preprocessing, cache_bytes=0, detection=detection, classes=count)
    sizes = examples.picture_sizes
    for images, labels in pipeline.batches(_BATCH):
        found, loss = look(images, labels, tf.constant(sizes[start : start + len(images)], tf.int32))
        start += len(images)
        total += float(loss)
        parts.append(to_boxes({name: values.numpy() for name, values in found.items()}))
    return boxes.join(parts), None if grid_loss is None else total / max(len(examples), 1)


def to_boxes(found: Mapping[str, np.ndarray]) -> Boxes:
    """What a graph with boxes gives, by name."""
    valid = np.arange(found["scores"].shape[1]) < found["count"][:, np.newaxis]
    return Boxes(
        found["count"].astype(np.int64), found["boxes"][valid], found["classes"][valid], found["scores"][valid]
    )


def score_answers(
    examples: Examples, answers: Answers, signature: Signature, loss: float | None = None
) -> dict[str, Any]:
    """The metrics of the task.

    Args:
        examples: what was asked.
        answers: of :func:`answer`.
        signature: of the network.
        loss: of a detector, if it was measured.
    """
    if isinstance(answers, Steps):
        return {**_score_steps(examples, answers, signature), "examples": len(examples)}  # of running text it has parts
    if signature.detection is None:
        values = cast(np.ndarray, answers)
        if signature.target is None:
            return score(examples.targets, values, signature.labels)
        return score_regression(examples.targets, values[:, 0], deviation=signature.target.deviation)
    found, wanted = cast(Boxes, answers), examples.boxes
    assert wanted is not None
    measured = {} if loss is None else {"loss": loss}
    if signature.task == "localization":
        told = found.where(found.scores >= signature.detection.min_score)
        return {**measured, **score_localization(wanted, told, signature.labels)}
    return {**measured, **score_detection(wanted, found, signature.labels)}


def _score_steps(examples: Examples, steps: Steps, signature: Signature) -> dict[str, Any]:
    if signature.task == "tagging":
        return score_tagging(steps, signature.labels)
    if signature.task == "language_model":
        return score_language_model(steps)
    assert examples.wanted is not None
    return score_replies(steps, examples.wanted.tolist())


def errors_of(examples: Examples, answers: Answers, signature: Signature) -> np.ndarray:
    """(n,) float64 from 0: 1 where the class is wrong and 0 where it is right; absolute errors; or 1 - F1 of a picture.

    Of sequences the share of wrong tags, bits a character, or 1 where the answer is another text.
    Of pictures with boxes, F1 is that of the boxes that are told: 1 where there is nothing and nothing was found.
    """
    if isinstance(answers, Steps):
        return errors_of_steps(answers, signature.task, None if examples.wanted is None else examples.wanted.tolist())
    if signature.detection is not None:
        assert examples.boxes is not None
        found = cast(Boxes, answers)
        told = found.where(found.scores >= signature.detection.min_score)
        return 1 - _f1_of_pictures(examples.boxes.wanted, told)
    values = cast(np.ndarray, answers)
    if signature.target is None:
        return (predict_classes(values) != examples.targets).astype(np.float64)
    return np.abs(values[:, 0].astype(np.float64) - examples.targets)


def _f1_of_pictures(wanted: Boxes, found: Boxes) -> np.ndarray:
    """(n,) of each picture; an object is found by the surest box of its class that overlaps it by a half."""
    hits = np.zeros(len(wanted))
    for index in range(len(wanted)):
        true, told = wanted[index], found[index]
        overlap = boxes.intersection_over_union(told.corners, true.corners)
        overlap[told.classes[:, np.newaxis] != true.classes] = 0
        for row in np.argsort(-told.scores, kind="stable"):
            if overlap.shape[1] and overlap[row].max() >= _ENOUGH:
                overlap[:, overlap[row].argmax()] = 0
                hits[index] += 1
    count = wanted.counts + found.counts
    return np.where(count == 0, 1.0, 2 * hits / np.maximum(count, 1))
