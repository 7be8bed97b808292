"""tract, which wants to know every shape before it runs a graph."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tract

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs, read_graph

_BATCH = "batch"
_KINDS = {"uint8": "u8", "int32": "i32", "int64": "i64", "float32": "f32"}


def load(place: Place) -> Runtime:
    """One plan for each shape, made when it is first met."""
    return load_graphs(place, _open)


def _open(path: Path) -> Graph:
    graph = read_graph(path)
    outputs = [output.name for output in graph.output]
    # a file that calls the batch by its name further on takes no number for it; others may take nothing else
    inner = {one.dim_param for tensor in graph.value_info for one in tensor.type.tensor_type.shape.dim}
    named = _BATCH in inner
    plans: dict[tuple, Any] = {}
    model = tract.onnx().load(str(path))  # what cannot be read is told at once
    names = [model.input_name(place) for place in range(model.input_count())]

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        key = tuple(values.shape for values in given.values())
        if key not in plans:
            plans[key] = _plan(path, given, named=named)
        results = plans[key].run([np.ascontiguousarray(given[name]) for name in names])
        return {name: result.to_numpy() for name, result in zip(outputs, results, strict=True)}

    return run


def _plan(path: Path, given: Mapping[str, np.ndarray], *, named: bool) -> Any:
    model = tract.onnx().load(str(path))
    names = [model.input_name(place) for place in range(model.input_count())]
    for name, values in given.items():
        size, *others = values.shape
        fact = ",".join([*map(str, (_BATCH if named else size, *others)), _KINDS[values.dtype.name]])
        model.set_input_fact(names.index(name), fact)
    typed = model.into_model()
    if named:
        typed.transform(tract.SetSymbols({_BATCH: len(next(iter(given.values())))}))
    return typed.into_runnable()


def version() -> str:
    """Of the library."""
    return tract.version()
