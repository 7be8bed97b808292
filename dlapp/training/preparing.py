"""A recipe made ready to train: data split, preprocessing measured, network built; nothing is written yet."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tomlkit
from sklearn.utils.class_weight import compute_class_weight

from dlapp import signature as signatures
from dlapp.architectures import ARCHITECTURES, builder
from dlapp.data import Data, Examples, load
from dlapp.data.examples import with_channels
from dlapp.data.measuring import measure, measure_target, measure_texts
from dlapp.data.pipelines import Pipeline, naming_unreadable
from dlapp.data.sequences import SequencePipeline
from dlapp.errors import RecipeError, SourceError, UnknownName
from dlapp.recipe import Augment, Recipe
from dlapp.training.base_network import BaseNetwork, base_folder, load_base, with_backbone
from dlapp.training.compiling import build, build_for_texts, rebuild
from dlapp.training.detecting import check_task, detection_of
from dlapp.training.grid_loss import GridLoss
from dlapp.training.model_folder import ModelFolder
from dlapp.training.precision import in_mixed_precision
from dlapp.training.sequences import check_texts, network_options, signature_of, with_own_keys
from dlapp.training.soft_targets import are_soft

_DETECTOR_SIZES = {"localizer": (128, 128), "yolo_grid": (256, 256)}  # on files of any size
_LARGEST_DEFAULT_SIZE = 64  # of networks made for no size, on files of any size: the course's own


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A recipe made ready: the data are split, the preprocessing is measured, the network is built.

    Attributes:
        target: how the targets of a regression are scaled; None for all others.
        notes: what a person should know of how the run was prepared.
        detection: the grid of a detector; None for all others.
    """

    recipe: Recipe
    data: Data
    preprocessing: signatures.Preprocessing
    model: keras.Model
    target: signatures.Target | None = None
    notes: tuple[str, ...] = ()
    detection: signatures.Detection | None = None

    @property
    def signature(self) -> signatures.Signature:
        """What goes into the network and what comes out."""
        labels = self.data.labels
        if self.preprocessing.vocabulary is not None:
            return signature_of(self.data, self.preprocessing, self.model)
        if self.detection is not None:
            return signatures.boxes(labels, self.preprocessing, self.detection)
        if self.target is not None:
            return signatures.regression(self.target, self.preprocessing)
        return signatures.classification(labels, self.preprocessing)

    @property
    def grid_loss(self) -> GridLoss | None:
        """The loss of a detector; None for all others."""
        if self.detection is None:
            return None
        return GridLoss.of(self.detection, len(self.data.labels), self.recipe.detection)

    @property
    def batch_size(self) -> int:
        """Examples a step; of a running text windows."""
        size = self.recipe.training.batch_size
        if size != "all":
            return size
        return len(self.data.train) if self._texts is None else len(self._texts.stretches)

    @property
    def steps_per_epoch(self) -> int:
        """Steps an epoch, the last of which may be smaller."""
        if self._texts is not None:
            return self._texts.steps(self.batch_size)
        return math.ceil(len(self.data.train) / self.batch_size)

    @property
    def one_length(self) -> bool:
        """Whether all sequences of the training have the same number of steps, where the network takes any."""
        return self._texts is not None and self._texts.reads_windows

    @functools.cached_property
    def _texts(self) -> SequencePipeline | None:
        pipeline = self.pipeline("train")
        return pipeline if isinstance(pipeline, SequencePipeline) else None

    def pipeline(self, split: str) -> Pipeline | SequencePipeline:
        """Train, dev or test on its way to the network, its targets in the network's scale."""
        if self.preprocessing.vocabulary is not None:
            examples = self.data.splits()[split]
            return SequencePipeline(examples, self.preprocessing, self.data.task, self.recipe.text.window)
        examples = scaled(self.data.splits()[split], self.target)
        return Pipeline(examples, self.preprocessing, detection=self.detection, classes=len(self.data.labels))


