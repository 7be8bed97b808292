"""Twenty epochs of a new head, against freezing everything before it and fitting in plain Keras."""

import io
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

from dlapp.architectures import replace_head
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training import run as runs
from dlapp.training.model_folder import ModelFolder
from tests.benchmarks.timing import interleave, tell

_SIDES = 32, 64  # of the pictures: CIFAR's, and the smallest that photographs are still known at
_TRAIN, _DEV, _BATCH, _EPOCHS, _TURNS = 2_000, 400, 64, 20, 2


def run(folder: Path) -> None:
    """ResNet-20 on noise: what the pictures show does not matter for speed.

    Both evaluate dev after each epoch; compiling counts for both, computing the features for ours.
    """
    for side in _SIDES:
        _compare(folder / str(side), side)


def _compare(folder: Path, side: int) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (_TRAIN + _DEV, side, side, 3), np.uint8)
    labels = random.integers(0, 5, _TRAIN + _DEV)
    parts = {"train": slice(_TRAIN), "dev": slice(_TRAIN, None), "test": slice(_TRAIN, _TRAIN + 64)}
    arrays = {f"x_{name}": images[part] for name, part in parts.items()}
    np.savez(folder / "noise.npz", **arrays, **{f"y_{name}": labels[part] for name, part in parts.items()})
    values = {
        "architecture": "resnet20",
        "data": f"npz:{folder / 'noise.npz'}",
        "preprocessing": {"size": [side, side]},
    }
    base = ModelFolder(folder / "base")
    training = {"epochs": 1, "batch_size": _BATCH}
    runs.train(
        preparing.prepare(Recipe.from_values({**values, "training": training})), base, Console(file=io.StringIO())
    )
    scaled = images.astype("float32") / 255

    def plain() -> None:
        model = replace_head(base.load_model(), 5)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        train, dev = ((scaled[parts[name]], labels[parts[name]]) for name in ("train", "dev"))
        model.fit(*train, batch_size=_BATCH, epochs=_EPOCHS, validation_data=dev, verbose=0)

    def ours() -> None:
        training = {"epochs": _EPOCHS, "batch_size": _BATCH, "early_stopping": 0}
        recipe = Recipe.from_values({**values, "transfer": {"model": str(base.path)}, "training": training})
        left = ModelFolder(folder / f"run{time.time_ns()}")
        left.last_model.parent.mkdir(parents=True)
        runs.fit(preparing.prepare(recipe), left, Console(file=io.StringIO()))
        keras.backend.clear_session()

    best = interleave({"plain": plain, "ours": ours}, turns=_TURNS)
    tell(
        f"plain Keras / a new head on cached features, pictures of {side} x {side} ({best['ours']:.1f} s)",
        best["plain"] / best["ours"],
        "at least 10",
    )
