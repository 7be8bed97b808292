"""NumPy archives: ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x`` and ``y``."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.errors import SourceError

_INPUTS = ("x", "images", "inputs", "features", "data")
_TARGETS = ("y", "labels", "targets", "label", "target")
_CLASSES = ("list_classes", "class_names", "classes", "label_names")
_SPLITS = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}


def load(file: str) -> Loaded:
    """Reads inputs and targets by the names they usually have, upper or lower case.

    Inputs are called x, images, inputs, features or data; targets y, labels or targets; the split
    stands before or after (``x_train``, ``train_images``) or not at all. Names of classes may stand
    under list_classes, class_names or classes.

    Raises:
        SourceError: the file cannot be read or has no such names.
    """
    try:
        with Path(file).open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            content = {key.lower(): archive[key] for key in archive.files}
    except FileNotFoundError:
        raise SourceError(f"{file} does not exist.") from None
    except (OSError, ValueError, TypeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise SourceError(f"{file} is not an npz file that can be read ({error}).") from error
    arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for word, split in {"": "train", **_SPLITS}.items():
        inputs = _find(content, _INPUTS, word)
        targets = _find(content, _TARGETS, word)
        if inputs is not None and targets is not None and split not in arrays:
            arrays[split] = (inputs, targets)
    if not arrays:
        raise SourceError(
            f"{file} must hold x_train and y_train (or x and y, images and labels); "
            f"its arrays are {', '.join(content) or 'none'}."
        )
    names = next((content[key] for key in _CLASSES if key in content), None)
    return from_arrays(file, arrays, None if names is None else names.tolist())


def _find(content: dict[str, np.ndarray], names: tuple[str, ...], split: str) -> np.ndarray | None:
    for name in names:
        for key in (name,) if not split else (f"{name}_{split}", f"{split}_{name}"):
            if key in content:
                return content[key]
    return None
