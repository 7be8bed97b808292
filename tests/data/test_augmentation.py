"""Shifted pictures: by how much, what fills the edge, and from which state."""

import keras
import numpy as np
import pytest

from dlapp.data.augmentation import augmenter
from dlapp.recipe import Augment

HEIGHT, WIDTH = 20, 10
# every pixel holds its own row and column
PLACES = np.stack(np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij"), axis=2).astype(np.float32)
BATCH = np.tile(PLACES, (64, 1, 1, 1))


def test_no_shift_is_no_layer():
    assert augmenter(Augment()) is None


@pytest.mark.parametrize("shift", [0.1, 0.3])
def test_every_picture_moves_by_its_own_share_and_repeats_its_edge(shift):
    moved = np.asarray(augmenter(Augment(shift=shift))(BATCH, training=True))
    shifts = moved[:, HEIGHT // 2, WIDTH // 2] - PLACES[HEIGHT // 2, WIDTH // 2]
    for axis, length in enumerate((HEIGHT, WIDTH)):
        assert np.abs(shifts[:, axis]).max() <= shift * length + 1e-3
        assert shifts[:, axis].min() < -shift * length / 2, "in both directions"
        assert shifts[:, axis].max() > shift * length / 2
    assert len(np.unique(shifts.round(3), axis=0)) > 60
    expected = np.clip(PLACES + shifts[:, np.newaxis, np.newaxis], 0, (HEIGHT - 1, WIDTH - 1))
    np.testing.assert_allclose(moved, expected, atol=1e-3)  # float32 places of up to 20, moved twice


def test_prediction_is_not_augmented():
    augment = augmenter(Augment(shift=0.3))
    np.testing.assert_array_equal(augment(BATCH, training=False), BATCH)


def test_the_seed_of_keras_decides():
    drawn = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        drawn.append(np.asarray(augmenter(Augment(shift=0.3))(BATCH, training=True)))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
