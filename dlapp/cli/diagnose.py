"""``dlapp diagnose``: bias or variance, do the splits belong together, and what to do next."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.recipe import Recipe
    from dlapp.training.diagnosing import Measured
    from dlapp.training.model_folder import ModelFolder

_SHOWN = 10  # rows of each list


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/.")],
    bayes_error: Annotated[
        float,
        typer.Option(min=0.0, help="The error of the best there can be, such as a person's: a share, 0.02 is 2 %."),
    ] = 0.0,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also train on parts of the data; takes many runs.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Of the learning curve: runs of each size.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print diagnosis.json.")] = False,
) -> None:
    """Says whether a model is good, why not, and what to try; writes diagnosis.json and the report."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    from dlapp.training.model_folder import ModelFolder

    folder = ModelFolder.find(model)
    found = diagnose_folder(folder, bayes_error=bayes_error, seeds=seeds if learning_curve else 0)
    if as_json:
        print_json(found)
        return
    print_diagnosis(found)
    print(f"Wrote {folder.diagnosis} and {folder.report}")
    following = found["next"][0]["command"] if found["next"] else f"dlapp export {folder.path.name}"
    print(f"Next: {following}")


def diagnose_folder(folder: "ModelFolder", *, bayes_error: float = 0.0, seeds: int = 0) -> dict[str, Any]:
    """Measures a finished run and writes ``diagnosis.json`` and the report.

    Args:
        folder: of the run.
        bayes_error: of the best there can be: a share of wrong answers, or a mean absolute error.
        seeds: runs for each size of the learning curve; 0 for none.

    Returns:
        What ``diagnosis.json`` holds.
    """
    import dataclasses

    from rich.console import Console

    from dlapp.cli.reports import report
    from dlapp.errors import RecipeError
    from dlapp.evaluation import intervals
    from dlapp.evaluation.bias_variance import headline
    from dlapp.files import write_json
    from dlapp.training import diagnosing

    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    recipe = folder.read_recipe()
    if folder.read_signature().task == "classification" and bayes_error >= 1:
        raise RecipeError(f"--bayes-error is a share of wrong answers, 0.02 for 2 %; got {bayes_error:g}.")
    measured = diagnosing.measure_model(folder)
    splits = diagnosing.compare_splits(measured)
    differing = [pair for pair, separation in splits.items() if separation.verdict == "yes"]
    errors = dict(measured.errors)
    if "train and dev" in differing:
        console.print("train and dev differ: training a copy without a part of train, to tell variance from mismatch")
        errors = diagnosing.split_by_retraining(recipe, measured.data)
    findings = diagnosing.find_bias_and_variance(errors, measured.data, bayes_error=bayes_error)
    findings += diagnosing.find_overtraining(folder, measured)
    curve = None
    if seeds:
        curve = diagnosing.learning_curve(recipe, measured.data, seeds=seeds, tell=console.print)
    found: dict[str, Any] = {
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
                "features": diagnosing.name_features(separation, measured.feature_names),
                "sentence": diagnosing.tell_separation(pair, separation, measured.feature_names),
            }
            for pair, separation in splits.items()
        ],
        "next": _advise(folder, recipe, measured, findings, splits),
        "learning_curve": None if curve is None else dataclasses.asdict(curve),
        **_analyse_errors(measured),
    }
    write_json(folder.diagnosis, found)
    report(folder, measured.data, measured.answers, found)
    return found


def _advise(
    folder: "ModelFolder", recipe: "Recipe", measured: "Measured", findings: Sequence[Any], splits: Mapping[str, Any]
) -> list[dict[str, Any]]:
    import dataclasses
    import inspect
    import math

    from dlapp.architectures import builder
    from dlapp.training.advice import Facts, advise
    from dlapp.training.callbacks import read_history
    from dlapp.training.diagnosing import name_features

    differing = [separation for separation in splits.values() if separation.verdict == "yes"]
    suspects = [name for found in differing for name in name_features(found, measured.feature_names)]
    options = inspect.signature(builder(recipe.architecture)).parameters
    units = recipe.architecture_options.get("units", options["units"].default) if "units" in options else ()
    whole = len(measured.data.train)
    size = whole if recipe.training.batch_size == "all" else recipe.training.batch_size
    facts = Facts(
        model=folder.path.name,
        recipe_path=str(folder.recipe),
        source=recipe.data,
        pictures=measured.data.channels > 0,
        units=tuple(units) if isinstance(units, Sequence) else (units,),
        drops="dropout" in options,
        history=read_history(folder.history),
        steps_per_epoch=math.ceil(whole / size),
        train_examples=whole,
        parameters=folder.read_metrics()["parameters"],
        suspects=tuple(dict.fromkeys(suspects)),
    )
    problems = {finding.name: finding.interval.value for finding in findings if finding.verdict == "yes"}
    if differing:
        problems.setdefault("mismatch", 0.0)
    return [dataclasses.asdict(advice) for advice in advise(recipe, problems, facts)]


