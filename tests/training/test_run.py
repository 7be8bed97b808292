"""What a run leaves, what repeats it, and what refuses or ends it."""

import csv
import functools
import json
import math
import shutil
from unittest.mock import Mock

import keras
import numpy as np
import pytest

from dlapp.architectures import builder
from dlapp.data import load
from dlapp.errors import ModelError, RecipeError, TrainingDiverged, TrainingError, UnknownName
from dlapp.recipe import Recipe
from dlapp.signature import Signature
from dlapp.training import preparing
from dlapp.training import run as runs
from dlapp.training.callbacks import History, read_history
from dlapp.training.model_folder import ModelFolder

STEPS = 21  # an epoch of ``stateful``


def softmax(rows, **training):
    return {
        "architecture": "softmax_regression",
        "data": rows,
        "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, **training},
    }


def without_seconds(folder):
    with folder.history.open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def weights(path):
    return keras.models.load_model(path).get_weights()


def assert_same_run(one, other):
    assert without_seconds(one) == without_seconds(other)
    for name in ("model.keras", "last/model.keras"):
        for left, right in zip(weights(one.path / name), weights(other.path / name), strict=True):
            np.testing.assert_array_equal(left, right, err_msg=name)
    assert one.read_metrics() == other.read_metrics()


def test_a_run_leaves_its_files_and_no_other(rows, workplace, train):
    folder = train(workplace / "a", softmax(rows))
    left = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}
    # report.html is written by the command, which stands above training
    assert left == {
        "recipe.toml",
        "model.keras",
        "last/model.keras",
        "last/state.json",
        "history.csv",
        "metrics.json",
        "signature.json",
        "samples.npz",
    }
    columns = ["epoch", "seconds", "learning_rate", "train_accuracy", "train_loss", "dev_accuracy", "dev_loss"]
    assert list(read_history(folder.history)[0]) == columns
    header, _ = folder.recipe.read_text().split("\n", 1)
    assert header.startswith(f"# dlapp train {folder.recipe} ")
    assert f"test accuracy {folder.read_metrics()['test']['accuracy']:.4f}" in header
    given = Recipe.from_values(softmax(rows))
    assert folder.read_recipe() == given.model_copy(update={"training": given.training.resolved()})
    np.testing.assert_array_equal(folder.read_samples(), load(rows).test.inputs[:8])


def test_metrics_are_those_of_the_best_weights(rows, workplace, train):
    folder = train(workplace / "a", softmax(rows, epochs=3, seed=5))
    metrics = json.loads(folder.metrics.read_text())
    data, preprocessing = load(rows), Signature.read(folder.signature).preprocessing
    np.testing.assert_allclose(preprocessing.mean, data.train.inputs.mean(axis=0), rtol=1e-5)  # float32 means
    kernel, bias = weights(folder.model)
    for name, part in data.splits().items():
        scaled = (part.inputs - np.array(preprocessing.mean)) / np.sqrt(preprocessing.variance)
        logits = scaled @ kernel + bias
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = -np.log(probabilities[np.arange(len(part)), part.targets]).mean()
        assert metrics[name]["examples"] == len(part)
        assert metrics[name]["loss"] == pytest.approx(expected, rel=1e-5)  # the network computes in float32
        assert metrics[name]["accuracy"] == (probabilities.argmax(axis=1) == part.targets).mean()
    assert metrics["dev"]["loss"] == pytest.approx(min(r["dev_loss"] for r in read_history(folder.history)), rel=1e-5)
    assert {"python", "keras", "tensorflow", "numpy", "dlapp"} <= set(metrics["versions"])
    facts = {key: metrics[key] for key in ("seed", "epochs", "parameters", "data_hash", "own_splits")}
    assert facts == {"seed": 5, "epochs": 3, "parameters": (4 + 1) * 3, "data_hash": data.hash, "own_splits": []}
    assert Signature.read(folder.signature).provenance["test"]["accuracy"] == metrics["test"]["accuracy"]


