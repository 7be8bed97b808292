"""The report: one valid page with nothing from outside, whatever the labels and however many."""

import base64
import dataclasses
import html
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from dlapp.evaluation import score, score_regression
from dlapp.recipe import Recipe
from dlapp.reporting import report
from dlapp.reporting.report import Mistake, write_report

VOID = {"meta", "img", "br", "link", "input", "hr", "base", "source", "embed", "area", "col", "track", "wbr"}


class Page(HTMLParser):
    """The elements of a page, and its text; fails where tags do not nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing in {self.getpos()}"

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def write(
    path,
    labels=("0", "1", "2"),
    *,
    examples=200,
    epochs=4,
    mistakes=(),
    right=0.8,
    diagnosis=None,
    recipe_path="models/a/recipe.toml",
    **recipe,
):
    """Writes a report of invented answers, of which the share ``right`` is correct, and gives its text."""
    random = np.random.default_rng(0)
    metrics = {
        "task": "classification",
        "epochs": epochs,
        "parameters": 61706,
        "seed": 0,
        "versions": {"keras": "3.12", "numpy": "2.0"},
    }
    metrics |= {"data_hash": "0" * 64, "own_splits": []}
    for split in ("train", "dev", "test"):
        targets = np.arange(examples) % len(labels)
        answers = np.where(random.random(examples) < right, targets, (targets + 1) % len(labels))
        probabilities = np.full((examples, len(labels)), 0.1 / len(labels))
        probabilities[np.arange(examples), answers] += 0.9
        metrics[split] = score(targets, probabilities, labels)
    names = ("learning_rate", "train_loss", "train_accuracy", "dev_loss", "dev_accuracy")
    history = [
        {"epoch": k, "seconds": 1.0} | dict(zip(names, random.random(5).tolist(), strict=True))
        for k in range(1, epochs + 1)
    ]
    told = report.Page(
        title=recipe.pop("title", "a run"),
        recipe=Recipe.from_values({"architecture": "lenet5", "data": "digits"} | recipe),
        recipe_path=recipe_path,
        metrics=metrics,
        history=history,
        labels=labels,
        diagnosis=diagnosis,
    )
    write_report(path, told, target="target", test=(targets, probabilities), mistakes=mistakes)
    return path.read_text(encoding="utf-8")


def mistake(picture, true="1", predicted="2", where="test example 7"):
    return Mistake(where, picture, f"{true} (0.012)", f"{predicted} (0.900)", "size 3, colour red")


def pictures():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (9, 7, channels), np.uint8) for channels in (1, 3, 4)]


def test_the_command_that_repeats_the_run_can_be_pasted(tmp_path):
    text = write(tmp_path / "report.html", recipe_path="my models/a/recipe.toml")
    assert "<pre>dlapp train 'my models/a/recipe.toml'</pre>" in html.unescape(text)


def test_nothing_comes_from_outside(tmp_path):
    text = write(tmp_path / "report.html", mistakes=[mistake(picture) for picture in pictures()])
    page = Page(text)
    assert not {"link", "script", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "srcset", "href", "xlink:href", "data", "poster", "action"):
                assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
    assert not re.search(r"@import|@font-face|url\((?!['\"]?#)", text)


def test_what_the_plots_refer_to_is_unambiguous(tmp_path):
    text = write(tmp_path / "report.html")
    referred = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    assert len(referred) > 4
    for name in referred:
        # two plots on one page may define it twice, but not differently
        assert len(set(re.findall(rf'<[^<]* id="{name}".*?/>', text, re.DOTALL))) == 1, name


def test_pictures_of_mistakes_are_those_of_the_data(tmp_path):
    given = pictures()
    page = Page(write(tmp_path / "report.html", mistakes=[mistake(picture) for picture in given]))
    shown = page.all("img")
    assert len(shown) == 3
    for attributes, picture in zip(shown, given, strict=True):
        content = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
        decoded = np.asarray(Image.open(io.BytesIO(content)))
        np.testing.assert_array_equal(decoded.reshape(picture.shape), picture)
        assert attributes["alt"] == "test example 7"
    large = mistake(np.zeros((300, 900, 3), np.uint8)).data_uri.removeprefix("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(large))).size == (256, 85)


def test_what_spoke_for_a_mistake_stands_beside_it(tmp_path):
    heat = np.zeros((3, 3), np.float32)
    heat[0, 2] = 1
    mistakes = [dataclasses.replace(mistake(picture), heat=heat) for picture in pictures()]
    page = Page(write(tmp_path / "report.html", mistakes=mistakes))
    shown = page.all("img")
    assert [attributes.get("class") for attributes in shown] == ["small", "map"] * 3
    assert "what in it spoke for the wrong class" in page.text
    for attributes in shown[1::2]:
        content = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
        decoded = np.asarray(Image.open(io.BytesIO(content)), np.float32)
        assert decoded[0, -1].sum() > decoded[-1, 0].sum()
    assert "spoke for" not in Page(write(tmp_path / "report.html", mistakes=[mistake(pictures()[0])])).text


def test_rows_have_no_pictures(tmp_path):
    page = Page(write(tmp_path / "report.html", mistakes=[mistake(None)]))
    assert not page.all("img")
    for told in ("test example 7", "1 (0.012)", "2 (0.900)", "size 3, colour red"):
        assert told in page.text


@pytest.mark.parametrize(
    "hostile",
    ["<b>&", "<script>alert(1)</script>", '" onload="x', "{{ 7 * 7 }}", "cost $5 & $10_", "$\\frac$", "猫", "a" * 80],
    ids=["markup", "script", "attribute", "template", "dollars", "formula", "not Latin", "long"],
)
def test_labels_are_text(tmp_path, hostile):
    mistakes = [mistake(pictures()[0], true=hostile, predicted="2", where=f"photos/{hostile}/1.png")]
    page = Page(
        write(tmp_path / "report.html", labels=(hostile, "1", "2"), mistakes=mistakes, title=hostile, data=hostile)
    )
    assert page.text.count(hostile) >= 5, "title, data, classes, mistake and its file"
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == f"photos/{hostile}/1.png"
    drawn = hostile if len(hostile) <= 14 else hostile[:13] + "…"
    plot = page.text.partition("Confusion on test")[2].partition("Classes on test")[0]
    assert plot.count(drawn) == 2, "beside its row and below its column"


@pytest.mark.parametrize(
    ("labels", "epochs"),
    [(("no", "yes"), 4), (("0", "1", "2"), 1), (tuple(f"class {k}" for k in range(100)), 4)],
    ids=["2 classes", "1 epoch", "100 classes"],
)
def test_any_number_of_classes_and_epochs(tmp_path, labels, epochs):
    page = Page(write(tmp_path / "report.html", labels, epochs=epochs))
    assert len(page.all("svg")) == 2
    assert f"to tell {len(labels)} classes apart" in page.text
    assert f"{epochs} epochs in {epochs} s" in page.text
    assert ("area under the ROC curve; threshold 0.5" in page.text) == (len(labels) == 2)
    rows = page.text.partition("Classes on test")[2]
    assert all(label in rows for label in labels)


def test_thousands_of_classes_stay_readable(tmp_path):
    labels = tuple(f"class {k}" for k in range(2000))
    text = write(tmp_path / "report.html", labels, examples=4000)
    page = Page(text)
    assert len(text) < 200_000
    assert len(page.all("svg")) == 1, "curves, and no matrix"
    confused = page.text.partition("Confusion on test")[2].partition("Classes on test")[0]
    assert len(re.findall(r"class \d+\s*class \d+\s*2\s*100 %", confused)) == 30
    assert "The 30 of 2,000 classes with the lowest F1" in page.text


def test_numbers_are_those_of_the_metrics(tmp_path):
    page = Page(write(tmp_path / "report.html", right=0.8))
    wrong = int(re.search(r"(\d+)mistakes in 200 test examples", page.text)[1])
    assert f"{100 * (200 - wrong) / 200:.2f} %" in page.text
    assert 10 < wrong < 90
    plot = page.text.partition("Confusion on test")[2].partition("Classes on test")[0]
    numbers = [int(number) for number in re.findall(r"^\s*(\d+)\s*$", plot, re.MULTILINE)]
    assert sum(numbers) == 200 + 2 * (0 + 1 + 2), "nine counts and the labels of both axes"


def test_without_mistakes_it_says_so(tmp_path):
    page = Page(write(tmp_path / "report.html", right=1.0))
    assert "None: every test example was classified correctly." in page.text
    assert "100.00 %" in page.text
    assert not page.all("figure")


def diagnosis(**changes):
    interval = {"value": 0.1, "low": 0.05, "high": 0.2}
    found = {
        "headline": "Verdict: high variance (overfitting).",
        "bayes_error": 0.02,
        "errors": {name: {"examples": 200, **interval} for name in ("train", "train_dev", "dev", "test")},
        "findings": [{"name": "variance", "interval": interval, "verdict": "yes", "sentence": "far above train"}],
        "splits": [{"pair": "train and dev", "sentence": "train and dev cannot be told apart"}],
        "next": [{"against": "variance", "why": "regularization", "command": "dlapp train a.toml --set 'x=[1]'"}],
        "learning_curve": {
            "sizes": [10, 20, 40],
            "train": [[0.0, 0.1, 0.1]],
            "dev": [[0.5, 0.4, 0.3]],
            "extrapolation": {"interval": interval, "now": 0.3, "sentence": "twice as many would help"},
        },
        "confused": [{"true": "<cat>", "predicted": "dog", "count": 3, "share": 0.2}],
        "segments": [
            {"name": "age", "value": "3 to 9", "examples": 12, "error": 0.5, "rest_error": 0.1, "p_value": 0.01}
        ],
        "segments_of": "dev",
        "labels": [{"given": "cat", "suggested": "dog", "confidence": 0.9, "where": "train example 3", "details": ""}],
        "repeats": ["2 examples repeat others"],
    }
    return found | changes


def test_a_diagnosis_is_told_and_drawn(tmp_path):
    page = Page(write(tmp_path / "report.html", diagnosis=diagnosis()))
    assert len(page.all("svg")) == 4, "errors and learning curve beside curves and confusion"
    for told in (
        "Verdict: high variance (overfitting).",
        "far above train",
        "train and dev cannot be told apart",
        "dlapp train a.toml --set 'x=[1]'",
        "twice as many would help",
        "<cat>",
        "age: 3 to 9",
        "train example 3",
        "2 examples repeat others",
    ):
        assert told in page.text
    bare = diagnosis(learning_curve=None, confused=[], segments=[], labels=[], repeats=[], next=[], splits=[])
    assert len(Page(write(tmp_path / "report.html", diagnosis=bare)).all("svg")) == 3


def test_a_regression_is_drawn_against_the_truth(tmp_path):
    random = np.random.default_rng(0)
    targets = random.normal(200, 50, 80)
    values = targets + random.normal(0, 10, 80)
    scores = score_regression(targets, values, deviation=50)
    metrics = {"task": "regression", "epochs": 2, "parameters": 3, "seed": 0, "versions": {}, "data_hash": "0"}
    history = [
        {"epoch": k, "seconds": 1.0, "train_loss": 1.0, "train_r2": 0.0, "dev_loss": 1.0 / k, "dev_r2": 0.1}
        for k in (1, 2)
    ]
    told = report.Page(
        title="prices",
        recipe=Recipe.from_values({"architecture": "linear_unit", "data": "diabetes"}),
        recipe_path="models/a/recipe.toml",
        metrics=metrics | dict.fromkeys(("train", "dev", "test"), scores) | {"own_splits": []},
        history=history,
        labels=(),
    )
    write_report(
        tmp_path / "report.html",
        told,
        target="price",
        test=(targets, values[:, np.newaxis]),
        mistakes=[Mistake("test example 3", None, "200", "150")],
    )
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.all("svg")) == 2
    for told in ("to predict price", f"{scores['mean_absolute_error']:.4g}", "predicted price", "test example 3"):
        assert told in page.text
    assert "Confusion" not in page.text
