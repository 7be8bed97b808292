"""Sequences from a step whose probabilities are a table."""

import numpy as np

from dlapp.inference.decoding import greedy

# of what stands behind each of 6 tokens: 0 padding, 1 unknown, 2 start, 3 end, 4 and 5 text
TABLE = np.array(
    [
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0.5, 0, 0, 0.1, 0.3, 0.1],
        [0, 0, 0, 0, 0, 1],
        [0, 0.4, 0.1, 0.1, 0.1, 0.3],
        [0, 0, 0, 0.6, 0.2, 0.2],
    ]
)


def step(tokens, states):
    return TABLE[tokens], [state + 1 for state in states]


def test_greedy_takes_the_likeliest_that_is_text():
    assert greedy(step, [np.zeros((2, 3))], start=2, end=3, length=9) == [[4, 5], [4, 5]]
    assert greedy(step, [np.zeros((1, 3))], start=2, end=3, length=1) == [[4]]


def test_a_sequence_that_has_ended_stays_so():
    def by_row(tokens, states):  # the first ends at once, the second behind three tokens
        ends = states[0][:, 0] >= [0, 3]
        return np.where(ends[:, np.newaxis], np.eye(6)[3], np.eye(6)[4]), [states[0] + 1]

    assert greedy(by_row, [np.zeros((2, 1))], start=2, end=3, length=9) == [[], [4, 4, 4]]