def test_a_seed_repeats_the_run_and_another_does_not(rows, workplace, train):
    values = softmax(rows, seed=1) | {"architecture_options": {"kernel_initializer": "glorot_uniform"}}
    assert_same_run(train(workplace / "one", values), train(workplace / "same", values))
    initial = [
        preparing.prepare(Recipe.from_values(values | {"training": {"seed": seed}})).model.get_weights()[0]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(initial[0], initial[1])
    assert not np.array_equal(initial[0], initial[2])


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """60 pictures with labels drawn at random: dev gets worse at once, and early stopping has work to do."""
    random = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("noise") / "noise.npz"
    np.savez(file, x=random.integers(0, 256, (60, 16, 16), np.uint8), y=random.permutation(60) % 2)
    return f"npz:{file}"


def stateful(source, optimizer):
    """A recipe of everything that has state: the optimizer, its schedule, dropout, augmentation, order, patience."""
    return {
        "architecture": "lenet5",
        "data": source,
        "preprocessing": {"size": 16, "augment": {"shift": 0.1}},
        "training": {
            "epochs": 8,
            "batch_size": 2,  # 42 examples are 21 steps: two looks at the loss an epoch
            "optimizer": optimizer,
            "learning_rate": {"momentum": 0.01, "adam": 0.002}[optimizer],
            "schedule": "cosine",
            "l2": 1e-4,
            "dropout": 0.2,
            "early_stopping": 3,
        },
    }


@pytest.fixture(scope="module")
def uninterrupted(noise, train, tmp_path_factory):
    """The folder of the whole run, by its optimizer."""
    root = tmp_path_factory.mktemp("uninterrupted")
    return functools.cache(lambda optimizer: train(root / optimizer, stateful(noise, optimizer)))


def interrupt_in_epoch(epoch, point, patched):
    """Ctrl-C at a point of that epoch: callbacks are called in the order model.keras, history.csv, last/model.keras."""
    method, finished = {
        "between two batches": ("on_train_batch_end", False),
        "before history.csv": ("on_epoch_end", False),
        "before last/model.keras": ("on_epoch_end", True),
    }[point]
    original = getattr(History, method)

    def interrupted(self, number, logs=None):
        due = self.model.optimizer.iterations.numpy() > (epoch - 1) * STEPS
        if due and not finished:
            raise KeyboardInterrupt(point)
        original(self, number, logs)
        if due:
            raise KeyboardInterrupt(point)

    patched.setattr(History, method, interrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "point"),
    [
        ("momentum", "before history.csv"),
        ("momentum", "before last/model.keras"),
        ("adam", "between two batches"),
    ],
)
def test_an_interrupted_run_resumes_to_what_it_would_have_been(
    noise, uninterrupted, train, tmp_path, monkeypatch, optimizer, point
):
    whole = uninterrupted(optimizer)
    losses = [row["dev_loss"] for row in read_history(whole.history)]
    assert len(losses) < 8, "the run has to stop early"
    assert np.argmin(losses) + 1 < 3, "its patience has to begin before the interruption"
    values = stateful(noise, optimizer)
    with monkeypatch.context() as patched:
        interrupt_in_epoch(3, point, patched)
        with pytest.raises(KeyboardInterrupt, match=point):
            train(tmp_path / "run", values)
    assert not [path for path in (tmp_path / "run").rglob("*") if ".part" in path.name]
    with pytest.raises(TrainingError, match=r"is not finished. Go on with: dlapp train .*/run/recipe.toml --resume"):
        ModelFolder(tmp_path / "run").load_model()
    assert_same_run(train(tmp_path / "run", values), whole)


def test_a_run_of_more_epochs_is_the_longer_run(rows, workplace, train):
    constant = {"schedule": "constant", "optimizer": "adam"}
    train(workplace / "grown", softmax(rows, epochs=2, **constant))
    grown = train(workplace / "grown", softmax(rows, epochs=5, **constant))
    assert_same_run(grown, train(workplace / "long", softmax(rows, epochs=5, **constant)))


@pytest.mark.parametrize(
    "schedule",
    [
        {"schedule": "plateau", "decay_epochs": 1, "decay_rate": 0.5},
        {"schedule": "exponential", "decay_rate": 0.7, "warmup_epochs": 1.5},
        {"schedule": "step", "decay_epochs": 1, "optimizer": "nesterov", "momentum": 0.8, "clip_norm": 1.0},
    ],
    ids=lambda schedule: schedule["schedule"],
)
def test_a_resumed_schedule_is_where_it_would_have_been(rows, workplace, train, schedule):
    values = {"learning_rate": 1.0, "early_stopping": 0, **schedule}
    train(workplace / "grown", softmax(rows, epochs=3, **values))
    grown = train(workplace / "grown", softmax(rows, epochs=6, **values))
    whole = train(workplace / "long", softmax(rows, epochs=6, **values))
    assert_same_run(grown, whole)
    rates = [row["learning_rate"] for row in read_history(whole.history)]
    assert rates[-1] < max(rates[:3]), "a schedule that never moved would prove nothing"


def test_the_kept_model_loads_without_dlapp_and_the_last_one_goes_on(rows, workplace, train):
    folder = train(workplace / "a", softmax(rows, schedule="constant", warmup_epochs=1, epochs=2))
    assert not keras.models.load_model(folder.model).compiled
    assert keras.models.load_model(folder.last_model).optimizer.iterations > 0


