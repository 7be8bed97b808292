"""One sequence through ONNX Runtime: our operators against the loops of Keras's own export, and against torch.onnx."""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx

from dlapp import signature as signatures
from dlapp.architectures.recurrent_networks import recurrent
from dlapp.architectures.stepping import state_sizes, step_model
from dlapp.exporting import onnx_file
from dlapp.exporting.graph import serving_function, step_function, with_onnx_operators
from dlapp.signature import PADDING, UNKNOWN, Preprocessing, Vocabulary
from tests.benchmarks.latency import THREADS, open_session
from tests.benchmarks.timing import interleave, tell

_STEPS, _TOKENS, _EMBEDDING, _CLASSES, _TURNS = 100, 82, 64, 2, 300
_UNITS = (32, 64, 128)
_WANTED = {"simple": 6, "gru": 15, "lstm": 5}  # times as fast as Keras's own, of 32 units
_WRITTEN = 100  # characters

VOCABULARY = Vocabulary((PADDING, UNKNOWN, *map(chr, range(ord("0"), ord("0") + _TOKENS - 2))), "character")


def run(folder: Path) -> None:
    """Random weights, batch 1; ours pads and masks inside as well."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # of Keras's exporter
    tokens = np.random.default_rng(0).integers(2, _TOKENS, (1, _STEPS)).astype(np.int32)
    with_torch = importlib.util.find_spec("torch") is not None
    if not with_torch:
        print("  PyTorch is not installed: pip install '.[benchmark]' compares with it")
    for cell, wanted in _WANTED.items():
        for units in _UNITS:
            model = recurrent(classes=_CLASSES, cell=cell, units=units, vocabulary=_TOKENS, embedding_size=_EMBEDDING)
            files = {"ours": folder / "ours.onnx", "keras": folder / "keras.onnx"}
            _write_ours(model, files["ours"])
            _write_keras(model, tokens, files["keras"])
            for name, masked in (("torch", True), ("unmasked", False)) if with_torch else ():
                files[name] = folder / f"{name}.onnx"
                _write_torch(cell, units, files[name], masked=masked)
            best = interleave({name: _reading(path, tokens) for name, path in files.items()}, turns=_TURNS)
            what = f"{cell}, {units} units, {_STEPS} steps, {THREADS} threads ({best['ours'] * 1e3:.2f} ms)"
            least = f"at least {wanted}" if units == _UNITS[0] else "at least 1.0"
            tell(f"{what}: Keras's own export / ours", best["keras"] / best["ours"], least)
            if "torch" in best:
                tell(f"{what}: torch.onnx / ours", best["torch"] / best["ours"], "at least 1.0")
                ratio = best["unmasked"] / best["ours"]
                tell(f"{what}: torch.onnx of a network that masks nothing / ours", ratio, "for information")
    _compare_writing(folder)


def _write_ours(model: keras.Model, path: Path) -> None:
    signature = signatures.classification(tuple("ab"), Preprocessing(0, vocabulary=VOCABULARY))
    onnx_file.write(serving_function(with_onnx_operators(model, tokens=True), signature), signature, path)


def _write_keras(model: keras.Model, tokens: np.ndarray, path: Path) -> None:
    model(tokens)  # which it wants to have seen
    with contextlib.redirect_stdout(io.StringIO()):
        model.export(path, format="onnx", verbose=False)


def _write_torch(cell: str, units: int, path: Path, *, masked: bool) -> None:
    import torch

    from tests.benchmarks.torch_networks import sequence_classifier

    sizes = {"tokens": _TOKENS, "embedding_size": _EMBEDDING, "classes": _CLASSES}
    network = sequence_classifier(cell, units, **sizes, masked=masked).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is called old
        torch.onnx.export(
            network,
            (torch.ones(1, _STEPS, dtype=torch.int32),),
            str(path),
            input_names=["tokens"],
            output_names=["outputs"],
            dynamic_axes={"tokens": {0: "batch", 1: "time"}},
            dynamo=False,
        )


def _reading(path: Path, tokens: np.ndarray) -> Callable[[], object]:
    session = open_session(path)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: tokens})


def _compare_writing(folder: Path) -> None:
    """Characters one by one: a step each, against the whole text so far for each."""
    model = recurrent(
        form="one_to_many", classes=_TOKENS, units=_UNITS[-1], vocabulary=_TOKENS, embedding_size=_EMBEDDING
    )
    sizes = state_sizes(model)
    signature = signatures.language_model(Preprocessing(0, vocabulary=VOCABULARY), sizes)
    network = with_onnx_operators(step_model(model), tokens=True, loops=False)
    onnx_file.write_step(step_function(network, signature), signature, folder / "step.onnx")
    operators = {node.op_type for node in onnx.load(folder / "step.onnx").graph.node}
    assert not operators & {"Loop", "Scan"}
    session = open_session(folder / "step.onnx")

    def by_steps() -> None:
        token = np.array([2], np.int32)
        states = {f"state{number}": np.zeros((1, size), np.float32) for number, size in enumerate(sizes, start=1)}
        for _ in range(_WRITTEN):
            probabilities, *after = session.run(None, {"token": token, **states})
            states = dict(zip(states, after, strict=True))
            token = probabilities.argmax(axis=-1).astype(np.int32)

    def by_predict() -> None:
        written = np.full((1, _WRITTEN), 2, np.int32)  # of one length, so that nothing is traced anew
        for place in range(1, _WRITTEN):
            probabilities = model.predict(written, verbose=0)
            written[0, place] = probabilities[0, place - 1].argmax()

    by_predict()  # traces
    best = interleave({"steps": by_steps, "predict": by_predict}, turns=3)
    what = f"lstm, {_UNITS[-1]} units, {_WRITTEN / best['steps']:.0f} characters a second: model.predict / a step each"
    tell(what, best["predict"] / best["steps"], "at least 20")
