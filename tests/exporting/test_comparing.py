"""How far answers are apart, each against a number that is worked out here."""

import dataclasses

import numpy as np
import pytest

from dlapp import signature as signatures
from dlapp.exporting.comparing import INCOMPARABLE, compare, tolerance
from dlapp.exporting.recording import Case, StepCase
from dlapp.exporting.replaying import Replay
from dlapp.signature import PADDING, UNKNOWN, Detection, Preprocessing, Target, Vocabulary

ROWS = Preprocessing(0)
CLASSES = signatures.classification(("a", "b", "c"), ROWS)
PRICE = signatures.regression(Target("price", mean=1000.0, deviation=50.0), ROWS)
CHANGE = signatures.regression(Target("change", mean=-3.0, deviation=50.0), ROWS)
LOSS = signatures.regression(Target("loss", mean=-300.0, deviation=50.0), ROWS)
BOXES = signatures.boxes(("disc", "square"), Preprocessing(3, (32, 32)), Detection((1, 1), ((0.5, 0.5),), most=3))
WORDS = Preprocessing(0, vocabulary=Vocabulary((PADDING, UNKNOWN, "a"), "word"))
WRITER = signatures.language_model(WORDS, (2,))
TOLD = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]], np.float32)


def case(signature, **outputs):
    """What Keras gave for zeros."""
    given = {"boxes": (32, 32, 3)}.get(signature.task, (4,))
    size = len(next(iter(outputs.values())))
    return Case({signature.inputs[0].name: np.zeros((size, *given), np.float32)}, outputs)


def compared(signature, wanted, given, **more):
    """Of cases, each a dict of outputs."""
    cases = [case(signature, **outputs) for outputs in wanted]
    return compare(signature, cases, more.get("steps"), Replay("1", list(given), more.get("stepped"), 0.0, 0.0))


def classes(wanted, given):
    return compared(CLASSES, [{"probabilities": wanted}], [{"probabilities": given}])


def moved(by, at=(1, 2)):
    values = TOLD.copy()
    values[at] += np.float32(by)
    return values


def test_nothing_is_apart():
    found = classes(TOLD, TOLD.copy())
    assert found[:3] == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("given", "absolute", "agreement"),
    [
        (moved(0.05), 0.05, 1.0),  # 0.45 is less than 0.5
        (moved(0.2), 0.2, 0.5),  # 0.6 is more
        (moved(0.1), 0.1, 1.0),  # as much: a tie
        (moved(0.1 + 5e-6), 0.1, 1.0),  # a tie within the tolerance
        (moved(0.1 + 3e-5), 0.1, 0.5),
        (TOLD[::-1].copy(), 0.6, 0.0),
    ],
    ids=["less", "more", "tie", "tie within the tolerance", "beyond it", "swapped"],
)
def test_classes(given, absolute, agreement):
    found = classes(TOLD, given)
    assert found.absolute == pytest.approx(absolute, abs=1e-4)
    assert found.absolute == pytest.approx(np.abs(given.astype(float) - TOLD).max(), rel=1e-12)
    assert found.relative == pytest.approx(found.absolute / 0.7, rel=1e-6), "of the largest number, 0.7 in float32"
    assert found.agreement == agreement


def test_where_it_is():
    second = moved(0.03, (1, 0))
    found = compared(
        CLASSES, [{"probabilities": TOLD}] * 3, [{"probabilities": v} for v in (moved(0.01), second, TOLD)]
    )
    assert (found.output, found.case, found.sample) == ("probabilities", 2, 1)
    assert found.absolute == pytest.approx(0.03, rel=1e-5)


def test_samples_count_whatever_case_they_are_in():
    one = TOLD[:1]
    wanted = [{"probabilities": TOLD}, {"probabilities": one}]
    found = compared(CLASSES, wanted, [{"probabilities": TOLD}, {"probabilities": one[:, ::-1].copy()}])
    assert found.agreement == pytest.approx(2 / 3)