def test_class_weights_move_the_answers_to_the_rare_class(workplace, train):
    random = np.random.default_rng(0)
    targets = (np.arange(200) % 10 == 0).astype(int)  # 20 of 200
    np.savez("rare.npz", x=random.normal(size=(200, 2)) + 0.7 * targets[:, None], y=targets)
    recalls = {}
    for name, weights_ in (("plain", None), ("balanced", "balanced"), ("named", {"1": 9.0})):
        values = softmax("npz:rare.npz", epochs=15)
        values["training"]["class_weights"] = weights_
        folder = train(workplace / name, values)
        recalls[name] = folder.read_metrics()["train"]["per_class"][1]["recall"]
    assert recalls["plain"] < 0.2 < 0.5 < recalls["balanced"]
    assert recalls["named"] > 0.5


def test_balanced_weights_are_inverse_frequencies(rows):
    np.savez("rare.npz", x=np.zeros((40, 2)) + np.arange(40)[:, None], y=[0] * 30 + [1] * 10)
    recipe = Recipe.from_values({"architecture": "softmax_regression", "data": "npz:rare.npz"})
    run = preparing.prepare(recipe)
    counts = np.bincount(run.data.train.targets)
    balanced = recipe.model_copy(update={"training": recipe.training.model_copy(update={"class_weights": "balanced"})})
    found = preparing.class_weights(balanced, run.data)
    assert found == pytest.approx({k: counts.sum() / (2 * counts[k]) for k in (0, 1)})
    assert preparing.class_weights(recipe, run.data) is None


@pytest.mark.parametrize(
    ("source", "weights_", "message"),
    [
        ("iris", {"rose": 2.0}, "class in training.class_weights 'rose'"),
        ("diabetes", "balanced", "no classes to weigh"),
    ],
)
def test_weights_of_no_class_are_refused(source, weights_, message):
    values = {"architecture": "deep_network", "data": source, "training": {"class_weights": weights_}}
    with pytest.raises((RecipeError, UnknownName), match=message):
        preparing.prepare(Recipe.from_values(values))


def test_fitting_in_memory_gives_what_a_run_keeps(rows, workplace, train):
    folder = train(workplace / "a", softmax(rows, epochs=4, learning_rate=0.5))
    run = preparing.prepare(Recipe.from_values(softmax(rows, epochs=4, learning_rate=0.5)))
    lowest = runs.fit_in_memory(run)
    assert lowest == pytest.approx(min(row["dev_loss"] for row in read_history(folder.history)), abs=1e-7)
    for ours, kept in zip(run.model.get_weights(), weights(folder.model), strict=True):
        np.testing.assert_array_equal(ours, kept)


def test_an_interrupted_extension_is_not_finished(rows, workplace, train, monkeypatch):
    folder = train(workplace / "a", softmax(rows, epochs=2))
    before = folder.model.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(runs, "finish", Mock(side_effect=KeyboardInterrupt("finish")))
        with pytest.raises(KeyboardInterrupt, match="finish"):
            train(folder.path, softmax(rows, epochs=5))
    assert folder.model.read_bytes() != before
    with pytest.raises(TrainingError, match="is not finished"):
        folder.read_metrics()  # they would be those of other weights


def test_a_finished_run_trains_no_more(noise, uninterrupted, train, tmp_path):
    folder = ModelFolder(shutil.copytree(uninterrupted("momentum").path, tmp_path / "run"))
    before = {path: path.read_bytes() for path in (folder.model, folder.last_model, folder.history, folder.metrics)}
    train(folder.path, stateful(noise, "momentum"))
    assert {path: path.read_bytes() for path in before} == before


def test_other_data_are_refused(rows, workplace, train):
    folder = train(workplace / "a", softmax(rows))
    before = folder.history.read_bytes(), folder.last_model.read_bytes()
    with np.load("rows.npz") as archive:
        np.savez("rows.npz", x=archive["x"] + 1, y=archive["y"])
    with pytest.raises(TrainingError, match=r"npz:rows.npz has changed since the run in .* began.*--name"):
        train(folder.path, softmax(rows, epochs=4))
    assert (folder.history.read_bytes(), folder.last_model.read_bytes()) == before


def test_another_network_is_refused(rows, workplace, train):
    folder = train(workplace / "a", softmax(rows))
    pictures = np.random.default_rng(0).integers(0, 256, (90, 2, 3, 1), np.uint8)
    folder.last_state.unlink()
    np.savez("rows.npz", x=pictures, y=np.arange(90) % 3)
    with pytest.raises(TrainingError, match=r"is another network than .*recipe.toml describes"):
        train(folder.path, softmax(rows, epochs=4))


