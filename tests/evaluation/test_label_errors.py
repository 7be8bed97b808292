"""Labels that were made wrong are suspected, and right ones hardly ever."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from dlapp.evaluation.label_errors import Suspicion, out_of_fold, suspicious_labels


@pytest.fixture(scope="module")
def flipped():
    """scikit-learn's 1,797 digits, 36 of them with another label."""
    random = np.random.default_rng(0)
    digits = load_digits()
    targets = digits.target.copy()
    places = random.permutation(len(targets))[:36]
    targets[places] = (targets[places] + random.integers(1, 10, 36)) % 10
    return digits.data, targets, digits.target, set(places.tolist())


def test_most_flipped_digits_are_found_and_hardly_another(flipped):
    features, targets, true, places = flipped
    rows, probabilities = out_of_fold(features, targets)
    assert rows.tolist() == list(range(len(targets)))
    assert probabilities.sum(axis=1) == pytest.approx(1)
    found = suspicious_labels(targets[rows], probabilities)
    hits = [suspicion for suspicion in found if suspicion.index in places]
    assert len(hits) >= 18, "at least half of them; 21 to 25 of 36 from three seeds"
    assert len(hits) >= 0.9 * len(found), "precision; 1.0 from three seeds"
    assert all(suspicion.given == targets[suspicion.index] for suspicion in found)
    assert np.mean([suspicion.suggested == true[suspicion.index] for suspicion in hits]) > 0.9
    again = out_of_fold(features[:300], targets[:300])[1]
    assert np.array_equal(out_of_fold(features[:300], targets[:300])[1], again)


def test_the_confident_joint_by_hand():
    targets = np.repeat([0, 1], 5)
    first = np.array([0.9, 0.8, 0.9, 0.8, 0.1, 0.1, 0.2, 0.1, 0.2, 0.75])
    # means: 3.5 / 5 = 0.7 of class 0, (0.9 + 0.8 + 0.9 + 0.8 + 0.25) / 5 = 0.73 of class 1
    found = suspicious_labels(targets, np.column_stack([first, 1 - first]))
    assert [(one.index, one.given, one.suggested) for one in found] == [(4, 0, 1), (9, 1, 0)], "surest first"
    assert [one.confidence for one in found] == pytest.approx([0.9, 0.75])
    assert isinstance(found[0], Suspicion)


def test_a_class_must_reach_what_its_own_examples_have():
    targets = np.repeat([0, 1], 10)
    first = np.concatenate([np.full(9, 0.99), [0.35], np.full(10, 0.05)])
    # the last of class 0 is more likely of class 1, but with 0.65 not as likely as class 1 is with 0.95
    assert suspicious_labels(targets, np.column_stack([first, 1 - first])) == ()
    first[9] = 0.04
    assert [one.index for one in suspicious_labels(targets, np.column_stack([first, 1 - first]))] == [9]


def test_a_useless_classifier_suspects_nothing():
    random = np.random.default_rng(1)
    features, targets = random.normal(size=(300, 4)), random.integers(0, 3, 300)
    rows, probabilities = out_of_fold(features, targets)
    assert suspicious_labels(targets[rows], probabilities) == ()
    always = np.tile([0.9, 0.1], (100, 1))
    assert suspicious_labels(np.repeat([0, 1], [90, 10]), always) == (), "90 % right by guessing"
    assert suspicious_labels(np.zeros(10, int), np.tile([0.9, 0.1], (10, 1))) == ()


def test_classes_with_fewer_than_five_examples_are_left_out():
    random = np.random.default_rng(2)
    targets = np.repeat([0, 1, 3], [30, 4, 30])
    rows, probabilities = out_of_fold(targets[:, np.newaxis] + random.normal(0, 0.1, (64, 1)), targets)
    assert rows.tolist() == [*range(30), *range(34, 64)]
    assert probabilities.shape == (60, 4)
    assert not probabilities[:, [1, 2]].any()
    assert (probabilities.argmax(axis=1) == targets[rows]).all()


@pytest.mark.parametrize("targets", [[0] * 9, [0, 1, 2], [1] * 8 + [0]], ids=["one class", "few", "one large enough"])
def test_nothing_to_compare(targets):
    rows, probabilities = out_of_fold(np.zeros((len(targets), 2)), np.array(targets))
    assert len(rows) == len(probabilities) == 0
    assert suspicious_labels(np.array(targets)[rows], probabilities) == ()


def test_probabilities_do_not_know_the_label():
    """Features that are noise would be learnt by heart: in the folds they are no better than guessing."""
    random = np.random.default_rng(3)
    targets = np.arange(200) % 2
    rows, probabilities = out_of_fold(random.normal(size=(200, 3)), targets)
    assert (probabilities.argmax(axis=1) == targets[rows]).mean() < 0.65
