"""Keras's callbacks under a full disk, and on both sides of an interruption."""

import errno
import math
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.data.augmentation import augmenter
from dlapp.errors import TrainingDiverged
from dlapp.recipe import Augment
from dlapp.training.callbacks import Checkpoint, EarlyStopping, EpochSeeds, History, StopOnNaN, read_history
from dlapp.training.run import stops_early


@pytest.fixture
def model():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="unit")(inputs))
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10)), "mse")
    return model


def test_checkpoint_keeps_the_old_file_when_the_disk_is_full(model, tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "model.keras")
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0, {})
    before = (tmp_path / "model.keras").read_bytes()

    def save(self, path, **options):
        Path(path).write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", save)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.on_epoch_end(1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    assert (tmp_path / "model.keras").read_bytes() == before


def test_checkpoint_of_the_best_keeps_what_a_run_before_had(model, tmp_path):
    def saved():
        return keras.models.load_model(tmp_path / "best.keras").get_weights()[0][0, 0]

    options = {"monitor": "val_loss", "mode": "min", "save_best_only": True}
    for threshold, losses in ((None, (0.9, 0.5, 0.7)), (0.5, (0.6, 0.5, 0.4))):
        checkpoint = Checkpoint(tmp_path / "best.keras", initial_value_threshold=threshold, **options)
        checkpoint.set_model(model)
        for epoch, loss in enumerate(losses):
            model.set_weights([np.full((2, 1), loss), np.zeros(1)])
            checkpoint.on_epoch_end(epoch, {"val_loss": loss})
            best = min([loss, *losses[:epoch], 0.5 if threshold else math.inf])
            assert saved() == np.float32(best)


def test_history_has_full_precision_and_the_rate_at_the_start_of_the_epoch(model, tmp_path):
    past = [{"epoch": 1, "seconds": 1.5, "learning_rate": 0.1, "train_loss": 1 / 3, "dev_loss": math.pi}]
    history = History(tmp_path / "history.csv", past)
    history.set_model(model)
    model.optimizer.iterations.assign(5)
    history.on_epoch_begin(1)
    model.optimizer.iterations.assign(10)
    history.on_epoch_end(1, {"loss": 0.1 + 0.2, "val_loss": 1e-17})
    text = (tmp_path / "history.csv").read_text()
    assert text.splitlines()[0] == "epoch,seconds,learning_rate,train_loss,dev_loss"
    assert text.count("\n") == 3
    first, second = read_history(tmp_path / "history.csv")
    assert first == past[0]
    assert (second["epoch"], second["train_loss"], second["dev_loss"]) == (2, 0.1 + 0.2, 1e-17)
    assert second["learning_rate"] == pytest.approx(0.05)  # the cosine halfway
    assert read_history(tmp_path / "absent.csv") == []


def stops_at(callback, losses, first):
    """The number of epochs after which training stops, from epoch ``first`` (from 0) on."""
    model = keras.Sequential()
    model.stop_training = False  # as fit does
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(first, len(losses)):
        callback.on_epoch_end(epoch, {"val_loss": losses[epoch]})
        if model.stop_training:
            return epoch + 1
    return None


def test_early_stopping_after_any_cut_is_that_of_keras_without():
    random = np.random.default_rng(0)
    stopped = 0
    for _ in range(20):
        losses = random.integers(0, 6, 12).tolist()  # few values: equal losses are no improvement
        for patience in (1, 3):
            options = {"monitor": "val_loss", "mode": "min", "patience": patience}
            whole = stops_at(keras.callbacks.EarlyStopping(**options), losses, 0)
            stopped += whole is not None
            rows = [{"epoch": number, "dev_loss": loss} for number, loss in enumerate(losses, start=1)]
            for cut in range(whole or len(losses)):
                assert stops_at(EarlyStopping(rows[:cut], **options), losses, cut) == whole
                assert not stops_early(rows[:cut], patience)
            if whole:
                assert stops_early(rows[:whole], patience)
    assert stopped > 20
    assert not stops_early(rows, 0)


def test_epoch_seeds_do_not_depend_on_what_was_drawn_before():
    inputs = keras.Input((64,))
    model = keras.Model(inputs, [keras.layers.Dropout(0.5)(inputs), keras.layers.Dropout(0.5)(inputs)])
    augment = augmenter(Augment(shift=0.4), (8, 8))
    pictures = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)

    def draw(seed, epochs):
        number = tf.Variable(tf.constant(0, tf.int64))
        seeds = EpochSeeds(seed, number, augment.variables)
        seeds.set_model(model)
        for epoch in epochs:
            seeds.on_epoch_begin(epoch)
            masks = [mask.numpy() > 0 for mask in model(np.ones((1, 64), np.float32), training=True)]
            shifted = augment(pictures, training=True).numpy()
        assert int(number) == epochs[-1], "the pipeline reads the epoch"
        return [*masks, shifted]

    augment(pictures)
    reached = draw(7, [0, 1, 2, 3])
    for one, other in zip(reached, draw(7, [3]), strict=True):
        np.testing.assert_array_equal(one, other)
    for others in (draw(7, [4]), draw(8, [3])):
        assert not any(np.array_equal(one, other) for one, other in zip(reached, others, strict=True))
    assert not np.array_equal(reached[0], reached[1]), "layers draw independently"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
@pytest.mark.parametrize(("scaled", "cause"), [(True, "rate .0.1. is too high: try 0.01"), (False, "are not scaled")])
def test_nan_names_the_epoch_and_the_cause(model, loss, scaled, cause):
    stop = StopOnNaN(scaled=scaled)
    stop.set_model(model)
    stop.on_epoch_begin(4)
    stop.on_train_batch_end(0, {"loss": 1e30})
    with pytest.raises(TrainingDiverged, match=f"{loss} in epoch 5. Most likely .*{cause}"):
        stop.on_train_batch_end(1, {"loss": loss})
