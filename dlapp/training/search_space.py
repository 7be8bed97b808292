"""What a search varies: axes of a recipe, their scales, and the order in which the course would search them."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from dlapp.architectures import builder
from dlapp.errors import RecipeError, UnknownName
from dlapp.recipe import OPTIMIZERS, SCHEDULES, Axis, Recipe, with_changes

WIDTH, DEPTH = "width", "depth"
_UNITS = "architecture_options.units"
_SEARCHED = ("training", "architecture_options", "preprocessing", "transfer")
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


def distribution(axis: Axis) -> BaseDistribution:
    """How Optuna draws; on the complement scale 1 - value."""
    if axis.choices is not None:
        return CategoricalDistribution(axis.choices)
    low, high = _range(axis)
    if axis.scale == "complement":
        return FloatDistribution(1 - high, 1 - low, log=True)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=axis.scale == "log")
    return FloatDistribution(low, high, log=axis.scale == "log")


def read_drawn(axis: Axis, drawn: Any) -> Any:
    """What a recipe gets for what was drawn; no more digits than a person would write."""
    if axis.choices is not None or isinstance(drawn, int):
        return drawn
    low, high = _range(axis)
    value = round(1 - float(f"{drawn:.3g}"), 12) if axis.scale == "complement" else float(f"{drawn:.4g}")
    return min(max(value, low), high)


def draw_for(axis: Axis, value: Any) -> Any:
    """What would have to be drawn for ``value``."""
    return 1 - value if axis.choices is None and axis.scale == "complement" else value


def holds(axis: Axis, value: Any) -> bool:
    """Whether a search of the axis can come to ``value``."""
    if axis.choices is not None:
        return value in axis.choices
    low, high = _range(axis)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    whole = isinstance(low, int) and isinstance(high, int)
    return low <= value <= high and not (whole and isinstance(value, float))


def positions(axis: Axis, values: Sequence[Any]) -> list[Any]:
    """Where values lie on the scale of an axis; what is no number (no limit) at its upper end."""
    if axis.choices is not None:
        return [value if value in axis.choices else str(value) for value in values]
    low, high = _range(axis)
    numbers = [value if isinstance(value, int | float) else high for value in values]
    inside = np.clip(np.array(numbers, np.float64), low, high)
    if axis.scale == "log":
        return np.log10(inside).tolist()
    return (-np.log10(1 - inside) if axis.scale == "complement" else inside).tolist()


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
    if holds(axis, own):
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
        if recipe.transfer is not None and (key in (WIDTH, DEPTH) or table == "architecture_options"):
            raise RecipeError(f"{recipe.transfer.model} is built already: remove tune.space.{key}.")
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
    """A number or a list for the units of the hidden layers; None where there are none that could be others."""
    if recipe.transfer is not None:
        return None
    return recipe.architecture_options.get("units", _defaults(recipe).get("units"))


def _defaults(recipe: Recipe) -> dict[str, Any]:
    """The arguments of the recipe's builder that have a default."""
    parameters = inspect.signature(builder(recipe.architecture)).parameters.values()
    return {given.name: given.default for given in parameters if given.default is not inspect.Parameter.empty}


def _range(axis: Axis) -> tuple[float, float]:
    if axis.low is None or axis.high is None:
        raise ValueError("an axis of choices has no range.")
    return axis.low, axis.high