def test_divergence_names_its_epoch_and_the_lack_of_scaling(workplace, train):
    random = np.random.default_rng(0)
    np.savez("rows.npz", x=1e4 * random.normal(size=(90, 4)), y=np.arange(90) % 3)
    values = softmax("npz:rows.npz", epochs=5, batch_size="all", optimizer="gradient_descent", learning_rate=1e38)
    # a step an epoch: the loss of the first is that of the zero weights, and the first step leads beyond float32
    with pytest.raises(TrainingDiverged, match=r"became (nan|inf) in epoch 2. Most likely the inputs are not scaled"):
        train(workplace / "a", values | {"preprocessing": {"scale": "none"}})
    assert [row["train_loss"] for row in read_history(workplace / "a" / "history.csv")] == [pytest.approx(np.log(3))]


def test_grey_arrays_reach_a_network_of_three_channels(workplace):
    recipe = Recipe.from_values(softmax("digits") | {"preprocessing": {"channels": 3}})
    run = preparing.prepare(recipe)
    assert run.model.input_shape == (None, 8, 8, 3)
    assert run.preprocessing.channels == run.recipe.preprocessing.channels == 3
    images, _ = next(iter(run.pipeline("dev").batches(9)))
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    # a search loads the data before it knows of a network to start from
    loaded = preparing.load_data(Recipe.from_values(softmax("digits")))
    np.testing.assert_array_equal(preparing.prepare(recipe, loaded).data.dev.inputs, run.data.dev.inputs)


def test_rows_have_no_channels(rows):
    with pytest.raises(RecipeError, match=r"channels is 3; npz:rows.npz holds rows, not pictures: remove it"):
        preparing.prepare(Recipe.from_values(softmax("npz:rows.npz") | {"preprocessing": {"channels": 3}}))


def test_the_resolved_recipe_has_no_gaps(workplace):
    run = preparing.prepare(Recipe.from_values({"architecture": "lenet5", "data": "digits"}))
    resolved = run.recipe.preprocessing
    assert (resolved.size, resolved.channels, resolved.antialias) == ((32, 32), 1, False)
    assert (preparing.input_shape(run.preprocessing), run.model.input_shape) == ((32, 32, 1), (None, 32, 32, 1))
    assert (run.batch_size, run.steps_per_epoch) == (64, math.ceil(len(run.data.train) / 64))


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing", "another format"])
def test_a_damaged_model_is_named(tmp_path, damage):
    folder = ModelFolder(tmp_path)
    folder.metrics.touch()
    builder("logistic_unit")((300,)).save(folder.model)
    content = bytearray(folder.model.read_bytes())
    content[len(content) // 2] ^= 0xFF
    if damage == "missing":
        folder.model.unlink()
    else:
        folder.model.write_bytes({"truncated": content[:-200], "altered": content}.get(damage, b"weights"))
    with pytest.raises(ModelError, match=r"model\.keras cannot be read as a Keras model"):
        folder.load_model()


def resolved(architecture, **tables):
    """The recipe of a run that is not trained, on pictures of two kinds as large as they must be."""
    size = {"alexnet": 67, "inception_v1": 65}.get(architecture, 32)
    pictures = np.random.default_rng(0).integers(0, 256, (20, size, size), np.uint8)
    np.savez("small.npz", x=pictures, y=np.arange(20) % 2)
    values = {"architecture": architecture, "data": "npz:small.npz", "preprocessing": {"size": [size, size]}}
    run = preparing.prepare(Recipe.from_values({**values, **tables}))
    dropped = [layer.rate for layer in run.model.layers if isinstance(layer, keras.layers.Dropout)]
    return run.recipe, dropped


@pytest.mark.parametrize(
    ("tables", "rate", "dropout", "dropped"),
    [
        ({}, 1e-4, 0.5, [0.5, 0.5]),
        ({"training": {"dropout": 0.0, "learning_rate": 0.01}}, 0.01, 0.0, []),
        ({"training": {"dropout": 0.3}, "architecture_options": {"groups": 1}}, 1e-4, 0.3, [0.3, 0.3]),
        ({"architecture_options": {"dropout": 0.2}}, 1e-4, 0.0, [0.2, 0.2]),
        ({"training": {"optimizer": "momentum"}}, 0.002, 0.5, [0.5, 0.5]),
    ],
    ids=["nothing said", "zero said", "another said", "an option", "another optimizer"],
)
def test_the_recipe_says_what_the_architecture_has_of_its_own(workplace, tables, rate, dropout, dropped):
    recipe, found = resolved("alexnet", **tables)
    assert (recipe.training.learning_rate, recipe.training.dropout) == (rate, dropout)
    assert found == dropped
    again = Recipe.from_values(recipe.model_dump(mode="json", exclude_none=True))
    assert preparing.prepare(again).recipe == recipe, "a repeated run is the same"


def test_most_architectures_have_the_usual_rate(workplace):
    recipe, dropped = resolved("lenet5")
    assert (recipe.training.learning_rate, recipe.training.dropout, dropped) == (0.002, 0.0, [])
