"""Exporting ResNet-50: both files and the proof that they agree, against Keras's own export of both."""

import contextlib
import io
import logging
from pathlib import Path

import numpy as np

from dlapp.architectures import builder
from dlapp.exporting import export
from dlapp.signature import Preprocessing
from tests.benchmarks.timing import interleave, tell

_SIZE, _CLASSES, _TURNS = (224, 224), 1000, 2


def run(folder: Path) -> None:
    """Random weights; Keras's files have neither preprocessing nor names, and nobody compares them."""
    model = builder("resnet50")((*_SIZE, 3), classes=_CLASSES)
    pictures = np.random.default_rng(0).integers(0, 256, (2, *_SIZE, 3), np.uint8)
    labels = [f"class {number}" for number in range(_CLASSES)]
    preprocessing = Preprocessing(3, _SIZE, scale="unit")
    model.predict(pictures, verbose=0)  # without which Keras refuses to export it

    def ours() -> None:
        export(model, folder / "ours", labels=labels, preprocessing=preprocessing, samples=pictures)

    def theirs() -> None:
        logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(folder / "theirs", format="tf_saved_model", verbose=False)
            model.export(folder / "theirs.onnx", format="onnx", verbose=False)

    best = interleave({"ours": ours, "theirs": theirs}, turns=_TURNS)
    what = f"resnet50, both formats and their proof ({best['ours']:.0f} s): model.export of both / ours"
    tell(what, best["theirs"] / best["ours"], "at least 1.0")
