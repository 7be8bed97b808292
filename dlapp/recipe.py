"""The recipe: which architecture on which source, how it is preprocessed, trained and exported."""

import copy
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import tomlkit
from pydantic import Field

from dlapp.errors import RecipeError
from dlapp.files import write_text
from dlapp.signature import Scale

Optimizer = Literal["gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
Schedule = Literal["constant", "cosine"]
Format = Literal["savedmodel", "onnx"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Augment(_Table):
    """Random changes to training pictures, new in every epoch. None of it reaches evaluation or export.

    Attributes:
        shift: the largest shift in each direction, as a fraction of the height and the width.
    """

    shift: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Preprocessing(_Table):
    """What happens to raw values before the network sees them; part of the exported graph.

    Attributes:
        size: height and width, or one number for both; the architecture's own where it is left out.
        channels: 1, 3 or 4; the source's own where it is left out.
        antialias: average over dropped pixels when shrinking; where it is left out, if the median
            training picture is more than 3 times as high or wide as ``size``.
        scale: ``standardize`` (mean and variance of train), ``unit`` (divide by 255) or ``none``.
    """

    size: Annotated[
        tuple[pydantic.PositiveInt, pydantic.PositiveInt] | None,
        pydantic.BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size),
    ] = None
    channels: Literal[1, 3, 4] | None = None
    antialias: bool | None = None
    scale: Scale = "standardize"
    augment: Augment = Augment()


class Split(_Table):
    """Fractions of the examples; used only where the source has no such split of its own."""

    dev: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Seed = 0

    @pydantic.model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        if self.dev + self.test >= 1:
            raise ValueError(f"dev and test must leave something to train on; got {self.dev} + {self.test}")
        return self


class Training(_Table):
    """How the network is trained.

    Attributes:
        epochs: passes over the training examples.
        batch_size: examples a step; ``"all"`` is batch gradient descent.
        optimizer: ``momentum`` and ``nesterov`` have momentum 0.9; the others have Keras's defaults.
        learning_rate: at the start.
        schedule: ``cosine`` falls to 0 over all the epochs.
        l2: weight of the sum of squared kernel weights in the loss.
        dropout: the fraction of units dropped before the classifier, in architectures that drop.
        early_stopping: epochs without a lower dev loss before training stops; 0 is never.
        seed: of initial weights, order of examples, dropout and augmentation.
    """

    epochs: pydantic.PositiveInt = 30
    batch_size: pydantic.PositiveInt | Literal["all"] = 64
    optimizer: Optimizer = "adam"
    learning_rate: pydantic.PositiveFloat = 0.002
    schedule: Schedule = "cosine"
    l2: pydantic.NonNegativeFloat = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    early_stopping: pydantic.NonNegativeInt = 10
    seed: Seed = 0


class Export(_Table):
    """Which files a bundle holds."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = ("savedmodel", "onnx")


class Recipe(_Table):
    """Everything a run needs; every key but ``architecture`` and ``data`` has a default.

    Attributes:
        architecture: the name of a builder.
        data: a source, written ``scheme:rest``.
        architecture_options: keyword arguments of the builder.
    """

    architecture: str
    data: str
    architecture_options: dict[str, Any] = Field(default_factory=dict[str, Any])
    preprocessing: Preprocessing = Preprocessing()
    split: Split = Split()
    training: Training = Training()
    export: Export = Export()

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, where: str = "the recipe") -> Self:
        """Validates nested ``values``.

        Raises:
            RecipeError: the first thing that is wrong, with its dotted key, and ``where`` it stands.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise RecipeError(_explain(error.errors(), where)) from error

    @classmethod
    def read(cls, path: Path, changes: Mapping[str, Any] | None = None) -> Self:
        """Reads a TOML file; ``changes`` maps dotted keys to values that take the place of the file's.

        Raises:
            RecipeError: the file cannot be read, is not TOML or does not validate.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} cannot be read: {error}.") from error
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{path} is not TOML: {error}.") from error
        return cls.from_values(with_changes(values, changes or {}), where=str(path))

    def write(self, path: Path, *, header: str = "") -> None:
        """Writes the recipe as TOML; lines of ``header`` become comments at the top."""
        comment = "".join(f"# {line}\n" for line in header.splitlines())
        write_text(path, comment + self.to_toml())

    def to_toml(self) -> str:
        """The recipe as TOML, with every key that has a value."""
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True))


def with_changes(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested ``values`` with dotted keys set: ``{"training.l2": 1e-3}``."""
    changed: Any = copy.deepcopy(dict(values))
    for dotted, value in changes.items():
        *tables, key = dotted.split(".")
        place = changed
        for table in tables:
            if not isinstance(place.setdefault(table, {}), dict):
                raise RecipeError(f"{table} is no table, so {dotted} cannot be set.")
            place = place[table]
        place[key] = value
    return changed


def parse_setting(setting: str) -> tuple[str, Any]:
    """``"training.l2=1e-3"`` -> ``("training.l2", 0.001)``; the value is TOML, or else a string.

    Raises:
        RecipeError: there is no equals sign, or no key before it.
    """
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set takes key=value, as in training.l2=1e-3; got {setting!r}.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return key.strip(), parsed


def _explain(errors: Sequence[Any], where: str) -> str:
    """One sentence for the first key that is wrong; of a union every member has an error of its own."""
    dotted = _dotted(errors[0])
    received = errors[0]["input"]
    error = next((e for e in errors if _dotted(e) == dotted and e["type"] == "literal_error"), errors[0])
    near: list[str]
    if error["type"] == "extra_forbidden":
        known = _known_keys(Recipe)
        near = [key for key in known if key.rpartition(".")[2] == dotted.rpartition(".")[2]]
        near = near or difflib.get_close_matches(dotted, [*known, *Recipe.model_fields], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
        return f"unknown key {dotted} in {where}. {hint}"
    if error["type"] == "missing" and "." not in dotted:
        return f'{where} must name the {dotted}: add a line {dotted} = "...".'
    if error["type"] == "literal_error":
        expected: str = error["ctx"]["expected"]
        names = expected.replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(str(received), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        number = "a positive whole number or " if error is not errors[0] else ""
        return f"{dotted} must be {number}{expected}; got {received!r} in {where}.{hint}"
    if error["type"] == "value_error":
        return f"{dotted}: {error['ctx']['error']} in {where}."
    if error["type"] in ("missing", "tuple_type", "too_long"):
        return f"{dotted} must be a list like [32, 32]; got {received!r} in {where}."
    if error["type"] == "too_short":
        return f"{dotted} must name at least one; got {received!r} in {where}."
    rule = error["msg"].removeprefix("Input should be ")
    return f"{dotted} must be {rule}; got {received!r} in {where}."


def _dotted(error: Any) -> str:
    """The key of an error, without the members of unions and places in lists that pydantic adds."""
    return ".".join(part for part in error["loc"] if isinstance(part, str) and part.isidentifier() and part != "int")


def _known_keys(model: type[pydantic.BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, pydantic.BaseModel):
            keys += _known_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
