"""Sequences from a step whose probabilities are a table, against all the sequences that there are."""

import itertools

import numpy as np
import pytest

from dlapp.inference.decoding import beam_search, draw, greedy, sample

# of what stands behind each of 6 tokens: 0 padding, 1 unknown, 2 start, 3 end, 4 and 5 text
TABLE = np.array(
    [
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
        [0.4, 0, 0, 0.1, 0.2, 0.3],
        [0, 0, 0, 0, 0, 1],
        [0, 0.3, 0.1, 0.5, 0.04, 0.06],
        [0.0, 0, 0, 0.3, 0.36, 0.34],
    ]
)


def step(tokens, states):
    return TABLE[tokens], [state + 1 for state in states]


def begin(count=1):
    return [np.zeros((count, 3))]


def every_sequence(length):
    """(tokens, log probability) of all sequences that end within ``length``."""
    for count in range(length):
        for tokens in itertools.product((4, 5), repeat=count):
            path = itertools.pairwise([2, *tokens, 3])
            yield list(tokens), sum(np.log(TABLE[before, after]) for before, after in path)


def test_greedy_takes_the_likeliest_that_is_text():
    assert greedy(step, begin(2), start=2, end=3, length=9) == [[5, 4], [5, 4]]
    assert greedy(step, begin(), start=2, end=3, length=1) == [[5]]


def test_a_sequence_that_has_ended_stays_so():
    def by_row(tokens, states):  # the first ends at once, the second behind three tokens
        ends = states[0][:, 0] >= [0, 3]
        return np.where(ends[:, np.newaxis], np.eye(6)[3], np.eye(6)[4]), [states[0] + 1]

    assert greedy(by_row, [np.zeros((2, 1))], start=2, end=3, length=9) == [[], [4, 4, 4]]


@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_wide_beams_find_the_best_of_all_sequences(penalty):
    expected = sorted(
        ((tokens, total / ((5 + len(tokens) + 1) / 6) ** penalty) for tokens, total in every_sequence(6)),
        key=lambda found: -found[1],
    )
    found = beam_search(step, begin(), start=2, end=3, length=6, beams=40, length_penalty=penalty)
    assert [tokens for tokens, _ in found[:5]] == [tokens for tokens, _ in expected[:5]]
    np.testing.assert_allclose([score for _, score in found[:5]], [score for _, score in expected[:5]])


def test_two_beams_beat_the_likeliest_token():
    ((best, score), *_) = beam_search(step, begin(), start=2, end=3, length=9, beams=2, length_penalty=0)
    likeliest = max(every_sequence(9), key=lambda found: found[1])
    assert (best, pytest.approx(score)) == likeliest
    assert best != greedy(step, begin(), start=2, end=3, length=9)[0]


def test_what_never_ends_is_told_as_far_as_it_went():
    def endless(tokens, states):
        return np.tile([0, 0, 0, 0, 0.9, 0.1], (len(tokens), 1)), states

    assert beam_search(endless, begin(), start=2, end=3, length=3, beams=2)[0][0] == [4, 4, 4]


def test_states_follow_their_beams():
    def counting(tokens, states):  # ends only where the sum of all tokens so far is 9
        total = states[0] + tokens[:, np.newaxis]
        ends = np.where(total == 2 + 9, 1.0, 0.0)
        return np.concatenate([np.zeros((len(tokens), 3)), ends, 0.4 * (1 - ends), 0.6 * (1 - ends)], axis=1), [total]

    found = beam_search(counting, [np.zeros((1, 1))], start=2, end=3, length=3, beams=4)
    assert sorted(tokens for tokens, _ in found) == [[4, 5], [5, 4]]


@pytest.mark.parametrize(
    ("temperature", "top_k", "expected"),
    [
        (1.0, None, [0.2, 0.5, 0.3]),
        (0.5, None, [4 / 38, 25 / 38, 9 / 38]),
        (1.0, 2, [0, 5 / 8, 3 / 8]),
        (0, None, [0, 1, 0]),
    ],
)
def test_draws_follow_the_probabilities(temperature, top_k, expected):
    random = np.random.default_rng(0)
    drawn = [draw(np.array([0.2, 0.5, 0.3]), random, temperature, top_k) for _ in range(4000)]
    # five standard deviations of a share of 4,000
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, expected, atol=0.04)


def test_a_sample_takes_a_step_a_token_and_ends():
    steps = []

    def counted(tokens, states):
        steps.append(int(tokens[0]))
        return step(tokens, states)

    found = list(sample(counted, begin(), token=2, start=2, end=3, length=50, random=np.random.default_rng(3)))
    assert steps == [2, *found]
    assert set(found) <= {4, 5}
    assert list(sample(step, begin(), token=2, start=2, end=3, length=1, random=np.random.default_rng(3))) == found[:1]
