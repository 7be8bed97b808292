"""From examples to batches: order, cache, decoding, preprocessing and what is measured for it."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dlapp import pictures
from dlapp.data import Examples, load
from dlapp.data.augmentation import augmenter
from dlapp.data.measuring import measure
from dlapp.data.pipelines import Pipeline, naming_unreadable
from dlapp.data.preprocessing import preprocess, resize
from dlapp.errors import SourceError
from dlapp.recipe import Augment
from dlapp.signature import Preprocessing

UNIT = Preprocessing(channels=1, size=(5, 4), scale="unit")


def numbered(count=23):
    """Pictures whose every pixel is their number."""
    inputs = np.tile(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), (1, 5, 4, 1))
    return Examples(inputs, np.arange(count, dtype=np.int32), channels=1)


@pytest.fixture
def files(tmp_path):
    """A folder source of odd and plain pictures, 30 in 2 classes."""
    random = np.random.default_rng(0)
    for number in range(30):
        folder = tmp_path / str(number % 2)
        folder.mkdir(exist_ok=True)
        picture = Image.fromarray(random.integers(0, 256, (9 + number % 3, 12, 3), np.uint8))
        match number % 6:
            case 0:
                picture.save(folder / f"{number}.png")
            case 1:
                picture.convert("CMYK").save(folder / f"{number}.jpg")
            case 2:
                exif = Image.Exif()
                exif[0x0112] = 6
                picture.save(folder / f"{number}.jpg", exif=exif)
            case 3:
                picture.quantize(16).save(folder / f"{number}.png")
            case 4:
                picture.putalpha(Image.fromarray(random.integers(0, 256, picture.size[::-1], np.uint8)))
                picture.save(folder / f"{number}.png")
            case 5 if number == 5:  # what says that it is rotated stands behind the pixels
                exif = Image.Exif()
                exif[0x0112] = 8
                picture.save(folder / "5.png", exif=exif)
                moved = (folder / "5.png").read_bytes()
                start = moved.index(b"eXIf") - 4
                end = start + 12 + int.from_bytes(moved[start : start + 4], "big")
                (folder / "5.png").write_bytes(moved[:start] + moved[end:-12] + moved[start:end] + moved[-12:])
            case 5:
                picture.convert("L").save(folder / f"{number}.jpg", quality=60)
    return tmp_path


def order(batches):
    return np.concatenate([targets for _, targets in batches.as_numpy_iterator()]).tolist()


def test_without_a_seed_the_order_stays_and_the_last_batch_is_smaller():
    batches = Pipeline(numbered(), UNIT).batches(10)
    assert order(batches) == list(range(23))
    assert [len(targets) for _, targets in batches.as_numpy_iterator()] == [10, 10, 3]
    assert len(batches) == 3


@pytest.mark.parametrize("cache_bytes", [10**9, 0], ids=["cached", "streamed"])
def test_order_is_a_function_of_seed_and_epoch(cache_bytes):
    epoch = tf.Variable(tf.constant(0, tf.int64))
    batches = Pipeline(numbered(), UNIT, cache_bytes).batches(10, shuffle_seed=3, epoch=epoch)
    orders = []
    for number in (0, 1, 0, 7):
        epoch.assign(number)
        orders.append(order(batches))
    assert orders[0] == orders[2]
    assert len({tuple(found) for found in orders}) == 3
    assert all(sorted(found) == list(range(23)) for found in orders)
    for inputs, targets in batches.as_numpy_iterator():
        np.testing.assert_allclose(inputs[:, 0, 0, 0] * 255, targets, atol=1e-4)  # pictures keep their labels


def test_without_an_epoch_every_pass_has_another_order():
    batches = Pipeline(numbered(), UNIT).batches(10, shuffle_seed=3)
    first, second = order(batches), order(batches)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(23))


@pytest.mark.parametrize("scale", ["unit", "standardize", "none"])
def test_streamed_files_are_the_cached_ones_bit_by_bit(files, scale):
    data = load(f"folder:{files}")
    preprocessing = measure(data.train, size=(7, 8), scale=scale)
    cached, streamed = (Pipeline(data.train, preprocessing, size).batches(4) for size in (10**9, 0))
    for (one, targets), (other, same) in zip(cached, streamed, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(targets, same)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_files_are_decoded_as_prediction_decodes_them(files, channels):
    data = load(f"folder:{files}", channels=channels)
    assert 0 < data.train.plain.sum() < len(data.train) or channels == 4
    raw = Preprocessing(channels, size=(11, 12), scale="none")
    found = np.concatenate([inputs for inputs, _ in Pipeline(data.train, raw, 0).batches(4).as_numpy_iterator()])
    for index, image in enumerate(found):
        expected = resize(tf.constant(pictures.read(data.train.inputs[index], channels)), raw)
        np.testing.assert_array_equal(image, expected)


def test_a_stream_reads_no_further_than_it_must(files):
    data = load(f"folder:{files}")
    (files / "1" / data.train.inputs[-1]).write_bytes(b"")
    raw = Preprocessing(3, size=(8, 8), scale="none")
    stream = Pipeline(data.train, raw, cache_bytes=0).batches(1)
    assert next(iter(stream))[0].shape == (1, 8, 8, 3), "the last file is not needed for the first batch"
    with pytest.raises(SourceError, match=r"is empty \(0 bytes\)"), naming_unreadable(data.train):
        list(stream)


def bilinear(image, size):
    """Resampling at half-pixel centres, edges repeated: an independent calculation."""
    for axis, wanted in enumerate(size):
        have = image.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape([-1 if k == axis else 1 for k in range(3)])
        image = image.take(low, axis) * (1 - share) + image.take(np.minimum(low + 1, have - 1), axis) * share
    return image


@pytest.mark.parametrize("size", [(32, 32), (5, 13), (9, 11)], ids=["larger", "mixed", "same"])
def test_resizing_is_bilinear_at_half_pixel_centres(size):
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    found = resize(tf.constant(image), Preprocessing(3, size=size))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, bilinear(image.astype(float), size), atol=1e-3)  # float32 of up to 255


def test_antialiasing_is_pillows():
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    found = resize(tf.constant(image), Preprocessing(3, size=(16, 16), antialias=True))
    pillow = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR), float)
    np.testing.assert_allclose(found, pillow, atol=1.01)  # Pillow rounds after each axis


def test_preprocessing_is_the_same_eagerly_and_in_a_map():
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 11, 3), np.uint8)
    how = Preprocessing(3, (6, 6), scale="standardize", mean=(10.0, 20.0, 30.0), variance=(4.0, 9.0, 0.0))
    eager = preprocess(tf.constant(images), how)
    mapped = tf.data.Dataset.from_tensors(images).map(lambda batch: preprocess(batch, how)).get_single_element()
    np.testing.assert_array_equal(eager, mapped)
    resized = np.stack([bilinear(image.astype(float), (6, 6)) for image in images])
    # what never changed in train is not divided, or any other value of it would be huge
    np.testing.assert_allclose(eager, (resized - (10, 20, 30)) / (2, 3, 1), atol=1e-3)  # float32 of up to 255


def test_mean_and_variance_are_those_of_train_alone():
    data = load("digits")
    found = measure(data.train, size=(8, 8))
    values = data.train.inputs.astype(float)
    np.testing.assert_allclose(found.mean, [values.mean()], rtol=1e-6)  # sums of float32 pictures
    np.testing.assert_allclose(found.variance, [values.var()], rtol=1e-6)
    assert found.mean != measure(data.dev, size=(8, 8)).mean
    rows = Examples(np.random.default_rng(0).normal(5, 2, (50, 3)).astype(np.float32), np.zeros(50, np.int32), 0)
    np.testing.assert_allclose(measure(rows).mean, rows.inputs.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "expected"), [((10, 12), False), ((4, 4), False), ((3, 12), True), ((10, 3), True)], ids=str
)
def test_antialiasing_starts_beyond_three_times(files, size, expected):
    train = load(f"folder:{files}").train  # the median picture is 10 x 12
    assert measure(train, size=size, scale="unit").antialias is expected
    assert measure(train, size=size, scale="unit", antialias=not expected).antialias is not expected


def test_pictures_need_a_size_and_rows_no_255():
    with pytest.raises(SourceError, match=r"set preprocessing\.size"):
        measure(load("digits").train)
    rows = Examples(np.ones((4, 2), np.float32), np.zeros(4, np.int32), 0)
    with pytest.raises(SourceError, match="rows take 'standardize' or 'none'"):
        measure(rows, scale="unit")


def test_augmentation_moves_train_and_repeats_with_its_seed_state():
    augment = augmenter(Augment(shift=0.4), (8, 8))
    assert augmenter(Augment(), (8, 8)) is None
    pipeline = Pipeline(load("digits").dev, Preprocessing(1, size=(8, 8), scale="unit"))
    moved = pipeline.batches(64, augment=augment)
    states = [variable for variable in augment.variables if "seed_generator_state" in variable.path]
    assert states, "its randomness can be set"

    def draw():
        for state in states:
            state.assign([1, 2])
        return np.concatenate([inputs for inputs, _ in moved.as_numpy_iterator()])

    first = draw()
    np.testing.assert_array_equal(first, draw())
    still = np.concatenate([inputs for inputs, _ in pipeline.batches(64).as_numpy_iterator()])
    changed = (abs(first - still) > 1e-3).any(axis=(1, 2, 3))
    assert changed.mean() > 0.9
    assert first.max() <= 1.0001, "scaled after it was moved"
