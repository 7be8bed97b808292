"""What preprocessing has to know of the data, measured on the training split alone."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from dlapp import texts
from dlapp.data.examples import Examples
from dlapp.data.pipelines import Pipeline
from dlapp.errors import SourceError
from dlapp.recipe import Text
from dlapp.signature import Preprocessing, Scale, Target

_SHRINKS_WELL = 3  # beyond 2, bilinear resizing skips pixels; averaging them all is three times slower to read
_FEW_WORDS = 3  # in the median text: a name, which is read by its characters
_LONGEST = 250  # tokens of a text that gets a class: what follows seldom matters, and costs as much
_LONGER = 2  # than every answer of train


def measure(
    train: Examples,
    *,
    size: tuple[int, int] | None = None,
    scale: Scale = "standardize",
    antialias: bool | None = None,
    letterbox: bool = False,
) -> Preprocessing:
    """The preprocessing for a source.

    Inputs of mean 0 and variance 1 are what LeCun et al. (1998, section III) give their network; on
    MNIST they take LeNet-5 further in 5 epochs than division by 255 does.

    Args:
        train: the training split; nothing else is looked at.
        size: height and width that pictures are resized to; not used for rows.
        scale: ``standardize`` by the mean and variance of each channel or column, ``unit`` to divide
            pictures by 255, or ``none``.
        antialias: where it is None, whether the median picture is more than 3 times as high or
            wide as ``size``.
        letterbox: whether pictures keep their shape, centred on grey; the grey counts in the mean.

    Raises:
        SourceError: pictures have no ``size``, or ``scale`` is ``unit`` for rows.
    """
    if train.channels == 0:
        if scale == "unit":
            raise SourceError("scale = 'unit' divides pictures by 255; rows take 'standardize' or 'none'.")
        mean, variance = _moments_of_rows(train)
        return Preprocessing(
            channels=0, scale=scale, mean=mean, variance=variance, columns=train.columns, layout=train.layout
        )
    if size is None:
        raise SourceError("pictures need a size to be resized to: set preprocessing.size to [height, width].")
    if antialias is None:
        sizes = train.sizes if train.are_files else [train.inputs.shape[1:3]]
        antialias = bool((np.median(sizes, axis=0) > _SHRINKS_WELL * np.array(size)).any())
    unscaled = Preprocessing(train.channels, size, antialias, "none", letterbox=letterbox)
    if scale != "standardize":
        return dataclasses.replace(unscaled, scale=scale)
    scaler = StandardScaler()
    for images, _ in Pipeline(train, unscaled, cache_bytes=0).batches(batch_size=256).as_numpy_iterator():
        scaler.partial_fit(images.reshape(-1, train.channels).astype(np.float64))
    mean, variance = _moments(scaler)
    return dataclasses.replace(unscaled, scale="standardize", mean=mean, variance=variance)


def measure_texts(train: Examples, task: str, text: Text) -> tuple[Preprocessing, Text]:
    """The vocabularies for a source of texts, and what was chosen where ``text`` leaves it open.

    Language models and answers are of characters, tags of the words as they are; of texts with a class those
    of a few words are read by characters, all others by words without case and punctuation.

    Args:
        train: the training split; nothing else is looked at.
        task: of the data.
        text: what the recipe says.

    Raises:
        SourceError: train has no token that is frequent enough.
    """
    chosen = _chosen(train, task, text)
    assert chosen.unit is not None
    assert chosen.standardize is not None
    options: dict[str, Any] = {
        "unit": chosen.unit,
        "standardize": chosen.standardize,
        "size": chosen.vocabulary,
        "min_count": chosen.min_count,
    }
    lines = task == "language_model" and len(train) > 1
    vocabulary = texts.build_vocabulary(train.inputs, marked=lines, length=chosen.length or None, **options)
    if len(vocabulary) == vocabulary.reserved:
        raise SourceError(
            f"train has no token at least {chosen.min_count} times: lower text.min_count, or bring more text."
        )
    if task != "sequence_to_sequence":
        return Preprocessing(channels=0, vocabulary=vocabulary), chosen
    assert train.wanted is not None
    target = texts.build_vocabulary(train.wanted, marked=True, **options)
    # where an answer ends at the latest that never ends by itself
    longest = max(len(texts.encode(wanted, target)) for wanted in train.wanted)
    target = dataclasses.replace(target, length=_LONGER * longest)
    return Preprocessing(channels=0, vocabulary=vocabulary, target_vocabulary=target), chosen


def _chosen(train: Examples, task: str, text: Text) -> Text:
    """The table with a value for every key."""
    found: dict[str, Any] = {"unit": "character", "standardize": "none", "length": 0}
    if task == "tagging":
        found["unit"] = "word"
    elif task == "classification":
        words = np.median([len(some.split()) for some in train.inputs])
        if words > _FEW_WORDS:
            found |= {"unit": "word", "standardize": "lower_and_strip_punctuation"}
        found["length"] = _LONGEST
    said = text.model_dump(exclude_none=True)
    found |= said
    found.setdefault("min_count", 2 if found["unit"] == "word" else 1)  # what unknown means is learned from the rare
    return text.model_copy(update=found)


def measure_target(train: Examples, name: str, *, ends_linear: bool = True) -> Target:
    """How the targets of a regression are scaled for training: to mean 0 and variance 1.

    Args:
        train: the training split; nothing else is looked at.
        name: of the target.
        ends_linear: False for a network whose last activation means something at 0, such as ReLU; the
            targets then keep their 0 and are only divided.
    """
    targets = train.targets.astype(np.float64)
    deviation = float(targets.std()) or 1.0
    return Target(name, float(targets.mean()) if ends_linear else 0.0, deviation)


def _moments_of_rows(train: Examples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of the cells that are there; 0 and 1 for categories, and for a column that is empty in train."""
    rows = train.inputs.astype(np.float64)
    plain = [column.categories is not None for column in train.columns] or np.zeros(rows.shape[1], bool)
    plain = np.array(plain) | np.isnan(rows).all(axis=0)
    scaler = StandardScaler().fit(np.where(plain, 0.0, rows))
    return tuple(scaler.mean_.tolist()), tuple(np.where(plain, 1.0, scaler.var_).tolist())


def _moments(scaler: StandardScaler) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(scaler.mean_.tolist()), tuple(scaler.var_.tolist())
