"""What is wrong with a model, and what to do about it: measured on its own data, split by split."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from dlapp.architectures.heads import with_final_output
from dlapp.data import Data, Examples
from dlapp.data.auditing import SIDE, gather
from dlapp.data.auditing import Facts as Audited
from dlapp.data.pipelines import naming_unreadable
from dlapp.data.preprocessing import preprocess
from dlapp.evaluation.bias_variance import Finding, bias_and_variance, overtraining
from dlapp.evaluation.classification import predict_classes
from dlapp.evaluation.learning_curve import Extrapolation, extrapolate
from dlapp.evaluation.mismatch import Separation, adversarial_validation
from dlapp.recipe import Recipe
from dlapp.signature import Preprocessing, Target
from dlapp.training.callbacks import read_history
from dlapp.training.finishing import predict
from dlapp.training.model_folder import ModelFolder, load_keras
from dlapp.training.preparing import load_own_data, prepare
from dlapp.training.run import fit_in_memory

_FRACTIONS = (0.1, 0.2, 0.4, 0.7, 1.0)  # of train, in a learning curve
_MOST_EPOCHS = 10  # times those of the recipe, for the smallest part
_LEAST_MARGIN = 0.05  # of the mean absolute deviation of a regression's target

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A model's answers on its own data, and what the raw examples are like.

    Attributes:
        data: in the splits of the run.
        answers: by split: probabilities (n, classes) or values (n, 1).
        errors: by split: (n,) 1 for a mistake and 0 for none, or absolute errors in the target's unit.
        audited: by split: hashes, thumbnails, brightness and sizes.
        features: by split: (n, d) inputs in few numbers, for classifiers that compare splits.
        feature_names: (d,) of the columns; empty text for the points of a thumbnail.
    """

    data: Data
    answers: Mapping[str, np.ndarray]
    errors: Mapping[str, np.ndarray]
    audited: Mapping[str, Audited]
    features: Mapping[str, np.ndarray]
    feature_names: tuple[str, ...]


def measure_model(folder: ModelFolder) -> Measured:
    """Runs the kept weights over every split in inference mode, and looks at the raw examples: two passes.

    Raises:
        SourceError: the data have changed since the training.
    """
    signature = folder.read_signature()
    data = load_own_data(folder)
    network = with_final_output(folder.load_model(), signature.target)
    answers, audited, features = {}, {}, {}
    for name, part in data.splits().items():
        with naming_unreadable(part):
            answers[name] = predict(network, part, signature.preprocessing)
        audited[name] = gather(part)
        features[name] = in_few_numbers(part, audited[name], signature.preprocessing)
    errors = {name: errors_of(part, answers[name], signature.target) for name, part in data.splits().items()}
    return Measured(data, answers, errors, audited, features, _feature_names(signature.preprocessing))


def errors_of(examples: Examples, answers: np.ndarray, target: Target | None) -> np.ndarray:
    """(n,) float64: 1 where the class is wrong and 0 where it is right; or absolute errors."""
    if target is None:
        return (predict_classes(answers) != examples.targets).astype(np.float64)
    return np.abs(answers[:, 0].astype(np.float64) - examples.targets)


def in_few_numbers(examples: Examples, audited: Audited, preprocessing: Preprocessing) -> np.ndarray:
    """(n, d): what the network sees of a row; of a picture a thumbnail, brightness, contrast, colour and size."""
    if examples.channels == 0:
        return preprocess(tf.constant(examples.inputs), preprocessing).numpy()
    sizes = np.log(np.maximum(audited.sizes, 1))
    return np.column_stack([audited.thumbnails, audited.brightness, audited.contrast, audited.colour, sizes])


def _feature_names(preprocessing: Preprocessing) -> tuple[str, ...]:
    """One for each of :func:`in_few_numbers`, in its order."""
    if preprocessing.size is not None:
        return ("",) * SIDE**2 + ("brightness", "contrast", "red", "green", "blue", "height", "width")
    columns = preprocessing.columns
    if not columns:
        return tuple(f"column {place + 1}" for place in range(len(preprocessing.mean)))
    numbers = [column.name for column in columns if column.categories is None]
    flags = [column.name for column in columns if column.missing]
    slots = [name for c in columns if c.categories is not None for name in [c.name] * (len(c.categories) + 1)]
    return (*numbers, *flags, *slots)