def prepare(recipe: Recipe, data: Data | None = None, preprocessing: signatures.Preprocessing | None = None) -> Run:
    """Loads the data, measures the preprocessing and builds the network; nothing is written.

    The recipe of the result is resolved: size, channels, antialias, the parameters of the optimizer and the
    schedule, and what the architecture has defaults of its own for, have values.

    Args:
        recipe: what to do.
        data: of the recipe, where they are loaded already, or a part of them.
        preprocessing: of the recipe on these data, where it is measured already.

    Raises:
        DlappError: the architecture, the source or a key is wrong.
    """
    builder(recipe.architecture)  # a misspelt name shall not wait for the data
    base = load_base(recipe)
    notes: tuple[str, ...] = ()
    if base is None:
        recipe = with_own_defaults(recipe)
    elif ARCHITECTURES[recipe.architecture].task is not None:
        recipe = with_backbone(with_own_defaults(recipe), base)
    else:
        recipe, notes = _take_over(recipe, base)
    wanted = recipe.preprocessing
    data = load_data(recipe) if data is None else data
    check_task(recipe, data)
    check_texts(recipe, data)
    detects = ARCHITECTURES[recipe.architecture].task is not None
    if base is not None and not detects:
        preprocessing = _check_fits(base, recipe, data)
    if wanted.channels is not None:
        data = _convert(data, wanted.channels)
    if data.train.are_texts:
        measured, text = measure_texts(data.train, data.task, recipe.text)
        preprocessing = preprocessing or measured
        recipe = with_own_keys(recipe.model_copy(update={"text": text}), data)
    elif preprocessing is None:
        with naming_unreadable(data.train):
            preprocessing = measure(
                data.train,
                size=wanted.size or _default_size(recipe.architecture, data.train),
                scale=wanted.scale,
                antialias=wanted.antialias,
                letterbox=wanted.resize == "letterbox",
            )
        if base is not None and base.preprocessing.size is not None:
            # a backbone is given values as it was trained with them, in pictures of another size
            kept = base.preprocessing
            preprocessing = dataclasses.replace(preprocessing, scale=kept.scale, mean=kept.mean, variance=kept.variance)
    _check_changes(recipe, data, preprocessing.size)
    class_weights(recipe, data)  # a label that is misspelt shall not wait for the first epoch
    resolved = wanted
    if data.channels:
        update = {"size": preprocessing.size, "channels": data.channels, "antialias": preprocessing.antialias}
        resolved = wanted.model_copy(update=update)
    keras.utils.set_random_seed(recipe.training.seed)
    if data.train.are_texts:
        model = build_for_texts(recipe, network_options(data, preprocessing))
    elif base is None or detects:
        model = build(recipe, input_shape(preprocessing), len(data.labels), base=base and base.model)
    else:
        model = rebuild(recipe, base.model, len(data.labels))
    detection = None
    if detects:
        detection, found = detection_of(recipe, model, data, preprocessing)
        recipe = recipe.model_copy(
            update={"detection": recipe.detection.model_copy(update={"anchors": detection.anchors})}
        )
        notes += found
    if recipe.training.mixed_precision:
        model = in_mixed_precision(model)
        if not tf.config.list_physical_devices("GPU"):
            notes += ("there is no GPU here: mixed precision is slower than none on a CPU.",)
    target = None
    if data.task == "regression":
        linear = getattr(model.layers[-1], "activation", None) == keras.activations.linear
        target = measure_target(data.train, data.target, ends_linear=linear)
    transfer = recipe.transfer and recipe.transfer.resolved(recipe.training)
    used = recipe.model_copy(
        update={"preprocessing": resolved, "training": recipe.training.resolved(), "transfer": transfer}
    )
    return Run(used, data, preprocessing, model, target, notes, detection)


def _convert(data: Data, channels: int) -> Data:
    """The data with that many channels; those that a search loaded do not know of a network to start from."""
    if not data.channels:
        what = "texts" if data.train.are_texts else "rows"
        raise RecipeError(f"preprocessing.channels is {channels}; {data.source} holds {what}, not pictures: remove it.")
    parts = {name: with_channels(part, channels) for name, part in data.splits().items()}
    return dataclasses.replace(data, **parts)


