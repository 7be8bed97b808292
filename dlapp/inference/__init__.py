"""A bundle -> predictions, with ONNX Runtime alone: no TensorFlow in this room."""

from dlapp.inference.bundle import Bundle

__all__ = ["Bundle"]
