"""What a network learns from: the batches of a run, augmented and with soft targets as its recipe says."""

from typing import Any

import tensorflow as tf

from dlapp.data.augmentation import augmenter
from dlapp.data.sequences import SequencePipeline
from dlapp.training.preparing import Run, class_weights
from dlapp.training.soft_targets import SoftTargets, are_soft


class Batches:
    """What ``model.fit`` takes of a run.

    Args:
        run: a recipe made ready.
        epoch: makes the order of train a function of the seed and this number alone; its owner counts it up.

    Attributes:
        train: one pass over the training examples, in another order each time.
        class_weights: for ``fit``; None where there are none, or where ``train`` has them.
        seeded: variables among which there are the states of seed generators.
    """

    def __init__(self, run: Run, epoch: tf.Variable | None = None) -> None:
        self._run = run
        pipeline, seed, augment = run.pipeline("train"), run.recipe.training.seed, None
        if isinstance(pipeline, SequencePipeline):
            self.train = pipeline.batches(run.batch_size, shuffle_seed=seed, epoch=epoch)
        else:
            if run.preprocessing.size is not None:
                augment = augmenter(run.recipe.preprocessing.augment, run.preprocessing.size)
            self.train = pipeline.batches(run.batch_size, shuffle_seed=seed, epoch=epoch, augment=augment)
        self.class_weights = class_weights(run.recipe, run.data)
        self.seeded: list[Any] = list(augment.variables) if augment is not None else []
        self._soft = None
        if are_soft(run.recipe):
            units = run.model.outputs[0].shape[-1]
            self._soft = SoftTargets(run.recipe, len(run.data.labels), units, self.class_weights)
            # in sequence: the seed generators are state, and its order must repeat
            self.train = self.train.map(self._soft.soften).prefetch(tf.data.AUTOTUNE)
            self.class_weights = None
            self.seeded += self._soft.variables

    def dev(self) -> tf.data.Dataset:
        """One pass over dev, never augmented, with targets in the form of those of train."""
        dev = self._run.pipeline("dev").batches(self._run.batch_size)
        return dev if self._soft is None else dev.map(self._soft.harden)
