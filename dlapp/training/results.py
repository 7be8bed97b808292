"""What is known of a finished run, in one place: ``results.json``, from which its model card is written."""

import os
import shlex
from collections.abc import Mapping
from typing import Any

import tomlkit

from dlapp.architectures import ARCHITECTURES
from dlapp.architectures.heads import for_inference
from dlapp.architectures.summary import summarize
from dlapp.data import sources
from dlapp.recipe import OPTIMIZERS, SCHEDULES, Recipe
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder

# what a person reads first, beside the task whose metric it is; a run is judged anew by its interval
HEADLINES = {
    **{"classification": "accuracy", "tagging": "accuracy", "regression": "mean_absolute_error"},
    **{"sequence_to_sequence": "exact_match", "language_model": "bits_per_character"},
    **{"localization": "mean_iou", "detection": "map_50"},
}
# what an error of `diagnosis.json` is, where the headline has no interval of its own
_ERRORS = {
    "language_model": "bits_per_character",
    "localization": "1 - F1 of a picture",
    "detection": "1 - F1 of a picture",
}
_LONG = ("per_class", "confusion_matrix", "confused")  # of train and dev nobody reads them here
_SHOWN_LABELS = 20
_ADVICE = 3


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
    rows = summarize(network)
    multiply_adds = [row.multiply_adds for row in rows]
    history = read_history(folder.history)
    scheme = sources.parse(recipe.data)[0]
    return {
        "name": folder.path.name,
        "command": f"dlapp train {shlex.quote(str(folder.recipe))}",
        "architecture": recipe.architecture,
        "what": ARCHITECTURES[recipe.architecture].what,
        "source": ARCHITECTURES[recipe.architecture].source,
        "task": signature.task,
        "labels": list(signature.labels[:_SHOWN_LABELS]),
        "classes": len(signature.labels),
        "data": {
            "source": recipe.data,
            "what": sources.SOURCES[scheme][2].partition(";")[0],
            "license": data_license or sources.LICENSES.get(scheme),
            "hash": metrics["data_hash"],
            "own_splits": metrics["own_splits"],
        },
        "recipe": _changed(recipe),
        "parameters": network.count_params(),
        "multiply_adds": None if None in multiply_adds else sum(filter(None, multiply_adds)),
        "training": {
            "epochs": len(history),
            "best_epoch": int(min(history, key=lambda row: row["dev_loss"])["epoch"]),
            "seconds": round(sum(row["seconds"] for row in history), 1),
            "processors": os.cpu_count(),
        },
        "headline": _headline(signature.task, metrics["test"], diagnosis),
        "train": {key: value for key, value in metrics["train"].items() if key not in _LONG},
        "dev": {key: value for key, value in metrics["dev"].items() if key not in _LONG},
        "test": metrics["test"],
        "diagnosis": diagnosis and _shorten(diagnosis),
        "parity": parity
        and [
            {key: row[key] for key in ("runtime", "version", "verdict", "largest_difference", "reason", "remedy")}
            for row in parity["results"]
        ],
        "benchmark": benchmark
        and {
            **{key: benchmark[key] for key in ("processor", "processors", "threads", "input_shape")},
            "results": [
                {key: row[key] for key in ("variant", "runtime", "bytes", "latency", "error")}
                for row in benchmark["results"]
            ],
        },
        "seed": metrics["seed"],
        "versions": metrics["versions"],
    }


def _changed(recipe: Recipe) -> str:
    """What a recipe says beside the defaults, as TOML."""
    told = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    usual = {**OPTIMIZERS[recipe.training.optimizer], **SCHEDULES[recipe.training.schedule]}
    training = {key: value for key, value in told.pop("training", {}).items() if usual.get(key) != value}
    return tomlkit.dumps(told | ({"training": training} if training else {}))


def _headline(task: str, test: Mapping[str, Any], diagnosis: Mapping[str, Any] | None) -> dict[str, Any]:
    """The first metric of test; what has a 95 % interval, which may be another; None for one that is not known."""
    metric = HEADLINES[task]
    told: dict[str, Any] = {"metric": metric, "value": test[metric], "interval_of": None, "low": None, "high": None}
    if f"{metric}_interval" in test:
        low, high = test[f"{metric}_interval"]
        return told | {"interval_of": metric, "measured": test[metric], "low": low, "high": high}
    if diagnosis is not None:
        error = diagnosis["errors"]["test"]
        return told | {
            "interval_of": _ERRORS[task],
            "measured": error["value"],
            "low": error["low"],
            "high": error["high"],
        }
    return told


def _shorten(diagnosis: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of the card is told: no list of single examples."""
    return {
        **{key: diagnosis[key] for key in ("headline", "bayes_error", "errors", "limits")},
        "findings": [finding["sentence"] for finding in diagnosis["findings"]],
        "next": [{key: advice[key] for key in ("against", "why", "command")} for advice in diagnosis["next"][:_ADVICE]],
        "segments": diagnosis["segments"][:_ADVICE],
        "confused": diagnosis["confused"][:1],
        "boxes": diagnosis["boxes"] and diagnosis["boxes"]["errors"],
        "likely_wrong_labels": len(diagnosis["labels"]),
    }
