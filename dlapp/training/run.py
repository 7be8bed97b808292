"""One training run, from a recipe to a folder."""

import dataclasses
import importlib.metadata
import json
import math
import os
import platform
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

import dlapp
from dlapp import signature as signatures
from dlapp.architectures import ARCHITECTURES, builder
from dlapp.architectures.heads import with_probabilities
from dlapp.data import Data, Examples, load
from dlapp.data.augmentation import augmenter
from dlapp.data.measuring import measure
from dlapp.data.pipelines import Pipeline, naming_unreadable
from dlapp.errors import RecipeError, TrainingDiverged, TrainingError
from dlapp.evaluation import score
from dlapp.files import replacing, write_json
from dlapp.recipe import Recipe
from dlapp.training.callbacks import (
    Checkpoint,
    EarlyStopping,
    EpochSeeds,
    History,
    Progress,
    Row,
    StopOnNaN,
    read_history,
)
from dlapp.training.compiling import build, compile_classifier
from dlapp.training.model_folder import ModelFolder, load_keras

_LARGEST_DEFAULT_SIZE = 64  # of networks made for no size, on files of any size: the course's own
_SAMPLES = 8
_LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn", "pillow")


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


def train(run: Run, folder: ModelFolder, console: Console) -> dict[str, np.ndarray]:
    """Trains and evaluates into ``folder``; a folder that holds a part of the same run is completed.

    Returns:
        The probabilities of every split, (n, classes), by its name.

    Raises:
        TrainingError: the folder holds a part of a run on other data.
    """
    folder.last_state.parent.mkdir(parents=True, exist_ok=True)
    if folder.last_state.exists():
        before = json.loads(folder.last_state.read_text())["data_hash"]
        if before != run.data.hash:
            raise TrainingError(
                f"{run.recipe.data} has changed since the run in {folder.path} began; a resumed run needs the same "
                "data. Train anew under another --name."
            )
    folder.metrics.unlink(missing_ok=True)  # of other weights than those to come; a folder without is unfinished
    run.recipe.write(folder.recipe, header=f"dlapp train {folder.recipe}")
    write_json(folder.last_state, {"data_hash": run.data.hash})
    fit(run, folder, console)
    return finish(run, folder)


