"""Resizing, scaling and encoding as operations: at the edges of what an input can be, and with any batch."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from dlapp.data import Examples
from dlapp.data.pipelines import Pipeline
from dlapp.data.preprocessing import preprocess, resize, scale
from dlapp.signature import Column, Preprocessing

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 7, 5, 3), np.uint8)


@pytest.mark.parametrize("antialias", [False, True], ids=["bilinear", "antialiased"])
def test_the_same_size_is_the_same_picture(antialias):
    found = resize(tf.constant(IMAGES), Preprocessing(3, (7, 5), antialias))
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, IMAGES)


@pytest.mark.parametrize("antialias", [False, True], ids=["bilinear", "antialiased"])
@pytest.mark.parametrize("value", [0, 137, 255])
def test_an_even_picture_stays_even(value, antialias):
    image = tf.constant(np.full((1, 40, 31, 1), value, np.uint8))
    for size in ((8, 8), (97, 3), (1, 1)):
        found = resize(image, Preprocessing(1, size, antialias))
        np.testing.assert_allclose(found, np.full((1, *size, 1), value), rtol=1e-6)  # weights of float32 sum to 1


@pytest.mark.parametrize("image", [IMAGES[:1, :1, :1], IMAGES[:1, :, :1]], ids=["a pixel", "a column"])
def test_a_tiny_picture_is_spread_out(image):
    found = resize(tf.constant(image), Preprocessing(3, (7, 9))).numpy()
    expected = np.broadcast_to(image[:, :, :1], (1, image.shape[1], 9, 3))
    if image.shape[1] == 1:
        expected = np.broadcast_to(image, (1, 7, 9, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # the column keeps its 7 rows


@pytest.mark.parametrize("antialias", [False, True], ids=["bilinear", "antialiased"])
def test_a_picture_does_not_depend_on_its_batch(antialias):
    how = Preprocessing(3, (4, 6), antialias, "standardize", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    batch = preprocess(tf.constant(IMAGES), how)
    for image, one in zip(IMAGES, batch, strict=True):
        np.testing.assert_array_equal(preprocess(tf.constant(image), how), one)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"scale": "none"}, lambda x: x),
        ({"scale": "unit"}, lambda x: x / 255),
        (
            {"scale": "standardize", "mean": (9.0, 99.0, 199.0), "variance": (4.0, 0.25, 1e4)},
            lambda x: (x - (9, 99, 199)) / (2, 0.5, 100),
        ),
    ],
    ids=lambda value: value["scale"] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("rows", [False, True], ids=["pictures", "rows"])
def test_scaling_is_by_channel_or_column_eagerly_and_in_a_map(rows, how, expected):
    values = IMAGES.astype(np.float32).reshape(-1, 3) if rows else IMAGES.astype(np.float32)
    preprocessing = Preprocessing(0, **how) if rows else Preprocessing(3, (7, 5), **how)
    eager = preprocess(tf.constant(values), preprocessing)
    mapped = tf.data.Dataset.from_tensors(values).map(lambda given: preprocess(given, preprocessing))
    np.testing.assert_array_equal(eager, mapped.get_single_element())
    assert eager.dtype == tf.float32
    np.testing.assert_allclose(eager, expected(values.astype(float)), rtol=1e-6)  # float32: 2^-23 an operation


def test_a_constant_column_stays_finite():
    how = Preprocessing(0, scale="standardize", mean=(5.0, 0.1), variance=(0.0, 0.0))
    found = scale(tf.constant([[5.0, 0.1]]), how).numpy()
    np.testing.assert_array_equal(found, [[0, 0]])


NAN = np.nan
COLUMNS = (
    Column("size", missing=True),
    Column("colour", ("blue", "red"), missing=True),
    Column("age"),
    Column("city", ("Ulm",)),
    Column("rare", ()),  # no category of which train has two
)
CELLS = np.array(
    [
        [10, 0, 1, 0, -1],
        [NAN, 1, 2, -1, -1],
        [30, -1, 3, NAN, NAN],
        [40, NAN, NAN, 0, -1],  # age is never missing in train: no flag, but a mean
    ],
    np.float32,
)
TABLE = Preprocessing(
    0, scale="standardize", mean=(20.0, 0.0, 2.0, 0.0, 0.0), variance=(25.0, 1.0, 4.0, 1.0, 1.0), columns=COLUMNS
)


def encoded(rows, how):
    """The same in NumPy, a row and a column at a time: numbers, flags, categories."""
    result = []
    for row in rows.astype(float):
        numbers, flags, slots = [], [], []
        for value, column, mean, variance in zip(row, how.columns, how.mean, how.variance, strict=True):
            if column.missing:
                flags.append(float(np.isnan(value)))
            if column.categories is None:
                filled = mean if np.isnan(value) else value
                numbers.append((filled - mean) / variance**0.5 if how.scale == "standardize" else filled)
            else:
                one_hot = [0.0] * (len(column.categories) + 1)  # the last is for what train does not know
                if not np.isnan(value):
                    one_hot[int(value)] = 1.0
                slots += one_hot
        result.append([*numbers, *flags, *slots])
    return np.array(result)


@pytest.mark.parametrize("scaling", ["standardize", "none"])
def test_tables_are_encoded_eagerly_and_in_a_map(scaling):
    how = dataclasses.replace(TABLE, scale=scaling)
    eager = preprocess(tf.constant(CELLS), how)
    mapped = tf.data.Dataset.from_tensors(CELLS).map(lambda rows: preprocess(rows, how)).get_single_element()
    # 2 numbers, 2 flags, 2 + 1, 1 + 1 and 0 + 1 categories
    assert eager.shape == mapped.shape == (4, how.width) == (4, 10)
    assert eager.dtype == tf.float32
    np.testing.assert_array_equal(eager, mapped)
    np.testing.assert_allclose(eager, encoded(CELLS, how), rtol=1e-6)  # float32: 2^-23 an operation


@pytest.mark.parametrize("columns", [COLUMNS[:1], COLUMNS[1:2], COLUMNS[2:3]], ids=lambda columns: columns[0].name)
def test_a_table_of_one_column_is_encoded(columns):
    place = COLUMNS.index(columns[0])
    how = dataclasses.replace(TABLE, mean=(TABLE.mean[place],), variance=(TABLE.variance[place],), columns=columns)
    cells = CELLS[:, place : place + 1]
    np.testing.assert_allclose(preprocess(tf.constant(cells), how), encoded(cells, how), rtol=1e-6)


def test_a_row_of_a_table_does_not_depend_on_its_batch():
    batch = preprocess(tf.constant(CELLS), TABLE)
    for row, one in zip(CELLS, batch, strict=True):
        np.testing.assert_array_equal(preprocess(tf.constant(row[np.newaxis]), TABLE)[0], one)


@pytest.mark.parametrize("cache_bytes", [10**6, 0], ids=["kept", "read"])
def test_a_pipeline_gives_what_the_network_takes(cache_bytes):
    train = Examples(CELLS, np.arange(4, dtype=np.int32), 0, columns=COLUMNS)
    batches = list(Pipeline(train, TABLE, cache_bytes).batches(3).as_numpy_iterator())
    np.testing.assert_allclose(np.concatenate([rows for rows, _ in batches]), encoded(CELLS, TABLE), rtol=1e-6)
    assert np.concatenate([targets for _, targets in batches]).tolist() == [0, 1, 2, 3]
