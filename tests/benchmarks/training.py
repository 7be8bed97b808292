"""Training LeNet-5, against the plainest Keras script with the same network and batch size."""

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from dlapp.architectures import lenet5
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training import run as runs
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder
from tests.benchmarks.timing import EpochClock, tell

_TRAIN, _DEV, _BATCH, _EPOCHS, _TURNS = 20_000, 2_000, 64, 3, 3


def run(folder: Path) -> None:
    """Pictures of MNIST's size; they are noise, since what they show does not matter for speed.

    Both evaluate dev after each epoch, and the epoch that compiles does not count.
    """
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (_TRAIN + _DEV, 32, 32, 1), np.uint8)
    labels = random.integers(0, 10, _TRAIN + _DEV)
    np.savez(
        folder / "noise.npz",
        x_train=images[:_TRAIN],
        y_train=labels[:_TRAIN],
        x_dev=images[_TRAIN:],
        y_dev=labels[_TRAIN:],
        x_test=images[_TRAIN:],
        y_test=labels[_TRAIN:],
    )
    scaled = images.astype("float32") / 255

    def plain() -> float:
        model = lenet5()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        clock = EpochClock()
        model.fit(
            scaled[:_TRAIN],
            labels[:_TRAIN],
            batch_size=_BATCH,
            epochs=_EPOCHS,
            validation_data=(scaled[_TRAIN:], labels[_TRAIN:]),
            verbose=0,
            callbacks=[clock],
        )
        return min(clock.seconds[1:])

    def ours(turn: int) -> float:
        values = {
            "architecture": "lenet5",
            "data": f"npz:{folder / 'noise.npz'}",
            "training": {"epochs": _EPOCHS, "batch_size": _BATCH, "schedule": "constant"},
        }
        model = ModelFolder(folder / f"run{turn}")
        ready = preparing.prepare(Recipe.from_values(values))
        runs.train(ready, model, Console(file=io.StringIO()))
        return min(row["seconds"] for row in read_history(model.history)[1:])

    pairs = [(plain(), ours(turn)) for turn in range(_TURNS)]
    plainest, best = (min(column) for column in zip(*pairs, strict=True))
    tell(f"examples a second / plain Keras ({_TRAIN / best:,.0f}/s)", plainest / best, "at least 1.0")