def _analyse_errors(measured: "Measured") -> dict[str, Any]:
    """Where the mistakes on dev are, and which examples of all splits deserve a look."""
    import dataclasses

    from dlapp.cli.check import judge_repeats
    from dlapp.evaluation import score
    from dlapp.evaluation.duplicates import find_repeats
    from dlapp.evaluation.segments import confused_pairs, worst_segments

    data, dev = measured.data, measured.data.dev
    confused = ()
    if data.labels:
        matrix = score(dev.targets, measured.answers["dev"], data.labels)["confusion_matrix"]
        confused = confused_pairs(matrix, data.labels)[:_SHOWN]
    segments = worst_segments(measured.errors["dev"], _segments(measured))
    groups = find_repeats(
        {name: found.hashes for name, found in measured.audited.items()},
        {name: found.thumbnails for name, found in measured.audited.items()},
        {name: part.targets for name, part in data.splits().items()},
    )
    return {
        "confused": [dataclasses.asdict(pair) for pair in confused],
        "segments": [dataclasses.asdict(segment) for segment in segments[:_SHOWN]],
        "segments_of": "dev",
        "repeats": [
            f"{line['text']}, such as {line['details'][0]}" if line["details"] else line["text"]
            for line in judge_repeats(groups, data.splits(), data.labels)
            if line["verdict"] != "ok"
        ],
        "labels": _suspect_labels(measured) if data.labels else [],
    }


def _segments(measured: "Measured") -> dict[str, Any]:
    """What the examples of dev may have in common: class, brightness and size, or the columns of a table."""
    import numpy as np

    from dlapp.evaluation.segments import by_quantile

    data, dev, audited = measured.data, measured.data.dev, measured.audited["dev"]
    found: dict[str, Any] = {"class": np.array(data.labels)[dev.targets]} if data.labels else {}
    if data.channels:
        found["brightness"] = by_quantile(audited.brightness.astype(np.float64))
        found["contrast"] = by_quantile(audited.contrast.astype(np.float64))
        if len(np.unique(audited.sizes, axis=0)) > 1:
            found["pixels"] = by_quantile(audited.sizes.prod(axis=1).astype(np.float64))
        return found
    for place, column in enumerate(dev.columns):
        cells = dev.inputs[:, place].astype(np.float64)
        if column.categories is None:
            found[column.name] = by_quantile(cells)
        else:
            names = np.array([*column.categories, "some other value"], dtype=object)
            told = names[np.where(np.isnan(cells), -1, cells).astype(np.int64)]
            found[column.name] = np.where(np.isnan(cells), "missing", told).astype(str)
    return found


def _suspect_labels(measured: "Measured") -> list[dict[str, Any]]:
    """Labels most likely wrong: of train by classifiers in folds, of dev and test by the model itself."""
    from dlapp.cli.reports import describe_row, name_example
    from dlapp.evaluation.label_errors import out_of_fold, suspicious_labels

    data = measured.data
    found = []
    for split, part in data.splits().items():
        if split == "train":
            rows, probabilities = out_of_fold(measured.features["train"], part.targets)
        else:
            rows, probabilities = range(len(part)), measured.answers[split]
        for suspicion in suspicious_labels(part.targets[rows], probabilities):
            index = int(rows[suspicion.index])
            found.append(
                {
                    "where": name_example(part, index, split),
                    "details": describe_row(part, index),
                    "given": data.labels[suspicion.given],
                    "suggested": data.labels[suspicion.suggested],
                    "confidence": suspicion.confidence,
                }
            )
    return sorted(found, key=lambda suspicion: -suspicion["confidence"])[: 2 * _SHOWN]


def print_diagnosis(found: Mapping[str, Any]) -> None:
    """The diagnosis on the terminal."""
    print(found["headline"])
    for finding in found["findings"]:
        print(f"  {finding['sentence']}")
    for pair in found["splits"]:
        print(f"  {pair['sentence']}")
    if found["learning_curve"]:
        print(f"  {found['learning_curve']['extrapolation']['sentence']}")
    for segment in found["segments"][:3]:
        name, value = segment["name"], segment["value"]
        print(f"  Worse on {name} {value}: error {segment['error']:.4g}, {segment['rest_error']:.4g} elsewhere.")
    if found["confused"]:
        pair = found["confused"][0]
        print(
            f"  Most confused on dev: {pair['true']} taken for {pair['predicted']} ({pair['count']} of the mistakes)."
        )
    for line in found["repeats"]:
        print(f"  {line}")
    if found["labels"]:
        first = found["labels"][0]
        print(
            f"  Labels that are most likely wrong: {len(found['labels'])}, first {first['where']}: "
            f"{first['given']}, perhaps {first['suggested']}."
        )
    if not found["bayes_error"]:
        print("  (The Bayes error was taken as 0: say what a person reaches with --bayes-error.)")
    if found["next"]:
        print("What to try next:")
        for number, advice in enumerate(found["next"], start=1):
            print(f"  {number}. against {advice['against']}: {advice['why']}\n       {advice['command']}")
