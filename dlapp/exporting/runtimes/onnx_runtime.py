"""ONNX Runtime in Python."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs
from dlapp.inference.bundle import ONNX, VARIANTS, Bundle, file_of


def load(place: Place) -> Runtime:
    """As everything in dlapp that predicts does."""
    if place.foreign:
        return load_graphs(place, lambda path: _open(path, place.threads))
    variant = next(one for one in VARIANTS if file_of(ONNX, one) == place.onnx)
    bundle = Bundle(place.folder, variant=variant, threads=place.threads or None)
    return Runtime(bundle.run, None if place.signature.step is None else bundle.step)


def _open(path: Path, threads: int) -> Graph:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        return dict(zip(names, session.run(names, dict(given)), strict=True))

    return run


def version() -> str:
    """Of the library."""
    return onnxruntime.__version__
