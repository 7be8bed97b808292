"""What is measured: of train and nothing else, on pictures as the network gets them."""

import numpy as np
import pytest
from PIL import Image

from dlapp.data import Examples, load
from dlapp.data.measuring import measure, measure_target
from dlapp.data.pipelines import Pipeline
from dlapp.signature import Column


def archive(folder, dev, test):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (40, 6, 6, 3), np.uint8), np.arange(40) % 2
    np.savez(folder / "a.npz", x_train=x, y_train=y, x_dev=x[:8] * 0 + dev, y_dev=y[:8], x_test=x[:8] * 0 + test,
             y_test=y[:8])  # fmt: skip
    return load(f"npz:{folder / 'a.npz'}"), x


def test_dev_and_test_do_not_reach_mean_and_variance(tmp_path):
    data, x = archive(tmp_path, np.uint8(0), np.uint8(255))
    other, _ = archive(tmp_path, np.uint8(255), np.uint8(7))
    found = measure(data.train, size=(6, 6))
    assert found == measure(other.train, size=(6, 6))
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)  # float64 on both sides
    np.testing.assert_allclose(found.variance, x.astype(float).var(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("size", [(12, 9), (4, 4)], ids=["larger", "smaller"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_measured_makes_mean_0_and_variance_1(channels, size):
    # dark and of little contrast, with one channel that is constant
    inputs = np.random.default_rng(0).integers(3, 9, (300, 7, 5, channels), np.uint8)
    if channels == 4:
        inputs[..., 3] = 255
    train = Examples(inputs, np.zeros(300, np.int32), channels)
    found = measure(train, size=size)
    seen = np.concatenate([batch for batch, _ in Pipeline(train, found).batches(64).as_numpy_iterator()])
    varying = min(channels, 3)
    # sums of some 10^5 float32 values that are near 1
    np.testing.assert_allclose(seen[..., :varying].mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(seen[..., :varying].var(axis=(0, 1, 2)), 1, atol=1e-3)
    assert (seen[..., varying:] == 0).all()


def test_files_are_measured_like_the_arrays_they_hold(tmp_path):
    inputs = np.random.default_rng(0).integers(0, 256, (10, 7, 5, 3), np.uint8)
    for number, image in enumerate(inputs):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    paths = np.array([str(tmp_path / f"{number}.png") for number in range(10)])
    targets, sizes = np.zeros(10, np.int32), np.full((10, 2), (7, 5), np.int32)
    files = Examples(paths, targets, 3, np.ones(10, bool), sizes)
    assert measure(files, size=(4, 4)) == measure(Examples(inputs, targets, 3), size=(4, 4))


def test_columns_far_from_zero_keep_their_variance():
    rows = np.random.default_rng(0).normal((0, 1e6), (1, 2), (5000, 2)).astype(np.float32)
    found = measure(Examples(rows, np.zeros(5000, np.int32), 0))
    np.testing.assert_allclose(found.variance, rows.astype(float).var(axis=0), rtol=1e-9)  # float64 on both sides
    assert (found.channels, found.size, found.antialias) == (0, None, False)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((10, 12), False), ((10, 4), False), ((4, 12), False), ((3, 12), True), ((10, 3), True)],
    ids=str,
)
def test_antialiasing_of_arrays_starts_beyond_three_times_in_either_direction(size, expected):
    train = Examples(np.zeros((2, 12, 12, 1), np.uint8), np.zeros(2, np.int32), 1)
    assert measure(train, size=size, scale="unit").antialias is expected


def test_cells_of_a_table_are_measured_where_they_are():
    columns = (Column("a", missing=True), Column("b", ("x", "y")), Column("empty", missing=True), Column("c"))
    rows = np.array([[1, 0, np.nan, 7], [np.nan, 1, np.nan, 7], [5, np.nan, np.nan, 7]], np.float32)
    found = measure(Examples(rows, np.zeros(3, np.int32), 0, columns=columns))
    assert found.columns == columns
    assert found.mean == (3, 0, 0, 7), "categories and what is never there have 0 and 1"
    assert found.variance == (4, 1, 1, 0)
    assert found.width == 3 + 2 + 3  # numbers, flags, x, y and any other


@pytest.mark.parametrize("linear", [True, False], ids=["linear", "relu"])
def test_targets_keep_their_zero_where_the_network_has_one(linear):
    targets = np.random.default_rng(0).normal(5e5, 2e3, 100).astype(np.float32)
    found = measure_target(Examples(np.zeros((100, 1), np.float32), targets, 0), "price", ends_linear=linear)
    assert found.name == "price"
    assert found.mean == pytest.approx(targets.astype(float).mean() if linear else 0, rel=1e-12)  # float64
    assert found.deviation == pytest.approx(targets.astype(float).std(), rel=1e-12)
