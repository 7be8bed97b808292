"""What a bundle answers on examples, as :mod:`dlapp.training.answering` has it of a network."""

from collections.abc import Iterator, Sequence

import numpy as np

from dlapp import boxes, texts
from dlapp.data import Examples
from dlapp.data.sequences import SequencePipeline
from dlapp.errors import DlappError
from dlapp.evaluation.sequences import Steps
from dlapp.inference.bundle import Bundle
from dlapp.signature import Signature
from dlapp.training.answering import UNSURE, Answers, to_boxes
from dlapp.training.answering_texts import gather_steps, in_batches, reply

_BATCH = 32
_BATCH_BYTES = 32 * 2**20  # photographs go alone: inside the graph they are floats
_LEAST = 1e-7  # of a probability, as in Keras's cross-entropy


def answer(bundle: Bundle, examples: Examples) -> Answers:
    """What the ONNX file of a bundle gives, in the order of ``examples``.

    Raises:
        DlappError: the bundle slides over pictures: its answer is a map, and the target of an example is not.
        SourceError: a picture cannot be read.
    """
    signature = bundle.signature
    if signature.windows is not None:
        raise DlappError(f"{bundle.folder} slides over pictures: no target of an example is a map to compare with.")
    if signature.preprocessing.vocabulary is not None:
        return (_classify if signature.task == "classification" else _answer_steps)(bundle, examples)
    if signature.detection is not None:
        least = min(UNSURE, signature.detection.min_score)
        return boxes.join([to_boxes(bundle.run(batch, min_score=least)) for batch in raw_batches(examples, signature)])
    return np.concatenate([bundle.run(batch)[signature.outputs[0].name] for batch in raw_batches(examples, signature)])


def raw_batches(
    examples: Examples, signature: Signature, places: Sequence[int] | None = None, *, size: int = _BATCH
) -> Iterator[np.ndarray]:
    """Raw inputs as a bundle takes them: of pictures, those of one shape that follow each other.

    Args:
        examples: which are read one after another.
        signature: of the bundle.
        places: of those that are read, in that order; all of them where it is None.
        size: of a batch, at most.

    Raises:
        SourceError: a picture cannot be read.
    """
    if signature.preprocessing.vocabulary is not None:
        some = examples if places is None else examples.take(list(places))
        stretches = SequencePipeline(some, signature.preprocessing, signature.task).stretches
        for begin in range(0, len(stretches), size):
            yield texts.pad([stretch.inputs[0] for stretch in stretches[begin : begin + size]])
        return
    batch: list[np.ndarray] = []
    for place in range(len(examples)) if places is None else places:
        value = examples.read(place)
        full = len(batch) == size or (len(batch) + 1) * value.nbytes > _BATCH_BYTES
        if batch and (full or value.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(value)
    if batch:
        yield np.stack(batch)


def _classify(bundle: Bundle, examples: Examples) -> np.ndarray:
    signature = bundle.signature
    answers = np.zeros((len(examples), len(signature.labels)), np.float32)
    stretches = SequencePipeline(examples, signature.preprocessing, signature.task).stretches
    for places, inputs, _ in in_batches(stretches, _BATCH):
        answers[places] = bundle.run(inputs[0])["probabilities"]
    return answers


def _answer_steps(bundle: Bundle, examples: Examples) -> Steps:
    signature = bundle.signature
    stretches = SequencePipeline(examples, signature.preprocessing, signature.task).scored_stretches()
    replies: tuple[str, ...] = ()
    if signature.task == "sequence_to_sequence":
        replies = reply(bundle.encode, bundle.step, stretches, signature)

    def look(inputs: list[np.ndarray], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if signature.task == "sequence_to_sequence":
            probabilities = _decode(bundle, *inputs)
        else:
            probabilities = bundle.run(inputs[0])["probabilities"]
        of_wanted = np.take_along_axis(probabilities, wanted[..., np.newaxis], axis=-1)[..., 0]
        return -np.log(np.maximum(of_wanted, _LEAST)), probabilities.argmax(axis=-1)

    vocabulary = signature.preprocessing.target_vocabulary or signature.preprocessing.vocabulary
    assert vocabulary is not None
    return gather_steps(look, stretches, len(signature.labels) or len(vocabulary), replies)


def _decode(bundle: Bundle, read: np.ndarray, written: np.ndarray) -> np.ndarray:
    """(batch, time, classes) probabilities behind what was to be answered so far."""
    states, answers = bundle.encode(read), []
    for tokens in written.T:
        probabilities, states = bundle.step(np.ascontiguousarray(tokens), states)
        answers.append(probabilities)
    return np.stack(answers, axis=1)
