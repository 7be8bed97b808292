"""Random changes to training pictures, by Keras's layers; they never reach evaluation or export."""

import keras

from dlapp.recipe import Augment


def augmenter(augment: Augment) -> keras.Sequential | None:
    """Layers that change a batch of (batch, height, width, channels) float32, or None for none.

    Uncovered edges repeat the nearest pixel. Call the result with ``training=True``; its randomness
    comes from Keras seed generators, which are among its ``variables``.
    """
    layers = []
    if augment.shift:
        layers.append(keras.layers.RandomTranslation(augment.shift, augment.shift, fill_mode="nearest", name="shift"))
    return keras.Sequential(layers, name="augment") if layers else None
