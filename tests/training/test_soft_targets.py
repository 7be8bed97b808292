"""Targets between the classes against NumPy, and runs that are trained on them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.errors import RecipeError
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training.callbacks import read_history
from dlapp.training.compiling import RoundedBinaryAccuracy
from dlapp.training.soft_targets import SoftTargets, are_soft

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.normal(size=(12, 6, 5, 2)).astype(np.float32)
CLASSES = (np.arange(12) % 3).astype(np.int32)
WEIGHTS = {0: 1.0, 1: 3.0, 2: 0.5}


def recipe(*, smoothing=0.0, **augment):
    values = {"preprocessing": {"augment": augment}, "training": {"label_smoothing": smoothing}}
    return Recipe.from_values({"architecture": "lenet5", "data": "digits", **values})


def soften(recipe, *, inputs=PICTURES, classes=3, units=3, weights=None, targets=CLASSES):
    """One batch, inside ``Dataset.map`` as in training."""
    soft = SoftTargets(recipe, classes, units, weights)
    dataset = tf.data.Dataset.from_tensors((inputs, targets)).map(soft.soften)
    return [part.numpy() for part in next(iter(dataset))]


def test_smoothing_spreads_a_share_over_all_classes():
    inputs, shares = soften(recipe(smoothing=0.3))
    np.testing.assert_array_equal(inputs, PICTURES)
    np.testing.assert_allclose(shares, np.where(np.eye(3)[CLASSES] == 1, 0.7 + 0.1, 0.1), atol=1e-7)


def test_of_two_classes_with_one_output_the_second_is_told():
    binary = CLASSES % 2
    _, shares = soften(recipe(smoothing=0.2), classes=2, units=1, targets=binary)
    np.testing.assert_allclose(shares, np.where(binary == 1, 0.9, 0.1)[:, np.newaxis], atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixup_mixes_two_pictures_and_their_classes_alike(smoothing):
    inputs, shares = soften(recipe(mixup=1.0, smoothing=smoothing))
    shares = (shares - smoothing / 3) / (1 - smoothing)
    unmixed = 0
    for picture, share, own, label in zip(inputs, shares, PICTURES, CLASSES, strict=True):
        # picture = own + w (other - own): find the other and w
        fits = []
        for other, other_label in zip(PICTURES, CLASSES, strict=True):
            direction = (other - own).ravel()
            weight = direction @ (picture - own).ravel() / max(direction @ direction, 1e-9)
            if np.allclose(own + weight * (other - own), picture, atol=1e-4):
                fits.append((1 - weight) * np.eye(3)[label] + weight * np.eye(3)[other_label])
        assert any(np.allclose(share, fit, atol=1e-4) for fit in fits)
        unmixed += np.allclose(picture, own, atol=1e-3)
    assert unmixed < 6


def test_cutmix_pastes_a_part_whose_area_is_the_share_of_its_class():
    pictures = RANDOM.normal(size=(12, 40, 50, 1)).astype(np.float32)
    inputs, shares = soften(recipe(cutmix=1.0), inputs=pictures)
    mixed = 0
    for picture, share, own, label in zip(inputs, shares, pictures, CLASSES, strict=True):
        kept = (picture == own).all(axis=-1)
        other = next(k for k in range(12) if (pictures[k] == picture)[~kept].all())
        if kept.all():  # nothing was pasted, or a part of itself
            continue
        expected = kept.mean() * np.eye(3)[label] + (1 - kept.mean()) * np.eye(3)[CLASSES[other]]
        # Keras counts the area before its corners are rounded to pixels
        np.testing.assert_allclose(share, expected, atol=1 / 40 + 1 / 50)
        mixed += 1
    assert mixed > 3


def test_the_weight_of_a_mixture_is_that_of_its_classes():
    _, shares, weights = soften(recipe(mixup=1.0), weights=WEIGHTS)
    np.testing.assert_allclose(weights, shares @ np.array([1.0, 3.0, 0.5]), atol=1e-6)
    _, _, hard = soften(recipe(smoothing=0.2), weights=WEIGHTS)
    np.testing.assert_allclose(hard, np.array([1.0, 3.0, 0.5])[CLASSES], atol=1e-7)


def test_rows_are_smoothed():
    rows = RANDOM.normal(size=(12, 4)).astype(np.float32)
    inputs, shares = soften(recipe(smoothing=0.3), inputs=rows)
    np.testing.assert_array_equal(inputs, rows)
    np.testing.assert_allclose(shares.max(axis=1), 0.8, atol=1e-7)


def test_dev_is_measured_on_classes():
    soft = SoftTargets(recipe(mixup=1.0, smoothing=0.3), 3, 3, WEIGHTS)
    inputs, shares = soft.harden(tf.constant(PICTURES), tf.constant(CLASSES))
    np.testing.assert_array_equal(inputs, PICTURES)
    np.testing.assert_array_equal(shares, np.eye(3)[CLASSES])


def test_accuracy_of_two_classes_counts_the_likelier():
    metric = RoundedBinaryAccuracy(threshold=0.5)
    metric.update_state([[0.9], [0.1], [0.8], [0.1]], [[0.7], [0.2], [0.4], [0.6]])
    assert float(metric.result()) == 0.5


def test_only_where_it_is_asked_for():
    asked = (recipe(), recipe(flip="both"), recipe(smoothing=0.1), recipe(mixup=0.2), recipe(cutmix=0.2))
    assert [are_soft(one) for one in asked] == [False, False, True, True, True]


EVERYTHING = {"flip": "horizontal", "crop": 2, "rotate": 5, "brightness": 0.1, "mixup": 0.4, "cutmix": 1.0}


@pytest.mark.slow
def test_a_resumed_run_with_everything_is_the_uninterrupted_one(workplace, train):
    targets = np.arange(60) % 3
    np.savez("noise.npz", x=RANDOM.integers(0, 256, (60, 16, 16, 3), np.uint8), y=targets)
    values = {
        "architecture": "lenet5",
        "data": "npz:noise.npz",
        "preprocessing": {"size": [16, 16], "augment": EVERYTHING},
        "training": {
            **{"epochs": 2, "batch_size": 16, "schedule": "constant", "dropout": 0.2, "label_smoothing": 0.1},
            "class_weights": {"1": 2.0},
        },
    }
    train(workplace / "grown", values)
    values["training"]["epochs"] = 4
    grown, whole = train(workplace / "grown", values), train(workplace / "whole", values)
    for one, other in zip(grown.load_model().get_weights(), whole.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert grown.read_metrics() == whole.read_metrics()
    # the loss by which weights are kept is the one that is reported
    lowest = min(row["dev_loss"] for row in read_history(whole.history))
    assert whole.read_metrics()["dev"]["loss"] == pytest.approx(lowest, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["logistic_unit", "softmax_regression"])
def test_smoothed_classes_are_learnt(rows, workplace, train, architecture):
    source = "breast_cancer" if architecture == "logistic_unit" else rows
    values = {"architecture": architecture, "data": source, "training": {"epochs": 5, "learning_rate": 0.05}}
    plain = train(workplace / "plain", values)
    values["training"]["label_smoothing"] = 0.2
    smooth = train(workplace / "smooth", values)
    assert smooth.read_metrics()["train"]["accuracy"] > plain.read_metrics()["train"]["accuracy"] - 0.05
    history = read_history(smooth.history)
    assert history[-1]["train_accuracy"] == pytest.approx(smooth.read_metrics()["train"]["accuracy"], abs=0.08)
    shares = [0.9, 0.1] if architecture == "logistic_unit" else [1 - 0.2 * 2 / 3, 0.2 / 3, 0.2 / 3]
    assert history[-1]["train_loss"] > -np.sum(shares * np.log(shares)), "no loss is below the entropy of its targets"


@pytest.mark.parametrize(
    ("source", "values", "message"),
    [
        (
            "diabetes",
            {"training": {"label_smoothing": 0.1}},
            r"has no classes to mix: remove training\.label_smoothing",
        ),
        ("alpha", {"preprocessing": {"augment": {"brightness": 0.1}}}, r"transparency .*preprocessing\.channels = 3"),
        ("iris", {"preprocessing": {"augment": {"mixup": 0.4}}}, r"iris holds rows, .* remove preprocessing\.augment"),
        ("alpha", {"preprocessing": {"augment": {"crop": 9}}}, r"augment\.crop must be at most 8, .* got 9: make it"),
    ],
    ids=["regression", "alpha", "rows", "crop"],
)
def test_what_these_data_cannot_have_is_refused(workplace, source, values, message):
    np.savez(
        "alpha.npz",
        x=np.zeros((20, 8, 8, 4), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None, None],
        y=np.arange(20) % 2,
    )
    data = "npz:alpha.npz" if source == "alpha" else source
    with pytest.raises(RecipeError, match=message):
        preparing.prepare(Recipe.from_values({"architecture": "deep_network", "data": data, **values}))


def test_a_model_with_such_a_metric_is_found_again(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[RoundedBinaryAccuracy("accuracy")])
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").compiled
