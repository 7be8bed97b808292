"""One training run: from the first epoch, or from where it was interrupted, to a finished folder."""

import functools
import json
import math
import shlex
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from dlapp.architectures.heads import for_inference
from dlapp.architectures.loading import load_model
from dlapp.data.pipelines import naming_unreadable
from dlapp.errors import TrainingDiverged, TrainingError
from dlapp.files import replacing, sha256, write_json
from dlapp.training.answering import Answers
from dlapp.training.base_network import base_folder
from dlapp.training.batches import Batches
from dlapp.training.callbacks import (
    Checkpoint,
    EarlyStopping,
    EpochSeeds,
    History,
    Progress,
    ReduceOnPlateau,
    Row,
    StopOnNaN,
    read_history,
    write_history,
)
from dlapp.training.compiling import compile_for
from dlapp.training.finishing import finish
from dlapp.training.model_folder import ModelFolder
from dlapp.training.preparing import Run
from dlapp.training.soft_targets import are_soft
from dlapp.training.transferring import fit_stages


def train(run: Run, folder: ModelFolder, console: Console) -> dict[str, Answers]:
    """Trains and evaluates into ``folder``; a folder that holds a part of the same run is completed.

    Returns:
        What the best weights answer on every split, by its name.

    Raises:
        TrainingError: the folder holds a part of a run on other data, or from another network, or a head was to be
            trained for longer after its fine-tuning had begun.
    """
    folder.last_state.parent.mkdir(parents=True, exist_ok=True)
    base = base_folder(run.recipe)
    state = {"data_hash": run.data.hash, "base_hash": None if base is None else sha256(base.model)}
    if folder.last_state.exists():
        before = json.loads(folder.last_state.read_text())
        names = {"data_hash": run.recipe.data, "base_hash": "" if base is None else str(base.path)}
        changed = next((names[key] for key in state if state[key] != before.get(key)), None)
        if changed is not None:
            raise TrainingError(
                f"{changed} has changed since the run in {folder.path} began, and a resumed run goes on from the same. "
                "Train anew under another --name."
            )
    _check_not_begun(run, folder)
    # of other weights than those to come; a folder without metrics is unfinished
    for measured in (folder.metrics, folder.diagnosis, folder.results):
        measured.unlink(missing_ok=True)
    run.recipe.write(folder.recipe, header=f"dlapp train {shlex.quote(str(folder.recipe))}")
    write_json(folder.last_state, state)
    fit(run, folder, console)
    return finish(run, folder)


def fit(run: Run, folder: ModelFolder, console: Console) -> None:
    """Trains from the start, or from where ``folder`` left off, until the recipe's last epoch.

    Leaves ``model.keras``, ``last/`` and ``history.csv``. Each stage of a transfer is trained below ``last/``
    as a run of its own, so that it resumes like one.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SourceError: a picture cannot be decoded.
    """
    if run.recipe.transfer is None:
        _fit_into(folder, run, console)
        return

    def fit_stage(stage: Run, name: str) -> float:
        left = folder.stage(name)
        left.last_model.parent.mkdir(parents=True, exist_ok=True)
        _fit_into(left, stage, console)
        stage.model.set_weights(load_model(left.model).get_weights())
        return min(row["dev_loss"] for row in read_history(left.history))

    tell = functools.partial(console.print, highlight=False)
    fit_stages(run, fit_stage, tell, scratch=folder.last_model.parent)
    with replacing(folder.model) as beside:
        for_inference(run.model).save(beside)
    rows = [row for name in ("head", "fine-tuning") for row in read_history(folder.stage(name).history)]
    write_history(folder.history, [{**row, "epoch": epoch} for epoch, row in enumerate(rows, start=1)])


def _check_not_begun(run: Run, folder: ModelFolder) -> None:
    """Refuses more epochs for a head whose fine-tuning has begun, before anything of the run is replaced."""
    head = read_history(folder.stage("head").history)
    training = run.recipe.training
    finished = len(head) >= training.epochs or stops_early(head, training.early_stopping)
    if folder.stage("fine-tuning").last_model.exists() and not finished:
        raise TrainingError(
            f"the fine-tuning in {folder.path} has begun after {len(head)} epochs of the new head: it cannot have "
            f"{training.epochs}. Train anew under another --name."
        )


