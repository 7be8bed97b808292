"""A search: what it varies, that it goes on where it was, that dev decides and test is not looked at."""

import contextlib
import dataclasses
import io
import json
import math
import shutil
import sqlite3

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from dlapp.errors import DlappError, RecipeError, TrainingDiverged, TrainingError
from dlapp.recipe import Recipe
from dlapp.training import answering, tuning
from dlapp.training.model_folder import ModelFolder
from dlapp.training.preparing import load_data
from dlapp.training.tuning import Search, train_best

LEARNING_RATE = {"training.learning_rate": {"low": 1e-3, "high": 0.3, "scale": "log"}}
STAGES = LEARNING_RATE | {
    "training.batch_size": {"choices": [8, 16, 32], "stage": 2},
    "width": {"low": 2, "high": 12, "stage": 3},
}


def recipe(space=None, *, architecture="softmax_regression", data="iris", options=None, **training):
    values = {"architecture": architecture, "data": data, "architecture_options": options or {}}
    values["training"] = {"epochs": 3, "batch_size": 16, **training}
    return Recipe.from_values(values | {"tune": {"space": space or {}}})


def shallow(space=STAGES, **training):
    return recipe(space, architecture="shallow_network", options={"units": 5}, **training)


@pytest.fixture
def begin(workplace):
    """Opens a search in ``tuning/`` of an empty working directory; it is closed when the test ends."""
    with contextlib.ExitStack() as opened:

        def open_search(wanted, data=None, name="study.db"):
            search = Search.open(workplace / "tuning" / name, wanted, data or load_data(wanted))
            return opened.enter_context(contextlib.closing(search))

        yield open_search


@pytest.fixture
def measured(monkeypatch):
    """Trials that train nothing: their loss is lowest at a learning rate of 0.05. Gives the recipes in order."""
    recipes = []

    def measure(self, wanted, trial):
        recipes.append(wanted)
        training = wanted.training
        return 1 + math.log10(training.learning_rate / 0.05) ** 2 + training.batch_size / 1000

    monkeypatch.setattr(Search, "_measure", measure)
    return recipes


def test_a_space_that_is_refused_leaves_no_file(workplace, begin):
    with pytest.raises(RecipeError, match=r"Did you mean training\.learning_rate"):
        begin(recipe({"training.learning_rat": {"low": 1, "high": 2}}))
    assert not (workplace / "tuning").exists()


def test_later_axes_stay_as_the_recipe_has_them_until_their_stage(begin, measured):
    search = begin(shallow())
    tried = list(search.run(9))
    assert [set(trial.changes) for trial in tried] == [
        set(),
        *[{"training.learning_rate"}] * 2,
        *[{"training.learning_rate", "training.batch_size"}] * 3,
        *[set(STAGES)] * 3,
    ]
    assert {trial.values["training.batch_size"] for trial in tried[:3]} == {16}
    assert {wanted.architecture_options["units"] for wanted in measured[:6]} == {5}
    assert len({trial.values["width"] for trial in tried[6:]}) > 1
    assert measured[0].training == shallow().training, "the first is the recipe as it is"
    recorded = optuna.load_study(study_name="tuning", storage=f"sqlite:///{search.path}").trials
    assert all(set(trial.params) == set(STAGES) for trial in recorded)


def test_a_search_gone_on_with_tries_what_it_would_have_tried_at_once(begin, measured):
    at_once = [trial.changes for trial in begin(recipe(LEARNING_RATE), name="once.db").run(14)]
    first = begin(recipe(LEARNING_RATE))
    assert len(list(first.run(5))) == 5
    first.close()
    again = begin(recipe(LEARNING_RATE))
    assert [trial.number for trial in again.run(14)] == list(range(5, 14))
    assert [trial.changes for trial in again.tried()] == at_once
    assert list(again.run(10)) == [], "more are there already"
    other = recipe(LEARNING_RATE).model_copy(update={"tune": again.recipe.tune.model_copy(update={"seed": 1})})
    assert [trial.changes for trial in begin(other, name="other.db").run(5)] != at_once[:5]


