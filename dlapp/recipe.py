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
from dlapp.signature import Scale, Standardize, Unit

Optimizer = Literal["gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "adamw"]
Schedule = Literal["constant", "step", "exponential", "inverse_time", "cosine", "plateau"]
Format = Literal["savedmodel", "onnx"]
BoxLoss = Literal["ciou", "sqrt"]
Flawed = Literal["refuse", "skip"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

# what each takes beside the learning rate, with the value where the recipe has none
OPTIMIZERS: Mapping[str, Mapping[str, float]] = {
    "gradient_descent": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
    "rmsprop": {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "adamw": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004},
}
SCHEDULES: Mapping[str, Mapping[str, float]] = {
    "constant": {},
    "step": {"decay_rate": 0.5, "decay_epochs": 10},
    "exponential": {"decay_rate": 0.95, "decay_epochs": 1},
    "inverse_time": {"decay_rate": 0.1, "decay_epochs": 1},
    "cosine": {},
    "plateau": {"decay_rate": 0.5, "decay_epochs": 5},
}
_AXES = '{low = 1e-4, high = 0.1, scale = "log"} or {choices = [16, 32]}'


def _options(table: Mapping[str, Mapping[str, float]]) -> set[str]:
    """The names of all the parameters in ``OPTIMIZERS`` or ``SCHEDULES``."""
    return {name for options in table.values() for name in options}


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Augment(_Table):
    """Random changes to training pictures, new in every epoch. None of it reaches evaluation or export.

    Attributes:
        flip: mirrored in half of the cases: ``horizontal`` (left for right), ``vertical``, or ``both``, each by itself.
        shift: the largest shift in each direction, as a fraction of the height and the width.
        crop: pixels by which the picture is enlarged at each side before its own size is cut out of it.
        rotate: the largest turn to either side, in degrees.
        zoom: the largest change of the size, as a fraction.
        brightness: the largest change, as a fraction of the whole range.
        contrast: the largest change, as a fraction of the contrast.
        rand_augment: strength from 0 to 1 of two changes drawn from eleven (Cubuk et al. 2019). Keras computes all
            eleven for every picture: expect more than a millisecond for 32 x 32.
        mixup: alpha of the Beta distribution that a picture's share in a mixture of two is drawn from; 0 is none.
        cutmix: the same for the area of a part of another picture.
    """

    flip: Literal["horizontal", "vertical", "both"] | None = None
    shift: Fraction = 0.0
    crop: pydantic.NonNegativeInt = 0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    zoom: Fraction = 0.0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    rand_augment: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: pydantic.NonNegativeFloat = 0.0
    cutmix: Annotated[float, Field(ge=0, le=1)] = 0.0


class Preprocessing(_Table):
    """What happens to raw values before the network sees them; part of the exported graph.

    Attributes:
        size: height and width, or one number for both; the architecture's own where it is left out.
        channels: 1, 3 or 4; the source's own where it is left out.
        resize: ``stretch`` to ``size``, or ``letterbox``: keep the shape of the picture, centred on grey.
        antialias: average over dropped pixels when shrinking; where it is left out, if the median
            training picture is more than 3 times as high or wide as ``size``.
        scale: ``standardize`` (mean and variance of train), ``unit`` (divide by 255) or ``none``.
    """

    size: Annotated[
        tuple[pydantic.PositiveInt, pydantic.PositiveInt] | None,
        pydantic.BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size),
    ] = None
    channels: Literal[1, 3, 4] | None = None
    resize: Literal["stretch", "letterbox"] = "stretch"
    antialias: bool | None = None
    scale: Scale = "standardize"
    augment: Augment = Augment()


class Split(_Table):
    """How train, dev and test come about.

    Attributes:
        dev, test: fractions of the examples; used only where the source has no such split of its own.
        seed: decides which examples.
        own: False joins the splits that a source brings and draws all of them anew.
    """

    dev: Annotated[float, Field(gt=0, lt=1)] = 0.15
    test: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Seed = 0
    own: bool = True

    @pydantic.model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> Self:
        if self.dev + self.test >= 1:
            raise ValueError(f"dev and test must leave something to train on; got {self.dev} + {self.test}")
        return self


class Transfer(_Table):
    """A trained network to start from: its last layer is replaced, everything before it frozen.

    Architecture, options and preprocessing are those of that network; ``training`` is how the new layer is
    trained. A detector takes its backbone, and pictures scaled as that was trained, but in a size of their own.

    Attributes:
        model: a folder that a run left, its name below ``models/``, or ``imagenet:`` and an architecture.
        unfreeze: how many of the last layers before the new one are then trained too, or ``"all"``; 0 for none.
        epochs: of that fine-tuning, which has no warm-up.
        learning_rate: of that fine-tuning; a tenth of ``training.learning_rate`` where it is left out.
    """

    model: str
    unfreeze: pydantic.NonNegativeInt | Literal["all"] = 0
    epochs: pydantic.PositiveInt = 10
    learning_rate: pydantic.PositiveFloat | None = None

    def resolved(self, training: "Training") -> Self:
        """The same, with a learning rate beside that of ``training``."""
        if self.learning_rate is not None:
            return self
        return self.model_copy(update={"learning_rate": training.learning_rate / 10})


class Training(_Table):
    """How the network is trained.

    Attributes:
        epochs: passes over the training examples.
        batch_size: examples a step; 1 is stochastic, ``"all"`` batch gradient descent.
        optimizer: its parameters are the next keys; where they are left out they are those of ``OPTIMIZERS``.
        momentum, rho, beta_1, beta_2, epsilon, weight_decay: as Keras's optimizers name them.
        learning_rate: at the start, or after the warm-up.
        schedule: with t counted in epochs: ``step`` multiplies the rate by ``decay_rate`` every
            ``decay_epochs``; ``exponential`` is rate * decay_rate ** (t / decay_epochs);
            ``inverse_time`` is rate / (1 + decay_rate * t / decay_epochs); ``cosine`` falls to 0 over all the
            epochs; ``plateau`` multiplies by ``decay_rate`` after ``decay_epochs`` without a lower dev loss.
        decay_rate, decay_epochs: of the schedule; where they are left out they are those of ``SCHEDULES``.
        warmup_epochs: the rate first rises from 0 in a straight line; may be a fraction of an epoch.
        clip_norm: gradients are scaled down to this norm, taken over all weights.
        clip_value: no entry of a gradient is larger than this.
        l1, l2: weight of the sum of absolute, of squared kernel weights in the loss.
        dropout: the fraction of units dropped in architectures that drop; a list has one for each layer.
        label_smoothing: share of a target that is spread over all classes.
        class_weights: ``"balanced"`` weighs every class by the inverse of its frequency; or a weight for each label.
        early_stopping: epochs without a lower dev loss before training stops; 0 is never.
        mixed_precision: compute in float16, with weights in float32: faster on GPUs that have tensor cores. What is
            kept and exported computes in float32.
        seed: of initial weights, order of examples, dropout and augmentation.
    """

    epochs: pydantic.PositiveInt = 30
    batch_size: pydantic.PositiveInt | Literal["all"] = 64
    optimizer: Optimizer = "adam"
    momentum: Fraction | None = None
    rho: Fraction | None = None
    beta_1: Fraction | None = None
    beta_2: Fraction | None = None
    epsilon: pydantic.PositiveFloat | None = None
    weight_decay: pydantic.NonNegativeFloat | None = None
    learning_rate: pydantic.PositiveFloat = 0.002
    schedule: Schedule = "cosine"
    decay_rate: pydantic.PositiveFloat | None = None
    decay_epochs: pydantic.PositiveInt | None = None
    warmup_epochs: pydantic.NonNegativeFloat = 0.0
    clip_norm: pydantic.PositiveFloat | None = None
    clip_value: pydantic.PositiveFloat | None = None
    l1: pydantic.NonNegativeFloat = 0.0
    l2: pydantic.NonNegativeFloat = 0.0
    dropout: Fraction | tuple[Fraction, ...] = 0.0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["balanced"] | dict[str, pydantic.PositiveFloat] | None = None
    early_stopping: pydantic.NonNegativeInt = 10
    mixed_precision: bool = False
    seed: Seed = 0

    @pydantic.model_validator(mode="after")
    def _parameters_belong_together(self) -> Self:
        for chosen, table in ((self.optimizer, OPTIMIZERS), (self.schedule, SCHEDULES)):
            for name in sorted(_options(table)):
                if getattr(self, name) is not None and name not in table[chosen]:
                    takes = ", ".join(table[chosen]) or "none of its kind"
                    raise ValueError(f"{chosen} takes no {name} (it takes {takes})")
        if self.decay_rate is not None and self.decay_rate >= 1 and self.schedule in ("step", "exponential", "plateau"):
            raise ValueError(f"decay_rate of {self.schedule} must be less than 1; got {self.decay_rate}")
        if self.warmup_epochs and self.schedule == "plateau":
            raise ValueError("plateau takes no warmup_epochs: it sets the rate itself; use another schedule")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be less than epochs; got {self.warmup_epochs} of {self.epochs}")
        if self.clip_norm is not None and self.clip_value is not None:
            raise ValueError("clip_norm and clip_value exclude each other: leave one out")
        return self

    def resolved(self) -> Self:
        """The same, with a value for every parameter of the optimizer and the schedule."""
        defaults = {**OPTIMIZERS[self.optimizer], **SCHEDULES[self.schedule]}
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=missing)


