"""tract, which wants to know every shape before it optimizes a graph."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tract

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs

_KINDS = {"uint8": "u8", "int32": "i32", "int64": "i64", "float32": "f32"}


def load(place: Place) -> Runtime:
    """One plan for each shape, made when it is first met."""
    signature = place.signature
    outputs = [output.name for output in signature.outputs]
    after = [] if signature.step is None else [output.name for output in signature.step.outputs]
    return load_graphs(place, lambda path: _open(path, after if path.name == "step.onnx" else outputs))


def _open(path: Path, outputs: list[str]) -> Graph:
    plans: dict[tuple, Any] = {}
    model = tract.onnx().load(str(path))  # what cannot be read is told at once
    names = [model.input_name(place) for place in range(model.input_count())]

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        key = tuple(values.shape for values in given.values())
        if key not in plans:
            plans[key] = _plan(path, given)
        results = plans[key].run([np.ascontiguousarray(given[name]) for name in names])
        return {name: result.to_numpy() for name, result in zip(outputs, results, strict=True)}

    return run


def _plan(path: Path, given: Mapping[str, np.ndarray]) -> Any:
    model = tract.onnx().load(str(path))
    names = [model.input_name(place) for place in range(model.input_count())]
    for name, values in given.items():
        fact = ",".join([*map(str, values.shape), _KINDS[values.dtype.name]])
        model.set_input_fact(names.index(name), fact)
    return model.into_model().into_runnable()


def version() -> str:
    """Of the library."""
    return tract.version()