def test_an_interrupted_trial_is_no_trial(begin, measured, monkeypatch):
    at_once = [trial.changes for trial in begin(recipe(LEARNING_RATE), name="once.db").run(4)]
    search = begin(recipe(LEARNING_RATE))
    list(search.run(2))
    with monkeypatch.context() as patched:
        patched.setattr(Search, "_measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            list(search.run(4))
    search._study.ask()  # of a process that was killed
    search.close()
    again = begin(recipe(LEARNING_RATE))
    list(again.run(4))
    assert [trial.changes for trial in again.tried()] == at_once
    states = [trial.state for trial in again._study.trials]
    assert states.count(TrialState.FAIL) == 2
    assert TrialState.RUNNING not in states


def test_values_outside_a_range_are_tried_first_and_not_recorded(begin, measured):
    space = LEARNING_RATE | {"training.l2": {"low": 1e-6, "high": 0.1, "scale": "log", "stage": 2}}
    search = begin(recipe(space, learning_rate=1.0))
    tried = list(search.run(8))
    assert [trial.values["training.l2"] for trial in tried[:4]] == [0.0] * 4
    assert tried[0].values["training.learning_rate"] == 1.0
    assert all(1e-6 <= trial.values["training.l2"] <= 0.1 for trial in tried[4:])
    assert search._study.trials[0].params == {}
    assert set(search.importances()) == set(space)


@pytest.mark.parametrize(
    ("axis", "low", "high"),
    [
        ({"low": 0.9, "high": 0.999, "scale": "complement"}, 0.9, 0.999),
        ({"low": 0.1, "high": 0.5}, 0.1, 0.5),
    ],
)
def test_a_range_is_kept(begin, measured, axis, low, high):
    search = begin(recipe({"training.momentum": axis}, optimizer="momentum", momentum=0.9))
    drawn = [trial.values["training.momentum"] for trial in search.run(20)][1:]
    assert all(low <= value <= high for value in drawn)
    middle = 1 - math.sqrt((1 - low) * (1 - high)) if "scale" in axis else (low + high) / 2
    assert 3 <= sum(value > middle for value in drawn) <= 16, "both halves of the scale are tried"
    assert all(len(f"{value:.12g}") <= 8 for value in drawn), "as a person would write it"


def test_the_best_is_found_and_what_mattered_is_told(begin, measured):
    space = LEARNING_RATE | {"training.l2": {"low": 0.0, "high": 0.1}}
    search = begin(recipe(space, learning_rate=0.001))
    list(search.run(25))
    best = search.best()
    assert best.value == min(trial.value for trial in search.tried()) < 1.05
    assert search.best_recipe().training.learning_rate == best.values["training.learning_rate"]
    assert search.best_recipe().tune == search.recipe.tune, "the space stays with the recipe"
    shares = search.importances()
    assert next(iter(shares)) == "training.learning_rate"
    assert shares["training.learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_too_few_trials_tell_nothing_of_importance(begin, measured):
    search = begin(recipe(LEARNING_RATE))
    list(search.run(3))
    assert search.importances() == {}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (recipe(LEARNING_RATE, epochs=4), "training.epochs = 3, not 4"),
        (recipe(LEARNING_RATE, schedule="step"), "training.schedule = 'cosine', not 'step'"),
        (recipe({"training.learning_rate": {"low": 1e-3, "high": 0.5}}), "training.learning_rate.high = 0.3, not 0.5"),
        (recipe(LEARNING_RATE, data="wine"), "has data = 'iris', not 'wine'"),
    ],
)
def test_another_search_is_refused_and_touches_nothing(begin, measured, wanted, message):
    search = begin(recipe(LEARNING_RATE))
    list(search.run(2))
    search.close()
    before = search.path.read_bytes()
    with pytest.raises(TrainingError, match=message) as raised:
        begin(wanted)
    assert "choose another --name" in str(raised.value)
    assert search.path.read_bytes() == before


