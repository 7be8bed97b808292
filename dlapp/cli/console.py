"""What the verbs share: quiet imports, parsing of options, and how results are told."""

import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from dlapp.errors import BundleError, DlappError, UnknownName


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras without their remarks about absent GPUs.

    The remarks come from C++ before any level of logging can be set, straight to the standard error
    of the process; if the import fails they are shown after all.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as remarks:
        os.dup2(remarks.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for drivers, and remarks on what it does not find
        except BaseException:
            remarks.seek(0)
            os.write(kept, remarks.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    tf.get_logger().setLevel("ERROR")  # retracing is expected where every picture size is new


def parse_shape(text: str) -> tuple[int, ...]:
    """``"32,32,1"`` -> ``(32, 32, 1)``.

    Raises:
        DlappError: a part is no positive number.
    """
    parts = text.lower().replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise DlappError(f"a shape is positive numbers with commas between them, as in 32,32,1; got {text!r}.")
    return tuple(int(part) for part in parts)


def find_bundle(name: str) -> Path:
    """The folder of a bundle, by its path or its name below ``export/``.

    Raises:
        UnknownName: there is none.
        BundleError: it is a model that was not exported.
    """
    from dlapp.files import find_folder
    from dlapp.inference.bundle import ROOT, SIGNATURE

    try:
        folder = find_folder(name, kind="bundle", root=str(ROOT), holds=SIGNATURE)
    except UnknownName:
        folder = Path("models") / name
        if not (folder / "recipe.toml").is_file():
            raise
    if (folder / "recipe.toml").is_file():
        raise BundleError(f"{folder} is a model, not a bundle: export it first: dlapp export {shlex.quote(name)}")
    return folder


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
