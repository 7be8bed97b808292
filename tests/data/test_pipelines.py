"""Batches: one order for a seed and an epoch, the same values from memory and from files, Pillow's decoding."""

import functools
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from dlapp import pictures
from dlapp.data import Examples
from dlapp.data.augmentation import augmenter
from dlapp.data.pipelines import Pipeline, naming_unreadable
from dlapp.errors import SourceError
from dlapp.recipe import Augment
from dlapp.signature import Preprocessing

HEIGHT, WIDTH = 40, 56
CACHES = {"cached": 10**9, "streamed": 0}


def photograph(mode="RGB"):
    """Noise in blocks: JPEG's colours bleed at their edges, so that ways of decoding differ."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    return Image.fromarray(np.kron(noise, np.ones((4, 4, 1), np.uint8))).convert(mode)


def as_examples(paths, channels=3):
    headers = [pictures.read_header(path) for path in paths]
    return Examples(
        np.array([str(path) for path in paths]),
        np.arange(len(paths), dtype=np.int32),
        channels,
        np.array([header.plain and channels in (header.channels, 3) for header in headers]),
        np.array([(header.height, header.width) for header in headers], np.int32),
    )


def numbered(count=23):
    inputs = np.random.default_rng(0).integers(0, 256, (count, 5, 4, 1), np.uint8)
    return Examples(inputs, np.arange(count, dtype=np.int32), channels=1)


def order(batches):
    return np.concatenate([targets for _, targets in batches.as_numpy_iterator()]).tolist()


def gather(batches):
    inputs, targets = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(inputs), np.concatenate(targets)


def epoch_of(number):
    return tf.Variable(tf.constant(number, tf.int64))


@pytest.mark.parametrize("batch_size", [1, 7, 22, 23, 24, 1000])
@pytest.mark.parametrize("cache_bytes", CACHES.values(), ids=CACHES)
def test_len_is_the_number_of_batches_and_no_example_is_lost(cache_bytes, batch_size):
    batches = Pipeline(numbered(), Preprocessing(1, (5, 4)), cache_bytes).batches(batch_size)
    sizes = [len(targets) for _, targets in batches.as_numpy_iterator()]
    assert len(batches) == len(sizes)
    assert sum(sizes) == 23
    assert set(sizes[:-1]) <= {batch_size}


def test_a_resumed_run_sees_the_order_of_one_that_went_on():
    make = functools.partial(Pipeline, numbered(), Preprocessing(1, (5, 4)))
    epoch = epoch_of(0)
    going_on = make(10**9).batches(4, shuffle_seed=3, epoch=epoch)
    orders = []
    for number in range(4):
        epoch.assign(number)
        orders.append(order(going_on))
    for number in (3, 1):
        resumed = make(0).batches(9, shuffle_seed=3, epoch=epoch_of(number))
        assert order(resumed) == orders[number], "neither cache nor batch size changes the order"
    assert order(make(0).batches(4, shuffle_seed=4, epoch=epoch_of(1))) not in orders
    assert len({tuple(found) for found in orders}) == 4


def test_every_place_is_as_likely_for_every_example():
    epoch = epoch_of(0)
    batches = Pipeline(numbered(6), Preprocessing(1, (5, 4))).batches(6, shuffle_seed=0, epoch=epoch)
    counts = np.zeros((6, 6))
    for number in range(180):
        epoch.assign(number)
        counts[np.arange(6), order(batches)] += 1
    # 30 of 180 are expected with a deviation of 5: five of those
    np.testing.assert_allclose(counts, 30, atol=25)


@pytest.mark.parametrize("scale", ["none", "unit", "standardize"])
@pytest.mark.parametrize("kind", ["arrays", "rows", "files"])
def test_streamed_is_cached_bit_by_bit_in_any_order(tmp_path, kind, scale):
    examples = numbered()
    channels, size = 1, (9, 3)
    if kind == "rows":
        channels, size = 0, None
        examples = Examples(examples.inputs.reshape(23, -1).astype(np.float32), examples.targets, 0)
    elif kind == "files":
        for number, image in enumerate(examples.inputs):
            Image.fromarray(image[..., 0]).save(tmp_path / f"{number}.png")
        examples = as_examples([tmp_path / f"{number}.png" for number in range(23)], channels=1)
    columns = max(channels, 1) if kind != "rows" else 20
    how = Preprocessing(channels, size, scale=scale, mean=(120.5,) * columns, variance=(77.7,) * columns)
    augment = augmenter(Augment(shift=0.2), (8, 8)) if kind != "rows" else None
    found = []
    for cache_bytes in CACHES.values():
        for variable in augment.variables if augment else ():
            if "seed_generator_state" in variable.path:
                variable.assign([5, 6])
        pipeline = Pipeline(examples, how, cache_bytes)
        found.append(gather(pipeline.batches(4, shuffle_seed=1, epoch=epoch_of(2), augment=augment)))
    (cached, targets), (streamed, same) = found
    assert cached.shape == ((23, *size, 1) if size else (23, 20))
    assert cached.dtype == np.float32
    np.testing.assert_array_equal(cached, streamed)
    np.testing.assert_array_equal(targets, same)


def test_a_pipeline_is_not_changed_by_an_augmented_one_beside_it():
    pipeline = Pipeline(numbered(), Preprocessing(1, (5, 4), scale="unit"))
    moved, still = pipeline.batches(5, augment=augmenter(Augment(shift=0.5), (8, 8))), pipeline.batches(5)
    gather(moved)
    np.testing.assert_array_equal(gather(still)[0], (numbered().inputs / np.float32(255)).astype(np.float32))


def png(path, bits, colour, *chunks):
    """What Pillow does not write: any number of bits, and chunks that might change what is decoded."""
    samples = {0: 1, 2: 3}[colour]
    rows = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH * samples * bits // 8), np.uint8)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)


def saved(mode="RGB", **options):
    return lambda path: photograph(mode).save(path, **options)


PLAIN = {
    "420.jpg": saved(quality=75, subsampling=2),
    "422.jpg": saved(quality=75, subsampling=1),
    "444.jpg": saved(quality=95, subsampling=0),
    "progressive.jpg": saved(quality=60, progressive=True),
    "worst.jpg": saved(quality=1),
    "restarts.jpg": saved(restart_marker_blocks=2),
    "stored_as_rgb.jpg": saved(keep_rgb=True),
    "grey.jpg": saved("L", quality=60),
    "png_by_another_name.jpg": saved(format="PNG"),
    "rgb.png": saved(),
    "grey.png": saved("L"),
    "grey_2_bits.png": lambda path: png(path, 2, 0),
    "grey_4_bits.png": lambda path: png(path, 4, 0),
    "rgb_16_bits.png": lambda path: png(path, 16, 2),
    "gamma.png": lambda path: png(path, 8, 2, (b"gAMA", struct.pack(">I", 100_000))),
    "background.png": lambda path: png(path, 8, 2, (b"bKGD", struct.pack(">HHH", 9, 9, 9))),
}


@pytest.mark.parametrize("channels", [1, 3])
def test_tensorflow_decodes_plain_files_to_pillows_values(tmp_path, channels):
    for name, save in PLAIN.items():
        save(tmp_path / name)
    names = [name for name in PLAIN if channels == 3 or "grey" in name]
    examples = as_examples([tmp_path / name for name in names], channels)
    assert examples.plain.all(), "TensorFlow is what decodes them"
    found, _ = gather(Pipeline(examples, Preprocessing(channels, (HEIGHT, WIDTH)), 0).batches(4))
    for name, image in zip(names, found, strict=True):
        np.testing.assert_array_equal(image, pictures.read(tmp_path / name, channels), err_msg=name)


def test_a_stream_decodes_little_more_than_is_taken(tmp_path, monkeypatch):
    photograph("RGBA").save(tmp_path / "a.png")
    decoded = []

    def read(path, channels, _read=pictures.read):
        decoded.append(path)
        return _read(path, channels)

    monkeypatch.setattr(pictures, "read", read)
    count = 1000
    examples = Examples(
        np.array([str(tmp_path / "a.png")] * count), np.zeros(count, np.int32), 4, np.zeros(count, bool)
    )
    stream = Pipeline(examples, Preprocessing(4, (8, 8)), cache_bytes=0).batches(2)
    assert next(iter(stream))[0].shape == (2, 8, 8, 4)
    # what runs ahead grows with the cores, not with the set
    assert 2 <= len(decoded) < count // 2


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def cut_end_chunk(path):
    path.write_bytes(path.read_bytes()[:-12])


@pytest.mark.parametrize("cache_bytes", CACHES.values(), ids=CACHES)
@pytest.mark.parametrize(
    ("name", "mode", "damage"),
    [
        ("a.jpg", "RGB", cut),
        ("a.jpg", "CMYK", cut),
        ("a.png", "RGB", cut),
        ("a.png", "RGBA", cut),
        ("a.png", "RGB", remove),
        ("a.png", "RGBA", remove),
        ("a.png", "RGB", cut_end_chunk),  # Pillow does without the last chunk, TensorFlow does not
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_file_that_was_damaged_after_listing_is_named(tmp_path, name, mode, damage, cache_bytes):
    good, bad = tmp_path / "good.png", tmp_path / name
    photograph().save(good)
    photograph(mode).save(bad)
    examples = as_examples([good, bad, good])
    damage(bad)
    pipeline = Pipeline(examples, Preprocessing(3, (8, 8)), cache_bytes)
    with pytest.raises(SourceError, match=rf"{bad}(.|\n)*[Rr]epair or remove") as caught, naming_unreadable(examples):
        gather(pipeline.batches(2))
    assert "good.png" not in str(caught.value)


def test_many_damaged_files_are_counted_and_other_failures_left_alone(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        photograph().save(path)
    examples = as_examples(paths)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not from a file"), naming_unreadable(examples):
        raise tf.errors.InvalidArgumentError(None, None, "not from a file")
    for path in paths:
        cut(path)
    with pytest.raises(SourceError, match=r"4\.png is damaged(.|\n)*and 3 more"), naming_unreadable(examples):
        gather(Pipeline(examples, Preprocessing(3, (8, 8)), 0).batches(2))


def test_real_photographs_are_decoded_as_prediction_decodes_them(data_set):
    paths = sorted((data_set("flowers5_small") / "val").rglob("*.jpg"))[:12]
    examples = as_examples(paths)
    found, _ = gather(Pipeline(examples, Preprocessing(3, (64, 64)), 0).batches(5))
    for path, image in zip(paths, found, strict=True):
        expected = tf.image.resize(pictures.read(path, 3), (64, 64))
        np.testing.assert_array_equal(image, expected, err_msg=path.name)
