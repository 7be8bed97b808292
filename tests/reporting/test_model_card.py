"""A model card from results alone."""

import copy

import pytest

from dlapp.reporting.model_card import number, render, write_plots

ERROR = {"examples": 40, "value": 0.1, "low": 0.05, "high": 0.2}
RESULTS = {
    "format": 1,
    "name": "my rows",
    "architecture": "softmax_regression",
    "what": "One softmax layer.",
    "source": "Cox 1966",
    "base": None,
    "task": "classification",
    "target": None,
    "labels": ["a|b", "<b>", "*x*"],
    "classes": 3,
    "data": {
        "source": "csv:rows.csv",
        "what": None,
        "license": None,
        "hash": "0123456789abcdef0",
        "own_splits": [],
        "columns": ["a_b"],
    },
    "recipe": 'architecture = "softmax_regression"\n',
    "parameters": 1234,
    "multiply_adds": 1200,
    "training": {"epochs": 1, "best_epoch": 1, "seconds": 2.0, "processors": 2},
    "headline": {
        **{"metric": "accuracy", "value": 0.9, "interval_of": "accuracy"},
        **{"measured": 0.9, "low": 0.8, "high": 0.95},
    },
    "train": {"examples": 60, "loss": 0.1, "accuracy": 0.95},
    "dev": {"examples": 20, "loss": 0.2, "accuracy": 0.9},
    "test": {"examples": 20, "loss": 0.3, "accuracy": 0.9, "accuracy_interval": [0.8, 0.95]},
    "confusion_matrix": [[5, 0, 0], [1, 6, 0], [0, 1, 7]],
    "worst_class": {"label": "a|b", "f1": 0.8},
    "diagnosis": {
        "headline": "Verdict: high *bias*.",
        "bayes_error": 0.0,
        "errors": {"train": ERROR, "dev": ERROR, "test": ERROR},
        "limits": ["It is limited."],
        "findings": ["error on train 10 %"],
        "next": [{"against": "bias", "why": "longer", "command": "dlapp train x"}],
        "segments": [{"name": "size", "value": "<10", "error": 0.3, "rest_error": 0.1}],
        "confused": [{"true": "<b>", "predicted": "a|b", "count": 1}],
        "boxes": None,
        "repeats": ["2 groups of the same examples"],
        "likely_wrong_labels": 1,
    },
    "parity": None,
    "benchmark": None,
    "seed": 0,
    "versions": {"dlapp": "0.1.0"},
}


def results(**changes):
    """The results with other values, by dotted keys with __ for the dot."""
    changed = copy.deepcopy(RESULTS)
    for key, value in changes.items():
        *path, last = key.split("__")
        place = changed
        for part in path:
            place = place[part]
        place[last] = value
    return changed


def ran(runtime, verdict="equal", **more):
    row = {"version": "1", "largest_difference": 1e-7, "where": "", "reason": "", "remedy": ""}
    return {"runtime": runtime, "verdict": verdict, **row, **more}


def test_labels_are_text_and_not_markdown():
    card = render(results())
    assert r"3 classes: a\|b, \<b\>, \*x\*" in card
    assert r"\<b\> taken for a\|b (1 time)" in card
    assert r"Worse on size \<10" in card
    assert r"Verdict: high \*bias\*." in card
    assert r"Columns: a\_b." in card
    assert "- 2 groups of the same examples\n- 1 label of its data may be wrong" in card
    assert "It is worst on a\\|b, with an F1 of 0.8000 on test." in card


def test_a_name_with_a_space_can_be_pasted():
    card = render(results(diagnosis=None))
    assert "Not measured: `dlapp diagnose 'my rows'`." in card
    assert "\ndlapp train 'models/my rows/recipe.toml'\n" in card
    assert "| training | 1 epoch (the weights of epoch 1 are kept), 2 s on 2 processor cores |" in card


