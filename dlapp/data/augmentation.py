"""Random changes to training pictures, by Keras's layers; they never reach evaluation or export."""

from typing import Any

import keras
import tensorflow as tf

from dlapp.recipe import Augment

_FULL_TURN = 360
_VISIBLE = 0.2  # of the area that a box had; of an object that moved out of the picture further than that, the box goes


def augmenter(augment: Augment, size: tuple[int, int]) -> keras.Sequential | None:
    """Layers that change a batch of (batch, height, width, channels) float32 from 0 to 255, or None for none.

    Each picture is changed in its own way. Edges that a shift, a turn or a zoom uncovers repeat the nearest
    pixel, those of a crop are mirrored. Call the result with ``training=True``; its randomness comes from Keras
    seed generators, which are among its ``variables``.

    Args:
        augment: what to change. MixUp and CutMix are not among it: they change the targets too.
        size: height and width of the pictures.
    """
    layers: list[keras.Layer] = []
    if augment.crop:
        # a padded picture cut at a random place is one that moved by whole pixels; Keras's RandomCrop
        # cuts all pictures of a batch at the same place
        height, width = (augment.crop / side for side in size)
        layers.append(
            keras.layers.RandomTranslation(height, width, fill_mode="reflect", interpolation="nearest", name="crop")
        )
    if augment.shift:
        layers.append(keras.layers.RandomTranslation(augment.shift, augment.shift, fill_mode="nearest", name="shift"))
    if augment.rotate:
        layers.append(keras.layers.RandomRotation(augment.rotate / _FULL_TURN, fill_mode="nearest", name="rotate"))
    if augment.zoom:
        layers.append(keras.layers.RandomZoom(augment.zoom, fill_mode="nearest", name="zoom"))
    for axis in ("horizontal", "vertical"):
        if augment.flip in (axis, "both"):  # Keras's "horizontal_and_vertical" does both or neither: half a turn
            layers.append(keras.layers.RandomFlip(axis, name=f"flip_{axis}"))
    if augment.brightness:
        layers.append(keras.layers.RandomBrightness(augment.brightness, name="brightness"))
    if augment.contrast:
        layers.append(keras.layers.RandomContrast(augment.contrast, name="contrast"))
    if augment.rand_augment:
        layers.append(keras.layers.RandAugment(factor=augment.rand_augment, name="rand_augment"))
    return keras.Sequential(layers, name="augment") if layers else None


def augment_objects(layers: keras.Sequential, images: Any, corners: Any, classes: Any) -> tuple[Any, tuple[Any, Any]]:
    """Pictures changed by :func:`augmenter`, and their boxes moved with the pixels.

    Args:
        layers: of them, those that move pixels must move boxes too.
        images: (batch, height, width, channels) float32.
        corners: (batch, most, 4) float32, y1, x1, y2, x2 in pixels of these pictures.
        classes: (batch, most) int32, -1 where there is no box.

    Returns:
        The pictures, and corners and classes; boxes of which less than a fifth is left have class -1.
    """
    area = _area(corners)
    data: Any = {"images": images, "bounding_boxes": {"boxes": corners, "labels": tf.cast(classes, tf.float32)}}
    for layer in layers.layers:
        layer.bounding_box_format = "yxyx"
        data = layer(data, training=True)
    height, width = images.shape[1:3]
    moved = tf.clip_by_value(data["bounding_boxes"]["boxes"], 0.0, [height, width, height, width])
    kept = (classes >= 0) & (_area(moved) >= _VISIBLE * area)
    return data["images"], (moved, tf.where(kept, classes, -1))


def _area(corners: Any) -> Any:
    return tf.reduce_prod(tf.maximum(corners[..., 2:] - corners[..., :2], 0.0), axis=-1)