def fit(run: Run, folder: ModelFolder, console: Console) -> None:
    """Trains from the start, or from where ``folder`` left off, until the recipe's last epoch.

    Leaves ``model.keras``, ``last/`` and ``history.csv``.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SourceError: a picture cannot be decoded.
    """
    training = run.recipe.training
    steps = run.steps_per_epoch
    past: list[Row] = []
    model = run.model
    compile_classifier(model, training, steps_per_epoch=steps)
    if folder.last_model.exists():
        # the file keeps the optimizer's slots and steps; the schedule is the recipe's, whose epochs may be more
        _restore(model, folder)
        past = read_history(folder.history)[: int(model.optimizer.iterations) // steps]
    best = min((row["dev_loss"] for row in past), default=math.inf)
    if stops_early(past, training.early_stopping) or len(past) >= training.epochs:
        return

    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()  # on a CPU the same seed gives the same numbers without it
    epoch = tf.Variable(tf.constant(0, tf.int64))
    augment = augmenter(run.recipe.preprocessing.augment) if run.data.channels else None
    train = Pipeline(run.data.train, run.preprocessing).batches(
        run.batch_size, shuffle_seed=training.seed, epoch=epoch, augment=augment
    )
    dev = Pipeline(run.data.dev, run.preprocessing).batches(run.batch_size)
    progress = Progress(console, training.epochs, best)
    callbacks: list[keras.callbacks.Callback] = [
        EpochSeeds(training.seed, epoch, augment),
        StopOnNaN(scaled=run.preprocessing.scale != "none"),
        Checkpoint(
            folder.model,
            monitor="val_loss",
            mode="min",
            save_best_only=True,
            initial_value_threshold=None if math.isinf(best) else best,
        ),
        History(folder.history, past),
        Checkpoint(folder.last_model),  # after the history: rows that it does not know are dropped on resuming
        progress,
    ]
    if training.early_stopping:
        callbacks.append(EarlyStopping(past, monitor="val_loss", mode="min", patience=training.early_stopping))
    try:
        with naming_unreadable(*run.data.splits().values()):
            model.fit(
                train,
                validation_data=dev,
                epochs=training.epochs,
                initial_epoch=len(past),
                callbacks=callbacks,
                shuffle=False,  # the pipeline shuffles
                verbose=0,
            )
    finally:
        progress.close()
    if not folder.model.exists():
        raise TrainingDiverged("the loss on dev was never a number. Lower the learning rate (training.learning_rate).")


def stops_early(past: list[Row], patience: int) -> bool:
    """Whether the last ``patience`` epochs brought no lower loss on dev."""
    losses = [row["dev_loss"] for row in past]
    return bool(patience and losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _restore(model: keras.Model, folder: ModelFolder) -> None:
    saved = load_keras(folder.last_model)
    if [weight.shape for weight in saved.weights] != [weight.shape for weight in model.weights]:
        raise TrainingError(f"{folder.last_model} is another network than {folder.recipe} describes.")
    model.set_weights(saved.get_weights())
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        if variable.name != "learning_rate":
            variable.assign(value)


def finish(run: Run, folder: ModelFolder) -> dict[str, np.ndarray]:
    """Evaluates the best weights on every split and writes what the folder still lacks but the report.

    Returns:
        The probabilities of every split, (n, classes), by its name.
    """
    model = load_keras(folder.model)
    network = with_probabilities(model)
    probabilities = {}
    metrics: dict[str, Any] = {}
    for name, part in run.data.splits().items():
        with naming_unreadable(part):
            probabilities[name] = predict(network, part, run.preprocessing)
        metrics[name] = score(part.targets, probabilities[name], run.data.labels)
    metrics |= {
        "epochs": len(read_history(folder.history)),
        "parameters": model.count_params(),
        "seed": run.recipe.training.seed,
        "versions": versions(),
        "data_hash": run.data.hash,
        "own_splits": list(run.data.own_splits),
    }
    signature = signatures.classification(run.data.labels, run.preprocessing, _provenance(run, folder, metrics))
    with naming_unreadable(run.data.test):
        write_samples(folder, run.data.test)
    signature.write(folder.signature)
    seconds = sum(row["seconds"] for row in read_history(folder.history))
    run.recipe.write(
        folder.recipe,
        header=f"dlapp train {folder.recipe}       {os.cpu_count()} CPU cores, {seconds:.0f} s, "
        f"test accuracy {metrics['test']['accuracy']:.4f}",
    )
    write_json(folder.metrics, metrics)  # last: a folder that has it is finished
    return probabilities


def predict(network: keras.Model, examples: Examples, preprocessing: signatures.Preprocessing) -> np.ndarray:
    """What ``with_probabilities`` gives in inference mode, in the order of ``examples``: (n, classes) float32."""
    batches = Pipeline(examples, preprocessing).batches(256)
    return np.asarray(network.predict(batches.map(lambda inputs, _: inputs), verbose=0))


def write_samples(folder: ModelFolder, examples: Examples) -> None:
    """A few raw inputs of one shape, from the beginning of ``examples``."""
    samples: list[np.ndarray] = []
    for index in range(len(examples)):
        candidate = examples.read(index)
        if not samples or candidate.shape == samples[0].shape:
            samples.append(candidate)
        if len(samples) == _SAMPLES:
            break
    with replacing(folder.samples) as beside:
        np.savez_compressed(beside, inputs=np.stack(samples))


def versions() -> dict[str, str]:
    """The versions that the numbers of a run depend on."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"dlapp": dlapp.__version__, "python": platform.python_version(), **libraries}


def _provenance(run: Run, folder: ModelFolder, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": folder.path.name,
        "architecture": run.recipe.architecture,
        "data": run.recipe.data,
        "data_hash": run.data.hash,
        "seed": run.recipe.training.seed,
        "versions": metrics["versions"],
        "test": {key: metrics["test"][key] for key in ("examples", "loss", "accuracy")},
        "recipe": run.recipe.to_toml(),
    }
