"""OpenCV's module for networks."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from dlapp.errors import NotSupported
from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs, read_graph


def load(place: Place) -> Runtime:
    """By its newer engine; the older one knows no dimensions that vary."""
    if place.threads:
        cv2.setNumThreads(place.threads)
    return load_graphs(place, _open)


def _open(path: Path) -> Graph:
    outputs = [output.name for output in read_graph(path).output]
    with tempfile.TemporaryFile() as said:
        with _errors_to(said):
            network = cv2.dnn.readNetFromONNX(str(path), cv2.dnn.ENGINE_NEW)
        said.seek(0)
        if network.empty():  # it only prints why
            raise NotSupported(said.read().decode(errors="replace").strip() or "it reads an empty network")

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        for name, values in given.items():
            network.setInput(values, name)
        return dict(zip(outputs, network.forward(outputs), strict=True))

    return run


@contextlib.contextmanager
def _errors_to(file: IO[bytes]) -> Iterator[None]:
    """Standard error of the whole process, which its C++ writes to."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def version() -> str:
    """Of the library."""
    return cv2.__version__
