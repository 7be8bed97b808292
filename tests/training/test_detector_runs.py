"""Detectors from a recipe to a folder: what they ask of data, what they learn, and what they leave."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.boxes import Boxes
from dlapp.data import load
from dlapp.errors import RecipeError
from dlapp.evaluation.detection import average_precision_50
from dlapp.recipe import Recipe
from dlapp.signature import Detection
from dlapp.training import preparing
from dlapp.training.answering import answer, answer_and_measure, errors_of
from dlapp.training.model_folder import ModelFolder
from dlapp.training.run import fit_in_memory

FEW = "shapes?examples=60&size=48&objects=2"


def recipe(architecture="yolo_grid", data=FEW, **tables):
    training = {"epochs": 2, "batch_size": 8, "early_stopping": 0} | tables.pop("training", {})
    return {"architecture": architecture, "data": data, "training": training, **tables}


def prepare(**values):
    return preparing.prepare(Recipe.from_values(recipe(**values)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, train):
    """A detector and a localizer, of two epochs each."""
    root = tmp_path_factory.mktemp("models")
    return {name: train(root / name, recipe(name)) for name in ("yolo_grid", "localizer")}


def test_the_recipe_of_a_run_says_what_was_chosen():
    run = prepare()
    assert run.detection.grid == (12, 12)
    assert run.recipe.detection.anchors == run.detection.anchors
    assert len(run.detection.anchors) == 5
    assert run.recipe.preprocessing.augment.flip == "horizontal", "as its papers train"
    assert "5 anchors fit the objects of train" in run.notes[0]
    again = preparing.prepare(Recipe.from_values(run.recipe.model_dump(mode="json", exclude_none=True)))
    assert again.recipe == run.recipe


def test_what_a_recipe_says_is_kept():
    run = prepare(
        training={"batch_size": 4}, preprocessing={"augment": {}}, architecture_options={"boxes": 1, "grid": 3}
    )
    assert run.batch_size == 4
    assert run.recipe.preprocessing.augment.flip is None
    assert run.detection == Detection((3, 3))
    assert run.model.output_shape == (None, 3, 3, 8)


def test_labels_that_find_no_place_are_told():
    run = prepare(data="shapes?examples=60&size=48&objects=6", architecture_options={"boxes": 1, "grid": 1})
    counts = run.data.train.boxes.counts
    lost = int(np.maximum(counts - 1, 0).sum())
    assert f"{lost} of {counts.sum()} objects of train are lost to training" in run.notes[-1]


def test_a_localizer_has_one_box_a_picture():
    run = prepare(architecture="localizer")
    assert run.detection == Detection((1, 1), most=1)
    assert run.signature.task == "localization"
    assert run.data.train.boxes.counts.max() == 1
    crowd = load("shapes?examples=60&size=48&objects=3", single=True)
    assert crowd.train.boxes.counts.max() == 1
    assert "pictures have more than one object: the largest counts" in crowd.notes[-1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "digits"}, r"yolo_grid learns boxes; digits has none\. Name a source with boxes"),
        ({"architecture": "lenet5"}, r"has boxes; lenet5 gives one answer for a picture\. Train yolo_grid"),
        (
            {"preprocessing": {"augment": {"rotate": 10}}},
            r"no preprocessing\.augment\.rotate: Keras does not turn boxes",
        ),
        ({"preprocessing": {"augment": {"mixup": 0.2}}}, r"takes no preprocessing\.augment\.mixup"),
        ({"training": {"label_smoothing": 0.1}}, r"takes no training\.label_smoothing"),
        ({"training": {"class_weights": "balanced"}}, r"takes no training\.class_weights"),
        ({"detection": {"anchors": [[0.1, 0.1]]}}, r"detection\.anchors must be 5, one for each of .*boxes; got 1"),
        ({"architecture_options": {"boxes": 500}}, r"too few for 500 anchors"),
        ({"architecture": "lenet5", "data": "digits", "detection": {"min_score": 0.5}}, r"lenet5 finds no boxes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        prepare(**values)


def test_batches_hold_the_labels_of_the_grid():
    run = prepare(preprocessing={"augment": {}})
    images, labels = next(iter(run.pipeline("dev").batches(4)))
    assert images.shape == (4, 48, 48, 3)
    assert labels.shape == (4, 12, 12, 5, 8)
    assert tf.reduce_sum(labels[..., 0], axis=(1, 2, 3)).numpy().tolist() == run.data.dev.boxes.counts[:4].tolist()


@pytest.mark.parametrize("task", ["yolo_grid", "localizer"])
def test_a_run_leaves_metrics_and_a_signature(trained, task):
    folder = trained[task]
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["task"] == ("detection" if task == "yolo_grid" else "localization")
    for split, count in (("train", 42), ("dev", 9), ("test", 9)):
        assert metrics[split]["examples"] == count
        assert np.isfinite(metrics[split]["loss"])
        assert ("map_50" if task == "yolo_grid" else "mean_iou") in metrics[split]
    signature = folder.read_signature()
    assert signature.detection.grid == ((12, 12) if task == "yolo_grid" else (1, 1))
    assert "train_iou" in folder.history.read_text()


def test_the_loss_of_the_metrics_is_that_of_the_epoch_that_was_kept(trained):
    folder = trained["yolo_grid"]
    best = min(float(row.split(",")[-1]) for row in folder.history.read_text().splitlines()[1:])
    assert json.loads(folder.metrics.read_text())["dev"]["loss"] == pytest.approx(best, rel=1e-4)


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, trained, train, monkeypatch):
    values = recipe(training={"epochs": 2})
    saved = keras.callbacks.ModelCheckpoint.on_epoch_end

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt
        saved(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks.ModelCheckpoint, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", values)
    folder = train(tmp_path / "run", values)
    whole = trained["yolo_grid"]
    for weight, other in zip(folder.load_model().get_weights(), whole.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_answers_do_not_depend_on_the_batch(trained):
    folder = trained["yolo_grid"]
    run = prepare()
    model, signature = folder.load_model(), folder.read_signature()
    some = run.data.dev.take(range(5))
    together = answer(model, some, signature)
    alone = [answer(model, some.take([index]), signature) for index in range(5)]
    assert together.counts.tolist() == [len(one.scores) for one in alone]
    np.testing.assert_allclose(together.scores, np.concatenate([one.scores for one in alone]), atol=1e-5)
    _, loss = answer_and_measure(model, some, signature, run.grid_loss)
    _, first = answer_and_measure(model, some.take([0]), signature, run.grid_loss)
    assert np.isfinite(loss)
    assert loss != first


def test_the_error_of_a_picture_is_one_minus_f1():
    run = prepare()
    corners = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    wanted = Boxes(np.array([2, 0, 1, 0]), np.concatenate([corners, corners[:1]]), np.zeros(3, np.int32))
    told = Boxes(
        np.array([2, 0, 0, 1]),
        np.concatenate([corners[:1], corners[:1] + 50, corners[:1]]),
        np.zeros(3, np.int32),
        np.array([0.9, 0.8, 0.7], np.float32),
    )
    examples = dataclasses.replace(run.data.dev.take(range(4)), boxes=wanted)
    # 1 of 2 found with 1 false alarm: 2 / 4; nothing there and nothing found; missed; alarm
    assert errors_of(examples, told, run.signature).tolist() == [0.5, 0, 1, 1]
    unsure = dataclasses.replace(told, scores=told.scores / 5)
    assert errors_of(examples, unsure, run.signature).tolist() == [1, 0, 1, 0], "what is not told is no alarm"


def test_a_classifier_that_was_trained_here_becomes_the_backbone(tmp_path, workplace, train):
    base = train(workplace / "models" / "base", {
        "architecture": "resnet20",
        "data": "digits",
        "preprocessing": {"channels": 3, "size": [16, 16]},
        "training": {"epochs": 1, "batch_size": 512},
    })  # fmt: skip
    values = recipe(transfer={"model": "base", "unfreeze": 2, "epochs": 1}, training={"epochs": 1})
    folder = train(workplace / "models" / "found", values)
    kept = folder.read_recipe()
    assert kept.architecture_options["backbone"] == "resnet20"
    assert kept.preprocessing.size == (48, 48)
    own, taken = base.read_signature().preprocessing, folder.read_signature().preprocessing
    assert (own.mean, own.variance) == (taken.mean, taken.variance)
    name = "stage2_block1_conv1"
    before, after = (one.load_model().get_layer(name).kernel.numpy() for one in (base, folder))
    np.testing.assert_array_equal(before, after, "frozen")
    with pytest.raises(RecipeError, match=r"backbone must be resnet20, as base is; got resnet32"):
        prepare(architecture_options={"backbone": "resnet32"}, transfer={"model": "base"})


@pytest.mark.slow
def test_shapes_are_learned():
    values = recipe(
        data="shapes?examples=40&size=32&objects=1&noise=0",
        architecture_options={"boxes": 2},
        preprocessing={"augment": {}},
        training={"epochs": 50, "batch_size": 4, "learning_rate": 0.005},
    )
    data = load(values["data"])
    run = preparing.prepare(Recipe.from_values(values), dataclasses.replace(data, dev=data.train))
    fit_in_memory(run)
    found = answer(run.model, run.data.train, run.signature)
    assert average_precision_50(run.data.train.boxes, found, 3) > 0.9


def test_a_folder_of_another_task_is_told_apart(trained):
    assert ModelFolder(trained["localizer"].path).read_signature().outputs[0].shape == ("batch", 1, 4)
