"""onnx's own evaluator, which does each operator in NumPy: slow, and what the standard says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs


def load(place: Place) -> Runtime:
    """One operator after another."""
    return load_graphs(place, _open)


def _open(path: Path) -> Graph:
    evaluator = onnx.reference.ReferenceEvaluator(str(path))
    names = [str(name) for name in evaluator.output_names]

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        found: Any = evaluator.run(None, dict(given))
        return dict(zip(names, found, strict=True))

    return run


def version() -> str:
    """Of the package."""
    return onnx.__version__
