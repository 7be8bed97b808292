"""A power law that is known is recovered; what is no falling curve promises nothing."""

import numpy as np
import pytest

from dlapp.evaluation.learning_curve import extrapolate

SIZES = np.array([100, 200, 400, 700, 1000])
LAWS = {
    "square root": lambda n: 0.03 + 1.2 * np.asarray(n, float) ** -0.5,
    "steep": lambda n: 4 * np.asarray(n, float) ** -0.7,
    "fast, then flat": lambda n: 0.08 + 200 * np.asarray(n, float) ** -1.5,
}


def seeds(errors, noise, *, count=3, seed=0):
    return (errors + np.random.default_rng(seed).normal(0, noise, (count, len(errors)))).clip(0)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_power_law_is_recovered(law):
    found = extrapolate(SIZES, seeds(law(SIZES), 1e-5))
    assert found.now == pytest.approx(law(1000), rel=1e-3)
    assert found.interval is not None
    assert found.interval.value == pytest.approx(law(2000), rel=5e-3)
    assert found.interval.low <= found.interval.value <= found.interval.high


def test_what_is_said():
    law = LAWS["square root"]
    found = extrapolate(SIZES, seeds(law(SIZES), 0.001))
    low, high = (f"{100 * end:.1f} %" for end in (found.interval.low, found.interval.high))
    start = f"Twice the examples would bring the error on dev from {100 * found.now:.1f} % to about "
    assert found.sentence == f"{start}{100 * found.interval.value:.1f} % ({low} to {high})."
    own = extrapolate(SIZES, seeds(1e6 * law(SIZES), 1000), shares=False)
    assert "%" not in own.sentence
    assert own.interval.value == pytest.approx(1e6 * found.interval.value, rel=1e-4), "the unit does not matter"


@pytest.mark.slow
@pytest.mark.parametrize("law", [LAWS["square root"], LAWS["steep"]], ids=["square root", "steep"])
def test_the_interval_mostly_holds_the_truth(law):
    found = [extrapolate(SIZES, seeds(law(SIZES), 0.005, seed=seed)).interval for seed in range(25)]
    covered = [one.low <= law(2000) <= one.high for one in found if one is not None]
    assert len(covered) >= 20
    assert np.mean(covered) >= 0.75  # 0.9 measured: three seeds show little of their spread


@pytest.mark.parametrize(
    "errors",
    [np.full(5, 0.1), np.linspace(0.08, 0.1, 5), np.array([0.2, 0.1, 0.08, 0.1, 0.2]), [0.5, 0.5, 0.5, 0.5, 0.05]],
    ids=["flat", "rising", "falling and rising", "sudden"],
)
@pytest.mark.parametrize("noise", [0, 0.001], ids=["alike", "noisy"])
def test_what_is_no_falling_curve_promises_nothing(errors, noise):
    found = extrapolate(SIZES, seeds(np.array(errors), noise))
    assert "would bring the error" not in found.sentence


def test_chance_that_all_seeds_share_is_no_promise():
    # the same dev for all seeds and the same draws of train: points lie off the curve together
    random = np.random.default_rng(0)
    told = [extrapolate(SIZES, seeds(0.1 + random.normal(0, 0.005, 5), 0.002, seed=k)).sentence for k in range(20)]
    assert sum("would bring the error" in sentence for sentence in told) <= 4


def test_noise_wider_than_the_gain_is_called_uncertain():
    found = extrapolate(SIZES, seeds(LAWS["square root"](SIZES), 0.03))
    assert "too uncertain to count on" in found.sentence
    assert found.interval.low < found.now <= found.interval.high


@pytest.mark.parametrize(
    ("sizes", "errors", "message"),
    [
        (SIZES, np.zeros((3, 5)), "no mistake on dev"),
        (SIZES, [[0.1, 0.05, 0, 0, 0], [0.1, 0.05, 0, 0, 0]], "no mistake on dev"),
        (SIZES[:3], np.full((3, 3), 0.1), "too few sizes"),
        (SIZES[:1], np.full((3, 1), 0.1), "too few sizes"),
        (SIZES, [LAWS["steep"](SIZES)], "one seed shows no spread"),
        (SIZES, [[np.nan, 0.4, 0.3, 0.2, 0.1]] * 2, "a run has diverged"),
        (SIZES, [[np.inf, 0.4, 0.3, 0.2, 0.1]] * 2, "a run has diverged"),
        (SIZES, [[0.1, 0.05, 0, 0, 0], [0.1, 0.05, 0, 0, 0.001]], "does not tell"),
        (SIZES, [[1e12, 0.4, 0.3, 0.2, 0.1]] * 2, "does not tell"),
    ],
    ids=["zeros", "zero at last", "three sizes", "one size", "one seed", "NaN", "infinite", "nearly zero", "huge"],
)
def test_curves_that_tell_nothing(sizes, errors, message):
    found = extrapolate(sizes, np.array(errors))
    assert found.interval is None
    assert message in found.sentence


def test_the_same_seed_gives_the_same_answer():
    errors = seeds(LAWS["square root"](SIZES), 0.005, count=5)
    assert extrapolate(SIZES, errors, seed=3) == extrapolate(SIZES, errors, seed=3)
