"""A recipe made ready to train: data split, preprocessing measured, network built; nothing is written yet."""

import dataclasses
import math

import keras
import numpy as np

from dlapp import signature as signatures
from dlapp.architectures import ARCHITECTURES, builder
from dlapp.data import Data, Examples, load
from dlapp.data.measuring import measure
from dlapp.data.pipelines import naming_unreadable
from dlapp.errors import RecipeError
from dlapp.recipe import Recipe
from dlapp.training.compiling import build

_LARGEST_DEFAULT_SIZE = 64  # of networks made for no size, on files of any size: the course's own


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A recipe made ready: the data are split, the preprocessing is measured, the network is built."""

    recipe: Recipe
    data: Data
    preprocessing: signatures.Preprocessing
    model: keras.Model

    @property
    def batch_size(self) -> int:
        """Examples a step."""
        size = self.recipe.training.batch_size
        return len(self.data.train) if size == "all" else size

    @property
    def steps_per_epoch(self) -> int:
        """Steps an epoch, the last of which may be smaller."""
        return math.ceil(len(self.data.train) / self.batch_size)


def prepare(recipe: Recipe) -> Run:
    """Loads the data, measures the preprocessing and builds the network; nothing is written.

    The recipe of the result is resolved: size, channels and antialias have values.

    Raises:
        DlappError: the architecture, the source or a key is wrong.
    """
    builder(recipe.architecture)  # a misspelt name shall not wait for the data
    wanted = recipe.preprocessing
    data = load_data(recipe)
    if wanted.channels is not None and wanted.channels != data.channels:
        raise RecipeError(
            f"preprocessing.channels is {wanted.channels}; {recipe.data} holds arrays of {data.channels} channels. "
            "Only picture files are converted."
        )
    with naming_unreadable(data.train):
        preprocessing = measure(
            data.train,
            size=wanted.size or _default_size(recipe.architecture, data.train),
            scale=wanted.scale,
            antialias=wanted.antialias,
        )
    resolved = wanted
    if data.channels:
        update = {"size": preprocessing.size, "channels": data.channels, "antialias": preprocessing.antialias}
        resolved = wanted.model_copy(update=update)
    keras.utils.set_random_seed(recipe.training.seed)
    model = build(recipe, input_shape(preprocessing), len(data.labels))
    return Run(recipe.model_copy(update={"preprocessing": resolved}), data, preprocessing, model)


def load_data(recipe: Recipe) -> Data:
    """The source of a recipe, split as it says."""
    split = recipe.split
    return load(recipe.data, dev=split.dev, test=split.test, seed=split.seed, channels=recipe.preprocessing.channels)


def input_shape(preprocessing: signatures.Preprocessing) -> tuple[int, ...]:
    """What the network takes, without the batch."""
    if preprocessing.size is None:
        return (len(preprocessing.mean),)
    return (*preprocessing.size, preprocessing.channels)


def _default_size(architecture: str, train: Examples) -> tuple[int, int] | None:
    if train.channels == 0:
        return None
    if ARCHITECTURES[architecture].size is not None:
        return ARCHITECTURES[architecture].size
    if not train.are_files:
        return train.inputs.shape[1], train.inputs.shape[2]
    height, width = np.minimum(np.median(train.sizes, axis=0), _LARGEST_DEFAULT_SIZE).astype(int).tolist()
    return height, width
