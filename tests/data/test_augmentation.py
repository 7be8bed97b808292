"""Shifted pictures: by how much, what fills the edge, and from which state."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.data.augmentation import augmenter
from dlapp.recipe import Augment

SIZE = HEIGHT, WIDTH = 20, 10
# every pixel holds its own row and column
PLACES = np.stack(np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij"), axis=2).astype(np.float32)
BATCH = np.tile(PLACES, (64, 1, 1, 1))


def test_no_shift_is_no_layer():
    assert augmenter(Augment(), SIZE) is None


@pytest.mark.parametrize("shift", [0.1, 0.3])
def test_every_picture_moves_by_its_own_share_and_repeats_its_edge(shift):
    moved = np.asarray(augmenter(Augment(shift=shift), SIZE)(BATCH, training=True))
    shifts = moved[:, HEIGHT // 2, WIDTH // 2] - PLACES[HEIGHT // 2, WIDTH // 2]
    for axis, length in enumerate((HEIGHT, WIDTH)):
        assert np.abs(shifts[:, axis]).max() <= shift * length + 1e-3
        assert shifts[:, axis].min() < -shift * length / 2, "in both directions"
        assert shifts[:, axis].max() > shift * length / 2
    assert len(np.unique(shifts.round(3), axis=0)) > 60
    expected = np.clip(PLACES + shifts[:, np.newaxis, np.newaxis], 0, (HEIGHT - 1, WIDTH - 1))
    np.testing.assert_allclose(moved, expected, atol=1e-3)  # float32 places of up to 20, moved twice


def test_prediction_is_not_augmented():
    augment = augmenter(Augment(shift=0.3), SIZE)
    np.testing.assert_array_equal(augment(BATCH, training=False), BATCH)


def test_the_seed_of_keras_decides():
    drawn = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        drawn.append(np.asarray(augmenter(Augment(shift=0.3), SIZE)(BATCH, training=True)))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_a_crop_moves_by_whole_pixels_and_mirrors_the_edge():
    moved = np.asarray(augmenter(Augment(crop=3), SIZE)(BATCH, training=True))
    enlarged = np.pad(PLACES, ((3, 3), (3, 3), (0, 0)), mode="symmetric")
    cuts = {
        (row, column): enlarged[row : row + HEIGHT, column : column + WIDTH] for row in range(7) for column in range(7)
    }
    found = [next((place for place, cut in cuts.items() if np.array_equal(cut, picture)), None) for picture in moved]
    assert None not in found
    assert len(set(found)) > 15, "each picture is cut at a place of its own"


EACH = {
    "flip": {"flip": "both"},
    "rotate": {"rotate": 30},
    "zoom": {"zoom": 0.4},
    "brightness": {"brightness": 0.3},
    "contrast": {"contrast": 0.5},
    "rand_augment": {"rand_augment": 0.5},
    "all but the last": {"crop": 2, "shift": 0.1, "rotate": 10, "zoom": 0.1, "flip": "horizontal", "contrast": 0.2},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("values", EACH.values(), ids=EACH)
def test_every_change_is_random_for_each_picture_and_stays_in_range(values, channels):
    picture = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, channels)).astype(np.float32)
    augment = augmenter(Augment(**values), SIZE)
    changed = tf.data.Dataset.from_tensors(np.tile(picture, (16, 1, 1, 1))).map(
        lambda images: augment(images, training=True)
    )
    first, second = (next(iter(changed)).numpy() for _ in range(2))
    assert first.shape == (16, HEIGHT, WIDTH, channels)
    assert len(np.unique(first, axis=0)) >= (3 if values == EACH["flip"] else 12)
    assert (first != second).any(), "and new in every pass"
    assert first.min() >= 0
    assert first.max() <= 255
    np.testing.assert_array_equal(augment(picture, training=False), picture)
    assert all("seed_generator_state" in variable.path for variable in augment.variables), "what is set by the epoch"


@pytest.mark.parametrize(("flip", "axes"), [("horizontal", [2]), ("vertical", [1]), ("both", [1, 2])])
def test_a_flip_mirrors_along_its_axes(flip, axes):
    changed = np.asarray(augmenter(Augment(flip=flip), SIZE)(BATCH, training=True))
    mirrored = [BATCH]
    for axis in axes:
        mirrored += [np.flip(one, axis) for one in mirrored]
    matches = [(changed == one).all(axis=(1, 2, 3)) for one in mirrored]
    assert all(match.any() for match in matches)
    assert np.sum(matches, axis=0).tolist() == [1] * len(BATCH)


def test_a_turn_is_told_in_degrees():
    x = np.zeros((64, 41, 41, 1), np.float32)
    x[:, 20, 40] = 255.0
    turned = np.asarray(augmenter(Augment(rotate=90), (41, 41))(x, training=True))[..., 0]
    rows, columns = np.indices((41, 41)) - 20
    mass = turned.sum(axis=(1, 2))
    seen = mass > 100  # the bright point may leave the square
    angles = np.degrees(
        np.arctan2(
            (turned * rows).sum(axis=(1, 2))[seen] / mass[seen], (turned * columns).sum(axis=(1, 2))[seen] / mass[seen]
        )
    )
    assert np.abs(angles).max() <= 91
    assert np.abs(angles).max() > 45
