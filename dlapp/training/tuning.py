"""A search for better hyperparameters: trials of one recipe, in a study that can be gone on with; dev decides.

Bergstra, J. et al. (2011), Algorithms for hyper-parameter optimization (TPE), NIPS 24.
Akiba, T. et al. (2019), Optuna, KDD. https://arxiv.org/abs/1907.10902
Hutter, F. et al. (2014), An efficient approach for assessing hyperparameter importance, ICML.
"""

import contextlib
import dataclasses
import json
import math
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
import sqlalchemy.exc
import tensorflow as tf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from rich.console import Console

from dlapp.data import Data
from dlapp.errors import RecipeError, TrainingDiverged, TrainingError, UnknownName
from dlapp.files import moved_aside
from dlapp.recipe import Recipe
from dlapp.signature import Preprocessing
from dlapp.training import search_space
from dlapp.training.answering import Answers, answer_and_measure, score_answers
from dlapp.training.model_folder import ModelFolder
from dlapp.training.precision import in_float32
from dlapp.training.preparing import prepare, with_own_defaults
from dlapp.training.run import fit_in_memory, train

TUNING = "tuning"  # the folder of a search, in the folder of the model that comes of it
_UNPRUNED = 5  # trials that are finished before one may be pruned
_WARM_UP = 3  # no trial is pruned in the first third of its epochs
_LEAST_FOR_IMPORTANCES = 4  # trials
_STUDY = "tuning"
_WAIT_S = 10  # for another process that writes the same study
_STORAGE_ERRORS = (optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error)