def with_own_defaults(recipe: Recipe) -> Recipe:
    """The recipe with the dropout, the learning rate and the like of its architecture, where it says nothing of them.

    What the paper drops stands in the recipe of the run, and not in the builder alone. A transfer has no use for
    them: but for a detector, it is returned as it is.
    """
    recipe = _with_own_keys(recipe)
    if recipe.transfer is not None:
        return recipe
    training, own = recipe.training, {}
    default = inspect.signature(builder(recipe.architecture)).parameters.get("dropout")
    said = "dropout" in training.model_fields_set or "dropout" in recipe.architecture_options
    if default is not None and default.default and not said:
        own["dropout"] = default.default
    rate = ARCHITECTURES[recipe.architecture].learning_rate
    if rate is not None and training.optimizer == "adam" and "learning_rate" not in training.model_fields_set:
        own["learning_rate"] = rate
    return recipe.model_copy(update={"training": training.model_copy(update=own)})


def _with_own_keys(recipe: Recipe) -> Recipe:
    tables: dict[str, Any] = {"training": recipe.training, "preprocessing": recipe.preprocessing}
    for dotted, value in ARCHITECTURES[recipe.architecture].own.items():
        table, key = dotted.split(".")
        said = tables[table].model_fields_set
        if key not in said and not (key == "clip_norm" and "clip_value" in said):  # which exclude each other
            value = Augment(**value) if key == "augment" else value
            tables[table] = tables[table].model_copy(update={key: value})
    return recipe.model_copy(update=tables)


def _check_changes(recipe: Recipe, data: Data, size: tuple[int, int] | None) -> None:
    """Refuses changes to training examples that these data cannot have."""
    augment = recipe.preprocessing.augment
    if data.task == "regression" and are_soft(recipe):
        raise RecipeError(
            f"{recipe.data} has no classes to mix: remove training.label_smoothing and preprocessing.augment.mixup and "
            "cutmix."
        )
    if size is None:
        if augment != Augment():
            what = "texts" if data.train.are_texts else "rows"
            raise RecipeError(f"{recipe.data} holds {what}, not pictures: remove preprocessing.augment.")
    elif augment.crop > min(size):
        raise RecipeError(
            f"preprocessing.augment.crop must be at most {min(size)}, the shorter side of the pictures; got "
            f"{augment.crop}: make it smaller."
        )
    if data.channels == 4 and (augment.brightness or augment.contrast or augment.rand_augment):
        raise RecipeError(
            "brightness, contrast and rand_augment would change the transparency of pictures with an alpha channel: "
            "remove them from preprocessing.augment, or set preprocessing.channels = 3."
        )


