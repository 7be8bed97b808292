"""A model -> a bundle: SavedModel, ONNX and the proof that they agree.

``verify`` needs no TensorFlow of its own, so that who has only a bundle can call it.
"""

from typing import Any

__all__ = ["export", "verify"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "export":
        from dlapp.exporting.bundle import export

        return export
    if name == "verify":
        from dlapp.exporting.parity import verify

        return verify
    raise AttributeError(f"dlapp.exporting has no {name}")
