"""OpenCV's module for networks."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs


def load(place: Place) -> Runtime:
    """By its newer engine; the older one knows no dimensions that vary."""
    if place.threads:
        cv2.setNumThreads(place.threads)
    outputs = [output.name for output in place.signature.outputs]
    after = [] if place.signature.step is None else [output.name for output in place.signature.step.outputs]
    return load_graphs(place, lambda path: _open(path, after if path.name == "step.onnx" else outputs))


def _open(path: Path, outputs: list[str]) -> Graph:
    network = cv2.dnn.readNetFromONNX(str(path), cv2.dnn.ENGINE_NEW)

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        for name, values in given.items():
            network.setInput(values, name)
        return dict(zip(outputs, network.forward(outputs), strict=True))

    return run


def version() -> str:
    """Of the library."""
    return cv2.__version__
