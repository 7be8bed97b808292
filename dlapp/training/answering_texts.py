"""What a network that reads texts answers, in the order of the examples though it reads them by length."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlapp import texts
from dlapp.architectures.heads import gives_logits, with_final_output
from dlapp.architectures.stepping import encoder, state_sizes, step_model
from dlapp.data import Examples
from dlapp.data.sequences import SequencePipeline, Stretch
from dlapp.evaluation.sequences import Steps
from dlapp.inference.decoding import Step, greedy, sample
from dlapp.signature import Signature

# inputs and targets, padded -> nats and the likeliest class of each step
Look = Callable[[list[np.ndarray], np.ndarray], tuple[np.ndarray, np.ndarray]]
_BATCH = 64
_VALUES = 2**24  # of probabilities at once: 64 MiB
_AT_ONCE = 256  # answers that are written together


def classify(model: keras.Model, examples: Examples, signature: Signature) -> np.ndarray:
    """(n, classes) float32 probabilities."""
    network = with_final_output(model, None)
    answers = np.zeros((len(examples), len(signature.labels)), np.float32)
    stretches = SequencePipeline(examples, signature.preprocessing, signature.task).stretches
    look = tf.function(lambda tokens: network(tokens, training=False), input_signature=[_tokens()])
    for places, inputs, _ in in_batches(stretches, _BATCH):
        answers[places] = look(inputs[0]).numpy()
    return answers


def answer_steps(model: keras.Model, examples: Examples, signature: Signature) -> Steps:
    """What is answered at every step; of an encoder-decoder behind what was to be answered, and its own text.

    The parts of a running text are sequences of their own.
    """
    classes = model.outputs[0].shape[-1]
    logits = gives_logits(model)

    @tf.function(input_signature=[[_tokens() for _ in model.inputs], _tokens()])
    def look(inputs: Any, wanted: Any) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        nats = keras.losses.sparse_categorical_crossentropy(wanted, outputs, from_logits=logits)
        return nats, tf.argmax(outputs, axis=-1, output_type=tf.int32)

    def look_at(inputs: list[np.ndarray], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nats, predicted = look(inputs, wanted)
        return nats.numpy(), predicted.numpy()

    stretches = list(SequencePipeline(examples, signature.preprocessing, signature.task).scored_stretches())
    replies: tuple[str, ...] = ()
    if signature.task == "sequence_to_sequence":
        reading = encoder(model)
        read = tf.function(lambda tokens: tf.nest.flatten(reading(tokens, training=False)), input_signature=[_tokens()])
        replies = reply(lambda tokens: [s.numpy() for s in read(tokens)], _stepper(model), stretches, signature)
    return gather_steps(look_at, stretches, classes, replies)


def gather_steps(look: Look, stretches: Sequence[Stretch], classes: int, replies: tuple[str, ...] = ()) -> Steps:
    """What is answered at every step of stretches, in their order.

    Args:
        look: gives nats and the likeliest class at each step, (batch, time) each, of inputs and targets.
        stretches: what is read.
        classes: of each step.
        replies: of an encoder-decoder.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0), np.zeros(0))] * len(stretches)
    longest = max(len(stretch.targets) for stretch in stretches)
    size = max(min(_BATCH, _VALUES // (longest * classes)), 1)
    for places, inputs, wanted in in_batches(stretches, size):
        nats, predicted = look(inputs, wanted)
        for row, place in enumerate(places):
            scored = slice(stretches[place].unscored, len(stretches[place].targets))
            found[place] = nats[row, scored], predicted[row, scored]
    return Steps(
        np.array([len(nats) for nats, _ in found]),
        np.concatenate([stretch.targets[stretch.unscored :] for stretch in stretches]).astype(np.int32),
        np.concatenate([predicted for _, predicted in found]).astype(np.int32),
        np.concatenate([nats for nats, _ in found]).astype(np.float32),
        np.array([stretch.characters for stretch in stretches]),
        replies,
    )


def reply(
    encode: Callable[[np.ndarray], Sequence[np.ndarray]],
    step: Step,
    stretches: Sequence[Stretch],
    signature: Signature,
) -> tuple[str, ...]:
    """What an encoder-decoder writes, taking the likeliest token each time."""
    vocabulary = signature.preprocessing.target_vocabulary
    assert vocabulary is not None
    assert vocabulary.start is not None
    assert vocabulary.end is not None
    assert vocabulary.length is not None
    replies = [""] * len(stretches)
    for places, inputs, _ in in_batches(stretches, _AT_ONCE):
        written = greedy(step, encode(inputs[0]), start=vocabulary.start, end=vocabulary.end, length=vocabulary.length)
        for place, numbers in zip(places, written, strict=True):
            replies[place] = texts.decode(numbers, vocabulary)
    return tuple(replies)


def generate(model: keras.Model, signature: Signature, *, count: int, length: int = 300, seed: int = 0) -> list[str]:
    """Texts that a language model makes, each of ``length`` tokens at most; a running text behind a new line."""
    vocabulary = signature.preprocessing.vocabulary
    assert vocabulary is not None
    token = vocabulary.start or vocabulary.ids.get("\n", vocabulary.reserved)
    step, random = _stepper(model), np.random.default_rng(seed)
    made = []
    for _ in range(count):
        states = [np.zeros((1, size), np.float32) for size in state_sizes(model)]
        drawn = sample(
            step, states, token=token, start=vocabulary.start, end=vocabulary.end, length=length, random=random
        )
        made.append(texts.decode(drawn, vocabulary))
    return made


def _stepper(model: keras.Model) -> Step:
    """One step of a network, for arrays."""
    writing = step_model(model)
    shapes = [tf.TensorSpec((None, size), tf.float32) for size in state_sizes(model)]
    write = tf.function(
        lambda token, states: writing([token, *states], training=False),
        input_signature=[tf.TensorSpec((None,), tf.int32), shapes],
    )

    def step(token: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        probabilities, *left = (values.numpy() for values in write(token, states))
        return probabilities, left

    return step


def _tokens() -> Any:
    return tf.TensorSpec((None, None), tf.int32)


def in_batches(stretches: Sequence[Stretch], size: int) -> Iterator[tuple[np.ndarray, list[np.ndarray], np.ndarray]]:
    """Places of stretches of similar length, their inputs and their targets, padded."""
    order = np.argsort([max(map(len, stretch.inputs)) for stretch in stretches], kind="stable")
    for begin in range(0, len(order), size):
        places = order[begin : begin + size]
        some = [stretches[place] for place in places]
        targets = [stretch.targets for stretch in some]
        padded = texts.pad(targets) if targets[0].ndim else np.array(targets, np.int32)
        yield places, [texts.pad(arrays) for arrays in zip(*(one.inputs for one in some), strict=True)], padded
