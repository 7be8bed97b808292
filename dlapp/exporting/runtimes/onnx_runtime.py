"""ONNX Runtime in Python."""

import importlib.metadata

from dlapp.exporting.runtimes import Place, Runtime
from dlapp.inference.bundle import Bundle


def load(place: Place) -> Runtime:
    """As everything in dlapp that predicts does."""
    bundle = Bundle(place.folder, threads=place.threads or None)
    return Runtime(bundle.run, None if place.signature.step is None else bundle.step)


def version() -> str:
    """Of the library."""
    return importlib.metadata.version("onnxruntime")
