"""OpenVINO, which reads the ONNX file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs


def load(place: Place) -> Runtime:
    """On the processor, in float32."""
    return load_graphs(place, lambda path: compile_model(path, place.threads))


def compile_model(path: Path, threads: int) -> Graph:
    """A file or a SavedModel's folder."""
    options: dict[str, str | int] = {"INFERENCE_PRECISION_HINT": "f32"}  # some processors would compute in bfloat16
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", options)

    def run(given: Mapping[str, np.ndarray]) -> Outputs:
        results = compiled(dict(given))
        return {name: np.array(results[output]) for output in compiled.outputs for name in output.get_names()}

    return run


def version() -> str:
    """Of the library."""
    return openvino.__version__.partition("-")[0]
