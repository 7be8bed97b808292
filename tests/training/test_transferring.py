"""A new head on the features of a trained network: the fast way equals the slow one, and both resume."""

import functools
import io
import math
import shutil

import keras
import numpy as np
import pytest
from rich.console import Console

from dlapp.errors import RecipeError, SourceError, TrainingDiverged, TrainingError, UnknownName
from dlapp.recipe import Recipe
from dlapp.training import compiling, preparing, transferring
from dlapp.training import run as runs
from dlapp.training.callbacks import EarlyStopping, History, read_history
from dlapp.training.model_folder import ModelFolder
from dlapp.training.precision import LossScaling
from tests.training.test_run import assert_same_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory, train):
    """A LeNet-5 trained on three kinds of bars, and pictures of two others, lighter."""
    place = tmp_path_factory.mktemp("transfer")
    random = np.random.default_rng(0)
    bars = np.zeros((5, 16, 16), np.uint8)
    for kind, (rows, columns) in enumerate([(2, 16), (16, 2), (6, 6), (2, 6), (6, 2)]):
        bars[kind, :rows, :columns] = 200
    for name, kinds, count in (("old", (0, 1, 2), 90), ("new", (3, 4), 60)):
        targets = np.arange(count) % len(kinds)
        x = np.array([np.roll(bars[kinds[k]], random.integers(0, 10, 2), (0, 1)) for k in targets])
        np.savez(place / f"{name}.npz", x=(x + random.integers(0, 50, x.shape)).astype(np.uint8), y=targets)
    np.savez(place / "rows.npz", x=random.normal(size=(60, 4)), y=np.arange(60) % 2)
    base = {"architecture": "lenet5", "data": f"npz:{place / 'old.npz'}", "preprocessing": {"size": [16, 16]}}
    train(place / "base", base | {"training": {"epochs": 3, "batch_size": 16}})
    return place


def transfer(place, *, epochs=4, preprocessing=None, training=None, **keys):
    return {
        "architecture": "lenet5",
        "data": f"npz:{place / 'new.npz'}",
        "preprocessing": preprocessing or {},
        "transfer": {"model": str(place / "base"), **keys},
        "training": {"epochs": epochs, "batch_size": 8, "learning_rate": 0.05, **(training or {})},
    }


def prepare(values):
    return preparing.prepare(Recipe.from_values(values))


def fit_slowly(values):
    """The whole network on pictures, as Keras's own ``fit`` trains it."""
    run = prepare(values)
    stopping = EarlyStopping([], monitor="val_loss", mode="min", patience=99, restore_best_weights=True)
    runs.compile_for(run.model, run.recipe.training, task=run.data.task, steps_per_epoch=run.steps_per_epoch)
    runs._fit(run, [stopping], [])
    return run.model, stopping.best


# the features are sums in another order: of batches of 64 instead of 8
TOLERANCE = 1e-5


