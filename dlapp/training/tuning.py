"""A search for better hyperparameters: trials of one recipe, in a study that can be gone on with; dev decides.

Bergstra, J. et al. (2011), Algorithms for hyper-parameter optimization (TPE), NIPS 24.
Akiba, T. et al. (2019), Optuna, KDD. https://arxiv.org/abs/1907.10902
Hutter, F. et al. (2014), An efficient approach for assessing hyperparameter importance, ICML.
"""

import contextlib
import dataclasses
import inspect
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
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from rich.console import Console

from dlapp.architectures import builder
from dlapp.architectures.heads import with_final_output
from dlapp.data import Data
from dlapp.errors import RecipeError, TrainingDiverged, TrainingError, UnknownName
from dlapp.files import moved_aside
from dlapp.recipe import OPTIMIZERS, SCHEDULES, Axis, Recipe, with_changes
from dlapp.signature import Preprocessing
from dlapp.training.finishing import predict, score_task
from dlapp.training.model_folder import ModelFolder
from dlapp.training.preparing import prepare
from dlapp.training.run import fit_in_memory, train

WIDTH, DEPTH = "width", "depth"
_UNITS = "architecture_options.units"
TUNING = "tuning"  # the folder of a search, in the folder of the model that comes of it
_SEARCHED = ("training", "architecture_options", "preprocessing")
_NOT_SEARCHED = ("preprocessing.channels",)  # the data are loaded once
_CHOOSERS: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "training.optimizer": OPTIMIZERS,
    "training.schedule": SCHEDULES,
}
_ADAPTIVE = ("rmsprop", "adam", "adamw")  # their steps do not grow with the gradient
_DECAY_RATES: Mapping[str, Axis] = {
    "step": Axis(low=0.1, high=0.9, stage=3),
    "plateau": Axis(low=0.1, high=0.9, stage=3),
    "exponential": Axis(low=0.8, high=0.999, scale="complement", stage=3),
    "inverse_time": Axis(low=0.01, high=1.0, scale="log", stage=3),
}
_BATCH_SIZES = (16, 32, 64, 128, 256, 512)
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


