"""What is wrong with a model, and what to do about it: measured on its own data, split by split."""

import dataclasses
import inspect
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlapp.architectures import builder
from dlapp.architectures.loading import load_model
from dlapp.architectures.recurrent_networks import sees_the_past_alone
from dlapp.data import Data
from dlapp.errors import RecipeError
from dlapp.evaluation import intervals
from dlapp.evaluation.bias_variance import Finding, bias_and_variance, headline, overtraining
from dlapp.evaluation.mismatch import Separation, adversarial_validation
from dlapp.recipe import Recipe
from dlapp.training.advice import Advice, Facts, advise
from dlapp.training.answering import SHARES, answer, errors_of
from dlapp.training.callbacks import read_history
from dlapp.training.error_analysis import analyse_errors
from dlapp.training.measured import Measured, measure_model
from dlapp.training.model_folder import ModelFolder
from dlapp.training.precision import in_float32
from dlapp.training.retraining import compare_directions, learning_curve, split_by_retraining

_LEAST_BITS = 0.05  # a character, that are worth acting on
_LEAST_MARGIN = 0.05  # of the mean absolute deviation of a regression's target
_LEAST_DIFFERENCE = 0.02  # of 1 - F1 of pictures with boxes


def diagnose(
    folder: ModelFolder,
    *,
    bayes_error: float = 0.0,
    seeds: int = 0,
    directions: bool = False,
    tell: Callable[[str], None] = print,
) -> tuple[dict[str, Any], Measured]:
    """Measures a finished run: what is wrong, where, and what to try.

    Args:
        folder: of the run; nothing in it is changed.
        bayes_error: of the best there can be: a share of wrong answers, or a mean absolute error.
        seeds: runs for each size of the learning curve; 0 for none.
        directions: whether to train the network once more that reads in both directions, or in one, and compare.
        tell: takes a line before and during what lasts.

    Returns:
        What ``diagnosis.json`` holds, and what it was found from.

    Raises:
        RecipeError: the Bayes error is no share, or there is nothing to compare directions of.
        SourceError: the data have changed since the training.
    """
    recipe = folder.read_recipe()
    if folder.read_signature().task not in ("regression", "language_model") and bayes_error >= 1:
        raise RecipeError(f"--bayes-error is a share of wrong answers, 0.02 for 2 %; got {bayes_error:g}.")
    measured = measure_model(folder)
    if seeds and len(measured.data.train) == 1:
        raise RecipeError(
            f"a learning curve takes parts of train; {recipe.data} is one text. Leave --learning-curve out."
        )
    splits = compare_splits(measured)
    differing = [pair for pair, separation in splits.items() if separation.verdict == "yes"]
    errors = dict(measured.errors)
    if "train and dev" in differing:
        tell("train and dev differ: training a copy without a part of train, to tell variance from mismatch")
        errors = split_by_retraining(recipe, measured.data)
    findings = find_bias_and_variance(errors, measured.data, bayes_error=bayes_error)
    findings += find_overtraining(folder, measured)
    analysis = analyse_errors(measured)
    curve = learning_curve(recipe, measured.data, seeds=seeds, tell=tell) if seeds else None
    other = compare_directions(recipe, measured.data, measured.errors, tell=tell) if directions else None
    found = {
        "model": str(folder.path),
        "data": recipe.data,
        "task": measured.data.task,
        "bayes_error": bayes_error,
        "headline": headline(findings, differing),
        "errors": {
            name: {"examples": len(values), **dataclasses.asdict(intervals.of_errors(values))}
            for name, values in errors.items()
        },
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "splits": [
            {
                "pair": pair,
                **dataclasses.asdict(separation),
                "features": name_features(separation, measured.feature_names),
                "sentence": tell_separation(pair, separation, measured.feature_names),
            }
            for pair, separation in splits.items()
        ],
        "next": [
            dataclasses.asdict(advice) for advice in _advise(folder, recipe, measured, findings, splits, analysis)
        ],
        "limits": _limits(measured, folder),
        "directions": None if other is None else dataclasses.asdict(other),
        "learning_curve": None if curve is None else dataclasses.asdict(curve),
        **analysis,
    }
    return found, measured


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
    if data.task in SHARES:
        return bias_and_variance(errors, bayes_error=bayes_error)
    if data.task == "language_model":
        return bias_and_variance(errors, bayes_error=bayes_error, margin=_LEAST_BITS)
    if data.task == "detection":
        return bias_and_variance(errors, bayes_error=bayes_error, margin=_LEAST_DIFFERENCE)
    targets = data.train.targets.astype(np.float64)
    margin = _LEAST_MARGIN * float(np.abs(targets - targets.mean()).mean())
    return bias_and_variance(errors, bayes_error=bayes_error, margin=margin)