def _take_over(recipe: Recipe, base: BaseNetwork) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with the preprocessing of the network that it starts from, and what of its own goes."""
    taken: dict[str, Any] = {"scale": base.preprocessing.scale}
    if base.preprocessing.size is not None:
        taken |= {
            "size": base.preprocessing.size,
            "channels": base.preprocessing.channels,
            "antialias": base.preprocessing.antialias,
        }
    wanted = recipe.preprocessing
    other = [name for name in sorted(taken.keys() & wanted.model_fields_set) if getattr(wanted, name) != taken[name]]
    notes = tuple(
        f"preprocessing.{name} is {_in_toml(taken[name])}, as {base.name} was trained, not "
        f"{_in_toml(getattr(wanted, name))}."
        for name in other
    )
    return recipe.model_copy(update={"preprocessing": wanted.model_copy(update=taken)}), notes


def _in_toml(value: Any) -> str:
    return tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string()


def _check_fits(base: BaseNetwork, recipe: Recipe, data: Data) -> signatures.Preprocessing:
    """The preprocessing of the network that is started from, on data that fit it.

    Raises:
        SourceError: they are pictures and it takes rows, or the other way round, or have other columns.
    """
    kept = base.preprocessing
    if bool(data.channels) != (kept.size is not None):
        raise SourceError(
            f"{recipe.data} holds {'pictures' if data.channels else 'rows'}, {base.name} was trained on "
            f"{'rows' if data.channels else 'pictures'}: start from another model."
        )
    if not data.channels and (data.train.columns != kept.columns or data.train.inputs.shape[1] != len(kept.mean)):
        raise SourceError(f"{recipe.data} has other columns than {base.name} was trained on: train without transfer.")
    return dataclasses.replace(kept, layout=data.train.layout)


def scaled(examples: Examples, target: signatures.Target | None) -> Examples:
    """Examples whose targets are as the network gives them: for a regression, mean 0 and variance 1."""
    if target is None:
        return examples
    targets = ((examples.targets - target.mean) / target.deviation).astype(np.float32)
    return dataclasses.replace(examples, targets=targets)


def class_weights(recipe: Recipe, data: Data) -> dict[int, float] | None:
    """What the loss of each class is multiplied with, by its index; None for no weights.

    Raises:
        RecipeError: the recipe weighs a class that there is not, or a regression.
    """
    wanted = recipe.training.class_weights
    if wanted is None:
        return None
    if data.task != "classification":
        raise RecipeError(f"{recipe.data} has no classes to weigh: remove training.class_weights.")
    if wanted == "balanced":
        every = np.unique(data.train.targets)
        weights = compute_class_weight("balanced", classes=every, y=data.train.targets)
        return dict(zip(every.tolist(), weights.tolist(), strict=True))
    unknown = [label for label in wanted if label not in data.labels]
    if unknown:
        raise UnknownName("class in training.class_weights", unknown[0], data.labels)
    return {index: wanted.get(label, 1.0) for index, label in enumerate(data.labels)}


def load_data(recipe: Recipe, columns: Sequence[signatures.Column] | None = None) -> Data:
    """The source of a recipe, split as it says.

    Args:
        recipe: names the source.
        columns: of a table, as a model knows them. Where it is None they are those of the network that a
            transfer starts from, or else of train.

    Raises:
        SourceError: the source cannot be read, or has other columns.
        UnknownName: there is no such source, or no such model to start from.
    """
    split = recipe.split
    base = base_folder(recipe) if columns is None else None
    if base is not None:
        columns = base.read_signature().preprocessing.columns
    return load(
        recipe.data,
        dev=split.dev,
        test=split.test,
        seed=split.seed,
        own=split.own,
        channels=recipe.preprocessing.channels,
        columns=columns or None,
        flawed=recipe.detection.flawed,
        single=ARCHITECTURES[recipe.architecture].task == "localization",
    )


def load_own_data(folder: ModelFolder) -> Data:
    """The data that a model was trained on, in the same splits.

    Raises:
        SourceError: they have changed since.
    """
    recipe = folder.read_recipe()
    # the network that it may have started from need not be there any more
    data = load_data(recipe, folder.read_signature().preprocessing.columns if recipe.transfer else ())
    if data.hash != folder.read_metrics()["data_hash"]:
        raise SourceError(
            f"{recipe.data} has changed since {folder.path} was trained, and its splits with it: test would hold "
            "what was trained on. Name new examples with `dlapp evaluate --data`, or train again."
        )
    return data


def input_shape(preprocessing: signatures.Preprocessing) -> tuple[int | None, ...]:
    """What the network takes, without the batch; None for a sequence of any length."""
    if preprocessing.vocabulary is not None:
        return (None,)
    if preprocessing.size is None:
        return (preprocessing.width,)
    return (*preprocessing.size, preprocessing.channels)


def _default_size(architecture: str, train: Examples) -> tuple[int, int] | None:
    if train.channels == 0:
        return None
    if train.are_files and architecture in _DETECTOR_SIZES:
        return _DETECTOR_SIZES[architecture]
    if ARCHITECTURES[architecture].size is not None:
        return ARCHITECTURES[architecture].size
    if not train.are_files:
        return train.inputs.shape[1], train.inputs.shape[2]
    height, width = np.minimum(np.median(train.sizes, axis=0), _LARGEST_DEFAULT_SIZE).astype(int).tolist()
    return height, width