def compare_splits(measured: Measured) -> dict[str, Separation]:
    """Can a classifier tell the splits apart? Only those are compared that the source brought itself.

    Returns:
        By ``"train and dev"`` and ``"dev and test"``.
    """
    own = measured.data.own_splits
    pairs = [("train", "dev"), ("dev", "test")]
    return {
        f"{a} and {b}": adversarial_validation(measured.features[a], measured.features[b])
        for a, b in pairs
        if b in own or (b == "test" and "dev" in own)
    }


def tell_separation(pair: str, separation: Separation, names: Sequence[str]) -> str:
    """One sentence on a pair of splits."""
    auc = separation.auc
    figures = f"area under the ROC curve {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}), 0.5 is guessing"
    if separation.verdict == "cannot tell":
        return f"{pair}: too few examples to tell whether they come from one distribution."
    if separation.verdict == "no":
        return f"{pair} cannot be told apart: {figures}."
    told = ", ".join(name_features(separation, names))
    return f"{pair} come from different distributions: {figures}" + (f"; most by {told}." if told else ".")


def name_features(separation: Separation, names: Sequence[str]) -> tuple[str, ...]:
    """The names of what tells two splits apart best, at most 3."""
    return tuple(dict.fromkeys(names[place] for place in separation.features if names[place]))[:3]


def find_bias_and_variance(errors: Mapping[str, np.ndarray], data: Data, *, bayes_error: float) -> tuple[Finding, ...]:
    """Avoidable bias, variance, mismatch where there is a train-dev, and overfitting of dev."""
    if data.task == "classification":
        return bias_and_variance(errors, bayes_error=bayes_error)
    targets = data.train.targets.astype(np.float64)
    margin = _LEAST_MARGIN * float(np.abs(targets - targets.mean()).mean())
    return bias_and_variance(errors, bayes_error=bayes_error, margin=margin)


def find_overtraining(folder: ModelFolder, measured: Measured) -> tuple[Finding, ...]:
    """Whether the run overfits after the epoch that was kept; nothing where that was the last: a third pass."""
    history = read_history(folder.history)
    best = int(np.argmin([row["dev_loss"] for row in history]))
    if best == len(history) - 1 or not folder.last_model.is_file():
        return ()
    signature = folder.read_signature()
    network = with_final_output(load_keras(folder.last_model), signature.target)
    last = {
        name: errors_of(part, predict(network, part, signature.preprocessing), signature.target)
        for name, part in (("train", measured.data.train), ("dev", measured.data.dev))
    }
    shares = measured.data.task == "classification"
    return (overtraining(measured.errors, last, epoch=best + 1, last_epoch=len(history), shares=shares),)


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
            training = recipe.training.model_copy(
                update={
                    "seed": seed,
                    "epochs": round(recipe.training.epochs * factor),
                    "early_stopping": round(recipe.training.early_stopping * factor),
                }
            )
            errors = _errors_after_training(
                recipe.model_copy(update={"training": training}),
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
        extrapolate(np.array(sizes), dev, shares=data.task == "classification"),
    )


def _errors_after_training(recipe: Recipe, data: Data, parts: Mapping[str, Examples]) -> dict[str, np.ndarray]:
    keras.backend.clear_session()
    run = prepare(recipe, data)
    fit_in_memory(run)
    network = with_final_output(run.model, run.target)
    return {
        name: errors_of(part, predict(network, part, run.preprocessing), run.target) for name, part in parts.items()
    }


def _draw(examples: Examples, size: int, seed: int) -> tuple[Examples, Examples]:
    """The rest, and ``size`` of the examples, by class where every class has enough."""
    classes = examples.targets.dtype.kind == "i"
    counts = np.unique(examples.targets, return_counts=True)[1]
    stratify = (
        examples.targets if classes and counts.min() >= 2 and min(size, len(examples) - size) >= len(counts) else None
    )
    rest, drawn = train_test_split(np.arange(len(examples)), test_size=size, random_state=seed, stratify=stratify)
    return examples.take(np.sort(rest)), examples.take(np.sort(drawn))