class Detection(_Table):
    """How boxes are learned and told; of ``localizer`` and ``yolo_grid`` alone.

    Attributes:
        anchors: height and width of each, as fractions of the resized picture; found by k-means on the boxes of
            train where they are left out and a cell has more than one box.
        box_loss: ``ciou`` (Zheng et al. 2020) or ``sqrt``, squared differences of the centre and of the square roots
            of height and width (Redmon et al. 2015).
        object_weight, no_object_weight, box_weight, class_weight: of the terms of the loss.
        min_score: boxes that are less sure are not told; a default of the bundle.
        max_overlap: of two boxes of a class that share more than this (intersection over union), the surer is told;
            a default of the bundle.
        most: boxes that are told of one picture.
        flawed: ``refuse`` to train where labels are unusable, or ``skip`` these.
    """

    anchors: tuple[tuple[pydantic.PositiveFloat, pydantic.PositiveFloat], ...] | None = None
    box_loss: BoxLoss = "ciou"
    object_weight: pydantic.NonNegativeFloat = 1.0
    no_object_weight: pydantic.NonNegativeFloat = 0.5
    box_weight: pydantic.NonNegativeFloat = 5.0
    class_weight: pydantic.NonNegativeFloat = 1.0
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.3
    max_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5
    most: Annotated[int, Field(ge=1, le=1000)] = 100
    flawed: Flawed = "refuse"


