"""``dlapp tune``: the files it leaves, going on, names that are taken, and Ctrl-C."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from dlapp.cli.tune import _tell_importances as tell_importances
from dlapp.errors import TrainingDiverged
from dlapp.recipe import Recipe
from dlapp.reporting.tuning import write_history, write_importance
from dlapp.training.callbacks import History
from dlapp.training.tuning import Search

RECIPE = """
architecture = "softmax_regression"
data = "npz:rows.npz"
[training]
epochs = 2
learning_rate = 1e-3
[tune.space."training.learning_rate"]
low = 1e-3
high = 0.3
scale = "log"
"""


@pytest.fixture
def rows(workplace):
    """mine.toml, a recipe of two classes of 120 rows that a large learning rate tells apart sooner."""
    random = np.random.default_rng(0)
    targets = np.arange(120) % 2
    np.savez(workplace / "rows.npz", x=random.normal(size=(120, 4)) + targets[:, np.newaxis], y=targets)
    (workplace / "mine.toml").write_text(RECIPE)
    return workplace


def read(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trials(folder):
    with (folder / "tuning/trials.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def ink(path):
    """The share of a picture that is not white."""
    with Image.open(path) as picture:
        return (np.asarray(picture.convert("L")) < 250).mean()


def test_leaves_a_model_folder_with_its_search(dlapp, rows):
    status, out, err = dlapp("tune", "mine.toml", "--trials", 5)
    assert status == 0
    folder = rows / "models/mine-tuned"
    assert {path.name for path in (folder / "tuning").iterdir()} == {
        "study.db",
        "trials.csv",
        "importance.png",
        "history.png",
        "recipe.toml",
    }
    found = trials(folder)
    assert [row["number"] for row in found] == list("01234")
    assert found[0]["training.learning_rate"] == "0.001"
    best = min(found, key=lambda row: float(row["value"]))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["dev"]["loss"] == pytest.approx(float(best["value"]), rel=1e-6)
    kept = Recipe.read(folder / "recipe.toml")
    assert str(kept.training.learning_rate) == best["training.learning_rate"]
    assert list(kept.tune.space) == ["training.learning_rate"]
    assert Recipe.read(folder / "tuning/recipe.toml").training.learning_rate == kept.training.learning_rate
    assert next(line for line in err.splitlines() if line.startswith("trial ")).endswith("the recipe as it is")
    assert err.count("\ntrial ") == 5
    assert f"in trial {best['number']}" in out
    complete = sum(row["state"] == "complete" for row in found)
    assert f"due to training.learning_rate 100% (from {complete} trials: a rough guess)." in out
    assert out.splitlines()[-1] == "Next: dlapp diagnose mine-tuned, or dlapp export mine-tuned"
    assert dlapp("evaluate", "mine-tuned")[0] == 0


def test_more_trials_go_on_and_the_model_follows(dlapp, rows):
    assert dlapp("tune", "mine.toml", "--trials", 1, "--name", "a")[0] == 0
    assert Recipe.read(rows / "models/a/recipe.toml").training.learning_rate == 1e-3
    status, out, err = dlapp("tune", "mine.toml", "--trials", 4, "--name", "a", "--json")
    assert status == 0
    assert "1 of 4 trials is there already" in err
    printed = json.loads(out)
    assert printed["trials"] == 4
    assert printed["best"]["value"] < printed["as_it_was"]
    assert printed["dev"]["loss"] == pytest.approx(printed["best"]["value"], rel=1e-6)
    assert (
        Recipe.read(rows / "models/a/recipe.toml").training.learning_rate
        == printed["best"]["values"]["training.learning_rate"]
    )
    assert dlapp("tune", "mine.toml", "--trials", 4, "--name", "b")[0] == 0
    assert trials(rows / "models/a") == trials(rows / "models/b")
    model = (rows / "models/a/model.keras").stat().st_mtime_ns
    status, out, err = dlapp("tune", "mine.toml", "--trials", 3, "--name", "a")
    assert status == 0
    assert "there are 4 trials already in models/a/tuning: --trials 3 adds none" in err
    assert "the best of 4 trials" in out
    assert (rows / "models/a/model.keras").stat().st_mtime_ns == model, "there is nothing left to do"


def test_the_recipe_of_a_folder_gives_its_name(dlapp, rows):
    assert dlapp("train", "mine.toml")[0] == 0
    assert "the best of 1 trial " in dlapp("tune", "models/mine/recipe.toml", "--trials", 1)[1]
    assert (rows / "models/mine-tuned/metrics.json").exists()


def test_another_search_and_a_model_of_none_are_left_alone(dlapp, rows):
    assert dlapp("tune", "mine.toml", "--trials", 2)[0] == 0
    assert dlapp("train", "mine.toml")[0] == 0
    before = read(rows / "models")
    (rows / "mine.toml").write_text(RECIPE.replace("0.3", "0.5"))
    status, _, err = dlapp("tune", "mine.toml", "--trials", 3)
    assert status == 2
    assert "training.learning_rate.high = 0.3, not 0.5" in err
    status, _, err = dlapp("tune", "mine.toml", "--trials", 3, "--name", "mine")
    assert status == 2
    assert "comes of no search: choose another --name" in err
    assert read(rows / "models") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.toml", "--trials", 2], "absent.toml cannot be read"),
        (["mine.toml", "--trials", 0], "0 is not in the range x>=1"),
        (["mine.toml", "--trials", 2, "--name", "a/b"], "a name is one word"),
    ],
)
def test_a_wrong_call_leaves_nothing(dlapp, rows, arguments, message):
    status, _, err = dlapp("tune", *arguments)
    assert status == 2
    assert message in err
    assert not (rows / "models").exists()


def test_ctrl_c_in_the_search_is_gone_on_with_by_the_same_command(dlapp, rows, monkeypatch):
    assert dlapp("tune", "mine.toml", "--trials", 4, "--name", "whole")[0] == 0
    measure = Search._measure
    calls = iter(range(9))

    def interrupted(self, recipe, trial):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, recipe, trial)

    with monkeypatch.context() as patched:
        patched.setattr(Search, "_measure", interrupted)
        status, _, err = dlapp("tune", "mine.toml", "--trials", 4, "--name", "broken")
    assert status == 130
    assert "Go on with the same command: dlapp tune mine.toml --trials 4 --name broken" in err
    assert len(trials(rows / "models/broken")) == 2
    assert [path.name for path in (rows / "models/broken").iterdir()] == ["tuning"], "no model before the end"
    assert dlapp("tune", "mine.toml", "--trials", 4, "--name", "broken")[0] == 0
    assert trials(rows / "models/broken") == trials(rows / "models/whole")


@pytest.mark.parametrize("earlier", [0, 1])
def test_ctrl_c_in_the_last_training_too(dlapp, rows, monkeypatch, earlier):
    if earlier:  # a model of trial 0 is there, which the best replaces
        assert dlapp("tune", "mine.toml", "--trials", 1)[0] == 0
    with monkeypatch.context() as patched:
        original = History.on_epoch_begin

        def interrupt(self, number, logs=None):
            original(self, number, logs)
            if number == 1:
                raise KeyboardInterrupt

        patched.setattr(History, "on_epoch_begin", interrupt)
        status, _, err = dlapp("tune", "mine.toml", "--trials", 3)
    assert status == 130
    assert "same command: dlapp tune mine.toml --trials 3" in err
    folder = rows / "models/mine-tuned"
    assert (folder / "tuning/study.db").exists()
    assert not (folder / "metrics.json").exists()
    assert dlapp("tune", "mine.toml", "--trials", 3)[0] == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    lowest = min(float(row["value"]) for row in trials(folder))
    assert metrics["dev"]["loss"] == pytest.approx(lowest, rel=1e-6)
    assert (folder / "report.html").exists()
    assert [path.name for path in (rows / "models").iterdir()] == ["mine-tuned"]


def test_an_error_of_every_trial_is_shown(dlapp, rows, monkeypatch):
    def diverge(self, recipe, trial):
        raise TrainingDiverged("the loss became nan in epoch 1.")

    monkeypatch.setattr(Search, "_measure", diverge)
    status, _, err = dlapp("tune", "mine.toml", "--trials", 3)
    assert status == 2
    assert err.count("diverged the loss became nan in epoch 1.") == 3
    assert "none of 3 trials could be trained. The first: the loss became nan" in err
    assert [path.name for path in (rows / "models/mine-tuned").iterdir()] == ["tuning"]


@pytest.mark.parametrize(("complete", "rough"), [(19, True), (20, False)])
def test_importances_of_few_trials_are_a_rough_guess(complete, rough):
    assert ("a rough guess" in tell_importances({"width": 1.0}, complete)) == rough


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ([1.0, 0.5, 90.0, None, 0.4], ["complete", "complete", "pruned", "diverged", "complete"]),
        ([None, None], ["diverged", "impossible"]),
        ([0.3], ["complete"]),
    ],
)
def test_the_course_of_a_search_is_a_picture(tmp_path, values, states):
    write_history(tmp_path / "history.png", values, states)
    empty = tmp_path / "empty.png"
    write_history(empty, [], [])
    assert ink(tmp_path / "history.png") > ink(empty) > 0


def test_importances_are_a_picture(tmp_path):
    write_importance(tmp_path / "much.png", {"training.learning_rate": 0.9, "width": 0.1})
    write_importance(tmp_path / "little.png", {"training.learning_rate": 0.2, "width": 0.8})
    write_importance(tmp_path / "none.png", {})
    assert 0 < ink(tmp_path / "none.png") < ink(tmp_path / "much.png")
    assert read(tmp_path)[(tmp_path / "much.png").relative_to(tmp_path)] != (tmp_path / "little.png").read_bytes()
