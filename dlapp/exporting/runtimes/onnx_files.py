"""What runtimes of ONNX files share: which files a bundle has, and detectors where a caller cannot give thresholds."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime, of_graphs
from dlapp.inference.bundle import STEP
from dlapp.signature import THRESHOLDS


def load_graphs(place: Place, open_file: Callable[[Path], Graph]) -> Runtime:
    """The graphs of a bundle, each opened by ``open_file``, which need not know inputs with defaults."""
    path = place.folder / place.onnx
    step = None if place.signature.step is None else open_file(place.folder / STEP)
    opened: dict[bytes, Graph] = {}

    def adjustable(given: Mapping[str, np.ndarray]) -> Outputs:
        thresholds = {name: given[name] for name in THRESHOLDS}
        key = b"".join(value.tobytes() for value in thresholds.values())
        if key not in opened:
            copies = tempfile.mkdtemp(prefix="dlapp-")
            atexit.register(shutil.rmtree, copies, ignore_errors=True)  # a graph may open its file again
            opened[key] = open_file(_with_constants(path, Path(copies) / path.name, thresholds))
        return opened[key]({name: values for name, values in given.items() if name not in thresholds})

    return of_graphs(place.signature, open_file(path), step, adjustable=adjustable)


def read_graph(path: Path) -> onnx.GraphProto:
    """What a file says of itself, for runtimes that do not tell; without constants that lie in other files."""
    return onnx.load(path, load_external_data=False).graph


def _with_constants(path: Path, copy: Path, values: Mapping[str, np.ndarray]) -> Path:
    """A copy of the file whose optional inputs are these constants."""
    proto = onnx.load(path)
    kept: tuple[Any, ...] = (proto.graph.input, proto.graph.initializer)
    for tensors in kept:
        others = [one for one in tensors if one.name not in values]
        del tensors[:]
        tensors.extend(others)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
    onnx.save(proto, copy)
    return copy
