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
        return load_graphs(place, lambda path: open_session(path, place.threads))
    variant = next(one for one in VARIANTS if file_of(ONNX, one) == place.onnx)
    bundle = Bundle(place.folder, variant=variant, threads=place.threads or None)
    return Runtime(bundle.run, None if place.signature.step is None else bundle.step)


def open_session(path: Path, threads: int = 0, *, optimized: bool = True) -> Graph:
    """Any ONNX file; ``optimized`` or one operator after another as they stand there."""
    options = onnxruntime.SessionOptions()
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
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
