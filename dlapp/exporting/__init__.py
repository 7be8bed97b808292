"""A model -> a bundle: SavedModel, ONNX and the proof that they agree."""

from dlapp.exporting.bundle import export
from dlapp.exporting.parity import verify

__all__ = ["export", "verify"]
