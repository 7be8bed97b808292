"""Shifted pictures: by how much, what fills the edge, and from which state."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.data.augmentation import augment_objects, augmenter
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


def squares(count, side=40):
    """Black pictures with a white rectangle each, its box, and a box that is not there."""
    random = np.random.default_rng(0)
    images = np.zeros((count, side, side, 1), np.float32)
    corners = np.full((count, 2, 4), -1, np.float32)
    for image, box in zip(images, corners, strict=True):
        top, left = random.integers(4, 18, 2)
        bottom, right = np.add((top, left), random.integers(8, 16, 2))
        image[top:bottom, left:right] = 255
        box[0] = top, left, bottom, right
    return images, corners, np.tile(np.array([2, -1], np.int32), (count, 1))


def box_of(image):
    """Of what is white; half-lit pixels count by their half."""
    rows, columns = (image[..., 0].max(axis=axis) / 255 for axis in (1, 0))
    ends = []
    for profile in (rows, columns):
        lit = np.flatnonzero(profile > 0.05)
        ends.append((lit[0] + 1 - profile[lit[0]], lit[-1] + profile[lit[-1]]))
    return np.array([ends[0][0], ends[1][0], ends[0][1], ends[1][1]])


@pytest.mark.parametrize("mapped", [False, True], ids=["eager", "in a pipeline"])
@pytest.mark.parametrize(
    "change",
    [
        {"flip": "horizontal"},
        {"flip": "vertical"},
        {"flip": "both"},
        {"shift": 0.2},
        {"zoom": 0.2},
        {"crop": 4},
        {"brightness": 0.3},
        {"contrast": 0.3},
        {"flip": "horizontal", "shift": 0.1, "zoom": 0.1},
    ],
    ids=str,
)
def test_boxes_move_with_their_pixels(change, mapped):
    images, corners, classes = squares(16)
    layers = augmenter(Augment(**change), (40, 40))

    def move(*batch):
        return augment_objects(layers, *batch)

    if mapped:
        dataset = tf.data.Dataset.from_tensors((images, corners, classes)).map(move)
        moved, (boxes, kinds) = next(iter(dataset))
    else:
        moved, (boxes, kinds) = move(*map(tf.constant, (images, corners, classes)))
    assert kinds[:, 1].numpy().tolist() == [-1] * 16, "what is not there does not appear"
    assert kinds[:, 0].numpy().tolist() == [2] * 16
    if set(change) <= {"brightness", "contrast"}:
        np.testing.assert_array_equal(boxes[:, 0], corners[:, 0])
        return
    assert np.abs(boxes[:, 0] - corners[:, 0]).max() > 1, "something moved"
    for picture, box in zip(np.asarray(moved), boxes[:, 0].numpy(), strict=True):
        # pixels; bilinear edges are half lit
        np.testing.assert_allclose(box_of(picture), box, atol=0.8)


def test_an_object_that_left_the_picture_is_none_any_more():
    corners = tf.constant([[[0, 0, 10, 4], [0, 16, 10, 20], [0, 0, 10, 20]]], tf.float32)
    layers = keras.Sequential([keras.layers.RandomTranslation((0, 0), (-0.18, -0.18), fill_mode="constant")])
    _, (boxes, kinds) = augment_objects(layers, tf.zeros((1, 10, 20, 1)), corners, tf.constant([[0, 1, 2]]))
    assert kinds.numpy().tolist() == [[-1, 1, 2]], "a tenth of the first is left, of the last more than four fifths"
    np.testing.assert_allclose(boxes[0, 1], [0, 12.4, 10, 16.4], atol=1e-3)
    np.testing.assert_allclose(boxes[0, 2], [0, 0, 10, 16.4], atol=1e-3)
