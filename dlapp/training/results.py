"""What is known of a finished run, in one place: ``results.json``, from which its model card is written."""

from collections.abc import Mapping
from typing import Any

import tomlkit

from dlapp.architectures import ARCHITECTURES
from dlapp.architectures.heads import for_inference
from dlapp.architectures.summary import multiply_adds
from dlapp.data.sources import LICENSES, SOURCES
from dlapp.evaluation import worst_classes
from dlapp.evaluation.intervals import ENDLESS
from dlapp.recipe import OPTIMIZERS, SCHEDULES, Recipe
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import RESULTS_FORMAT, ModelFolder

# the metric of each task that a card begins with
_HEADLINES = {
    **{"classification": "accuracy", "tagging": "accuracy", "regression": "mean_absolute_error"},
    **{"sequence_to_sequence": "exact_match", "language_model": "bits_per_character"},
    **{"localization": "mean_iou", "detection": "map_50"},
}
# what an error of diagnosis.json is, for tasks whose first metric has no interval of its own
_ERRORS = {
    "language_model": "bits_per_character",
    "localization": "1 - F1 of a picture",
    "detection": "1 - F1 of a picture",
}
_LONG = ("per_class", "confusion_matrix", "confused")
_OF_RUNTIMES = ("runtime", "version", "verdict", "largest_difference", "where", "reason", "remedy")
_SHOWN = 3  # of what a diagnosis lists


def collect(
    folder: ModelFolder,
    *,
    diagnosis: Mapping[str, Any] | None = None,
    parity: Mapping[str, Any] | None = None,
    benchmark: Mapping[str, Any] | None = None,
    data_license: str | None = None,
) -> dict[str, Any]:
    """What ``results.json`` holds.

    Args:
        folder: of a finished run.
        diagnosis, parity, benchmark: what ``diagnosis.json``, ``parity.json`` and ``benchmark.json`` hold; None where
            it was not measured.
        data_license: of the data; what dlapp knows of embedded ones where it is None.

    Raises:
        TrainingError: the run is not finished.
        ModelError: its network cannot be read.
    """
    metrics, recipe, signature = folder.read_metrics(), folder.read_recipe(), folder.read_signature()
    network = for_inference(folder.load_model())
    counts = [multiply_adds(layer) for layer in network.layers]
    history = read_history(folder.history)
    name, test = folder.path.resolve().name, metrics["test"]
    scheme = recipe.data.partition(":")[0].partition("?")[0]
    embedded = scheme in SOURCES and ":" not in SOURCES[scheme][1]
    return {
        "format": RESULTS_FORMAT,
        "name": name,
        "architecture": recipe.architecture,
        "what": ARCHITECTURES[recipe.architecture].what,
        "source": ARCHITECTURES[recipe.architecture].source,
        "base": recipe.transfer and recipe.transfer.model,
        "task": signature.task,
        "target": signature.target and signature.target.name,
        "labels": list(signature.labels) if "confusion_matrix" in test else [],
        "classes": len(signature.labels),
        "data": {
            "source": recipe.data,
            "what": SOURCES[scheme][2].partition(";")[0] if embedded else None,
            "license": data_license or LICENSES.get(scheme),
            "hash": metrics["data_hash"],
            "own_splits": metrics["own_splits"],
            "columns": [column.name for column in signature.preprocessing.columns],
        },
        "recipe": _changed(recipe),
        "parameters": network.count_params(),
        "multiply_adds": None if None in counts else sum(filter(None, counts)),
        "training": {
            "epochs": len(history),
            "best_epoch": int(min(history, key=lambda row: row["dev_loss"])["epoch"]),
            "seconds": round(sum(row["seconds"] for row in history), 1),
            "processors": metrics.get("processors"),
        },
        "headline": _headline(signature.task, test, diagnosis),
        "train": _in_short(metrics["train"]),
        "dev": _in_short(metrics["dev"]),
        "test": _in_short(test),
        "confusion_matrix": test.get("confusion_matrix"),
        "worst_class": _worst_class(test),
        "diagnosis": diagnosis and _findings(diagnosis),
        "parity": parity and [{key: row[key] for key in _OF_RUNTIMES} for row in parity["results"]],
        "benchmark": benchmark and _latencies(benchmark),
        "seed": metrics["seed"],
        "versions": metrics["versions"],
    }


def _changed(recipe: Recipe) -> str:
    """What a run used beside the defaults of a recipe, as TOML."""
    told = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    usual = {**OPTIMIZERS[recipe.training.optimizer], **SCHEDULES[recipe.training.schedule]}
    training = {key: value for key, value in told.pop("training", {}).items() if usual.get(key) != value}
    return tomlkit.dumps(told | ({"training": training} if training else {}))


def _headline(task: str, test: Mapping[str, Any], diagnosis: Mapping[str, Any] | None) -> dict[str, Any]:
    """The first metric of test, and what of test has a 95 % interval: that metric, or else the error of the diagnosis.

    ``interval_of`` says which, ``measured`` is its value between ``low`` and ``high``; all are None where no interval
    is known, also where the diagnosis measured a network that was trained on a part of train.
    """
    metric = _HEADLINES[task]
    told: dict[str, Any] = {"metric": metric, "value": test[metric]}
    if f"{metric}_interval" in test:
        low, high = test[f"{metric}_interval"]
        return {**told, "interval_of": metric, "measured": test[metric], "low": low, "high": high}
    error = {} if diagnosis is None or "train_dev" in diagnosis["errors"] else diagnosis["errors"]["test"]
    if not error or error["high"] - error["low"] >= ENDLESS:
        return {**told, "interval_of": None, "measured": None, "low": None, "high": None}
    ends = {"measured": error["value"], "low": error["low"], "high": error["high"]}
    return {**told, "interval_of": _ERRORS[task], **ends}


def _in_short(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scores.items() if key not in _LONG}


def _worst_class(test: Mapping[str, Any]) -> dict[str, Any] | None:
    """The class with the lowest F1 of those that test has, unless all are perfect."""
    rows = [{"examples": row.get("objects"), **row} for row in test.get("per_class", ()) if "f1" in row]
    worst = next(iter(worst_classes(rows)), None)
    return None if worst is None or worst["f1"] == 1 else {"label": worst["label"], "f1": worst["f1"]}


def _latencies(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    """Of the exported files, not of their smaller variants."""
    rows = [row for row in benchmark["results"] if row["variant"] == "float32"]
    return {
        **{key: benchmark[key] for key in ("processor", "threads", "input_shape")},
        "results": [{key: row[key] for key in ("runtime", "latency", "error")} for row in rows],
    }


def _findings(diagnosis: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of the card is told: no list of single examples."""
    return {
        **{key: diagnosis[key] for key in ("headline", "bayes_error", "errors", "limits")},
        "findings": [finding["sentence"] for finding in diagnosis["findings"]],
        "next": [{key: advice[key] for key in ("against", "why", "command")} for advice in diagnosis["next"][:_SHOWN]],
        "segments": diagnosis["segments"][:_SHOWN],
        "confused": diagnosis["confused"][:1],
        "boxes": diagnosis["boxes"] and diagnosis["boxes"]["errors"],
        "repeats": diagnosis["repeats"],
        "likely_wrong_labels": len(diagnosis["labels"]),
    }
