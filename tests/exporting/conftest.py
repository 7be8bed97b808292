"""Bundles of every kind of input, exported once; copy one before changing it."""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from dlapp.architectures import builder
from dlapp.exporting import export
from dlapp.signature import Preprocessing


@dataclasses.dataclass(frozen=True)
class Exported:
    """A bundle and what it was made of."""

    folder: Path
    model: keras.Model
    preprocessing: Preprocessing
    samples: np.ndarray
    labels: tuple[str, ...]


def standardized(channels: int, size: tuple[int, int] | None = None, *, antialias: bool = False) -> Preprocessing:
    """Another mean and variance for each channel, or column where there is no size."""
    moments = {"mean": (90.0, 110.0, 140.0, 200.0, 50.0), "variance": (3000.0, 4000.0, 5000.0, 900.0, 2000.0)}
    moments = {name: values[:channels] for name, values in moments.items()}
    return Preprocessing(channels if size else 0, size, antialias, "standardize", **moments)


SOFTMAX = ("softmax_regression", {"classes": 3})
# name: architecture, options of the builder, preprocessing, shape of a raw sample
KINDS = {
    "lenet5": ("lenet5", {"classes": 4}, Preprocessing(1, (16, 16), scale="unit"), (20, 25, 1)),
    "logistic_unit": ("logistic_unit", {}, standardized(3, (8, 8)), (8, 8, 3)),
    "logits": (
        "softmax_regression",
        {"classes": 3, "classifier_activation": None},
        Preprocessing(1, (8, 8), scale="unit"),
        (6, 9, 1),
    ),
    "rows": (*SOFTMAX, standardized(5), (5,)),
    "antialias": (*SOFTMAX, standardized(3, (7, 6), antialias=True), (30, 23, 3)),
    "alpha": (*SOFTMAX, standardized(4, (8, 8)), (11, 8, 4)),
}


def raw(shape: tuple[int, ...], *, batch: int, seed: int = 0) -> np.ndarray:
    """Random inputs as they come: pictures in uint8, rows in units of their own."""
    random = np.random.default_rng(seed)
    if len(shape) == 3:
        return random.integers(0, 256, (batch, *shape), np.uint8)
    return random.normal(110, 60, (batch, *shape)).astype(np.float32)


def network(kind: str) -> keras.Model:
    """The network of that kind with random weights; zeros would make all the answers equal."""
    architecture, options, preprocessing, shape = KINDS[kind]
    given = (*preprocessing.size, shape[2]) if preprocessing.size else shape
    model = builder(architecture)(given, **options)
    random = np.random.default_rng(1)
    model.set_weights([random.normal(0, weight.shape[0] ** -0.5, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Callable[[str], Exported]:
    """The bundle of that kind, exported when it is first asked for."""
    root = tmp_path_factory.mktemp("exported")

    @functools.cache
    def make(kind: str) -> Exported:
        _, _, preprocessing, shape = KINDS[kind]
        model, samples = network(kind), raw(shape, batch=5)
        classes = max(2, model.output_shape[-1])
        labels = tuple(f"class {number}" for number in range(classes))
        folder = root / kind
        export(model, folder, labels=labels, preprocessing=preprocessing, samples=samples)
        return Exported(folder, model, preprocessing, samples, labels)

    return make


@pytest.fixture(params=KINDS)
def bundle(request, exported) -> Exported:
    """A bundle of every kind."""
    return exported(request.param)


@pytest.fixture(scope="session")
def raw_inputs():
    """``raw``, for tests."""
    return raw


@pytest.fixture
def copy(exported, tmp_path) -> Exported:
    """A small bundle of both formats, alone in its folder, to change at will."""
    original = exported("rows")
    return dataclasses.replace(original, folder=shutil.copytree(original.folder, tmp_path / "export" / "rows"))
