"""What to try next, in the course's order: first bias, then variance, then what the splits have in common."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlapp.architectures import ARCHITECTURES
from dlapp.recipe import Augment, Recipe
from dlapp.training.callbacks import Row

_LINEAR = ("logistic_unit", "softmax_regression", "linear_unit")
_MANY_EPOCHS = 3  # times those of the recipe
_BY_FAR = 2  # times as large
_FEW_STEPS = 1000
_LARGER = 3  # halves of the size of pictures
_LEAST_COST = 0.02  # of mean average precision, that is worth a run
_STILL_FALLING = 0.9  # the loss of the last epochs, as a share of that in the middle of the run


@dataclasses.dataclass(frozen=True)
class Facts:
    """What advice depends on, beside the recipe.

    Attributes:
        model: the name of the model.
        recipe_path: where its recipe stands.
        source: its data.
        pictures: whether the examples are pictures; rows otherwise.
        units: of the hidden layers that the recipe may set; none for other networks.
        drops: whether the architecture takes dropout.
        history: the rows of ``history.csv``.
        steps_per_epoch: of the run.
        train_examples, parameters: how many there are.
        suspects: columns that tell the splits apart, where they come from different distributions.
        box_errors: of a detector: kinds of errors on dev, and the mean average precision that each costs.
        size: height and width that pictures are resized to.
        sees_the_past_alone: whether a network answers at every step and knows nothing of those that follow.
    """

    model: str
    recipe_path: str
    source: str
    pictures: bool
    units: tuple[int, ...]
    drops: bool
    history: Sequence[Row]
    steps_per_epoch: int
    train_examples: int
    parameters: int
    suspects: tuple[str, ...] = ()
    box_errors: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    size: tuple[int, int] | None = None
    sees_the_past_alone: bool = False


@dataclasses.dataclass(frozen=True)
class Advice:
    """One thing to try.

    Attributes:
        against: ``bias``, ``variance``, ``mismatch``, ``overfitting of dev`` or ``nothing``.
        why: a sentence.
        command: that tries it.
    """

    against: str
    why: str
    command: str


def advise(recipe: Recipe, problems: Mapping[str, float], facts: Facts) -> tuple[Advice, ...]:
    """What to try, most promising first: bias before variance, unless variance is by far the larger.

    Args:
        recipe: of the run.
        problems: the findings that were called (``avoidable_bias``, ``variance``, ``mismatch``,
            ``dev_overfitting``, ``overtraining``) and their size.
        facts: of the run.
    """
    advice: list[Advice] = []
    if "mismatch" in problems:
        advice += _against_mismatch(recipe, facts)
    overtrained = "overtraining" in problems  # a network that can overfit is large enough, and was trained enough
    bias = _against_bias(recipe, facts) if "avoidable_bias" in problems and not overtrained else []
    variance = _against_variance(recipe, facts) if overtrained or "variance" in problems else []
    first = problems.get("variance", 0.0) > _BY_FAR * problems.get("avoidable_bias", 0.0)
    advice += [*variance, *bias] if first else [*bias, *variance]
    advice += _against_box_errors(recipe, facts)
    dev = min(round(1.5 * recipe.split.dev, 2), 0.4, round(0.9 - recipe.split.test, 2))
    if "dev_overfitting" in problems and dev > recipe.split.dev:
        why = "dev was chosen by too often: a larger dev, drawn anew, is harder to fit by accident"
        settings = {"split.own": False, "split.dev": dev}
        advice += _change("overfitting of dev", why, recipe, facts, "new-dev", settings)
    once: dict[str, Advice] = {}
    for one in advice:
        once.setdefault(one.command, one)
    return tuple(once.values())


def _against_bias(recipe: Recipe, facts: Facts) -> list[Advice]:
    training = recipe.training
    advice = []
    penalties: dict[str, Any] = {"training.l1": 0, "training.l2": 0}
    penalties |= {"training.dropout": 0.0, "training.label_smoothing": 0.0}
    if recipe.preprocessing.augment != Augment():
        penalties["preprocessing.augment"] = {}
    why = "regularization holds the network back from fitting train: take it away first"
    advice += _change("bias", why, recipe, facts, "unregularized", penalties)
    bigger = _bigger(recipe, facts)
    fine_tuned = recipe.transfer.epochs if recipe.transfer is not None and recipe.transfer.unfreeze else 0
    stopped = len(facts.history) < training.epochs + fine_tuned  # by early stopping: more epochs would not be used
    longer = [] if stopped else _longer(recipe, facts)
    steps = len(facts.history) * facts.steps_per_epoch
    few = steps < _FEW_STEPS or _still_falls(facts.history)
    advice += [*longer, *bigger] if few else [*bigger, *longer]
    if training.optimizer != "adam":
        why = f"Adam usually fits faster than {training.optimizer}"
        own = None if recipe.transfer is not None else ARCHITECTURES[recipe.architecture].learning_rate
        settings = {"training.optimizer": "adam", "training.learning_rate": own or 0.002}
        advice += _change("bias", why, recipe, facts, "adam", settings)
    why = "a better learning rate: the range test looks at all of them in a minute"
    command = shlex.join(["dlapp", "train", facts.recipe_path, "--find-learning-rate"])
    advice.append(Advice("bias", why, command))
    advice.append(_search("bias", facts))
    return advice


def _against_variance(recipe: Recipe, facts: Facts) -> list[Advice]:
    training = recipe.training
    advice = []
    if facts.pictures and not recipe.preprocessing.augment.shift:
        why = "more data: shifted copies of the pictures cost nothing"
        advice += _change("variance", why, recipe, facts, "shifted", {"preprocessing.augment.shift": 0.1})
    if facts.drops and not isinstance(training.dropout, tuple):
        rate = max(round(min(training.dropout + 0.4, 0.7), 2), training.dropout)
        why = f"regularization: dropout of {rate:g}"
        advice += _change("variance", why, recipe, facts, "dropout", {"training.dropout": rate})
    l2 = max(float(f"{min(max(10 * training.l2, 1e-3), 0.1):.2g}"), training.l2)
    why = f"regularization: an L2 penalty of {l2:g}"
    advice += _change("variance", why, recipe, facts, "l2", {"training.l2": l2})
    if not training.early_stopping:
        why = "stop when dev gets no better"
        advice += _change("variance", why, recipe, facts, "stopped", {"training.early_stopping": 10})
    if recipe.transfer is not None and recipe.transfer.unfreeze:
        why = "fewer weights to train: the new head alone"
        advice += _change("variance", why, recipe, facts, "frozen", {"transfer.unfreeze": 0})
    elif recipe.transfer is not None:
        pass  # its network is built already
    elif facts.pictures and (recipe.architecture in _LINEAR or facts.units):
        why = "another architecture: convolutions share their weights over the picture"
        settings = {"architecture": "lenet5", "architecture_options": {}, "preprocessing.size": [32, 32]}
        advice += _change("variance", why, recipe, facts, "lenet5", settings)
    elif facts.units and facts.parameters > facts.train_examples:
        units = [min(max(count // 4, 4), count) for count in facts.units[:2]]
        why = f"a smaller network: {facts.parameters:,} parameters learn {facts.train_examples:,} examples by heart"
        if units != list(facts.units):  # which the recipe may leave to its builder
            one = recipe.architecture == "shallow_network"
            settings = {"architecture_options.units": units[0] if one else units}
            advice += _change("variance", why, recipe, facts, "smaller", settings)
    why = "more examples: the learning curve says how much they would bring"
    advice.append(Advice("variance", why, f"dlapp diagnose {shlex.quote(facts.model)} --learning-curve"))
    advice.append(_search("variance", facts))
    return advice


def _against_mismatch(recipe: Recipe, facts: Facts) -> list[Advice]:
    why = "dev is of another kind than train: let every split have some of each, by drawing all of them anew"
    advice = _change("mismatch", why, recipe, facts, "redrawn", {"split.own": False})
    if facts.suspects:
        why = f"find out why {', '.join(facts.suspects)} differ between the splits, or bring examples like those of dev"
    else:
        why = "look at what differs between the splits, and bring training examples like those of dev"
    return [*advice, Advice("mismatch", why, f"dlapp check {shlex.quote(facts.source)}")]


def _against_box_errors(recipe: Recipe, facts: Facts) -> list[Advice]:
    """Against the kinds of errors that cost a detector most, the costliest first."""
    wanted = recipe.detection
    larger = [_LARGER * side // 2 for side in facts.size] if facts.size is not None else []
    why_larger = "pictures of a larger size: small objects get more pixels, and more cells to be told apart"
    remedies: dict[str, tuple[str, str, dict[str, Any]]] = {
        "classification": (
            "the class counts more in the loss",
            "class",
            {"detection.class_weight": 2 * wanted.class_weight},
        ),
        "localization": (
            "the place counts more in the loss",
            "place",
            {"detection.box_weight": 2 * wanted.box_weight, "detection.box_loss": "ciou"},
        ),
        "background": (
            "false alarms cost more in the loss",
            "background",
            {"detection.no_object_weight": 2 * wanted.no_object_weight},
        ),
        "missed": (why_larger, "larger", {"preprocessing.size": larger}),
        "both": (why_larger, "larger", {"preprocessing.size": larger}),
    }
    advice: list[Advice] = []
    for kind, cost in sorted(facts.box_errors.items(), key=lambda item: -item[1]):
        if cost < _LEAST_COST:
            continue
        against = f"{kind} errors" if kind != "missed" else "missed objects"
        if kind == "duplicate":
            why = f"boxes that overlap less are taken for one object: now {wanted.max_overlap:g}"
            words = ["dlapp", "export", facts.model, "--max-overlap", f"{0.7 * wanted.max_overlap:.2g}"]
            advice.append(Advice(against, why, shlex.join([*words, "--name", f"{facts.model}-apart"])))
            continue
        why, suffix, settings = remedies[kind]
        advice += _change(against, why, recipe, facts, suffix, settings)
    return advice


def _bigger(recipe: Recipe, facts: Facts) -> list[Advice]:
    if recipe.transfer is not None:
        if recipe.architecture in _LINEAR:
            return []  # it has no layer but the new one
        why = "the features are those of other pictures: fine-tune the layers that make them"
        return _change("bias", why, recipe, facts, "fine-tuned", {"transfer.unfreeze": "all"})
    if recipe.architecture == "recurrent":
        return _more_recurrent(recipe, facts)
    if facts.units:
        # a narrow or single layer gets company; a wide one is doubled
        units = [max(2 * count, 32) for count in facts.units]
        if len(units) < 3:
            units = [*units, max(units[-1] // 2, 16)]
        settings: dict[str, Any] = {"architecture_options.units": units}
        if recipe.architecture != "deep_network":
            settings = {"architecture": "deep_network", "architecture_options": {"units": units}}
        why = f"a bigger network: {len(units)} hidden layers instead of {len(facts.units)}"
        return _change("bias", why, recipe, facts, "bigger", settings)
    if recipe.architecture in _LINEAR:
        name = "lenet5" if facts.pictures and recipe.architecture != "linear_unit" else "deep_network"
        settings = {"architecture": name, "architecture_options": {}}
        if name == "lenet5":
            settings["preprocessing.size"] = [32, 32]
        return _change(
            "bias", f"a bigger network: {recipe.architecture} has no hidden layer", recipe, facts, name, settings
        )
    if recipe.architecture == "lenet5":
        settings = {"architecture_options.activation": "relu"}
        return _change("bias", "another activation: relu does not saturate", recipe, facts, "relu", settings)
    if ARCHITECTURES[recipe.architecture].task is not None:
        if recipe.architecture_options.get("backbone", "small") != "small":
            return []
        why = "a bigger network: ResNet-18 for a backbone"
        return _change("bias", why, recipe, facts, "resnet18", {"architecture_options.backbone": "resnet18"})
    deeper = _deeper(recipe.architecture)
    why = f"a bigger network: {deeper} is the next deeper of its family"
    return _change("bias", why, recipe, facts, deeper, {"architecture": deeper}) if deeper else []


def _more_recurrent(recipe: Recipe, facts: Facts) -> list[Advice]:
    advice = []
    options = recipe.architecture_options
    if facts.sees_the_past_alone and not options.get("bidirectional"):
        why = "one direction sees the past alone: read every sequence from its end too"
        settings = {"architecture_options.bidirectional": True}
        advice += _change("bias", why, recipe, facts, "both-directions", settings)
    units = [2 * count for count in facts.units]
    why = f"a bigger network: {', '.join(map(str, units))} units"
    return advice + _change("bias", why, recipe, facts, "bigger", {"architecture_options.units": units})


def _deeper(architecture: str) -> str | None:
    """The next of the same family and made for the same size, in the order of the table."""
    own = ARCHITECTURES[architecture]
    family = [name for name, entry in ARCHITECTURES.items() if (entry.family, entry.size) == (own.family, own.size)]
    later = family[family.index(architecture) + 1 :]
    return later[0] if later else None


def _longer(recipe: Recipe, facts: Facts) -> list[Advice]:
    settings: dict[str, Any] = {"training.epochs": _MANY_EPOCHS * recipe.training.epochs}
    why = f"longer: {len(facts.history)} epochs were {len(facts.history) * facts.steps_per_epoch:,} steps"
    size = facts.train_examples if recipe.training.batch_size == "all" else recipe.training.batch_size
    smaller = max(min(facts.train_examples // 20, 32), 8)
    if facts.steps_per_epoch < 20 and smaller < size:
        settings["training.batch_size"] = smaller
        why += "; smaller batches make more of them"
    return _change("bias", why, recipe, facts, "longer", settings)


def _search(against: str, facts: Facts) -> Advice:
    command = shlex.join(["dlapp", "tune", facts.recipe_path, "--trials", "20"])
    return Advice(against, "search the hyperparameters, learning rate first", command)


def _still_falls(history: Sequence[Row]) -> bool:
    losses = [row["train_loss"] for row in history]
    quarter = max(len(losses) // 4, 1)
    return bool(np.mean(losses[-quarter:]) < _STILL_FALLING * np.mean(losses[-2 * quarter : -quarter] or losses[:1]))


def _change(
    against: str, why: str, recipe: Recipe, facts: Facts, suffix: str, settings: Mapping[str, Any]
) -> list[Advice]:
    """Another training, with the settings that the recipe does not have yet; nothing where it has all of them."""
    words = ["dlapp", "train", facts.recipe_path]
    own = recipe.model_dump(mode="json")
    changes = {key: value for key, value in settings.items() if _value(own, key) != value}
    for key, value in changes.items():
        words += ["--set", f"{key}={_to_toml(value)}"]
    command = shlex.join([*words, "--name", f"{facts.model}-{suffix}"])
    return [Advice(against, why, command)] if changes else []


def _value(values: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        values = values.get(part)
    return values


def _to_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_to_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value) if not isinstance(value, str) else value
