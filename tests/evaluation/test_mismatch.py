"""What differs between two splits is found and named; what does not differ is not called."""

import dataclasses
import json

import numpy as np
import pytest

from dlapp.evaluation.mismatch import adversarial_validation


def thumbnails(random, n, brighter=0.0):
    coarse = random.normal(0, 25, (n, 4, 4))
    pictures = 128 + brighter + np.kron(coarse, np.ones((4, 4))) + random.normal(0, 5, (n, 16, 16))
    return pictures.clip(0, 255).reshape(n, -1)


def table(random, n, *, shift=0.0, shares=(0.5, 0.3, 0.2), missing=0.0):
    """Four numbers and a category in three columns."""
    numbers = random.normal(size=(n, 4))
    numbers[:, 2] += shift
    numbers[random.random(n) < missing, 1] = np.nan
    return np.column_stack([numbers, np.eye(3)[random.choice(3, n, p=shares)]])


def test_a_brightness_shift_of_pictures_is_found():
    random = np.random.default_rng(0)
    found = adversarial_validation(thumbnails(random, 300), thumbnails(random, 80, brighter=15))
    assert found.verdict == "yes"
    assert found.auc.low > 0.7


@pytest.mark.parametrize(
    ("changed", "column"),
    [({"shift": 0.8}, 2), ({"shares": (0.15, 0.3, 0.55)}, 6), ({"missing": 0.5}, 1)],
    ids=["number", "category", "missing"],
)
def test_a_changed_column_is_found_and_named(changed, column):
    random = np.random.default_rng(1)
    found = adversarial_validation(table(random, 400), table(random, 150, **changed))
    assert found.verdict == "yes"
    assert found.features[0] == column or {found.features[0], column} == {4, 6}, "one category less is another more"
    assert len(found.features) <= 5
    values = dataclasses.asdict(found)
    assert json.loads(json.dumps(values, allow_nan=False)) == {**values, "features": list(found.features)}


@pytest.mark.parametrize("columns", [1, 2])
def test_of_few_columns_the_best_is_named_too(columns):
    random = np.random.default_rng(2)
    a, b = random.normal(size=(200, columns)), random.normal(size=(200, columns))
    b[:, -1] += 2
    found = adversarial_validation(a, b)
    assert found.verdict == "yes"
    assert found.features == (columns - 1,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b"), [(250, 80), (35, 35), (2500, 60)], ids=["as usual", "the least", "more than are drawn"]
)
def test_one_distribution_is_not_called_two(a, b):
    random = np.random.default_rng(3)
    found = [adversarial_validation(table(random, a), table(random, b), seed=seed) for seed in range(5)]
    # at a rate of 5 %, two of five are called in one of forty runs
    assert sum(one.verdict == "yes" for one in found) <= 1
    assert not any(one.features for one in found if one.verdict == "no")
    assert np.mean([one.auc.value for one in found]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("a", "b"), [(29, 500), (500, 29), (0, 0)])
def test_too_few_examples_cannot_tell(a, b):
    found = adversarial_validation(np.zeros((a, 2)), np.ones((b, 2)))
    assert found.verdict == "cannot tell"
    assert (found.auc.low, found.auc.high) == (0, 1)
    assert found.features == ()


def test_what_is_perfectly_apart_and_what_never_varies():
    apart = adversarial_validation(np.zeros((40, 3)), np.ones((40, 3)))
    assert (apart.verdict, apart.auc.value) == ("yes", 1)
    assert apart.auc.low < 1, "eighty examples do not prove it for all"
    same = adversarial_validation(np.zeros((40, 3)), np.zeros((40, 3)))
    assert (same.verdict, same.auc.value) == ("no", 0.5)
    assert same.auc.high > 0.5


def test_the_same_seed_gives_the_same_answer():
    random = np.random.default_rng(4)
    a, b = table(random, 2100), table(random, 60, shift=0.5)
    first = adversarial_validation(a, b, seed=1)
    assert adversarial_validation(a, b, seed=1) == first
    assert adversarial_validation(a, b, seed=2).auc != first.auc
