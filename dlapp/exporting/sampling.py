"""Inputs that a bundle is proven with, and what Keras answers to them."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from dlapp.exporting.recording import Case, StepCase
from dlapp.exporting.runtimes import Run, Step
from dlapp.signature import Signature

_TOLD = 10  # boxes of the first sample, which are compared whatever the threshold of the bundle
_STEPS = 5  # tokens that are written one by one
_RECORDED = 2**20  # probabilities of tokens in a case, at most: a bundle carries them


def make_cases(
    run: Run, signature: Signature, samples: "np.ndarray | Sequence[Mapping[str, np.ndarray]]"
) -> list[Case]:
    """Several inputs, one alone and others of a second size, with Keras's answers: pictures that are larger, sequences
    that are shorter and longer.

    Of a detector also what it is less sure of, since its threshold may let nothing through.
    """
    if not isinstance(samples, np.ndarray):
        return [Case(given, run(given)) for given in samples]
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
    name = signature.inputs[0].name
    cases = [Case({name: given}, run({name: given})) for given in inputs]
    if signature.detection is not None:
        everything = run({name: samples}, min_score=0.0)["scores"][0]
        # between two scores, so that no rounding decides what is told
        least = float((everything[_TOLD - 1] + everything[_TOLD]) / 2) if len(everything) > _TOLD else 0.0
        cases.append(Case({name: samples}, run({name: samples}, min_score=least), least))
    return cases


def make_steps(step: Step, signature: Signature, case: Case) -> StepCase:
    """A few steps of Keras, each with the token that it found likeliest, from the start or the first of the inputs."""
    assert signature.step is not None
    given, vocabulary = case.inputs[signature.inputs[0].name], signature.preprocessing.target_vocabulary
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
    return StepCase(np.stack(tokens, axis=1), first, np.stack(answers, axis=1), tuple(states))
