"""What only more training can tell: variance from mismatch, and what more data would bring."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from sklearn.model_selection import train_test_split

from dlapp.data import Data, Examples
from dlapp.errors import RecipeError
from dlapp.evaluation.intervals import Interval, of_mean
from dlapp.evaluation.learning_curve import Extrapolation, extrapolate
from dlapp.recipe import Recipe
from dlapp.training.answering import SHARES, answer, errors_of
from dlapp.training.precision import in_float32
from dlapp.training.preparing import prepare
from dlapp.training.run import fit_in_memory

_FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)  # of train, in a learning curve
_MOST_EPOCHS = 10  # times those of the recipe, for the smallest part

Tell = Callable[[str], None]


def split_by_retraining(recipe: Recipe, data: Data) -> dict[str, np.ndarray]:
    """Errors on train, train-dev, dev and test of a copy that was trained without train-dev.

    Train-dev is a part of train, as large as dev but at most a fifth of train: dev and train-dev differ in
    their distribution alone, train and train-dev in what was trained on.
    """
    size = min(len(data.dev), len(data.train) // 5)
    kept, held_out = _draw(data.train, size, recipe.split.seed)
    part = dataclasses.replace(data, train=kept)
    parts = {"train": kept, "train_dev": held_out, "dev": data.dev, "test": data.test}
    return _errors_after_training(recipe, part, parts)


@dataclasses.dataclass(frozen=True)
class LearningCurve:
    """Errors against the number of training examples.

    Attributes:
        sizes: (sizes,) examples.
        train, dev: (seeds, sizes) errors on what was trained on, and on dev.
        extrapolation: what twice the data would bring.
    """

    sizes: tuple[int, ...]
    train: tuple[tuple[float, ...], ...]
    dev: tuple[tuple[float, ...], ...]
    extrapolation: Extrapolation


def learning_curve(recipe: Recipe, data: Data, *, seeds: int, tell: Tell) -> LearningCurve:
    """Trains on parts of train, from several seeds each.

    Fewer examples make fewer steps an epoch; epochs and patience grow by as much, up to 10 times, so that a
    part that is small is not also trained less.
    """
    whole = len(data.train)
    least = 2 * max(len(data.labels), 1)
    sizes = sorted({max(round(fraction * whole), min(least, whole)) for fraction in _FRACTIONS})
    train = np.zeros((seeds, len(sizes)))
    dev = np.zeros((seeds, len(sizes)))
    for seed in range(seeds):
        for place, size in enumerate(sizes):
            chosen = data.train if size == whole else _draw(data.train, size, seed)[1]
            factor = min(whole / size, _MOST_EPOCHS)
            errors = _errors_after_training(
                _longer(recipe, factor, seed),
                dataclasses.replace(data, train=chosen),
                {"train": chosen, "dev": data.dev},
            )
            train[seed, place], dev[seed, place] = errors["train"].mean(), errors["dev"].mean()
            found = f"error {train[seed, place]:.4g} on train, {dev[seed, place]:.4g} on dev"
            tell(f"  {size:>7,} examples, seed {seed}: {found}")
    return LearningCurve(
        tuple(sizes),
        tuple(map(tuple, train.tolist())),
        tuple(map(tuple, dev.tolist())),
        extrapolate(np.array(sizes), dev, shares=data.task in SHARES),
    )


@dataclasses.dataclass(frozen=True)
class Directions:
    """A network that reads in one direction, against the same that reads in both.

    Attributes:
        one, both: mean errors on test.
        gain: by how much both are better on the same examples.
        sentence: the same in words.
    """

    one: Interval
    both: Interval
    gain: Interval
    sentence: str


def compare_directions(recipe: Recipe, data: Data, errors: Mapping[str, np.ndarray], *, tell: Tell) -> Directions:
    """Trains the other of the two kinds and compares them on test, example by example.

    Args:
        recipe: of the run.
        data: of the run.
        errors: of the run, by split.
        tell: takes a line.

    Raises:
        RecipeError: the network has no such option, or is one that may not see what follows.
    """
    if recipe.architecture != "recurrent" or data.task == "language_model":
        raise RecipeError(
            "--directions compares recurrent networks that may read from the end too: taggers, classifiers and "
            f"encoder-decoders; this is a {recipe.architecture} for {data.task}. Leave it out."
        )
    both = bool(recipe.architecture_options.get("bidirectional"))
    tell(f"training the same network in {'one direction' if both else 'both directions'}")
    options = {**recipe.architecture_options, "bidirectional": not both}
    other = _errors_after_training(
        recipe.model_copy(update={"architecture_options": options}), data, {"test": data.test}
    )["test"]
    one, two = (other, errors["test"]) if both else (errors["test"], other)
    gain = of_mean(one - two)
    verdict = (
        "both directions are better"
        if gain.low > 0
        else "one direction is better"
        if gain.high < 0
        else "no difference to speak of"
    )
    sentence = (
        f"error on test {100 * one.mean():.2f} % in one direction and {100 * two.mean():.2f} % in both, "
        f"{100 * gain.value:.2f} points less ({100 * gain.low:.2f} to {100 * gain.high:.2f}): {verdict}."
    )
    return Directions(of_mean(one), of_mean(two), gain, sentence)


def _longer(recipe: Recipe, factor: float, seed: int) -> Recipe:
    """The recipe with so many times the epochs, of every stage, and another seed."""
    training, transfer = recipe.training, recipe.transfer
    update: dict[str, Any] = {
        "training": training.model_copy(
            update={
                "seed": seed,
                "epochs": round(training.epochs * factor),
                "early_stopping": round(training.early_stopping * factor),
            }
        )
    }
    if transfer is not None:
        update["transfer"] = transfer.model_copy(update={"epochs": round(transfer.epochs * factor)})
    return recipe.model_copy(update=update)


def _errors_after_training(recipe: Recipe, data: Data, parts: Mapping[str, Examples]) -> dict[str, np.ndarray]:
    keras.backend.clear_session()
    run = prepare(recipe, data)
    fit_in_memory(run)
    network = in_float32(run.model)
    return {name: errors_of(part, answer(network, part, run.signature), run.signature) for name, part in parts.items()}


def _draw(examples: Examples, size: int, seed: int) -> tuple[Examples, Examples]:
    """The rest, and ``size`` of the examples, by class where every class has enough."""
    classes = examples.targets.dtype.kind == "i"
    counts = np.unique(examples.targets, return_counts=True)[1]
    stratify = (
        examples.targets if classes and counts.min() >= 2 and min(size, len(examples) - size) >= len(counts) else None
    )
    rest, drawn = train_test_split(np.arange(len(examples)), test_size=size, random_state=seed, stratify=stratify)
    return examples.take(np.sort(rest)), examples.take(np.sort(drawn))
