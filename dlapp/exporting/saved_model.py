"""A SavedModel in TensorFlow Serving's layout."""

import contextlib
import io
from pathlib import Path
from typing import Any

import keras

from dlapp.inference.bundle import SAVED_MODEL
from dlapp.signature import Signature


def write(
    serve: Any, signature: Signature, bundle: Path, adjustable: Any = None, step: Any = None, encoded: Any = None
) -> None:
    """Writes ``saved_model/1/`` with the signature among its assets.

    Keras finds the variables that ``serve`` uses; a model that was tracked as well would be stored twice.

    Args:
        serve: as :func:`serving_function` gives it; ``serving_default``.
        signature: of the function.
        bundle: a folder.
        adjustable: of a detector, the same with thresholds as inputs; ``with_thresholds``.
        step: as :func:`step_function` gives it; ``step``.
        encoded: of pictures, the same on JPEG and PNG files; ``serving_encoded``.
    """
    folder = bundle / SAVED_MODEL
    archive = keras.export.ExportArchive()
    endpoints = {"serving_default": serve, "with_thresholds": adjustable, "step": step, "serving_encoded": encoded}
    for name, function in endpoints.items():
        if function is not None:
            archive.add_endpoint(name, function)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the endpoints
        archive.write_out(folder, verbose=False)
    (folder / "assets").mkdir(exist_ok=True)
    signature.write(folder / "assets" / "signature.json")