@pytest.mark.parametrize("on_disk", [False, True], ids=["in memory", "on disk"])
def test_cached_features_give_what_the_slow_way_gives(place, tmp_path, monkeypatch, on_disk):
    values = transfer(place, training={"dropout": 0.4, "l2": 1e-3, "early_stopping": 0})
    slow, lowest = fit_slowly(values)
    if on_disk:
        monkeypatch.setattr(transferring, "cache_limit", lambda: 100)
    told = io.StringIO()
    run = prepare(values)
    folder = ModelFolder(tmp_path / "run")
    runs.train(run, folder, Console(file=told))
    assert f"features cached {'on disk' if on_disk else 'in memory'}: 51 x 84 numbers" in told.getvalue()
    kept = folder.load_model()
    for ours, theirs in zip(kept.get_weights(), slow.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    assert min(row["dev_loss"] for row in read_history(folder.history)) == pytest.approx(lowest, abs=TOLERANCE)
    assert not list(folder.path.rglob("features-*")), "what was cached on disk is gone"
    first = kept.get_layer("conv1").get_weights()[0]
    np.testing.assert_array_equal(first, ModelFolder(place / "base").load_model().get_layer("conv1").get_weights()[0])


def test_augmented_pictures_are_not_cached(place):
    told = []
    run = prepare(transfer(place, epochs=1, preprocessing={"augment": {"shift": 0.1}}))
    transferring.fit_stages(run, lambda stage, name: told.append(stage) or 0.0, tell=told.append)
    assert told[1] is run
    assert "features are not cached" in told[0]


def test_fine_tuning_trains_the_last_layers_at_a_lower_rate(place, tmp_path):
    run = prepare(transfer(place, unfreeze=1, epochs=2))
    frozen = [run.model.get_layer(name).get_weights()[0] for name in ("conv2", "dense2")]
    folder = ModelFolder(tmp_path / "run")
    runs.train(run, folder, Console(file=io.StringIO()))
    after = [folder.load_model().get_layer(name).get_weights()[0] for name in ("conv2", "dense2")]
    np.testing.assert_array_equal(frozen[0], after[0])
    rows = read_history(folder.history)
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[0]["learning_rate"] == pytest.approx(0.05)
    assert rows[2]["learning_rate"] == pytest.approx(0.005)
    head, fine = min(row["dev_loss"] for row in rows[:2]), min(row["dev_loss"] for row in rows[2:])
    assert folder.read_metrics()["dev"]["loss"] == pytest.approx(min(head, fine), rel=1e-4)
    assert np.abs(frozen[1] - after[1]).max() > 0 if fine < head else np.array_equal(frozen[1], after[1])


def test_fine_tuning_that_makes_it_worse_is_not_kept(place):
    run = prepare(transfer(place, unfreeze="all"))
    told, before = [], run.model.get_weights()

    def fit(stage, name):
        if name == "fine-tuning":
            stage.model.set_weights([weight + 1 for weight in stage.model.get_weights()])
        return {"head": 0.2, "fine-tuning": 0.3}[name]

    assert transferring.fit_stages(run, fit, tell=told.append) == 0.2
    assert "Fine-tuning did not lower the loss on dev (0.2000, then 0.3000)" in told[-1]
    for weight, other in zip(before, run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("stage_epochs", [2, 5], ids=["in the head", "in the fine-tuning"])
def test_an_interrupted_transfer_resumes_to_what_it_would_have_been(place, tmp_path, monkeypatch, train, stage_epochs):
    values = transfer(place, epochs=3, unfreeze=2, training={"dropout": 0.3, "early_stopping": 0})
    values["transfer"]["epochs"] = 3
    original, ended = History.on_epoch_end, []

    def interrupted(self, number, logs=None):
        ended.append(number)
        if len(ended) == stage_epochs:
            raise KeyboardInterrupt("here")
        original(self, number, logs)

    with monkeypatch.context() as patched:
        patched.setattr(History, "on_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt, match="here"):
            train(tmp_path / "run", values)
    with pytest.raises(TrainingError, match="is not finished"):
        ModelFolder(tmp_path / "run").load_model()
    resumed, whole = train(tmp_path / "run", values), train(tmp_path / "whole", values)
    assert resumed.read_metrics() == whole.read_metrics()
    for name in ("head", "fine-tuning"):
        left = [
            [row | {"seconds": 0} for row in read_history(folder.stage(name).history)] for folder in (resumed, whole)
        ]
        assert left[0] == left[1]
    for weight, other in zip(resumed.load_model().get_weights(), whole.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_head_is_not_trained_on_after_its_fine_tuning_began(place, tmp_path, train):
    values = transfer(place, epochs=1, unfreeze=1)
    values["transfer"]["epochs"] = 1
    train(tmp_path / "run", values)
    values["training"]["epochs"] = 2
    with pytest.raises(TrainingError, match=r"fine-tuning in .* has begun after 1 epochs of the new head: .* have 2"):
        train(tmp_path / "run", values)
    left = ModelFolder(tmp_path / "run")
    assert left.read_metrics()
    assert left.read_recipe().training.epochs == 1, "a refusal leaves the run as it was"


def test_a_run_does_not_go_on_from_another_network(place, tmp_path, train):
    values = transfer(place, epochs=1)
    base = tmp_path / "base"
    shutil.copytree(place / "base", base)
    values["transfer"]["model"] = str(base)
    train(tmp_path / "run", values)
    ModelFolder(base).model.write_bytes((place / "base" / "last" / "model.keras").read_bytes())
    values["training"]["epochs"] = 2
    with pytest.raises(TrainingError, match=r"base has changed since the run in .* began.*--name"):
        train(tmp_path / "run", values)


def test_fine_tuning_has_no_warmup_and_its_failure_names_its_rate(place):
    seen = []

    def fit(stage, name):
        seen.append(stage.recipe.training.warmup_epochs)
        if name == "fine-tuning":
            raise TrainingDiverged("the loss became nan in epoch 1.")
        return 0.2

    run = prepare(transfer(place, epochs=30, unfreeze=1, training={"warmup_epochs": 10}))
    with pytest.raises(TrainingDiverged, match=r"whose learning rate is transfer\.learning_rate, the loss became nan"):
        transferring.fit_stages(run, fit, tell=lambda _: None)
    assert seen == [10, 0]


def test_fine_tuning_without_a_loss_names_no_other_rate(place, monkeypatch):
    losses = iter([0.2, math.inf])
    monkeypatch.setattr(runs, "_fit", lambda run, callbacks, past: setattr(callbacks[-1], "best", next(losses)))
    with pytest.raises(TrainingDiverged, match=r"is transfer\.learning_rate, .* Lower the learning rate\.$"):
        runs.fit_in_memory(prepare(transfer(place, unfreeze=1)))


def test_a_head_that_diverges_has_scaled_inputs(place):
    with pytest.raises(TrainingDiverged, match=r"Most likely the learning rate .* is too high"):
        runs.fit_in_memory(prepare(transfer(place, training={"learning_rate": 1e38, "schedule": "constant"})))


@pytest.mark.parametrize("limit", [100, 10**9], ids=["on disk", "in memory"])
def test_features_that_a_killed_run_left_are_removed(place, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(transferring, "cache_limit", lambda: limit)
    (tmp_path / "features-old").mkdir()
    transferring.fit_stages(prepare(transfer(place)), lambda *_: 0.2, tell=lambda _: None, scratch=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_repeated_recipe_is_the_same_run(place, tmp_path, train):
    folder = train(tmp_path / "once", transfer(place, epochs=2, unfreeze=1))
    again = train(tmp_path / "again", folder.read_recipe().model_dump())
    assert again.read_recipe() == folder.read_recipe()
    assert again.read_metrics() == folder.read_metrics()


def test_the_preprocessing_is_that_of_the_network_and_is_said(place):
    base = ModelFolder(place / "base").read_signature().preprocessing
    run = prepare(transfer(place, preprocessing={"size": [20, 24], "scale": "unit", "antialias": False}))
    assert run.preprocessing == base
    assert run.recipe.preprocessing.size == (16, 16)
    name = place / "base"
    assert run.notes == (
        f'preprocessing.scale is "standardize", as {name} was trained, not "unit".',
        f"preprocessing.size is [16, 16], as {name} was trained, not [20, 24].",
    )
    assert not prepare(transfer(place)).notes
    assert run.recipe.transfer.learning_rate == pytest.approx(0.005)


def test_in_memory_it_is_the_same(place, tmp_path, train):
    values = transfer(place, epochs=2, unfreeze=1)
    folder = train(tmp_path / "run", values)
    run = prepare(values)
    lowest = runs.fit_in_memory(run)
    assert lowest == pytest.approx(min(row["dev_loss"] for row in read_history(folder.history)), abs=1e-7)
    for ours, kept in zip(run.model.get_weights(), folder.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(ours, kept)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"architecture": "shallow_network"},
            RecipeError,
            r"is a lenet5; .* says shallow_network\. Write lenet5 there",
        ),
        ({"architecture_options": {"pooling": "max"}}, RecipeError, r"is built already: remove architecture_options"),
        ({"transfer": {"model": "nothing"}}, UnknownName, r"unknown model 'nothing'"),
        ({"transfer": {"model": "imagenet:resnet51"}}, UnknownName, r"unknown architecture 'resnet51'"),
        ({"data": "ROWS"}, SourceError, r"holds rows, .* was trained on pictures: start from another model"),
        ({"training": {"dropout": [0.1, 0.2]}}, RecipeError, r"training\.dropout must be one number"),
    ],
    ids=["architecture", "options", "model", "imagenet", "rows", "dropout"],
)
def test_what_does_not_fit_together_is_refused(place, change, error, message):
    values = {**transfer(place), **change}
    values["data"] = values["data"].replace("ROWS", f"npz:{place / 'rows.npz'}")
    with pytest.raises(error, match=message):
        prepare(values)


def test_more_layers_than_there_are_cannot_be_unfrozen(place):
    with pytest.raises(RecipeError, match=r"transfer\.unfreeze must be at most 4, .* of lenet5 .* got 9"):
        prepare(transfer(place, unfreeze=9))  # before anything is trained


def test_a_network_of_one_layer_has_nothing_to_unfreeze(workplace, rows, train):
    train(workplace / "base", {"architecture": "softmax_regression", "data": rows, "training": {"epochs": 1}})
    values = {"architecture": "softmax_regression", "data": rows, "transfer": {"model": str(workplace / "base")}}
    prepare(values)
    values["transfer"]["unfreeze"] = "all"
    with pytest.raises(RecipeError, match=r"unfreeze must be 0: .* no layer before its last .* got 'all'"):
        prepare(values)


def test_a_table_is_written_as_the_network_knows_it(workplace, train):
    random = np.random.default_rng(0)
    for name in ("old", "new", "other"):
        age, kind = random.normal(size=40).round(3).astype(str), random.choice(["a", "b"], 40)
        age[0] = "" if name == "old" else age[0]
        third = "cost" if name == "other" else "kind"
        lines = [f"{a},{k},{i % 2}" for i, (a, k) in enumerate(zip(age, kind, strict=True))]
        (workplace / f"{name}.csv").write_text("\n".join([f"age,{third},y", *lines]))

    def values(name, **tables):
        training = {"epochs": 1, "batch_size": 16}
        return {"architecture": "shallow_network", "data": f"csv:{name}.csv?target=y", "training": training, **tables}

    known = train(workplace / "base", values("old")).read_signature().preprocessing.columns
    start = {"transfer": {"model": str(workplace / "base")}}
    folder = train(workplace / "run", values("new", **start))
    assert folder.read_signature().preprocessing.columns == known
    with pytest.raises(SourceError, match=r"the column 'kind' is missing; there are age, cost"):
        prepare(values("other", **start))
    (workplace / "base").rename(workplace / "gone")
    assert preparing.load_own_data(folder).train.columns == known


def test_mixed_precision_computes_in_float16_and_keeps_float32(place, tmp_path, train):
    values = transfer(place, epochs=3, unfreeze=1, training={"mixed_precision": True})
    run = prepare(values)
    assert [layer.compute_dtype for layer in run.model.layers if layer.weights] == ["float16"] * 4 + ["float32"]
    assert {weight.dtype for weight in run.model.weights} == {"float32"}
    plain = prepare(values | {"training": {**values["training"], "mixed_precision": False}})
    for weight, other in zip(run.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    folder = train(tmp_path / "run", values)
    assert {layer.compute_dtype for layer in folder.load_model().layers} == {"float32"}
    assert {layer.compute_dtype for layer in keras.models.load_model(folder.model).layers} == {"float32"}


def test_an_interrupted_run_in_mixed_precision_resumes(place, tmp_path, train, monkeypatch):
    # so large that gradients overflow: the first steps are skipped, and belong to their epoch all the same
    monkeypatch.setattr(compiling, "LossScaling", functools.partial(LossScaling, initial_scale=2.0**24))
    values = {
        "architecture": "lenet5",
        "data": f"npz:{place / 'old.npz'}",
        "preprocessing": {"size": [16, 16]},
        "training": {"mixed_precision": True, "schedule": "constant", "epochs": 2, "batch_size": 16},
    }
    train(tmp_path / "grown", values)
    values["training"]["epochs"] = 4
    assert_same_run(train(tmp_path / "grown", values), train(tmp_path / "whole", values))
