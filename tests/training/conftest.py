"""A small source and the shortest way from a recipe to a folder."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dlapp.recipe import Recipe
from dlapp.training import preparing, run
from dlapp.training.model_folder import ModelFolder


@pytest.fixture
def rows(workplace):
    """``npz:rows.npz``: 90 rows of 3 classes that overlap, in an empty working directory."""
    random = np.random.default_rng(0)
    targets = np.arange(90) % 3
    np.savez(workplace / "rows.npz", x=random.normal(size=(90, 4)) + np.eye(3, 4)[targets], y=targets)
    return "npz:rows.npz"


@pytest.fixture(scope="session")
def train():
    """Trains a recipe into ``folder``, or goes on there."""

    def into(folder: Path, values: dict) -> ModelFolder:
        left = ModelFolder(folder)
        run.train(preparing.prepare(Recipe.from_values(values)), left, Console(file=io.StringIO()))
        return left

    return into