def with_space(recipe: Recipe, examples: int) -> Recipe:
    """The recipe with the space that is searched: its own, or the one that the course would search first.

    Args:
        recipe: whose values always lie in a space that is chosen here.
        examples: in train.

    Raises:
        RecipeError: an axis is none that can be searched.
        UnknownName: there is no such architecture, or it has no such option.
    """
    builder(recipe.architecture)  # a misspelt name is no trial
    space = recipe.tune.space or _default_space(recipe, examples)
    used = recipe.model_copy(update={"tune": recipe.tune.model_copy(update={"space": space})})
    _check_space(used)
    return used


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with axes at these values.

    Parameters of another optimizer or schedule than is among ``values`` are left out.

    Raises:
        RecipeError: the values exclude each other.
    """
    changes = {key: value for key, value in values.items() if key not in (WIDTH, DEPTH)}
    if len(changes) < len(values):
        units = _units(recipe)
        width = values.get(WIDTH, own_value(recipe, WIDTH))
        changes[_UNITS] = width if isinstance(units, int) else [width] * values.get(DEPTH, len(units or ()))
    for chooser, table in _CHOOSERS.items():
        if chooser in changes:
            others = {name for options in table.values() for name in options} - set(table[changes[chooser]])
            changes = {key: value for key, value in changes.items() if key.removeprefix("training.") not in others}
    before = recipe.model_dump(mode="json", exclude_none=True)
    return Recipe.from_values(with_changes(before, changes), where="a trial")


def own_value(recipe: Recipe, key: str) -> Any:
    """What the recipe has on an axis, or its builder where the recipe is silent; None for nothing.

    The width of layers that differ is that of the first.
    """
    if key in (WIDTH, DEPTH):
        units = _units(recipe)
        if units is None or isinstance(units, int):
            return units if key == WIDTH else None
        return len(units) if key == DEPTH else (units[0] if len(units) else None)
    resolved = recipe.model_copy(update={"training": recipe.training.resolved()})
    value: Any = resolved.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    table, _, option = key.partition(".")
    if value is None and table == "architecture_options":
        return _defaults(recipe).get(option)
    return value


def active_axes(space: Mapping[str, Axis], number: int, trials: int) -> list[str]:
    """The axes that trial ``number`` of so many varies.

    Trial 0 varies none. The others are shared out evenly among the stages; the first has what is left over.
    """
    if number == 0:
        return []
    stages = sorted({axis.stage for axis in space.values()})
    each = trials // len(stages)
    first = trials - each * (len(stages) - 1)
    reached = 0 if number < first else 1 + (number - first) // each
    return [key for key, axis in space.items() if axis.stage in stages[: reached + 1]]


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
            recipe: its space is completed by ``with_space``.
            data: of the recipe.

        Raises:
            TrainingError: the file holds a search of another recipe, space or data; or it cannot be used.
            RecipeError: the space cannot be searched.
        """
        recipe = with_space(recipe, len(data.train))
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
                tried = self._try(number, active_axes(self.recipe.tune.space, number, trials))
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
        return with_values(self.recipe, self.best().changes)

    def importances(self) -> dict[str, float]:
        """The share of each axis in how the logarithm of the loss on dev varied, most important first (fANOVA).

        Empty where fewer than 4 trials were trained to their end.
        """
        complete = [trial for trial in self.tried() if trial.state == "complete"]
        if len(complete) < _LEAST_FOR_IMPORTANCES:
            return {}
        space = self.recipe.tune.space
        columns = {key: _positions(axis, [trial.values[key] for trial in complete]) for key, axis in space.items()}
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
        own = {key: own_value(self.recipe, key) for key in space}
        held = {
            key: _drawn(axis, own[key]) for key, axis in space.items() if key not in active and _inside(axis, own[key])
        }
        seed = int(np.random.SeedSequence([self.recipe.tune.seed, number]).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.PartialFixedSampler(held, optuna.samplers.TPESampler(seed=seed))
        self._study.sampler = sampler
        # what is held outside its range is not recorded: it would be recorded wrong
        trial = self._study.ask({key: _distribution(space[key]) for key in space if key in active or key in held})
        changes = {key: _value(space[key], trial.params[key]) for key in active}
        trial.set_user_attr("changes", changes)
        state, why, value = "complete", "", None
        try:
            value = self._measure(with_values(self.recipe, changes), trial)
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
        answers = predict(with_final_output(run.model, run.target), dev, run.preprocessing)
        return score_task(dev.targets, answers, run.data.labels, run.target)["loss"]

    def _describe(self, number: int, trial: optuna.trial.FrozenTrial) -> Tried:
        changes = trial.user_attrs["changes"]
        state, why = trial.user_attrs.get("ended", ("complete", ""))
        return Tried(
            number=number,
            state=state,
            value=trial.value if state in ("complete", "pruned") else None,
            seconds=trial.duration.total_seconds() if trial.duration else 0.0,
            values={key: changes.get(key, own_value(self.recipe, key)) for key in self.recipe.tune.space},
            changes=changes,
            why=why,
        )


def train_best(search: Search, folder: ModelFolder, console: Console) -> dict[str, np.ndarray] | None:
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


def _default_space(recipe: Recipe, examples: int) -> dict[str, Axis]:
    training = recipe.training.resolved()
    low, high = (1e-4, 1e-1) if training.optimizer in _ADAPTIVE else (1e-3, 1.0)
    space = {"training.learning_rate": Axis(low=low, high=high, scale="log")}
    if training.optimizer in ("momentum", "nesterov"):
        space["training.momentum"] = Axis(low=0.8, high=0.999, scale="complement", stage=2)
    sizes = [size for size in _BATCH_SIZES if size <= examples]
    if len({*sizes, training.batch_size}) > 1:
        space["training.batch_size"] = Axis(choices=tuple(sizes), stage=2)
    width, depth = own_value(recipe, WIDTH), own_value(recipe, DEPTH)
    if width is not None:
        space[WIDTH] = Axis(low=max(width // 4, 1), high=max(width * 4, 8), scale="log", stage=2)
    if width is not None and depth is not None:
        space[DEPTH] = Axis(low=1, high=max(depth + 2, 4), stage=3)
    if training.schedule in _DECAY_RATES:
        space["training.decay_rate"] = _DECAY_RATES[training.schedule]
    return {key: _widened(axis, own_value(recipe, key)) for key, axis in space.items()}


def _widened(axis: Axis, own: Any) -> Axis:
    """An axis that has the value of the recipe."""
    if _inside(axis, own):
        return axis
    if axis.choices is not None:
        numbers = sorted(choice for choice in (*axis.choices, own) if not isinstance(choice, str))
        return axis.model_copy(update={"choices": (*numbers, *([own] if isinstance(own, str) else []))})
    complement = axis.scale == "complement"
    if complement and not 0 <= own < 1:  # a decay_rate of 1 and more is no complement
        return axis
    return axis.model_copy(update={"low": min(axis.low, own), "high": max(axis.high, own)})


def _check_space(recipe: Recipe) -> None:
    """Refuses an axis that no trial could use."""
    space = recipe.tune.space
    for key, axis in space.items():
        table, _, option = key.partition(".")
        if key in (WIDTH, DEPTH):
            _check_layers(recipe, key)
        elif key in _NOT_SEARCHED or table not in _SEARCHED:
            raise RecipeError(
                f"tune.space.{key} cannot be searched: an axis is {WIDTH}, {DEPTH} or a key of {', '.join(_SEARCHED)} "
                f"that leaves the data alone."
            )
        if table == "architecture_options" and option not in _defaults(recipe):
            raise UnknownName(f"option of {recipe.architecture} in tune.space", option, _defaults(recipe))
        beside = [{chooser: choice} for chooser in _CHOOSERS if chooser in space for choice in _ends(space[chooser])]
        refused: list[RecipeError] = []
        for values in ({**others, key: value} for others in (beside or [{}]) for value in _ends(axis)):
            try:
                with_values(recipe, values)
                break
            except RecipeError as error:
                refused.append(error)
        else:
            raise RecipeError(f"tune.space.{key} fits this recipe nowhere: {refused[0]}") from refused[0]


def _ends(axis: Axis) -> tuple[Any, ...]:
    return axis.choices or (axis.low, axis.high)


def _check_layers(recipe: Recipe, key: str) -> None:
    units = _units(recipe)
    if units is None or (key == DEPTH and isinstance(units, int)):
        what = "units" if units is None else "list of units"
        raise RecipeError(f"{recipe.architecture} has no {what}: remove tune.space.{key}.")
    if key == DEPTH and WIDTH not in recipe.tune.space and own_value(recipe, WIDTH) is None:
        raise RecipeError(
            f"the recipe has no hidden layer whose width more of them could have: add tune.space.{WIDTH}."
        )


def _units(recipe: Recipe) -> Any:
    """A number or a list for the units of the hidden layers; None for an architecture that has none."""
    return recipe.architecture_options.get("units", _defaults(recipe).get("units"))


def _defaults(recipe: Recipe) -> dict[str, Any]:
    """The arguments of the recipe's builder that have a default."""
    parameters = inspect.signature(builder(recipe.architecture)).parameters.values()
    return {given.name: given.default for given in parameters if given.default is not inspect.Parameter.empty}


def _distribution(axis: Axis) -> BaseDistribution:
    """How Optuna draws; on the complement scale 1 - value."""
    if axis.choices is not None:
        return CategoricalDistribution(axis.choices)
    low, high = _range(axis)
    if axis.scale == "complement":
        return FloatDistribution(1 - high, 1 - low, log=True)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=axis.scale == "log")
    return FloatDistribution(low, high, log=axis.scale == "log")


def _range(axis: Axis) -> tuple[float, float]:
    if axis.low is None or axis.high is None:
        raise ValueError("an axis of choices has no range.")
    return axis.low, axis.high


def _value(axis: Axis, drawn: Any) -> Any:
    """What a recipe gets for what was drawn; no more digits than a person would write."""
    if axis.choices is not None or isinstance(drawn, int):
        return drawn
    low, high = _range(axis)
    value = round(1 - float(f"{drawn:.3g}"), 12) if axis.scale == "complement" else float(f"{drawn:.4g}")
    return min(max(value, low), high)


def _drawn(axis: Axis, value: Any) -> Any:
    """What would have to be drawn for ``value``."""
    return 1 - value if axis.choices is None and axis.scale == "complement" else value


def _inside(axis: Axis, value: Any) -> bool:
    if axis.choices is not None:
        return value in axis.choices
    low, high = _range(axis)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    whole = isinstance(low, int) and isinstance(high, int)
    return low <= value <= high and not (whole and isinstance(value, float))


def _positions(axis: Axis, values: Sequence[Any]) -> list[Any]:
    """Where values lie on the scale of an axis; what is no number (no limit) at its upper end."""
    if axis.choices is not None:
        return [value if value in axis.choices else str(value) for value in values]
    low, high = _range(axis)
    numbers = [value if isinstance(value, int | float) else high for value in values]
    inside = np.clip(np.array(numbers, np.float64), low, high)
    if axis.scale == "log":
        return np.log10(inside).tolist()
    return (-np.log10(1 - inside) if axis.scale == "complement" else inside).tolist()


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