def _fit_into(folder: ModelFolder, run: Run, console: Console) -> None:
    training = run.recipe.training
    steps = run.steps_per_epoch
    past: list[Row] = []
    model = run.model
    compile_for(
        model,
        training,
        task=run.data.task,
        steps_per_epoch=steps,
        one_length=run.one_length,
        soft=are_soft(run.recipe),
        grid_loss=run.grid_loss,
    )
    if folder.last_model.exists():
        # the file keeps the optimizer's slots and steps; the schedule is the recipe's, whose epochs may be more
        _restore(model, folder)
        done = int(model.optimizer.iterations) // steps
        past = read_history(folder.history)[:done]
        if len(past) < done:
            raise TrainingError(f"{folder.history} knows {len(past)} of {done} epochs; it cannot be gone on with.")
    best = min((row["dev_loss"] for row in past), default=math.inf)
    if stops_early(past, training.early_stopping) or len(past) >= training.epochs:
        return

    progress = Progress(console, training.epochs, best)
    callbacks: list[keras.callbacks.Callback] = [
        Checkpoint(
            folder.model,
            monitor="val_loss",
            mode="min",
            save_best_only=True,
            initial_value_threshold=None if math.isinf(best) else best,
        ),
        History(folder.history, past),
        # after the history: rows that it does not know are dropped on resuming
        Checkpoint(folder.last_model, resumable=True),
        progress,
    ]
    if training.early_stopping:
        callbacks.append(EarlyStopping(past, monitor="val_loss", mode="min", patience=training.early_stopping))
    try:
        _fit(run, callbacks, past)
    finally:
        progress.close()
    rows = read_history(folder.history)
    if len(rows) < training.epochs and stops_early(rows, training.early_stopping):
        waited = f"{training.early_stopping} epoch" + "s" * (training.early_stopping > 1)
        told = f"stopped: the loss on dev was no lower for {waited} (training.early_stopping)"
        console.print(told, highlight=False, soft_wrap=True)
    if not folder.model.exists():
        raise TrainingDiverged("the loss on dev was never a number. Lower the learning rate.")


def fit_in_memory(run: Run, callbacks: Sequence[keras.callbacks.Callback] = ()) -> float:
    """Trains from the start and writes nothing; the network is left with the weights that were best on dev.

    Args:
        run: what to train.
        callbacks: of the training; of a transfer, of its new head.

    Returns:
        The lowest loss on dev.

    Raises:
        TrainingDiverged: the loss became NaN or infinite.
        SourceError: a picture cannot be decoded.
    """
    if run.recipe.transfer is None:
        return _fit_in_memory(run, callbacks)
    return fit_stages(
        run, lambda stage, name: _fit_in_memory(stage, callbacks if name == "head" else ()), tell=lambda _: None
    )


def _fit_in_memory(run: Run, callbacks: Sequence[keras.callbacks.Callback]) -> float:
    training = run.recipe.training
    compile_for(
        run.model,
        training,
        task=run.data.task,
        steps_per_epoch=run.steps_per_epoch,
        one_length=run.one_length,
        soft=are_soft(run.recipe),
        grid_loss=run.grid_loss,
    )
    patience = training.early_stopping or training.epochs
    stopping = EarlyStopping([], monitor="val_loss", mode="min", patience=patience, restore_best_weights=True)
    _fit(run, [*callbacks, stopping], [])
    if not math.isfinite(stopping.best):
        raise TrainingDiverged("the loss on dev was never a number. Lower the learning rate.")
    return float(stopping.best)


def _fit(run: Run, callbacks: Sequence[keras.callbacks.Callback], past: Sequence[Row]) -> None:
    """``model.fit`` on the run's pipelines, after the epochs of ``past``."""
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()  # on a CPU the same seed gives the same numbers without it
    training = run.recipe.training
    epoch = tf.Variable(tf.constant(0, tf.int64))
    batches = Batches(run, epoch)
    always: list[keras.callbacks.Callback] = [
        EpochSeeds(training.seed, epoch, batches.seeded),
        StopOnNaN(scaled=run.recipe.preprocessing.scale != "none"),  # features of a transfer are of scaled inputs
    ]
    if training.schedule == "plateau":
        schedule = training.resolved()
        always.append(
            ReduceOnPlateau(
                past,
                monitor="val_loss",
                mode="min",
                min_delta=0,  # Keras ignores what is less than 1e-4
                factor=schedule.decay_rate,
                patience=schedule.decay_epochs,
            )
        )
    with naming_unreadable(*run.data.splits().values()):
        run.model.fit(
            batches.train,
            validation_data=batches.dev(),
            epochs=training.epochs,
            initial_epoch=len(past),
            class_weight=batches.class_weights,
            callbacks=[*always, *callbacks],
            shuffle=False,  # the pipeline shuffles
            verbose=0,
        )


def stops_early(past: list[Row], patience: int) -> bool:
    """Whether the last ``patience`` epochs brought no lower loss on dev."""
    losses = [row["dev_loss"] for row in past]
    return bool(patience and losses) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _restore(model: keras.Model, folder: ModelFolder) -> None:
    saved = load_model(folder.last_model)
    if [weight.shape for weight in saved.weights] != [weight.shape for weight in model.weights]:
        raise TrainingError(f"{folder.last_model} is another network than {folder.recipe} describes.")
    model.set_weights(saved.get_weights())
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        if variable.name != "learning_rate":
            variable.assign(value)
