"""Verdicts for errors whose truth is known, and what is said about them."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from dlapp.evaluation.bias_variance import Finding, bias_and_variance, headline, overtraining
from dlapp.evaluation.intervals import Interval, of_difference


def wrong(count, n):
    return np.repeat([1.0, 0.0], [count, n - count])


def judge(train, dev, test=None, **options):
    errors = {"train": wrong(*train), "dev": wrong(*dev), "test": wrong(*(test or dev))}
    return {finding.name: finding for finding in bias_and_variance(errors, **options)}


def verdicts(found):
    return {name: finding.verdict for name, finding in found.items()}


@pytest.mark.parametrize(
    ("train", "dev", "test", "expected"),
    [
        ((0, 5000), (0, 2000), (1, 2000), ("no", "no", "no")),
        ((900, 3000), (320, 1000), (250, 1000), ("yes", "cannot tell", "no")),
        ((0, 3000), (124, 1000), (90, 1000), ("no", "yes", "no")),
        ((900, 3000), (450, 1000), (460, 1000), ("yes", "yes", "cannot tell")),
        ((0, 5000), (10, 3000), (150, 3000), ("no", "yes", "yes")),
        ((0, 5000), (0, 10), (0, 10), ("no", "cannot tell", "cannot tell")),
        ((0, 10), (5, 10), (10, 10), ("cannot tell", "cannot tell", "cannot tell")),
    ],
    ids=["good", "bias", "variance", "both", "dev overfitted", "small dev", "all small"],
)
def test_verdicts(train, dev, test, expected):
    found = judge(train, dev, test)
    assert list(found) == ["avoidable_bias", "variance", "dev_overfitting"]
    assert tuple(verdicts(found).values()) == expected


def test_the_differences_are_those_of_the_splits_in_this_direction():
    errors = {"train": wrong(10, 500), "train_dev": wrong(20, 200), "dev": wrong(60, 200), "test": wrong(50, 200)}
    found = {finding.name: finding for finding in bias_and_variance(errors)}
    assert list(found) == ["avoidable_bias", "variance", "mismatch", "dev_overfitting"]
    assert found["variance"].interval == of_difference(errors["train"], errors["train_dev"])
    assert found["mismatch"].interval == of_difference(errors["train_dev"], errors["dev"])
    assert found["dev_overfitting"].interval == of_difference(errors["dev"], errors["test"])
    assert found["mismatch"].interval.value == pytest.approx(0.2)
    assert found["mismatch"].verdict == "yes"
    assert "20.0 points above train-dev" in found["mismatch"].sentence


def test_what_is_said():
    found = judge((41, 1000), (124, 1000))
    assert found["variance"].sentence == (
        "error on dev 12.4 % (10.5 % to 14.6 %), 8.3 points above train (5.9 % to 10.7 %): high variance (overfitting)."
    )
    values = [dataclasses.asdict(finding) for finding in found.values()]
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_the_bayes_error_is_taken_off_and_may_lie_above_train():
    assert judge((80, 1000), (80, 1000), bayes_error=0.08)["avoidable_bias"].interval.value == pytest.approx(0)
    assert "8.0 points above a Bayes error taken as 0 (" in judge((80, 1000), (80, 1000))["avoidable_bias"].sentence
    below = judge((5, 1000), (60, 1000), bayes_error=0.05)["avoidable_bias"]
    assert below.verdict == "no"
    assert below.interval.value == pytest.approx(-0.045)
    assert "4.5 points below the Bayes error 5.0 % (which is estimated too high, or train was learnt by heart)" in (
        below.sentence
    )


def test_a_difference_too_small_to_act_on_is_none_though_it_is_no_accident():
    found = judge((8200, 100_000), (910, 10_000))
    assert found["variance"].interval.low > 0
    assert found["variance"].verdict == "no"
    # but of 0.1 % the same difference is nine times the error
    assert judge((100, 100_000), (100, 10_000))["variance"].verdict == "yes"


def test_a_small_error_on_train_is_no_bias_unless_the_bayes_error_is_known():
    assert judge((4, 1257), (3, 270))["avoidable_bias"].interval.low > 0
    assert judge((4, 1257), (3, 270))["avoidable_bias"].verdict == "no"
    assert judge((200, 20_000), (3, 270), bayes_error=0.002)["avoidable_bias"].verdict == "yes"
    assert judge((60, 2000), (9, 270))["avoidable_bias"].verdict == "yes", "3 % may be twice too many"


def test_regression_is_judged_in_its_own_unit_by_its_own_margin():
    random = np.random.default_rng(0)
    train = random.gamma(2, 500, 2000)
    errors = {"train": train, "dev": random.gamma(2, 900, 400), "test": random.gamma(2, 900, 400)}
    found = {finding.name: finding for finding in bias_and_variance(errors, margin=1e6)}
    assert found["variance"].interval == of_difference(errors["train"], errors["dev"])
    assert found["variance"].verdict == "yes", "nearly as much again as train has"
    assert "%" not in found["variance"].sentence
    same = {"train": train, "dev": train, "test": train}
    reach = of_difference(same["dev"], same["test"]).high
    assert bias_and_variance(same, margin=1.01 * reach)[2].verdict == "no"
    assert bias_and_variance(same, margin=0.99 * reach)[2].verdict == "cannot tell"


def test_a_split_of_one_example_is_no_accident():
    random = np.random.default_rng(0)
    errors = {"train": random.gamma(2, 5, 300), "dev": random.gamma(2, 5, 60), "test": np.array([50.0])}
    found = bias_and_variance(errors, margin=0.1)[2]
    assert found.verdict == "cannot tell"
    assert "error on test 50 (unknown to unknown)" in found.sentence
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_a_few_examples_are_not_enough_for_no_either():
    train = np.random.default_rng(0).gamma(2, 500, 300)
    few = {"train": train, "dev": train[:10], "test": train[:10]}
    assert bias_and_variance(few, margin=1e6)[1].verdict == "cannot tell"
    assert bias_and_variance({**few, "dev": train[:10] / 1000}, margin=1e6)[1].verdict == "no", "surely below train"


@pytest.mark.parametrize(("n", "p"), [(15, 0.1), (30, 0.1), (30, 0.4)])
def test_equal_networks_are_rarely_called_different(n, p):
    # not drawn but summed: of all numbers of mistakes, the chance of those that are called variance
    whole = 4 * n
    in_train, in_dev = stats.binom.pmf(np.arange(whole + 1), whole, p), stats.binom.pmf(np.arange(n + 1), n, p)
    chance = in_train[:, np.newaxis] * in_dev
    called = sum(
        chance[a, b]
        for a, b in np.argwhere(chance > 1e-5).tolist()
        if b / n > a / whole and judge((a, whole), (b, n))["variance"].verdict == "yes"
    )
    assert 0.01 < called < 0.05  # nominally 2.5 %; small numbers are uneven


def test_equal_regressions_are_rarely_called_different():
    random = np.random.default_rng(1)
    called = np.zeros(2)
    for _ in range(300):
        errors = {name: random.gamma(2, 5, n) for name, n in (("train", 300), ("dev", 40), ("test", 40))}
        called += [finding.verdict == "yes" for finding in bias_and_variance(errors, margin=0.1)[1:]]
    assert (called <= 15).all()  # 2.5 % are 7.5, and three deviations


@pytest.mark.parametrize(
    ("train", "dev", "splits"),
    [((50, 5000), (2, 60), ["dev"]), ((300, 1000), (320, 1000), ["train", "dev"]), ((1, 12), (20, 40), ["train"])],
    ids=["small dev", "both", "tiny train"],
)
def test_as_many_examples_as_are_asked_for_show_the_difference(train, dev, splits):
    before = judge(train, dev)["variance"]
    assert before.verdict == "cannot tell"
    asked = before.sentence.split("(about ")[1].removesuffix(" would show a difference of this size).")
    counts = {part.split(" in ")[1]: int(part.split()[0].replace(",", "")) for part in asked.split(" and ")}
    assert list(counts) == splits
    grown = {
        name: wrong(round(counts.get(name, n) * share / n), counts.get(name, n))
        for name, (share, n) in (("train", train), ("dev", dev))
    }
    interval = of_difference(grown["train"], grown["dev"])
    assert min(map(len, grown.values())) >= 15
    # Wilson's interval does not shrink quite as the root: the end comes to zero but for a fifth of the difference
    assert interval.low > -0.2 * interval.value
    if splits != ["train"]:  # which is asked for 15 only, and there the interval had long been clear
        assert interval.low < 0.2 * interval.value, "as many, but not many more than needed"


def test_none_are_asked_for_where_there_is_no_difference():
    assert "about" not in judge((0, 20), (0, 5))["variance"].sentence
    assert "about" not in judge((300, 1000), (290, 1000))["variance"].sentence


@pytest.mark.parametrize(
    ("kept", "last_train", "last_dev", "rise", "expected"),
    [
        (20, 0, 60, 0.5, "yes"),
        (20, 20, 60, 0.5, "no"),
        (20, 30, 60, 0.5, "no"),
        (20, 0, 60, 0.04, "no"),
        (20, 10, 12, 0.5, "cannot tell"),
    ],
    ids=["overfits", "no better", "worse", "hardly", "no difference"],
)
def test_overtraining(kept, last_train, last_dev, rise, expected):
    before = {"train": wrong(kept, 400), "dev": wrong(kept, 400)}
    after = {"train": wrong(last_train, 400), "dev": wrong(last_dev, 400)}
    found = overtraining(before, after, epoch=7, last_epoch=50, rise=rise, shares=True)
    assert found.verdict == expected
    assert "after the last epoch (50)" in found.sentence
    assert ("overfits after epoch 7" in found.sentence) == (expected == "yes")
    assert found.sentence.endswith("so the run does not overfit after epoch 7.") == (expected == "no")
    few = {name: errors[:10] for name, errors in after.items()}
    assert overtraining(before, few, epoch=7, last_epoch=50, rise=rise, shares=True).verdict != "yes"


def finding(name, verdict):
    return Finding(name, Interval(0.1, 0.05, 0.2), verdict, "")


@pytest.mark.parametrize(
    ("given", "differing", "expected"),
    [
        ({"avoidable_bias": "no", "variance": "no"}, [], "Verdict: good: neither bias nor variance to speak of."),
        ({"avoidable_bias": "yes", "variance": "no"}, [], "Verdict: high bias (underfitting)."),
        (
            {"avoidable_bias": "yes", "variance": "yes", "dev_overfitting": "yes"},
            [],
            "Verdict: high bias (underfitting); high variance (overfitting); dev is overfitted.",
        ),
        (
            {"avoidable_bias": "cannot tell", "dev_overfitting": "cannot tell"},
            [],
            "Verdict: not enough examples to tell (avoidable bias, dev overfitting).",
        ),
        (
            {"variance": "yes", "dev_overfitting": "cannot tell"},
            [],
            "Verdict: high variance (overfitting). Not enough examples to tell: dev overfitting.",
        ),
        (
            {"mismatch": "yes"},
            [],
            "Verdict: data mismatch (train and dev come from different distributions).",
        ),
        (
            {"variance": "no"},
            ["train and dev", "dev and test"],
            "Verdict: data mismatch (train and dev and dev and test come from different distributions).",
        ),
        (
            {"avoidable_bias": "yes", "overtraining": "yes"},
            [],
            "Verdict: overfitting after the best epoch; high bias (underfitting).",
        ),
    ],
    ids=["good", "bias", "three", "unknown", "one of two", "mismatch", "splits differ", "overtraining first"],
)
def test_headlines(given, differing, expected):
    assert headline([finding(*pair) for pair in given.items()], differing) == expected