def test_other_data_are_refused(begin, measured):
    begin(recipe(LEARNING_RATE))
    data = dataclasses.replace(load_data(recipe()), hash="0" * 64)
    with pytest.raises(TrainingError, match="iris has changed since the search"):
        begin(recipe(LEARNING_RATE), data)


def test_a_damaged_file_and_a_locked_one_are_told(begin, measured, monkeypatch):
    search = begin(recipe(LEARNING_RATE))
    list(search.run(2))
    search.close()
    monkeypatch.setattr(tuning, "_WAIT_S", 0.1)
    other = sqlite3.connect(search.path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrainingError, match=r"database is locked\. Another `dlapp tune` is at work there"):
        begin(recipe(LEARNING_RATE))
    other.close()
    search.path.write_bytes(b"no database " * 100)
    with pytest.raises(TrainingError, match=r"file is not a database\. If the file is damaged"):
        begin(recipe(LEARNING_RATE))


def test_a_full_disk_is_told(begin, measured, monkeypatch):
    search = begin(recipe(LEARNING_RATE))
    list(search.run(1))
    pages = search._storage.engine.raw_connection()
    count = pages.cursor().execute("PRAGMA page_count").fetchone()[0]
    pages.cursor().execute(f"PRAGMA max_page_count = {count}")
    pages.close()
    with pytest.raises(TrainingError, match=r"is full\. Make room and give the same command again"):
        list(search.run(60))


def test_trials_that_diverge_or_cannot_be_do_not_end_the_search(begin, monkeypatch):
    ends = iter([TrainingDiverged("the loss became nan."), RecipeError("cannot be built."), 0.5, 0.7])

    def measure(self, wanted, trial):
        end = next(ends)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(Search, "_measure", measure)
    search = begin(recipe(LEARNING_RATE))
    list(search.run(2))
    with pytest.raises(TrainingError, match=r"none of 2 trials could be trained\. The first: the loss became nan"):
        search.best()
    assert [trial.state for trial in search.run(4)] == ["complete", "complete"]
    assert [(trial.state, trial.value) for trial in search.tried()] == [
        ("diverged", None),
        ("impossible", None),
        ("complete", 0.5),
        ("complete", 0.7),
    ]
    assert search.best().number == 2


def test_another_error_ends_the_search(begin, monkeypatch):
    monkeypatch.setattr(Search, "_measure", lambda *_: (_ for _ in ()).throw(DlappError("unreadable")))
    search = begin(recipe(LEARNING_RATE))
    with pytest.raises(DlappError, match="unreadable"):
        list(search.run(2))
    assert search.tried() == []


def test_divergence_of_a_real_run_is_a_trial(begin):
    space = {"training.learning_rate": {"choices": [1e30]}}
    wanted = recipe(space, architecture="linear_unit", data="diabetes", optimizer="gradient_descent", learning_rate=0.1)
    tried = list(begin(wanted).run(2))
    assert [trial.state for trial in tried] == ["complete", "diverged"]
    assert "the loss became" in tried[1].why


def test_a_search_begins_with_what_the_architecture_has_of_its_own(begin, measured):
    wanted = Recipe.from_values({"architecture": "vgg16", "data": "digits"})
    search = begin(wanted)
    list(search.run(1))
    assert (measured[0].training.dropout, measured[0].training.learning_rate) == (0.5, 1e-4)
    assert search.tried()[0].values["training.learning_rate"] == 1e-4
    said = begin(wanted.model_copy(update={"training": wanted.training.model_copy(update={"dropout": 0.0})}), name="2")
    assert said.recipe.training.dropout == 0.0


def test_a_trial_is_measured_in_float32(begin, monkeypatch):
    networks = []

    def look(network, *args):
        networks.append(network)
        return answering.answer_and_measure(network, *args)

    monkeypatch.setattr(tuning, "answer_and_measure", look)
    list(begin(shallow(LEARNING_RATE, epochs=1, mixed_precision=True)).run(1))
    assert {layer.compute_dtype for layer in networks[0].layers} == {"float32"}