@dataclasses.dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes:
        number: from 0, which is the recipe as it is.
        state: ``complete``, ``pruned``, ``diverged`` or ``impossible``.
        value: loss on dev without regularization, as ``metrics.json`` has it; of a pruned trial that of its
            last epoch; None where there is none.
        seconds: it took.
        values: of every axis, as they were used.
        changes: the axes that were varied; the others were as the recipe has them.
        why: a trial ended early.
    """

    number: int
    state: str
    value: float | None
    seconds: float
    values: Mapping[str, Any]
    changes: Mapping[str, Any]
    why: str


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """Trials of a recipe on its data, kept in a SQLite file.

    Attributes:
        path: of the file.
        recipe: where the search begins, with the space that it searches.
        data: of the recipe; test is not looked at.
    """

    path: Path
    recipe: Recipe
    data: Data
    _study: optuna.Study
    _storage: optuna.storages.RDBStorage
    _measured: dict[str, Preprocessing] = dataclasses.field(default_factory=dict[str, Preprocessing])

    @classmethod
    def open(cls, path: Path, recipe: Recipe, data: Data) -> "Search":
        """The search in ``path``, begun or gone on with.

        Args:
            path: in a folder that is made if need be.
            recipe: what its architecture has defaults of its own for is completed, and its space by
                ``search_space.with_space``.
            data: of the recipe.

        Raises:
            TrainingError: the file holds a search of another recipe, space or data; or it cannot be used.
            RecipeError: the space cannot be searched.
        """
        # before it is dumped for the first time: what is left out could not be told from what is said
        recipe = search_space.with_space(with_own_defaults(recipe), len(data.train))
        basis = {"recipe": recipe.model_dump(mode="json", exclude_none=True), "data_hash": data.hash}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _storage_errors(path):
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": _WAIT_S}}
            )
            pruner = optuna.pruners.MedianPruner(
                n_startup_trials=_UNPRUNED, n_warmup_steps=recipe.training.epochs // _WARM_UP
            )
            study = optuna.create_study(
                storage=storage, study_name=_STUDY, direction="minimize", load_if_exists=True, pruner=pruner
            )
            before = study.user_attrs.get("basis")
            if before is None:
                study.set_user_attr("basis", basis)
            opened = cls(path, recipe, data, study, storage)
            try:
                _check_same(before or basis, basis, path)
                for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                    study.tell(trial.number, state=TrialState.FAIL)  # of a process that was killed
            except BaseException:
                opened.close()
                raise
        return opened

    def close(self) -> None:
        """Lets go of the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def tried(self) -> list[Tried]:
        """The trials so far; not those that were interrupted."""
        with _storage_errors(self.path):
            found = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return [self._describe(number, trial) for number, trial in enumerate(found)]

    def run(self, trials: int) -> Iterator[Tried]:
        """Trains until there are so many trials, and gives each as it ends.

        Interrupted at any moment and run again, it tries the same as it would have tried at once.

        Raises:
            TrainingError: the file cannot be written.
            SourceError: a picture cannot be decoded.
        """
        for number in range(len(self.tried()), trials):
            with _storage_errors(self.path):
                tried = self._try(number, search_space.active_axes(self.recipe.tune.space, number, trials))
            yield tried

    def best(self) -> Tried:
        """The trial with the lowest loss on dev.

        Raises:
            TrainingError: none was trained to its end.
        """
        tried = self.tried()
        complete = [trial for trial in tried if trial.state == "complete"]
        if not complete:
            raise TrainingError(
                f"none of {len(tried)} trials could be trained. "
                + (f"The first: {tried[0].why}" if tried else "Ask for more --trials.")
            )
        return min(complete, key=lambda trial: (trial.value, trial.number))

    def best_recipe(self) -> Recipe:
        """The recipe of the best trial, with the space that was searched."""
        return search_space.with_values(self.recipe, self.best().changes)

    def importances(self) -> dict[str, float]:
        """The share of each axis in how the logarithm of the loss on dev varied, most important first (fANOVA).

        Empty where fewer than 4 trials were trained to their end.
        """
        complete = [trial for trial in self.tried() if trial.state == "complete"]
        if len(complete) < _LEAST_FOR_IMPORTANCES:
            return {}
        space = self.recipe.tune.space
        columns = {
            key: search_space.positions(axis, [trial.values[key] for trial in complete]) for key, axis in space.items()
        }
        distributions: dict[str, BaseDistribution] = {}
        for key, column in columns.items():
            if space[key].choices is None and min(column) < max(column):
                distributions[key] = FloatDistribution(min(column), max(column))
            elif len(set(column)) > 1:
                distributions[key] = CategoricalDistribution(list(dict.fromkeys(column)))
        if not distributions:
            return {}
        copy = optuna.create_study()
        for row, trial in enumerate(complete):
            copy.add_trial(
                optuna.create_trial(
                    value=math.log(max(trial.value or 0.0, 1e-12)),
                    params={key: columns[key][row] for key in distributions},
                    distributions=distributions,
                )
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.recipe.tune.seed)
        found = optuna.importance.get_param_importances(copy, evaluator=evaluator)
        return {key: float(share) for key, share in found.items()} | {
            key: 0.0 for key in space if key not in distributions
        }

    def _try(self, number: int, active: Sequence[str]) -> Tried:
        space = self.recipe.tune.space
        own = {key: search_space.own_value(self.recipe, key) for key in space}
        held = {
            key: search_space.draw_for(axis, own[key])
            for key, axis in space.items()
            if key not in active and search_space.holds(axis, own[key])
        }
        seed = int(np.random.SeedSequence([self.recipe.tune.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.PartialFixedSampler(held, optuna.samplers.TPESampler(seed=seed))
        self._study.sampler = sampler
        # what is held outside its range is not recorded: it would be recorded wrong
        trial = self._study.ask(
            {key: search_space.distribution(space[key]) for key in space if key in active or key in held}
        )
        changes = {key: search_space.read_drawn(space[key], trial.params[key]) for key in active}
        trial.set_user_attr("changes", changes)
        state, why, value = "complete", "", None
        try:
            value = self._measure(search_space.with_values(self.recipe, changes), trial)
        except optuna.TrialPruned as error:
            state, why = "pruned", str(error)
        except TrainingDiverged as error:
            state, why = "diverged", str(error)
        except (RecipeError, UnknownName) as error:
            state, why = "impossible", str(error)
        except tf.errors.ResourceExhaustedError as error:
            state, why = "impossible", f"the memory does not suffice: {error.message.splitlines()[0]}"
        except BaseException:
            with contextlib.suppress(*_STORAGE_ERRORS):
                self._study.tell(trial, state=TrialState.FAIL)
            raise
        if state != "complete":
            trial.set_user_attr("ended", [state, why])
        # the sampler keeps away from what was pruned, and forgets what failed
        ended = TrialState.COMPLETE if state == "complete" else TrialState.PRUNED
        return self._describe(number, self._study.tell(trial, value, state=ended))

    def _measure(self, recipe: Recipe, trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        run = prepare(recipe, self.data, self._measured.get("once"))
        if not any(key.startswith("preprocessing.") for key in self.recipe.tune.space):
            self._measured["once"] = run.preprocessing
        fit_in_memory(run, [_Report(trial)])
        dev = run.data.dev
        answers, loss = answer_and_measure(in_float32(run.model), dev, run.signature, run.grid_loss)
        return score_answers(dev, answers, run.signature)["loss"] if loss is None else loss

    def _describe(self, number: int, trial: optuna.trial.FrozenTrial) -> Tried:
        changes = trial.user_attrs["changes"]
        state, why = trial.user_attrs.get("ended", ("complete", ""))
        return Tried(
            number=number,
            state=state,
            value=trial.value if state in ("complete", "pruned") else None,
            seconds=trial.duration.total_seconds() if trial.duration else 0.0,
            values={key: changes.get(key, search_space.own_value(self.recipe, key)) for key in self.recipe.tune.space},
            changes=changes,
            why=why,
        )


def train_best(search: Search, folder: ModelFolder, console: Console) -> dict[str, Answers] | None:
    """Trains the best recipe into the folder that the search lies in, as ``train`` does.

    A model of another recipe is replaced: it comes back if this one fails.

    Returns:
        What ``train`` does; None where the folder holds that very model already.
    """
    run = prepare(search.best_recipe(), search.data)
    if not folder.recipe.exists():
        return train(run, folder, console)
    if folder.read_recipe() != run.recipe:
        search.close()  # its file is copied
        with _replaced(folder.path):
            return train(run, folder, console)
    if folder.metrics.exists() and folder.report.exists():
        return None
    return train(run, folder, console)


class _Report(keras.callbacks.Callback):
    """Tells the study the loss on dev, without regularization, after every epoch.

    Raises:
        TrialPruned: the best so far is worse than the median of the other trials at this epoch.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self._trial = trial

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        penalty = sum(float(keras.ops.convert_to_numpy(loss)) for loss in self.model.losses)
        self._trial.report(float((logs or {})["val_loss"]) - penalty, epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {epoch + 1}")


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raises at the first thing in which two searches differ."""
    now = json.loads(json.dumps(now))  # as it comes back from the file
    old, new = _flat(before["recipe"]), _flat(now["recipe"])
    keys = sorted({*old, *new}, key=lambda key: (key.startswith("tune."), key))
    changed = [key for key in keys if old.get(key) != new.get(key)]
    remedy = "A search keeps its recipe, data and space: choose another --name."
    if before["data_hash"] != now["data_hash"] and not (changed and not changed[0].startswith("tune.")):
        raise TrainingError(f"{now['recipe']['data']} has changed since the search in {path} began. {remedy}")
    if changed:
        key = changed[0]
        raise TrainingError(f"the search in {path} has {key} = {old.get(key)!r}, not {new.get(key)!r}. {remedy}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Tells what SQLite, SQLAlchemy and Optuna raise in words of ours."""
    try:
        yield
    except _STORAGE_ERRORS as error:
        cause = error.__cause__ or error
        told = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        if "locked" in told or isinstance(error, optuna.exceptions.UpdateFinishedTrialError):
            remedy = "Another `dlapp tune` is at work there: wait for it, or choose another --name."
        elif "full" in told:
            remedy = "Make room and give the same command again: the trials before are kept."
        else:
            remedy = "If the file is damaged, move it away or choose another --name."
        raise TrainingError(f"{path} cannot be used: {told}. {remedy}") from error


@contextlib.contextmanager
def _replaced(folder: Path) -> Iterator[None]:
    """``moved_aside`` for a model folder whose search stays in it."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.part-") as scratch:
        new = Path(scratch) / "new"
        shutil.copytree(folder / TUNING, new / TUNING)
        with moved_aside(folder, holds="recipe.toml"):
            new.replace(folder)
            yield