class Text(_Table):
    """How texts become tokens; of sources of texts alone. What is left out is chosen by the task and by train.

    Attributes:
        unit: ``character`` or ``word``.
        standardize: ``none``, ``lower``, ``strip_punctuation`` or ``lower_and_strip_punctuation``.
        vocabulary: tokens at most, the most frequent of train; all others count as unknown.
        min_count: tokens that train has less often count as unknown.
        length: tokens that are kept of a sequence; 0 for all.
        window: tokens at once of a running text: what lies further back gets no gradient.
    """

    unit: Unit | None = None
    standardize: Standardize | None = None
    vocabulary: Annotated[int, Field(ge=3)] = 10_000
    min_count: pydantic.PositiveInt | None = None
    length: pydantic.NonNegativeInt | None = None
    window: Annotated[int, Field(ge=2)] = 100


class Axis(_Table):
    """One thing that ``dlapp tune`` varies: a range of numbers, or a list of choices.

    Attributes:
        low, high: both ends belong to the range; whole numbers give whole numbers.
        scale: ``log`` for what matters by its order of magnitude; ``complement`` is log on 1 - value,
            for what is close to 1, such as momentum.
        choices: instead of a range.
        stage: axes of stage 1 are searched first, while those of later stages stay as the recipe has them.
    """

    low: int | float | None = None
    high: int | float | None = None
    scale: Literal["linear", "log", "complement"] = "linear"
    choices: tuple[bool | int | float | str, ...] | None = None
    stage: Literal[1, 2, 3] = 1

    @pydantic.model_validator(mode="after")
    def _is_a_range_or_choices(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or not self.choices:
                raise ValueError("give low and high, or choices, which must not be empty")
        elif self.low is None or self.high is None or self.low >= self.high:
            raise ValueError(f"low must be less than high; got {self.low} and {self.high}")
        elif self.scale == "log" and self.low <= 0:
            raise ValueError(f"low must be above 0 on a log scale; got {self.low}")
        elif self.scale == "complement" and not 0 <= self.low < self.high < 1:
            raise ValueError(f"low and high must lie in [0, 1) on the complement scale; got {self.low} and {self.high}")
        return self


class Tune(_Table):
    """What ``dlapp tune`` searches.

    Attributes:
        space: dotted keys of the recipe and how each varies; ``width`` and ``depth`` stand for the units of
            every hidden layer and the number of layers. Where it is left out, ``dlapp tune`` chooses by the
            course's order of importance.
        seed: of the search.
    """

    space: dict[str, Axis] = Field(default_factory=dict[str, Axis])
    seed: Seed = 0


class Export(_Table):
    """Which files a bundle holds, and what they say of themselves.

    Attributes:
        formats: ``savedmodel``, ``onnx`` or both.
        version: of the model.
        license: under which others may use it.
        author: who made it.
    """

    formats: Annotated[tuple[Format, ...], Field(min_length=1)] = ("savedmodel", "onnx")
    version: str | None = None
    license: str | None = None
    author: str | None = None


class Recipe(_Table):
    """Everything a run needs; every key but ``architecture`` and ``data`` has a default.

    Attributes:
        architecture: the name of a builder.
        data: a source, written ``scheme:rest``.
        architecture_options: keyword arguments of the builder.
        transfer: a trained network to start from, whose architecture this then is.
    """

    architecture: str
    data: str
    architecture_options: dict[str, Any] = Field(default_factory=dict[str, Any])
    preprocessing: Preprocessing = Preprocessing()
    split: Split = Split()
    transfer: Transfer | None = None
    training: Training = Training()
    detection: Detection = Detection()
    text: Text = Text()
    export: Export = Export()
    tune: Tune = Tune()

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
        unsaid = {
            name
            for name, table in (("tune", Tune()), ("detection", Detection()), ("text", Text()))
            if getattr(self, name) == table
        }
        return tomlkit.dumps(self.model_dump(mode="json", exclude_none=True, exclude=unsaid))


def with_changes(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested ``values`` with dotted keys set: ``{"training.l2": 1e-3}``.

    Another optimizer or schedule takes none of the parameters of the one before.
    """
    changed: Any = copy.deepcopy(dict(values))
    for dotted, value in changes.items():
        *tables, key = dotted.split(".")
        place = changed
        for table in tables:
            if not isinstance(place.setdefault(table, {}), dict):
                raise RecipeError(f"{table} is no table, so {dotted} cannot be set.")
            place = place[table]
        place[key] = value
    for choice, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        before = values.get("training", {}).get(choice, Training.model_fields[choice].default)
        if changes.get(f"training.{choice}", None) not in (None, before):
            for name in _options(table):  # of the one that was replaced
                if f"training.{name}" not in changes:
                    changed["training"].pop(name, None)
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
    kind, place = error["type"], error["loc"]
    axis = len(place) > 2 and place[:2] == ("tune", "space")
    if axis and kind == "model_type":
        return f"{dotted} must be an axis, {_AXES}; got {received!r} in {where}."
    if axis and kind == "extra_forbidden":
        parted = place[2] in Recipe.model_fields
        hint = f'Write the key in quotes: "{place[2]}.{place[3]}".' if parted else f"An axis is {_AXES}."
        return f"unknown key {dotted} in {where}. {hint}"
    if kind == "extra_forbidden":
        known = _known_keys(Recipe)
        near = [key for key in known if key.rpartition(".")[2] == dotted.rpartition(".")[2]]
        near = near or difflib.get_close_matches(dotted, [*known, *Recipe.model_fields], n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
        return f"unknown key {dotted} in {where}. {hint}"
    if kind == "missing" and isinstance(place[-1], str):
        return f'{where} must name the {dotted}: add a line {dotted} = "...".'
    if kind == "literal_error":
        expected: str = error["ctx"]["expected"]
        names = expected.replace("'", "").replace(" or ", ", ").split(", ")
        near = difflib.get_close_matches(str(received), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        number = "a positive whole number or " if error is not errors[0] else ""
        return f"{dotted} must be {number}{expected}; got {received!r} in {where}.{hint}"
    if kind == "value_error":
        return f"{dotted}: {error['ctx']['error']} in {where}."
    if kind in ("missing", "tuple_type", "too_long"):
        return f"{dotted} must be a list like [32, 32]; got {received!r} in {where}."
    if kind == "too_short":
        return f"{dotted} must name at least one; got {received!r} in {where}."
    rule = "a table" if kind in ("model_type", "dict_type") else error["msg"].removeprefix("Input should be ")
    return f"{dotted} must be {rule}; got {received!r} in {where}."


def _dotted(error: Any) -> str:
    """The key of an error, without the members of unions and places in lists that pydantic adds."""
    if error["loc"][:2] == ("tune", "space"):
        return ".".join(error["loc"][:4])  # keys of axes have dots
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
