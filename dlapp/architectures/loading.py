"""Keras's files, read with the layers of our own that may stand in them."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

import dlapp.architectures.auxiliary
import dlapp.architectures.custom_layers  # noqa: F401  Keras then finds them in a file
from dlapp.errors import ModelError


def load_model(path: Path, *, unsafe: bool = False) -> keras.Model:
    """A ``.keras`` file.

    Args:
        path: of the file.
        unsafe: read it although a Lambda layer in it runs code of its author's.

    Raises:
        ModelError: it is missing or damaged, holds a Lambda layer, or a layer that Keras does not know.
    """
    try:
        lambdas = _lambdas(path)
        if lambdas and not unsafe:
            raise ModelError(
                f"{path} has a Lambda layer ({lambdas[0]}), which runs code out of the file. "
                "If you trust its author, say so with --unsafe."
            )
        return keras.models.load_model(path, safe_mode=not unsafe)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        remedy = " Load it in Python and give it to dlapp.exporting.export()." if "Could not locate" in told else ""
        raise ModelError(f"{path} cannot be read as a Keras model: {told}{remedy}") from error


def _lambdas(path: Path) -> list[str]:
    """The names of the Lambda layers in a file."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    return [str(one["config"].get("name")) for one in _objects(config) if one.get("class_name") == "Lambda"]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _objects(part)