class Untouchable:
    """A split that nobody may look at."""

    def __getattribute__(self, name):
        raise AssertionError(f"test was asked for its {name}")


def test_poor_trials_are_pruned_and_test_is_not_looked_at(begin, monkeypatch):
    monkeypatch.setattr(tuning, "_UNPRUNED", 1)
    wanted = recipe({"training.learning_rate": {"choices": [1e-6]}}, learning_rate=0.1, l2=0.05)
    data = dataclasses.replace(load_data(wanted), test=Untouchable())
    with pytest.raises(AssertionError, match="asked for its inputs"):
        data.test.inputs  # noqa: B018
    search = begin(wanted, data)
    first, second = search.run(2)
    assert (first.state, second.state, second.why) == ("complete", "pruned", "after epoch 2")
    assert second.value > first.value
    reported = [list(trial.intermediate_values.values()) for trial in search._study.trials]
    assert [len(losses) for losses in reported] == [3, 2]
    # cross-entropy falls in every epoch here; with the penalty, the two would differ by more than a tenth
    assert first.value == pytest.approx(min(reported[0]), rel=1e-5)


def test_the_best_recipe_repeats_its_trial_and_more_trials_replace_the_model(workplace, begin, monkeypatch):
    wanted = recipe(LEARNING_RATE, learning_rate=1e-3, l2=0.01)
    folder = ModelFolder(workplace)
    console = Console(file=io.StringIO())
    search = begin(wanted)
    list(search.run(1))
    assert set(train_best(search, folder, console)) == {"train", "dev", "test"}
    assert folder.read_metrics()["dev"]["loss"] == pytest.approx(search.best().value, rel=1e-6)
    folder.report.write_text("of trial 0")
    assert train_best(search, folder, console) is None, "it is there already"

    list(search.run(4))
    assert search.best().number > 0
    before = {path.name: path.read_bytes() for path in workplace.iterdir() if path.is_file()}
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "train", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            train_best(search, folder, console)
    assert {path.name: path.read_bytes() for path in workplace.iterdir() if path.is_file()} == before
    assert len(search.tried()) == 4
    assert train_best(search, folder, console) is not None
    assert not folder.report.exists(), "the report of another model is gone"
    assert folder.read_metrics()["dev"]["loss"] == pytest.approx(search.best().value, rel=1e-6)
    kept = folder.read_recipe()
    assert kept.tune.space == search.recipe.tune.space
    assert kept.training.learning_rate == search.best().values["training.learning_rate"]
    assert len(begin(wanted).tried()) == 4, "the search stays beside the new model"
    assert [path.name for path in workplace.parent.iterdir() if path.name.startswith(f".{workplace.name}")] == []


def test_an_interrupted_last_training_is_gone_on_with(workplace, begin, monkeypatch):
    search = begin(recipe(LEARNING_RATE))
    list(search.run(2))
    folder = ModelFolder(workplace)
    console = Console(file=io.StringIO())
    train_best(search, folder, console)
    whole = json.loads(folder.metrics.read_text())
    folder.metrics.unlink()
    weights = folder.last_model.stat().st_mtime_ns
    train_best(search, folder, console)
    assert folder.last_model.stat().st_mtime_ns == weights, "no epoch is trained again"
    assert folder.read_metrics() == whole
    shutil.rmtree(workplace / "tuning")


def test_preprocessing_is_an_axis_and_pictures_are_searched(workplace, begin):
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (60, 16, 16, 1), np.uint8)
    np.savez(workplace / "pictures.npz", x=pictures, y=np.arange(60) % 2)
    wanted = recipe({"preprocessing.scale": {"choices": ["unit", "none"]}}, data="npz:pictures.npz", epochs=1)
    tried = list(begin(wanted).run(3))
    assert tried[0].values["preprocessing.scale"] == "standardize"
    assert {trial.state for trial in tried} == {"complete"}