def test_cases_that_were_not_run_are_left_out():
    wanted = [{"probabilities": TOLD}, {"probabilities": TOLD[::-1]}]
    assert compared(CLASSES, wanted, [{"probabilities": TOLD}]).agreement == 1.0


@pytest.mark.parametrize(
    "given",
    [
        TOLD[:, :2],
        TOLD[:1],
        TOLD[np.newaxis],
        TOLD.astype(np.float64),
        TOLD.astype(np.float16),
        np.full_like(TOLD, np.nan),
    ],
    ids=["a class less", "a sample less", "an axis more", "float64", "float16", "NaN"],
)
def test_what_cannot_be_compared(given):
    found = classes(TOLD, given)
    assert found.absolute == found.relative == INCOMPARABLE
    assert (found.output, found.case) == ("probabilities", 1)
    if given.dtype == np.float32:
        assert found.agreement == 0.0


def test_one_nan_is_one_sample():
    found = classes(TOLD, moved(np.nan))
    assert (found.absolute, found.agreement, found.sample) == (INCOMPARABLE, 0.5, 1)


def test_what_is_not_given_at_all():
    found = compared(CLASSES, [{"probabilities": TOLD}], [{"other": TOLD}])
    assert (found.absolute, found.agreement) == (INCOMPARABLE, 0.0)


def test_infinity_is_a_number_in_json():
    found = classes(TOLD, moved(np.inf))
    assert found.absolute == found.relative == INCOMPARABLE


@pytest.mark.parametrize(
    ("signature", "unit"),
    [(PRICE, 1000.0), (CHANGE, 50.0), (LOSS, 300.0)],
    ids=["of the mean", "of the deviation", "of a negative mean"],
)
def test_values_in_the_unit_of_their_target(signature, unit):
    wanted = np.array([[800.0], [1200.0], [1000.0]], np.float32)
    given = wanted + np.array([[0.0], [4e-6 * unit], [-3e-4 * unit]], np.float32)
    found = compared(signature, [{"value": wanted}], [{"value": given}])
    assert found.absolute == pytest.approx(np.abs(given.astype(float) - wanted).max() / unit, rel=1e-9)
    assert found.relative == pytest.approx(found.absolute * unit / 1200, rel=1e-9)
    assert found.agreement == pytest.approx(2 / 3), "the share within 1e-5"
    assert found.sample == 2


def test_the_largest_share_may_be_elsewhere():
    wanted = [{"value": np.array([[1000.0]], np.float32)}, {"value": np.array([[1.0]], np.float32)}]
    given = [{"value": np.array([[1001.0]], np.float32)}, {"value": np.array([[1.5]], np.float32)}]
    found = compared(PRICE, wanted, given)
    assert (found.absolute, found.case) == (pytest.approx(0.001), 1)
    assert found.relative == 0.5


def test_tags_agree_where_all_of_a_sample_do():
    signature = signatures.tagging(("A", "B"), WORDS)
    wanted = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.6, 0.4], [0.0, 0.0]]], np.float32)  # the last is padding
    given = wanted.copy()
    given[0, 1] = 0.7, 0.3
    found = compared(signature, [{"probabilities": wanted}], [{"probabilities": given}])
    assert (found.agreement, found.sample) == (0.5, 0)
    assert found.absolute == pytest.approx(0.5, rel=1e-6)


def test_steps_have_answers_and_states_have_none():
    tokens, states = np.zeros((2, 3), np.int32), (np.zeros((2, 2), np.float32),)
    said = np.full((2, 3, 3), 1 / 3, np.float32)
    steps = StepCase(tokens, states, said, (np.array([[8, -4], [1, 2]], np.float32),))
    probabilities = np.full((1, 2, 3), 1 / 3, np.float32)
    known = [{"probabilities": probabilities}]

    other = steps.after[0] + np.array([[0.4, 0], [0, 0]], np.float32)
    found = compared(WRITER, known, known, steps=steps, stepped=(said, [other]))
    assert (found.output, found.case, found.sample) == ("next_state1", 0, 0)
    assert found.absolute == pytest.approx(0.4 / 8, rel=1e-6), "of a state as a share of its largest number"
    assert found.agreement == 1.0

    wrong = said.copy()
    wrong[1, 2, 1] = 0.9
    found = compared(WRITER, known, known, steps=steps, stepped=(wrong, list(steps.after)))
    assert (found.output, found.sample, found.agreement) == ("probabilities", 1, pytest.approx(2 / 3))
    assert found.absolute == pytest.approx(0.9 - 1 / 3, rel=1e-6)


