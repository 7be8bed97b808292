"""From the probabilities of the next token to a sequence, with any network that goes on by one token."""

from collections.abc import Callable, Sequence

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
