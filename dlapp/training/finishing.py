"""After the last epoch: the best weights are measured on every split, and what exporting needs is kept."""

import importlib.metadata
import os
import platform
import shlex
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import dlapp
from dlapp import pictures
from dlapp import signature as signatures
from dlapp.architectures.heads import with_final_output
from dlapp.data import Examples
from dlapp.data.pipelines import Pipeline, naming_unreadable
from dlapp.evaluation import score, score_regression
from dlapp.files import replacing, write_json
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder, load_keras
from dlapp.training.precision import in_float32
from dlapp.training.preparing import Run

_SAMPLES = 8
_CANDIDATES = 32
_SAMPLE_SIDE = 512  # pixels: a bundle carries the samples
_LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn", "pillow")


def finish(run: Run, folder: ModelFolder) -> dict[str, np.ndarray]:
    """Evaluates the best weights on every split and writes what the folder still lacks but the report.

    Returns:
        What they answer on every split, by its name: probabilities (n, classes) or values (n, 1).
    """
    model = load_keras(folder.model)
    if run.recipe.training.mixed_precision:
        model = in_float32(model)  # what is measured is what is exported
        with replacing(folder.model) as beside:
            model.save(beside)
    network = with_final_output(model, run.target)
    answers = {}
    metrics: dict[str, Any] = {}
    for name, part in run.data.splits().items():
        with naming_unreadable(part):
            answers[name] = predict(network, part, run.preprocessing)
        metrics[name] = score_task(part.targets, answers[name], run.data.labels, run.target)
    metrics |= {
        "task": run.data.task,
        "epochs": len(read_history(folder.history)),
        "parameters": model.count_params(),
        "seed": run.recipe.training.seed,
        "versions": versions(),
        "data_hash": run.data.hash,
        "own_splits": list(run.data.own_splits),
    }
    provenance = _provenance(run, folder, metrics)
    if run.target is None:
        signature = signatures.classification(run.data.labels, run.preprocessing, provenance)
    else:
        signature = signatures.regression(run.target, run.preprocessing, provenance)
    write_samples(folder, run.data.test)
    signature.write(folder.signature)
    seconds = sum(row["seconds"] for row in read_history(folder.history))
    machine = f"{os.cpu_count()} CPU cores, {seconds:.0f} s"
    command = f"dlapp train {shlex.quote(str(folder.recipe))}"
    run.recipe.write(folder.recipe, header=f"{command}       {machine}, test {_headline(metrics['test'])}")
    write_json(folder.metrics, metrics)  # last: a folder that has it is finished
    return answers


def score_task(
    targets: np.ndarray, answers: np.ndarray, labels: Sequence[str], target: signatures.Target | None
) -> dict[str, Any]:
    """The metrics of a classifier, or of a regression where there is a ``target``."""
    if target is None:
        return score(targets, answers, labels)
    return score_regression(targets, answers[:, 0], deviation=target.deviation)


def _headline(scores: dict[str, Any]) -> str:
    if "accuracy" in scores:
        return f"accuracy {scores['accuracy']:.4f}"
    return f"mean absolute error {scores['mean_absolute_error']:.4g}"


def predict(network: keras.Model, examples: Examples, preprocessing: signatures.Preprocessing) -> np.ndarray:
    """What a network gives in inference mode, in the order of ``examples``: (n, outputs) float32."""
    batches = Pipeline(examples, preprocessing, cache_bytes=0).batches(64)  # read once
    return np.asarray(network.predict(batches.map(lambda inputs, _: inputs), verbose=0))


def write_samples(folder: ModelFolder, examples: Examples) -> None:
    """A few raw inputs of one shape, from the beginning of ``examples``; photographs are made smaller."""
    samples: list[np.ndarray] = []
    for index in range(min(len(examples), _CANDIDATES)):
        candidate = examples.read(index)
        if examples.channels:
            candidate = pictures.shrink(candidate, _SAMPLE_SIDE)
        if not samples or candidate.shape == samples[0].shape:
            samples.append(candidate)
        if len(samples) == _SAMPLES:
            break
    with replacing(folder.samples) as beside:
        np.savez_compressed(beside, inputs=np.stack(samples))


def versions() -> dict[str, str]:
    """The versions that the numbers of a run depend on."""
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"dlapp": dlapp.__version__, "python": platform.python_version(), **libraries}


def _provenance(run: Run, folder: ModelFolder, metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": folder.path.name,
        "architecture": run.recipe.architecture,
        "data": run.recipe.data,
        "data_hash": run.data.hash,
        "seed": run.recipe.training.seed,
        "versions": metrics["versions"],
        "test": {
            key: metrics["test"][key]
            for key in ("examples", "loss", "accuracy", "mean_absolute_error", "r2")
            if key in metrics["test"]
        },
        "recipe": run.recipe.to_toml(),
    }
