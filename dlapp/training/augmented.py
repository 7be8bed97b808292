"""A look at what augmentation makes of training pictures, by the pipeline that trains on them."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dlapp.data import Examples
from dlapp.data.augmentation import augment_objects, augmenter
from dlapp.data.grid import pad, resized
from dlapp.data.pipelines import Pipeline
from dlapp.drawing import draw_boxes
from dlapp.recipe import Recipe
from dlapp.signature import Preprocessing
from dlapp.training.soft_targets import SoftTargets, are_soft

_PICTURES = 4
_VERSIONS = 5
_SMALLEST = 0.03  # share of a class that is told: label smoothing gives all of them some


class Augmented(NamedTuple):
    """One picture as training sees it.

    Attributes:
        picture: (height, width, channels) uint8, resized and not scaled.
        label: its class; of a mixture, the classes and their shares. Empty for a regression.
    """

    picture: np.ndarray
    label: str


def augmented_examples(
    recipe: Recipe, train: Examples, preprocessing: Preprocessing, labels: Sequence[str]
) -> list[list[Augmented]]:
    """Pictures of the first classes, each as it is and then five times as an epoch might give it."""
    assert preprocessing.size is not None
    if train.boxes is not None:
        return _with_boxes(recipe, train.take(np.flatnonzero(train.boxes.wanted.counts)[:_PICTURES]), preprocessing)
    few = train.take(np.unique(train.targets, return_index=True)[1][:_PICTURES])
    pipeline = Pipeline(few, dataclasses.replace(preprocessing, scale="none"))
    augment = augmenter(recipe.preprocessing.augment, preprocessing.size)
    epoch = pipeline.batches(len(few), augment=augment)
    if are_soft(recipe):
        mixing = SoftTargets(recipe, len(labels), len(labels))
        plain, epoch = pipeline.batches(len(few)).map(mixing.harden), epoch.map(mixing.soften)
    else:
        plain = pipeline.batches(len(few))
    passes = [next(iter(dataset)) for dataset in (plain, *[epoch] * _VERSIONS)]
    return [
        [Augmented(_to_picture(images[row].numpy()), _tell(targets[row].numpy(), labels)) for images, targets in passes]
        for row in range(len(few))
    ]


def _with_boxes(recipe: Recipe, few: Examples, preprocessing: Preprocessing) -> list[list[Augmented]]:
    """The same of pictures with their boxes drawn into them."""
    assert few.boxes is not None
    assert preprocessing.size is not None
    plain = dataclasses.replace(preprocessing, scale="none")
    images = next(iter(Pipeline(few, plain).batches(len(few))))[0]
    objects = tuple(map(tf.constant, pad(resized(few.boxes.wanted, few.picture_sizes, preprocessing))))
    layers = augmenter(recipe.preprocessing.augment, preprocessing.size)
    assert layers is not None
    passes = [(images, objects), *(augment_objects(layers, images, *objects) for _ in range(_VERSIONS))]
    return [
        [
            Augmented(_draw(values[row].numpy(), corners[row].numpy(), classes[row].numpy()), "")
            for values, (corners, classes) in passes
        ]
        for row in range(len(few))
    ]


def _draw(values: np.ndarray, corners: np.ndarray, classes: np.ndarray) -> np.ndarray:
    kept = classes >= 0
    return np.asarray(draw_boxes(_to_picture(values), corners[kept], [""] * kept.sum(), classes[kept].tolist()))


def _to_picture(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _tell(target: np.ndarray, labels: Sequence[str]) -> str:
    if not labels:
        return ""
    if target.ndim == 0:
        return labels[int(target)]
    order = np.argsort(-target, kind="stable")[:2].tolist()
    return ", ".join(f"{labels[k]} {target[k]:.2f}" for k in order if target[k] >= _SMALLEST)
