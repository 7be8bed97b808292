"""One sequence through ONNX Runtime: our operators against the loops of Keras's own export, and against torch.onnx."""

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from dlapp import signature as signatures
from dlapp.architectures.recurrent_networks import recurrent
from dlapp.exporting import export, onnx_file
from dlapp.exporting.graph import serving_function, with_onnx_operators
from dlapp.inference import Bundle
from dlapp.inference.generating import generate
from dlapp.signature import PADDING, UNKNOWN, Preprocessing, Vocabulary
from tests.benchmarks.latency import THREADS, open_session
from tests.benchmarks.timing import interleave, tell

_STEPS, _TOKENS, _EMBEDDING, _CLASSES, _TURNS = 100, 82, 64, 2, 300
_UNITS = (32, 64, 128)
_WANTED = {"simple": 6, "gru": 15, "lstm": 5}  # times as fast as Keras's own, of 32 units
_WRITTEN, _FACTOR = 100, 10  # characters by predict, and how many times as many by the bundle

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
    """Characters one by one: a step of the bundle each, against ``predict`` on the whole text so far."""
    model = recurrent(
        form="one_to_many", classes=_TOKENS, units=_UNITS[-1], vocabulary=_TOKENS, embedding_size=_EMBEDDING
    )
    samples = np.full((1, 2), 2, np.int32)
    export(model, folder / "writer", preprocessing=Preprocessing(0, vocabulary=VOCABULARY), samples=samples)
    bundle, random = Bundle(folder / "writer"), np.random.default_rng(0)

    def by_predict() -> None:
        written = np.full((1, _WRITTEN), 2, np.int32)  # of one length, so that nothing is traced anew
        for place in range(1, _WRITTEN):
            probabilities = model.predict(written, verbose=0)
            written[0, place] = probabilities[0, place - 1].argmax()

    def by_steps() -> None:
        assert len(list(generate(bundle, "0", random=random, length=_FACTOR * _WRITTEN))) == _FACTOR * _WRITTEN

    by_predict()  # traces
    best = interleave({"steps": by_steps, "predict": by_predict}, turns=3)
    count = _FACTOR * _WRITTEN
    what = f"lstm, {_UNITS[-1]} units, {count:,} characters in {best['steps']:.2f} s: predict in a loop / generate"
    tell(what, _FACTOR * best["predict"] / best["steps"], "at least 20")
