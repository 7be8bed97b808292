"""A bundle for pictures and one for rows whose answers can be read off their inputs."""

import shutil

import numpy as np
import pytest

from dlapp.architectures import builder
from dlapp.exporting import export
from dlapp.inference import Bundle
from dlapp.signature import Preprocessing

LABELS = ("red", "green", "blue")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """A folder with ``colours`` and ``rows``: the likeliest class is the strongest channel or column."""
    root = tmp_path_factory.mktemp("bundles")
    random = np.random.default_rng(0)
    for name, preprocessing, shape, samples in (
        ("colours", Preprocessing(3, (4, 4), scale="unit"), (4, 4, 3), random.integers(0, 256, (3, 4, 4, 3), np.uint8)),
        ("rows", Preprocessing(0, mean=(0.0,) * 3, variance=(1.0,) * 3), (3,), random.random((3, 3), np.float32)),
    ):
        model = builder("softmax_regression")(shape, classes=3)
        model.set_weights([np.tile(np.eye(3), (model.count_params() // 9, 1)), np.zeros(3)])
        export(model, root / name, labels=LABELS, preprocessing=preprocessing, samples=samples, formats=["onnx"])
    return root


@pytest.fixture(scope="session")
def colours(bundles):
    return Bundle(bundles / "colours", threads=1)


@pytest.fixture(scope="session")
def rows(bundles):
    return Bundle(bundles / "rows", threads=1)


@pytest.fixture
def copy(bundles, tmp_path):
    """The folder of ``rows``, to change at will."""
    return shutil.copytree(bundles / "rows", tmp_path / "rows")
