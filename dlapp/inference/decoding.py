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


def beam_search(
    step: Step,
    states: Sequence[np.ndarray],
    *,
    start: int,
    end: int,
    length: int,
    beams: int,
    length_penalty: float = 0.6,
) -> list[tuple[list[int], float]]:
    """The likeliest sequences among those that begin with the likeliest beginnings.

    Wu, Y. et al. (2016), Google's neural machine translation system, section 7: a sequence of n tokens scores
    log P / ((5 + n) / 6) ** length_penalty, so that long ones are not at a disadvantage.
    https://arxiv.org/abs/1609.08144

    Args:
        step: of the network.
        states: that the sequence begins with, each (1, units).
        start, end: the tokens that it begins and ends with.
        length: tokens at most, the end among them.
        beams: beginnings that are kept at each token, and sequences that are given back at most.
        length_penalty: 0 compares probabilities alone.

    Returns:
        Sequences without their start and end, and their scores, best first. Where none has ended within
        ``length``, those that were begun.
    """
    kept: list[tuple[list[int], float]] = [([], 0.0)]
    ended: list[tuple[list[int], float]] = []
    tokens, states = np.array([start], np.int32), list(states)
    for place in range(1, length + 1):
        probabilities, states = step(tokens, states)
        with np.errstate(divide="ignore"):
            logs = np.log(without_marks(probabilities, start).astype(np.float64))
        totals = np.array([score for _, score in kept])[:, np.newaxis] + logs
        best = np.argsort(-totals, axis=None, kind="stable")[: 2 * beams]  # half of them may end
        going: list[tuple[list[int], float, int]] = []
        for row, token in zip(*np.unravel_index(best, totals.shape), strict=True):
            total = float(totals[row, token])
            if total == -np.inf:
                continue
            if token == end:
                ended.append((kept[row][0], total / _penalty(place, length_penalty)))
            elif len(going) < beams:
                going.append(([*kept[row][0], int(token)], total, int(row)))
        ended = sorted(ended, key=lambda found: -found[1])[:beams]
        kept = [(numbers, total) for numbers, total, _ in going]
        # what goes on only becomes less likely, whatever its length will be
        if not kept or (len(ended) == beams and ended[-1][1] >= kept[0][1] / _penalty(length, length_penalty)):
            break
        rows = [row for _, _, row in going]
        states = [state[rows] for state in states]
        tokens = np.array([numbers[-1] for numbers, _ in kept], np.int32)
    return ended or [(numbers, total / _penalty(len(numbers), length_penalty)) for numbers, total in kept]


def _penalty(length: int, power: float) -> float:
    return ((5 + length) / 6) ** power
