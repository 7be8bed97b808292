"""``dlapp train`` and ``evaluate``: names, recipes, resuming and what ends them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlapp.cli.evaluate import _print_classes
from dlapp.errors import TrainingDiverged
from dlapp.evaluation import score
from dlapp.recipe import Recipe
from dlapp.training.callbacks import History


@pytest.fixture
def rows(workplace):
    """Two classes of 120 rows in rows.npz, in an empty working directory."""
    random = np.random.default_rng(0)
    targets = np.arange(120) % 2
    np.savez(workplace / "rows.npz", x=random.normal(size=(120, 4)) + targets[:, np.newaxis], y=targets)
    return workplace


def train(dlapp, *more):
    return dlapp("train", "logistic_unit", "--data", "npz:rows.npz", "--epochs", 2, *more)


def read(path):
    return {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_leaves_the_files_of_a_run_and_names_what_follows(dlapp, rows):
    status, out, err = train(dlapp)
    assert status == 0
    assert out.splitlines()[-2:] == [
        "Wrote models/logistic_unit-rows, report models/logistic_unit-rows/report.html",
        "Next: dlapp diagnose logistic_unit-rows, or dlapp export logistic_unit-rows",
    ]
    assert err.count("epoch ") == 2, "a log shows a line an epoch"
    assert "examples of 2 classes, 4 inputs, 5 parameters" in err
    left = {path.name for path in (rows / "models/logistic_unit-rows").iterdir()}
    assert left >= {"recipe.toml", "model.keras", "last", "history.csv", "metrics.json", "report.html"}
    assert not [name for name in left if ".part" in name]


def test_a_run_that_stops_early_says_why(dlapp, rows):
    patience = ("--set", "training.early_stopping=1")
    status, _, err = train(dlapp, *patience, "--epochs", 9, "--learning-rate", 1e-12)
    assert status == 0
    assert err.count("/9 ") == 2, "weights that stay where they are make nothing lower"
    assert "stopped: the loss on dev was no lower for 1 epoch (training.early_stopping)" in err
    assert "stopped" not in train(dlapp)[2]


def test_json_is_alone_on_standard_output(dlapp, rows):
    status, out, _ = train(dlapp, "--json")
    printed = json.loads(out)
    assert status == 0
    assert (
        printed["test"]["accuracy"]
        == json.loads((rows / "models/logistic_unit-rows/metrics.json").read_text())["test"]["accuracy"]
    )


def test_a_default_name_is_numbered_and_a_chosen_one_refused(dlapp, rows):
    train(dlapp)
    first = read(rows / "models/logistic_unit-rows")
    assert train(dlapp)[0] == 0
    assert (rows / "models/logistic_unit-rows-2/metrics.json").exists()
    status, _, err = train(dlapp, "--name", "logistic_unit-rows")
    assert status == 2
    assert "exists and is not overwritten" in err
    assert "--overwrite" in err
    assert read(rows / "models/logistic_unit-rows") == first


def test_overwrite_replaces_only_what_dlapp_wrote(dlapp, rows):
    train(dlapp, "--name", "a")
    status, out, _ = train(dlapp, "--name", "a b")
    assert out.splitlines()[-1] == "Next: dlapp diagnose 'a b', or dlapp export 'a b'"
    assert train(dlapp, "--name", "a", "--overwrite", "--seed", 7)[0] == 0
    assert Recipe.read(rows / "models/a/recipe.toml").training.seed == 7
    (rows / "models/mine").mkdir()
    (rows / "models/mine/thesis.txt").write_text("years")
    status, _, err = train(dlapp, "--name", "mine", "--overwrite")
    assert status == 2
    assert "was not written by dlapp" in err
    assert (rows / "models/mine/thesis.txt").exists()


def test_the_resolved_recipe_repeats_the_run(dlapp, rows):
    train(dlapp, "--name", "a", "--set", "training.l2=1e-3", "--optimizer", "momentum", "--batch-size", "all")
    assert dlapp("train", "models/a/recipe.toml")[0] == 0
    first, second = (json.loads((rows / f"models/{name}/metrics.json").read_text()) for name in ("a", "a-2"))
    assert first == second
    recipe = Recipe.read(rows / "models/a-2/recipe.toml")
    assert (recipe.training.l2, recipe.training.optimizer, recipe.training.batch_size) == (1e-3, "momentum", "all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet", "--data", "npz:rows.npz"], "Did you mean lenet5"),
        (["logistic_unit"], "train needs data"),
        ([], "train needs an architecture and --data"),
        (["logistic_unit", "--data", "npz:rows.npz", "--set", "training.learning_rat=1"], "training.learning_rate?"),
        (["logistic_unit", "--data", "npz:rows.npz", "--learning-rate", "-1"], "must be greater than 0; got -1.0"),
        (["logistic_unit", "--data", "npz:rows.npz", "--optimizer", "adamm"], "Did you mean 'adam'?"),
        (["logistic_unit", "--data", "npz:rows.npz", "--set", "training"], "--set takes key=value"),
        (["logistic_unit", "--data", "npz:rows.npz", "--set", "architecture_options.unit=1"], "unknown option of"),
        (["logistic_unit", "--data", "digits"], "Use softmax_regression()"),
        (["logistic_unit", "--data", "npz:absent.npz"], "absent.npz does not exist"),
        (["absent.toml"], "absent.toml cannot be read"),
        (["logistic_unit", "--data", "npz:rows.npz", "--set", "preprocessing.scale=unit"], "divides pictures by 255"),
    ],
)
def test_a_wrong_call_is_one_error_and_leaves_nothing(dlapp, rows, arguments, message):
    status, out, err = dlapp("train", *arguments)
    assert status == 2
    assert message in err
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    assert out == ""
    assert not (rows / "models").exists()


def test_debug_shows_the_traceback(dlapp, rows, monkeypatch):
    from dlapp.cli import main
    from dlapp.errors import UnknownName

    monkeypatch.setattr("sys.argv", ["dlapp", "train", "lenet", "--data", "digits", "--debug"])
    with pytest.raises(UnknownName, match="lenet5"):
        main()


def interrupt_in_epoch(monkeypatch, epoch, error):
    original = History.on_epoch_begin

    def on_epoch_begin(self, number, logs=None):
        original(self, number, logs)
        if number + 1 == epoch:
            raise error

    monkeypatch.setattr(History, "on_epoch_begin", on_epoch_begin)


def history(folder):
    with (folder / "history.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_an_interrupted_run_resumes_to_what_it_would_have_been(dlapp, rows, monkeypatch):
    options = ("--epochs", 5, "--optimizer", "momentum")
    assert train(dlapp, *options, "--name", "whole")[0] == 0
    with monkeypatch.context() as patched:
        interrupt_in_epoch(patched, 3, KeyboardInterrupt())
        status, _, err = train(dlapp, *options, "--name", "broken run")
    assert status == 130
    assert "dlapp train 'models/broken run/recipe.toml' --resume" in err
    status, _, err = dlapp("export", "broken run")
    assert status == 2
    assert "is not finished" in err
    assert dlapp("train", "models/broken run/recipe.toml", "--resume")[0] == 0
    whole, broken = rows / "models/whole", rows / "models/broken run"
    assert history(whole) == history(broken)
    assert json.loads((whole / "metrics.json").read_text()) == json.loads((broken / "metrics.json").read_text())


def test_resume_finds_the_newest_run_and_may_raise_the_epochs(dlapp, rows):
    train(dlapp)
    train(dlapp)
    resumed = ("train", "logistic_unit", "--data", "npz:rows.npz", "--resume", "--epochs")
    assert dlapp(*resumed, 4)[0] == 0
    assert len(history(rows / "models/logistic_unit-rows")) == 2
    assert len(history(rows / "models/logistic_unit-rows-2")) == 4
    status, _, err = dlapp(*resumed, 3)
    assert status == 2
    assert "--epochs may only be raised" in err
    status, _, err = dlapp(*resumed, 5, "--learning-rate", 0.5)
    assert status == 2
    assert "a resumed run keeps its recipe; training.learning_rate" in err


def test_a_failed_successor_leaves_the_model_that_it_was_to_replace(dlapp, rows, monkeypatch):
    train(dlapp, "--name", "a")
    before = read(rows / "models/a")
    status, _, err = train(dlapp, "--name", "a", "--resume", "--overwrite")
    assert status == 2
    assert "give one of them" in err
    interrupt_in_epoch(monkeypatch, 2, TrainingDiverged("the loss became nan in epoch 2."))
    assert train(dlapp, "--name", "a", "--overwrite")[0] == 2
    assert read(rows / "models/a") == before
    assert [path.name for path in (rows / "models").iterdir()] == ["a"]


def test_a_recipe_beside_no_run_resumes_the_run_that_it_began(dlapp, rows, monkeypatch):
    (rows / "mine.toml").write_text('architecture = "logistic_unit"\ndata = "npz:rows.npz"\n[training]\nepochs = 3\n')
    with monkeypatch.context() as patched:
        interrupt_in_epoch(patched, 2, KeyboardInterrupt())
        assert dlapp("train", "mine.toml")[0] == 130
    assert dlapp("train", "mine.toml", "--resume")[0] == 0
    assert len(history(rows / "models/mine")) == 3


def test_resume_needs_a_run(dlapp, rows):
    (rows / "models/reference").mkdir(parents=True)
    recipe = rows / "models/reference/recipe.toml"
    recipe.write_text('architecture = "logistic_unit"\ndata = "npz:rows.npz"\n')
    status, _, err = dlapp("train", recipe, "--resume")
    assert status == 2
    assert "no run has begun in" in err
    status, _, err = dlapp("train", "logistic_unit", "--data", "npz:rows.npz", "--resume")
    assert status == 2
    assert "unknown model 'logistic_unit-rows'" in err


def test_resume_refuses_other_data(dlapp, rows):
    train(dlapp, "--name", "a")
    np.savez(rows / "rows.npz", x=np.ones((120, 4)), y=np.arange(120) % 2)
    status, _, err = dlapp("train", "models/a/recipe.toml", "--resume", "--epochs", 3)
    assert status == 2
    assert "has changed since the run" in err


def test_a_full_disk_leaves_a_run_that_resumes(dlapp, rows, monkeypatch):
    with monkeypatch.context() as patched:
        interrupt_in_epoch(patched, 2, OSError(28, "No space left on device"))
        status, _, err = train(dlapp, "--name", "a")
    assert status == 2
    assert "No space left on device" in err
    assert "--resume" in err
    assert dlapp("train", "--name", "a", "--resume")[0] == 0
    assert len(history(rows / "models/a")) == 2


def test_divergence_names_the_epoch(dlapp, rows, monkeypatch):
    interrupt_in_epoch(monkeypatch, 2, TrainingDiverged("the loss became nan in epoch 2."))
    status, _, err = train(dlapp)
    assert status == 2
    assert "in epoch 2" in err


def test_evaluate_agrees_with_the_run_and_takes_other_data(dlapp, copy_of_trained):
    recorded = json.loads((copy_of_trained / "models/stripes/metrics.json").read_text())
    for split in ("train", "dev", "test"):
        status, out, _ = dlapp("evaluate", "stripes", "--split", split, "--json")
        assert status == 0
        measured = json.loads(out)
        assert {key: measured[key] for key in recorded[split]} == recorded[split]
    assert json.loads(dlapp("evaluate", "stripes", "--split", "all", "--json")[1])["examples"] == 80
    status, out, _ = dlapp("evaluate", "stripes", "--data", "folder:pictures", "--json")
    assert json.loads(out)["examples"] == 80, "a source without a test split is measured whole"
    shutil.copytree("pictures/above", "others/above")
    shutil.copytree("pictures/above", "others/sideways")
    status, _, err = dlapp("evaluate", "stripes", "--data", "folder:others")
    assert status == 2
    assert "has the class 'sideways'" in err


def test_grey_pictures_on_a_network_of_three_channels(dlapp, workplace):
    random = np.random.default_rng(0)
    targets = np.arange(60) % 2
    x = random.integers(0, 60, (60, 6, 6), np.uint8)
    x[targets == 1, :3] += 180
    names = np.array(["below", "above"])
    np.savez("grey.npz", x=x, y=targets, classes=names)
    np.savez("colour.npz", x=np.stack([x, x // 2, x], axis=3), y=targets, classes=names)
    softmax = ("train", "softmax_regression", "--epochs", 2, "--batch-size", 8)
    assert dlapp(*softmax, "--data", "npz:colour.npz", "--name", "colour")[0] == 0
    assert dlapp("train", "--from", "colour", "--data", "npz:grey.npz", "--epochs", 4, "--name", "moved")[0] == 0
    signature = json.loads(Path("models/moved/signature.json").read_text())
    assert signature["preprocessing"]["channels"] == 3

    for base in ("models/colour", "models/moved/../colour"):
        status, _, err = dlapp("train", "--from", base, "--data", "npz:grey.npz", "--name", "colour", "--overwrite")
        assert status == 2
        assert f"{base} is what the transfer starts from" in err
    status, _, err = dlapp("train", "--from", "moved", "--data", "npz:colour.npz", "--name", "colour", "--resume")
    assert status == 2
    assert "a resumed run keeps its recipe; transfer.model is None" in err
    status, _, err = dlapp(*softmax, "--data", "npz:grey.npz", "--set", "transfer.model=colour", "--unfreeze", 1)
    assert status == 2
    assert "unfreeze" in err
    assert "--from MODEL" not in err

    evaluated = json.loads(dlapp("evaluate", "moved", "--data", "npz:grey.npz", "--json")[1])
    assert dlapp("export", "moved", "--to", "onnx")[0] == 0
    for number, picture in enumerate(x):
        Image.fromarray(picture).save(f"{number:02}.png")
    status, out, _ = dlapp("predict", "moved", *sorted(Path().glob("*.png")), "--top", 2, "--json")
    assert status == 0
    predicted = [{top["label"]: top["probability"] for top in row["top"]} for row in json.loads(out)["predictions"]]
    right = [max(row, key=row.__getitem__) == names[target] for row, target in zip(predicted, targets, strict=True)]
    assert np.mean(right) == pytest.approx(evaluated["accuracy"])
    loss = -np.mean([np.log(row[names[target]]) for row, target in zip(predicted, targets, strict=True)])
    assert loss == pytest.approx(evaluated["loss"], rel=1e-4)


def test_evaluate_refuses_data_that_changed_or_do_not_fit(dlapp, copy_of_trained):
    np.savez("rows.npz", x=np.zeros((40, 9)), y=["above", "below"] * 20)
    status, _, err = dlapp("evaluate", "stripes", "--data", "npz:rows.npz")
    assert status == 2
    assert "image must be uint8 of ('batch', 'height', 'width', 1)" in err
    shutil.copy("pictures/above/00.png", "pictures/above/new.png")
    status, _, err = dlapp("evaluate", "stripes")
    assert status == 2
    assert "has changed since models/stripes was trained" in err


def test_an_unknown_model_suggests_the_nearest(dlapp, copy_of_trained):
    status, _, err = dlapp("evaluate", "stripe")
    assert status == 2
    assert "unknown model 'stripe'. Did you mean stripes?" in err


def test_evaluate_names_the_worst_of_thousands_of_classes(capsys):
    targets = np.arange(4000) % 2000
    predicted = np.where(targets % 100 == 99, targets - 1, targets)
    _print_classes(score(targets, np.eye(2000)[predicted], [f"class {k}" for k in range(2000)]))
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 60
    assert "the 20 of 2,000 classes with the lowest F1 (--json has all):" in out
    assert "  class 99 for class 98: 2 (100 %)" in out
