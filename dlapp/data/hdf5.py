"""The HDF5 layout of the course: ``train_set_x``, ``train_set_y``, ``list_classes``, ``test_set_x``, ..."""

from pathlib import Path

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.errors import SourceError

_SPLITS = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "test": "test"}


def load(rest: str) -> Loaded:
    """Reads one file, several with commas between them, or all of a folder.

    Of a pair like ``train_signs.h5`` and ``test_signs.h5`` either name stands for both.

    Raises:
        SourceError: a file is missing, is no HDF5 file, or lacks the keys of the layout.
    """
    arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    names = None
    for path in _files(rest):
        found, classes = _read(path)
        twice = sorted(found.keys() & arrays.keys())
        if twice:
            raise SourceError(f"{path} holds a second {twice[0]} split: each split may come from one file only.")
        arrays |= found
        names = classes if classes is not None else names
    return from_arrays(rest, arrays, names)


def _files(rest: str) -> list[Path]:
    if Path(rest).is_dir():
        files = sorted(path for path in Path(rest).iterdir() if path.suffix in (".h5", ".hdf5"))
        if not files:
            raise SourceError(f"{rest} must hold .h5 files; there is none.")
        return files
    files = [Path(part) for part in rest.split(",")]
    for path in files:
        if not path.is_file():
            raise SourceError(f"{path} does not exist. h5 takes a file, files with commas between them, or a folder.")
    if len(files) == 1:
        for one, other in (("train", "test"), ("test", "train")):
            twin = files[0].with_name(files[0].name.replace(one, other, 1))
            if twin != files[0] and twin.is_file():
                return sorted([files[0], twin])
    return files


def _read(path: Path) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[object] | None]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            keys = list(file)
            arrays = {
                split: (np.asarray(file[f"{prefix}_set_x"]), np.asarray(file[f"{prefix}_set_y"]))
                for prefix, split in _SPLITS.items()
                if f"{prefix}_set_x" in file and f"{prefix}_set_y" in file
            }
            classes = np.asarray(file["list_classes"]).tolist() if "list_classes" in file else None
    except OSError as error:
        raise SourceError(f"{path} is not an HDF5 file that can be read ({error}).") from error
    if not arrays:
        raise SourceError(
            f"{path} must hold train_set_x and train_set_y (or test_set_x and test_set_y); "
            f"its keys are {', '.join(keys) or 'none'}."
        )
    return arrays, classes