def test_numbers_that_a_split_lacks_are_dashes():
    card = render(results(test__roc_auc=0.75, dev__map_50=None, test__map_50=0.5, train__threshold=0.5))
    assert "| roc auc | - | - | 0.7500 |" in card
    assert "| map 50 | - | - | 0.5000 |" in card
    assert "| accuracy | 0.9500 | 0.9000 | 0.9000 (0.8000 to 0.9500) |" in card
    assert "threshold" not in card


def test_an_interval_of_another_measure_has_a_row():
    headline = {"metric": "map_50", "value": 0.9, "interval_of": "1 - F1 of a picture"}
    headline |= {"measured": 0.1, "low": 0.05, "high": 0.2}
    card = render(results(headline=headline))
    assert "| test map 50 | 0.9000 on 20 examples |" in card
    assert "| 1 - F1 of a picture, mean | 0.1000 (0.0500 to 0.2000) |" in card
    headline |= dict.fromkeys(("interval_of", "measured", "low", "high"))
    assert "1 - F1" not in render(results(headline=headline))


def test_runtimes_say_what_they_measured_and_what_they_cannot():
    parity = [
        ran("onnxruntime"),
        ran("openvino", "differs", largest_difference=3.4e38, where="probabilities of <3 samples>"),
        ran("tract", "not supported", largest_difference=None, reason="no GRU", remedy="onnxruntime runs it"),
    ]
    median = {"1": {"median_s": 0.001}, "32": {"median_s": 0.02}}
    timed = [{"runtime": "onnxruntime", "latency": median, "error": ""}]
    timed += [{"runtime": "opencv", "latency": {}, "error": "it broke"}]
    benchmark = {"processor": {"name": "P"}, "threads": 1, "input_shape": [4], "results": timed}
    card = render(results(parity=parity, benchmark=benchmark))
    assert "| onnxruntime | 1 | equal | 1.0e-07 | 1 | 20 |" in card
    assert "| openvino | 1 | differs | - | - | - |" in card
    assert "| opencv | - | not verified | - | - | - |" in card
    assert "\nopenvino, differs: probabilities of \\<3 samples\\>\n" in card
    assert "\ntract, not supported: no GRU; onnxruntime runs it\n" in card
    assert "onnxruntime, equal" not in card


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "drawn at random"),
        ({"data__own_splits": ["train", "dev"]}, "drawn at random"),
        ({"data__own_splits": ["train", "test"]}, None),
        ({"task": "language_model", "test__examples": 1, "test__characters": 9}, "Its test is the end of the text"),
        ({"base": "first"}, "and what `first` was trained on alone"),
    ],
)
def test_limits_say_where_test_comes_from(changes, said):
    card = render(results(**changes))
    assert (said or "It knows") in card
    assert ("drawn at random" in card) == (said != "Its test is the end of the text" and said is not None)


def test_of_many_labels_some_are_named_and_all_are_drawn(tmp_path):
    many = results(labels=[f"c{k}" for k in range(30)], classes=30, confusion_matrix=[[1] * 30] * 30)
    assert "30 classes: c0, c1, " in render(many)
    assert "c19, ... |" in render(many)
    history = [{"epoch": 1, **{f"{part}_{what}": 0.5 for part in ("train", "dev") for what in ("loss", "accuracy")}}]
    drawn = write_plots(tmp_path, many, history)
    assert [path.name for path in drawn] == ["curves.svg", "errors.svg", "confusion.svg"]
    assert "c29" in (tmp_path / "confusion.svg").read_text()


def test_an_error_without_an_interval_is_a_point(tmp_path):
    endless = {"examples": 1, "value": 3.0, "low": -1.7e308, "high": 1.7e308}
    found = results(task="language_model", diagnosis__errors__test=endless, confusion_matrix=None)
    history = [{"epoch": 1, **{f"{part}_{what}": 0.5 for part in ("train", "dev") for what in ("loss", "accuracy")}}]
    assert tmp_path / "errors.svg" in write_plots(tmp_path, found, history)


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "-"), (0.0, "0.0000"), (2e-5, "2e-05"), (0.5, "0.5000"), (48.267, "48.27"), (23456.7, "23,457")],
)
def test_numbers_have_four_digits_or_so(value, told):
    assert number(value) == told
