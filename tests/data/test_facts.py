"""What is found of raw examples, in memory or in files, by threads or by processes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlapp.data import parallel
from dlapp.data.examples import Examples
from dlapp.data.facts import gather, hash_array


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)


@pytest.fixture
def files(pictures, tmp_path):
    names = [str(tmp_path / f"{number}.png") for number in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(name)
    return names


def examples(inputs, channels=3):
    return Examples(inputs=np.asarray(inputs), targets=np.zeros(len(inputs), np.int32), channels=channels)


def test_of_pictures_in_memory(pictures):
    pictures[1] = pictures[4]
    found = gather(examples(pictures))
    assert found.hashes[1] == found.hashes[4]
    assert len(set(found.hashes)) == 5
    means = pictures.reshape(6, 16, 2, 16, 3, 3).mean(axis=(2, 4))  # of areas of 2 x 3 pixels
    thumbnails = means.mean(axis=3).reshape(6, 256)
    np.testing.assert_allclose(found.thumbnails, thumbnails, atol=1)  # Pillow rounds in both directions
    np.testing.assert_allclose(found.colour, pictures.mean(axis=(1, 2)), atol=0.5)
    np.testing.assert_allclose(found.brightness, pictures.mean(axis=(1, 2, 3)), atol=0.5)
    np.testing.assert_allclose(found.contrast, found.thumbnails.std(axis=1), rtol=1e-6)
    assert found.sizes.tolist() == [[32, 48]] * 6
    assert found.errors == {}


@pytest.mark.parametrize("many", [1, 1000], ids=["processes", "threads"])
def test_of_files(pictures, files, monkeypatch, many):
    monkeypatch.setattr(parallel, "_MANY", many)
    with Path(files[2]).open("r+b") as file:
        file.truncate(500)
    found, expected = gather(examples(files)), gather(examples(pictures))
    whole = [0, 1, 3, 4, 5]
    for name in ("hashes", "thumbnails", "brightness", "contrast", "colour", "sizes"):
        np.testing.assert_array_equal(getattr(found, name)[whole], getattr(expected, name)[whole])
    assert list(found.errors) == [2]
    assert f"{files[2]} is damaged" in found.errors[2]
    assert found.hashes[2] == ""
    assert found.sizes[2].tolist() == [0, 0]


def test_transparency_is_no_colour(pictures):
    opaque = np.concatenate([pictures, np.full((6, 32, 48, 1), 255, np.uint8)], axis=3)
    found, expected = gather(examples(opaque, channels=4)), gather(examples(pictures))
    np.testing.assert_allclose(found.thumbnails, expected.thumbnails, atol=1e-4)
    assert found.colour.shape == (6, 3)


def test_of_rows():
    rows = np.array([[0.0, np.nan], [-0.0, -np.nan], [1.0, 2.0]], np.float32)
    found = gather(examples(rows, channels=0))
    assert found.hashes[0] == found.hashes[1] != found.hashes[2]
    assert found.thumbnails.shape == (3, 0)
    assert found.errors == {}


def test_a_hash_knows_shape_and_dtype():
    values = np.arange(6, dtype=np.float32)
    assert hash_array(values) == hash_array(values[::-1][::-1])
    assert len({hash_array(values), hash_array(values.reshape(2, 3)), hash_array(values.view(np.int32))}) == 3
