"""A SavedModel in TensorFlow Serving's layout."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlapp.signature import Signature

FOLDER = "saved_model/1"  # TensorFlow Serving reads the version from the folder's name


def write(serve: Any, signature: Signature, bundle: Path, adjustable: Any = None, step: Any = None) -> None:
    """Writes ``saved_model/1/`` with the signature among its assets.

    Keras finds the variables that ``serve`` uses; a model that was tracked as well would be stored twice.

    Args:
        serve: as :func:`serving_function` gives it; ``serving_default``.
        signature: of the function.
        bundle: a folder.
        adjustable: of a detector, the same with thresholds as inputs; ``with_thresholds``.
        step: as :func:`step_function` gives it; ``step``.
    """
    folder = bundle / FOLDER
    archive = keras.export.ExportArchive()
    endpoints = {"serving_default": serve, "with_thresholds": adjustable, "step": step}
    for name, function in endpoints.items():
        if function is not None:
            archive.add_endpoint(name, function)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the endpoints
        archive.write_out(folder, verbose=False)
    (folder / "assets").mkdir(exist_ok=True)
    signature.write(folder / "assets" / "signature.json")


def open_to_run(bundle: Path, name: str, threads: int) -> Callable[[np.ndarray], Any]:
    """``serving_default`` of a bundle on the processor, in a process that has not used TensorFlow yet.

    Args:
        bundle: the folder.
        name: of the input.
        threads: of TensorFlow.
    """
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(bundle / FOLDER))

    def run(inputs: np.ndarray) -> dict[str, np.ndarray]:
        # the function lives only as long as the object that was loaded
        outputs = loaded.signatures["serving_default"](**{name: tf.constant(inputs)})
        return {key: values.numpy() for key, values in outputs.items()}

    return run
