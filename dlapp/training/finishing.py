"""After the last epoch: the best weights are measured on every split, and what exporting needs is kept."""

import importlib.metadata
import os
import platform
from typing import Any

import keras
import numpy as np

import dlapp
from dlapp import pictures
from dlapp import signature as signatures
from dlapp.architectures.heads import with_probabilities
from dlapp.data import Examples
from dlapp.data.pipelines import Pipeline, naming_unreadable
from dlapp.evaluation import score
from dlapp.files import replacing, write_json
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder, load_keras
from dlapp.training.preparing import Run

_SAMPLES = 8
_CANDIDATES = 32
_SAMPLE_SIDE = 512  # pixels: a bundle carries the samples
_LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn", "pillow")


def finish(run: Run, folder: ModelFolder) -> dict[str, np.ndarray]:
    """Evaluates the best weights on every split and writes what the folder still lacks but the report.

    Returns:
        The probabilities of every split, (n, classes), by its name.
    """
    model = load_keras(folder.model)
    network = with_probabilities(model)
    probabilities = {}
    metrics: dict[str, Any] = {}
    for name, part in run.data.splits().items():
        with naming_unreadable(part):
            probabilities[name] = predict(network, part, run.preprocessing)
        metrics[name] = score(part.targets, probabilities[name], run.data.labels)
    metrics |= {
        "epochs": len(read_history(folder.history)),
        "parameters": model.count_params(),
        "seed": run.recipe.training.seed,
        "versions": versions(),
        "data_hash": run.data.hash,
        "own_splits": list(run.data.own_splits),
    }
    signature = signatures.classification(run.data.labels, run.preprocessing, _provenance(run, folder, metrics))
    write_samples(folder, run.data.test)
    signature.write(folder.signature)
    seconds = sum(row["seconds"] for row in read_history(folder.history))
    run.recipe.write(
        folder.recipe,
        header=f"dlapp train {folder.recipe}       {os.cpu_count()} CPU cores, {seconds:.0f} s, "
        f"test accuracy {metrics['test']['accuracy']:.4f}",
    )
    write_json(folder.metrics, metrics)  # last: a folder that has it is finished
    return probabilities


def predict(network: keras.Model, examples: Examples, preprocessing: signatures.Preprocessing) -> np.ndarray:
    """What ``with_probabilities`` gives in inference mode, in the order of ``examples``: (n, classes) float32."""
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
        "test": {key: metrics["test"][key] for key in ("examples", "loss", "accuracy")},
        "recipe": run.recipe.to_toml(),
    }
