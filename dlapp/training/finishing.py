"""After the last epoch: the best weights are measured on every split, and what exporting needs is kept."""

import dataclasses
import importlib.metadata
import os
import platform
import shlex
from typing import Any

import numpy as np

import dlapp
from dlapp import pictures, texts
from dlapp.architectures.loading import load_model
from dlapp.data import Examples
from dlapp.data.pipelines import naming_unreadable
from dlapp.files import replacing, write_json
from dlapp.signature import Preprocessing, Vocabulary
from dlapp.training.answering import Answers, answer_and_measure, score_answers
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder
from dlapp.training.precision import in_float32
from dlapp.training.preparing import Run

_SAMPLES = 8
_CANDIDATES = 32
_SAMPLE_SIDE = 512  # pixels: a bundle carries the samples
_SAMPLE_TOKENS = 64
_HEADLINES = (
    *("examples", "loss", "map_50", "map_50_95", "mean_iou", "accuracy", "mean_absolute_error", "r2"),
    *("exact_match", "perplexity", "bits_per_character"),
)
_BEFORE_ACCURACY = (
    *(("map_50", "mAP@0.5"), ("mean_iou", "mean IoU")),
    *(("exact_match", "exact match"), ("bits_per_character", "bits a character")),
)
_LIBRARIES = ("keras", "tensorflow", "numpy", "scikit-learn", "pillow")


def finish(run: Run, folder: ModelFolder) -> dict[str, Answers]:
    """Evaluates the best weights on every split and writes what the folder still lacks but the report.

    Returns:
        What they answer on every split, by its name.
    """
    model = load_model(folder.model)
    if run.recipe.training.mixed_precision:
        model = in_float32(model)  # what is measured is what is exported
        with replacing(folder.model) as beside:
            model.save(beside)
    answers = {}
    metrics: dict[str, Any] = {}
    for name, part in run.data.splits().items():
        with naming_unreadable(part):
            answers[name], loss = answer_and_measure(model, part, run.signature, run.grid_loss)
        metrics[name] = score_answers(part, answers[name], run.signature, loss)
    metrics |= {
        "task": run.signature.task,
        "epochs": len(read_history(folder.history)),
        "parameters": model.count_params(),
        "seed": run.recipe.training.seed,
        "processors": os.cpu_count(),
        "versions": versions(),
        "data_hash": run.data.hash,
        "own_splits": list(run.data.own_splits),
    }
    write_samples(folder, run.data.test, run.preprocessing)
    dataclasses.replace(run.signature, provenance=_provenance(run, folder, metrics)).write(folder.signature)
    seconds = sum(row["seconds"] for row in read_history(folder.history))
    machine = f"{os.cpu_count()} CPU cores, {seconds:.0f} s"
    command = f"dlapp train {shlex.quote(str(folder.recipe))}"
    run.recipe.write(folder.recipe, header=f"{command}       {machine}, test {_headline(metrics['test'])}")
    write_json(folder.metrics, metrics)  # last: a folder that has it is finished
    return answers


def _headline(scores: dict[str, Any]) -> str:
    for key, name in _BEFORE_ACCURACY:
        if key in scores:
            return f"{name} {scores[key]:.4f}" if scores[key] is not None else "without objects"
    if "accuracy" in scores:
        return f"accuracy {scores['accuracy']:.4f}"
    return f"mean absolute error {scores['mean_absolute_error']:.4g}"


def write_samples(folder: ModelFolder, examples: Examples, preprocessing: Preprocessing) -> None:
    """A few raw inputs of one shape, from the beginning of ``examples``; photographs become smaller, texts shorter."""
    if preprocessing.vocabulary is not None:
        _write_sample_inputs(folder, _sample_tokens(examples, preprocessing.vocabulary))
        return
    samples: list[np.ndarray] = []
    for index in range(min(len(examples), _CANDIDATES)):
        candidate = examples.read(index)
        if examples.channels:
            candidate = pictures.shrink(candidate, _SAMPLE_SIDE)
        if not samples or candidate.shape == samples[0].shape:
            samples.append(candidate)
        if len(samples) == _SAMPLES:
            break
    _write_sample_inputs(folder, np.stack(samples))


def _sample_tokens(examples: Examples, vocabulary: Vocabulary) -> np.ndarray:
    """(n, time) int32, with zeros behind the shorter texts; of a running text what follows each other."""
    tokens = [texts.encode(text, vocabulary) for text in examples.inputs[:_SAMPLES]]
    if len(examples) == 1:
        tokens = [
            tokens[0][begin : begin + _SAMPLE_TOKENS] for begin in range(0, _SAMPLES * _SAMPLE_TOKENS, _SAMPLE_TOKENS)
        ]
    return texts.pad([some[:_SAMPLE_TOKENS] for some in tokens if len(some)])


def _write_sample_inputs(folder: ModelFolder, inputs: np.ndarray) -> None:
    with replacing(folder.samples) as beside:
        np.savez_compressed(beside, inputs=inputs)


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
        "test": {key: metrics["test"][key] for key in _HEADLINES if key in metrics["test"]},
        "recipe": run.recipe.to_toml(),
    }