def find_overtraining(folder: ModelFolder, measured: Measured) -> tuple[Finding, ...]:
    """Whether the run overfits after the epoch that was kept: a third pass.

    Nothing where that was the last epoch, nor of a transfer, each of whose stages has a last model of its own.
    """
    losses = [row["dev_loss"] for row in read_history(folder.history)]
    best = int(np.argmin(losses))
    if best == len(losses) - 1 or not folder.last_model.is_file():
        return ()
    signature = folder.read_signature()
    network = in_float32(load_model(folder.last_model))
    last = {
        name: errors_of(part, answer(network, part, signature), signature)
        for name, part in (("train", measured.data.train), ("dev", measured.data.dev))
    }
    shares = measured.data.task in SHARES
    rise = losses[-1] / max(losses[best], 1e-12) - 1
    return (overtraining(measured.errors, last, epoch=best + 1, last_epoch=len(losses), rise=rise, shares=shares),)


def _limits(measured: Measured, folder: ModelFolder) -> list[str]:
    """What a network of this kind cannot do, whatever it is trained on."""
    if measured.data.task != "tagging" or not sees_the_past_alone(folder.load_model()):
        return []
    limit = "It reads in one direction: the tag of a word depends on the words up to it, never on those that follow."
    return [f"{limit} dlapp diagnose {shlex.quote(folder.path.name)} --directions compares it with both."]


def _advise(
    folder: ModelFolder,
    recipe: Recipe,
    measured: Measured,
    findings: Sequence[Finding],
    splits: Mapping[str, Separation],
    analysis: Mapping[str, Any],
) -> tuple[Advice, ...]:
    differing = [separation for separation in splits.values() if separation.verdict == "yes"]
    suspects = [name for found in differing for name in name_features(found, measured.feature_names)]
    options = inspect.signature(builder(recipe.architecture)).parameters
    units = recipe.architecture_options.get("units", options["units"].default) if "units" in options else ()
    whole = len(measured.errors["train"])  # of a running text its parts
    size = whole if recipe.training.batch_size == "all" else recipe.training.batch_size
    facts = Facts(
        model=folder.path.name,
        recipe_path=str(folder.recipe),
        source=recipe.data,
        pictures=measured.data.channels > 0,
        units=tuple(units) if isinstance(units, Sequence) else (units,),
        drops="dropout" in options or recipe.transfer is not None,
        history=read_history(folder.history),
        steps_per_epoch=math.ceil(whole / size),
        train_examples=whole,
        parameters=folder.read_metrics()["parameters"],
        suspects=tuple(dict.fromkeys(suspects)),
        box_errors={kind: error["cost"] for kind, error in analysis["boxes"]["errors"].items()}
        if analysis["boxes"]
        else {},
        size=recipe.preprocessing.size,
        sees_the_past_alone=measured.data.task == "tagging" and sees_the_past_alone(folder.load_model()),
    )
    problems = {finding.name: finding.interval.value for finding in findings if finding.verdict == "yes"}
    if differing:
        problems.setdefault("mismatch", 0.0)
    return advise(recipe, problems, facts)
