"""Targets between the classes: label smoothing, MixUp and CutMix.

Szegedy, C. et al. (2015), Rethinking the Inception architecture, section 7. https://arxiv.org/abs/1512.00567
Zhang, H. et al. (2017), mixup: beyond empirical risk minimization. https://arxiv.org/abs/1710.09412
Yun, S. et al. (2019), CutMix. https://arxiv.org/abs/1905.04899
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlapp.recipe import Recipe


def are_soft(recipe: Recipe) -> bool:
    """Whether a recipe trains on targets between the classes."""
    augment = recipe.preprocessing.augment
    return bool(recipe.training.label_smoothing or augment.mixup or augment.cutmix)


class SoftTargets:
    """What turns batches of inputs and classes into batches of inputs and shares of each class.

    Pictures are mixed once they are scaled: scaling is linear, so the order of both does not matter.

    Args:
        recipe: says how.
        classes: how many there are.
        units: outputs of the network: as many, or 1 for the probability of the second of two.
        class_weights: what the loss of each class is multiplied with, by its index.
    """

    def __init__(
        self, recipe: Recipe, classes: int, units: int, class_weights: Mapping[int, float] | None = None
    ) -> None:
        augment = recipe.preprocessing.augment
        self._mixing: list[Any] = []
        if augment.mixup:
            self._mixing.append(keras.layers.MixUp(augment.mixup, name="mixup"))
        if augment.cutmix:
            self._mixing.append(keras.layers.CutMix((augment.cutmix, augment.cutmix), name="cutmix"))
        self._smoothing = recipe.training.label_smoothing
        self._classes = classes
        self._units = units
        self._weights = None
        if class_weights is not None:
            self._weights = np.array([class_weights.get(index, 1.0) for index in range(classes)], np.float32)

    @property
    def variables(self) -> list[Any]:
        """The states of the seed generators."""
        return [variable for layer in self._mixing for variable in layer.variables]

    def soften(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """A batch of train: inputs, shares (batch, units) float32 and, with class weights, weights (batch,).

        The weight of an example is the mean of those of its classes, each by its share.
        """
        shares = tf.one_hot(targets, self._classes)
        for layer in self._mixing:
            mixed = layer({"images": inputs, "labels": shares}, training=True)
            inputs, shares = mixed["images"], mixed["labels"]
        weights = () if self._weights is None else (tf.linalg.matvec(shares, self._weights),)
        shares = shares * (1 - self._smoothing) + self._smoothing / self._classes
        return (inputs, self._as_given(shares), *weights)

    def harden(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch of dev: the same form without smoothing or mixing, so that its loss is that of ``metrics.json``."""
        return inputs, self._as_given(tf.one_hot(targets, self._classes))

    def _as_given(self, shares: tf.Tensor) -> tf.Tensor:
        return shares[:, 1:] if self._units == 1 else shares


@keras.saving.register_keras_serializable("dlapp")
class RoundedBinaryAccuracy(keras.metrics.BinaryAccuracy):
    """``BinaryAccuracy`` against the likelier of two classes, where targets are shares."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().update_state(keras.ops.round(y_true), y_pred, sample_weight)
