"""From the probabilities of the next token to a sequence, with any network that goes on by one token."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

# (batch,) int32 tokens and the states behind what came before -> (batch, classes) probabilities, and the states
Step = Callable[[np.ndarray, list[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]


def greedy(step: Step, states: Sequence[np.ndarray], *, start: int, end: int, length: int) -> list[list[int]]:
    """The likeliest token each time, for many sequences at once.

    Args:
        step: of the network.
        states: that the sequences begin with, each (batch, units).
        start, end: the tokens that a sequence begins and ends with.
        length: tokens at most, the end among them.

    Returns:
        The tokens of each sequence behind its start, without its end. Padding, unknown and start never occur.
    """
    count = len(states[0])
    tokens = np.full(count, start, np.int32)
    written = np.zeros((count, length), np.int32)
    states, going = list(states), np.ones(count, bool)
    for place in range(length):
        probabilities, states = step(tokens, states)
        tokens = without_marks(probabilities, start).argmax(axis=1).astype(np.int32)
        going &= tokens != end
        if not going.any():
            break
        written[going, place] = tokens[going]
    return [row[row > 0].tolist() for row in written]


def without_marks(probabilities: np.ndarray, start: int | None) -> np.ndarray:
    """(batch, classes) probabilities in which padding, unknown and start, which stand for no text, have none."""
    kept = probabilities.copy()
    kept[:, [0, 1] if start is None else [0, 1, start]] = 0.0
    return kept


def sample(
    step: Step,
    states: Sequence[np.ndarray],
    *,
    token: int,
    end: int | None,
    start: int | None,
    length: int,
    random: np.random.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Iterator[int]:
    """Tokens drawn one after another from their probabilities, until the end or ``length``; each takes one step.

    Args:
        step: of the network.
        states: behind what came before ``token``, each (1, units).
        token: that was there last.
        end, start: tokens that end and begin a sequence; None where there are none.
        length: tokens at most.
        random: draws.
        temperature: probabilities are raised to 1 / temperature: below 1 the likely become likelier; 0 takes the
            likeliest.
        top_k: of the likeliest tokens alone; None for all.
    """
    given, states = np.array([token], np.int32), list(states)
    for _ in range(length):
        probabilities, states = step(given, states)
        given[0] = drawn = draw(without_marks(probabilities, start)[0], random, temperature, top_k)
        if drawn == end:
            return
        yield drawn


def draw(
    probabilities: np.ndarray, random: np.random.Generator, temperature: float = 1.0, top_k: int | None = None
) -> int:
    """One place of (classes,) probabilities, which need not sum to 1; as :func:`sample`."""
    if temperature == 0:
        return int(probabilities.argmax())
    logits = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float64).tiny)) / temperature
    if top_k is not None and top_k < len(logits):
        logits[np.argsort(-logits, kind="stable")[top_k:]] = -np.inf
    logits[probabilities == 0] = -np.inf
    weights = np.exp(logits - logits.max())
    cumulated = np.cumsum(weights)
    return int(np.searchsorted(cumulated, random.random() * cumulated[-1], side="right"))