def boxes(*rows):
    """Outputs for one picture of (class, score, corners)."""
    found = {
        "boxes": np.zeros((1, 3, 4), np.float32),
        "scores": np.zeros((1, 3), np.float32),
        "classes": np.zeros((1, 3), np.int32),
        "count": np.array([len(rows)], np.int32),
    }
    for place, (kind, score, corners) in enumerate(rows):
        found["classes"][0, place], found["scores"][0, place], found["boxes"][0, place] = kind, score, corners
    return found


LARGE, THIN, POINT = (0, 0, 100, 100), (10, 10, 10.004, 90), (5, 5, 5, 5)


@pytest.mark.parametrize(
    ("wanted", "given", "same"),
    [
        (LARGE, (0, 0, 100, 99.5), True),  # intersection over union 0.995
        (LARGE, (0, 0, 100, 98.5), False),  # 0.985
        (LARGE, (0, 0, 100, 101.5), False),
        (THIN, (10.003, 10, 10.007, 90), True),  # a quarter overlaps, and no corner is 0.01 away
        (THIN, (10.02, 10, 10.024, 90), False),
        (POINT, POINT, True),  # no area
        (POINT, (5, 5, 5, 5.009), True),
        (POINT, (5, 5, 5, 5.011), False),
    ],
)
def test_boxes_that_are_the_same(wanted, given, same):
    found = compared(BOXES, [boxes((0, 0.8, wanted))], [boxes((0, 0.8, given))])
    assert (found.absolute == 0.0) is same
    assert found.agreement == float(same)
    assert found.output == ("scores" if same else "boxes")


def test_scores_of_boxes():
    wanted = boxes((0, 0.8, LARGE), (1, 0.5, (0, 0, 9, 9)))
    given = boxes((1, 0.49, (0, 0, 9, 9)), (0, 0.803, LARGE))
    found = compared(BOXES, [wanted], [given])
    assert (found.output, found.case, found.sample, found.agreement) == ("scores", 1, 0, 1.0)
    assert found.absolute == pytest.approx(0.01, rel=1e-4)
    assert found.relative == pytest.approx(0.01 / 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (boxes(), "count"),
        (boxes((0, 0.8, LARGE), (0, 0.8, LARGE)), "count"),
        (boxes((1, 0.8, LARGE)), "boxes"),
        ({**boxes((0, 0.8, LARGE)), "scores": np.zeros((1, 3))}, "scores"),
        ({**boxes((0, 0.8, LARGE)), "classes": np.zeros((1, 4), np.int32)}, "classes"),
        ({"boxes": np.zeros((1, 3, 4), np.float32)}, "scores"),
        (boxes((0, np.nan, LARGE)), "boxes"),
        (boxes((0, np.inf, LARGE)), "boxes"),
    ],
    ids=["fewer", "more", "another class", "float64", "another shape", "outputs less", "NaN", "infinite"],
)
def test_other_boxes(given, name):
    found = compared(BOXES, [boxes((0, 0.8, LARGE))], [given])
    assert found.agreement == 0.0
    assert found.output == name
    assert found.absolute == found.relative == INCOMPARABLE


def test_no_boxes_are_the_same_as_none():
    assert compared(BOXES, [boxes()], [boxes()])[:3] == (0.0, 0.0, 1.0)


def test_what_counts_as_equal():
    assert (tolerance(CLASSES), tolerance(PRICE), tolerance(BOXES)) == (1e-5, 1e-5, 1e-4)
    assert tolerance(dataclasses.replace(CLASSES, labels=())) == 1e-5
