"""Scores against a worked example and the formulas in NumPy."""

import json

import numpy as np
import pytest

from dlapp.evaluation import score, worst_mistakes

LABELS = ["cat", "dog", "owl"]
TARGETS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],  # right
        [0.5, 0.3, 0.2],  # right
        [0.1, 0.8, 0.1],  # a cat taken for a dog
        [0.2, 0.6, 0.2],  # right
        [0.6, 0.3, 0.1],  # a dog taken for a cat
        [0.1, 0.2, 0.7],  # right
    ],
    np.float32,
)


def wilson(correct: int, n: int) -> list[float]:
    # Wilson 1927: the interval of p for which |p - correct / n| <= z sqrt(p (1 - p) / n)
    z, p = 1.959963984540054, correct / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]


def test_three_classes_by_hand():
    scores = score(TARGETS, PROBABILITIES, LABELS)
    # float32 probabilities have 7 digits
    assert scores["loss"] == pytest.approx(-np.log([0.7, 0.5, 0.1, 0.6, 0.3, 0.7]).mean(), rel=1e-6)
    assert scores["examples"] == 6
    assert scores["accuracy"] == 4 / 6
    assert scores["accuracy_interval"] == pytest.approx(wilson(4, 6), rel=1e-12)
    assert scores["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    # precision and recall: cat 2/3 and 2/3, dog 1/2 and 1/2, owl 1 and 1
    assert [row["precision"] for row in scores["per_class"]] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [row["recall"] for row in scores["per_class"]] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [row["f1"] for row in scores["per_class"]] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [(row["label"], row["examples"]) for row in scores["per_class"]] == [("cat", 3), ("dog", 2), ("owl", 1)]
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert not {"roc_auc", "threshold"} & scores.keys()


def test_precision_and_recall_are_not_mixed_up():
    # both cats right, and the dog taken for a cat: of 3 called cat 2 are; of 2 cats 2 are found
    scores = score(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), ["cat", "dog"])
    cat, dog = scores["per_class"]
    assert (cat["precision"], cat["recall"]) == pytest.approx((2 / 3, 1))
    assert (dog["precision"], dog["recall"]) == (0, 0)
    assert scores["confusion_matrix"] == [[2, 0], [1, 0]], "rows are true, columns predicted"


def test_roc_auc_is_the_share_of_pairs_in_order():
    targets = np.array([0, 0, 0, 1, 1])
    second = np.array([0.1, 0.4, 0.6, 0.4, 0.9])
    scores = score(targets, np.column_stack([1 - second, second]), ["no", "yes"])
    yes, no = second[targets == 1][:, np.newaxis], second[targets == 0]
    assert scores["roc_auc"] == pytest.approx(np.mean((yes > no) + 0.5 * (yes == no)))  # a tie counts half
    assert scores["threshold"] == 0.5


def test_of_two_classes_the_second_is_predicted_from_the_threshold_on():
    scores = score(np.array([1, 0]), np.array([[0.5, 0.5], [0.5000001, 0.4999999]]), ["no", "yes"])
    assert scores["accuracy"] == 1


def test_a_class_that_neither_occurs_nor_is_predicted():
    scores = score(TARGETS[:5], PROBABILITIES[:5], LABELS)
    assert scores["per_class"][2] == {"label": "owl", "examples": 0, "precision": 0, "recall": 0, "f1": 0}
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 1 / 2) / 2), "the mean is over cat and dog"
    assert scores["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("classes", [100, 101])
def test_of_many_classes_the_mistakes_are_listed_instead_of_a_matrix(classes):
    targets = np.arange(2 * classes) % classes
    predicted = targets.copy()
    predicted[[0, classes]] = 7  # both of class 0
    predicted[1] = 9  # one of the two of class 1
    scores = score(targets, np.eye(classes)[predicted], [f"class {k}" for k in range(classes)])
    assert len(scores["per_class"]) == classes
    assert ("confusion_matrix" in scores) == (classes == 100)
    assert ("confused" in scores) == (classes == 101)
    if classes == 101:
        assert scores["confused"] == [
            {"true": "class 0", "predicted": "class 7", "count": 2, "share": 1.0},
            {"true": "class 1", "predicted": "class 9", "count": 1, "share": 0.5},
        ]


def test_one_of_two_classes_absent_has_no_roc_auc():
    scores = score(np.array([1, 1]), np.array([[0.2, 0.8], [0.7, 0.3]]), ["no", "yes"])
    assert "roc_auc" not in scores
    assert scores["accuracy"] == 0.5


@pytest.mark.parametrize("right", [0, 3], ids=["all wrong", "all right"])
def test_extremes_are_finite_and_fit_into_json(right):
    # certain of the wrong class: the cross-entropy is infinite but for the rounding of float64
    probabilities = np.eye(2, dtype=np.float32)[[0] * 3]
    scores = score(np.full(3, 0 if right else 1), probabilities, ["no", "yes"])
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert scores["accuracy"] == right / 3
    assert scores["accuracy_interval"] == pytest.approx(wilson(right, 3), abs=1e-12)
    assert scores["loss"] == pytest.approx(0 if right else -np.log(np.finfo(np.float64).eps), abs=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.full((6, 3), np.nan), "must not be NaN: the network has diverged"),
        (np.where(np.arange(18).reshape(6, 3) == 7, np.nan, PROBABILITIES), "must not be NaN"),
        (PROBABILITIES[:, :2], r"must be \(n, classes\) = \(6, 3\); got \(6, 2\)"),
        (PROBABILITIES[:5], r"must be \(n, classes\) = \(6, 3\); got \(5, 3\)"),
    ],
    ids=["all NaN", "one NaN", "classes", "examples"],
)
def test_what_cannot_be_scored_is_refused(probabilities, message):
    with pytest.raises(ValueError, match=message):
        score(TARGETS, probabilities, LABELS)


@pytest.mark.parametrize(("count", "expected"), [(1, [2]), (2, [2, 4]), (9, [2, 4])])
def test_worst_mistakes_come_first(count, expected):
    # example 2 gave its class 0.1, example 4 gave 0.3; the others are right
    assert worst_mistakes(TARGETS, PROBABILITIES, count).tolist() == expected


def test_worst_mistakes_of_two_classes_follow_the_threshold():
    probabilities = np.array([[0.4, 0.6], [0.5, 0.5], [0.1, 0.9], [0.3, 0.7]])
    assert worst_mistakes(np.array([0, 0, 0, 1]), probabilities, 9).tolist() == [2, 0, 1]


def test_the_worst_mistake_is_not_the_surest_one():
    probabilities = np.array([[0.3, 0.7, 0.0], [0.2, 0.4, 0.4]])
    assert worst_mistakes(np.array([0, 0]), probabilities, 9).tolist() == [1, 0]


def test_no_mistakes_are_an_empty_list_of_indices():
    assert worst_mistakes(np.array([0]), np.array([[0.9, 0.1]]), 5).shape == (0,)
