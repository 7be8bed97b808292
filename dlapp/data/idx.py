"""MNIST's idx format: a magic number, the sizes, then the bytes; gzipped or not.

Format: https://yann.lecun.org/exdb/mnist/ (LeCun, Cortes and Burges).
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.errors import SourceError

_SPLITS = {"train": "train", "t10k": "test", "test": "test", "dev": "dev", "val": "dev", "valid": "dev"}
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load(folder: str) -> Loaded:
    """Reads ``train-images-idx3-ubyte[.gz]``, ``train-labels-idx1-ubyte[.gz]``, ``t10k-...`` in a folder.

    Raises:
        SourceError: there is no such pair, or a file is cut short.
    """
    arrays = {}
    for images in sorted(Path(folder).glob("*images*idx3*")):
        split = _SPLITS.get(images.name.partition("-")[0])
        if split is None:
            raise SourceError(f"{images} belongs to no split: its name must start with one of {', '.join(_SPLITS)}.")
        wanted = images.name.replace("images", "labels").replace("idx3", "idx1")
        labels = images.with_name(wanted)
        if not labels.exists():  # one of the two may be gzipped
            labels = images.with_name(wanted.removesuffix(".gz") if wanted.endswith(".gz") else f"{wanted}.gz")
        if not labels.exists():
            raise SourceError(f"{images} has no labels beside it: {wanted} is missing.")
        if split not in arrays:
            arrays[split] = (read(images), read(labels))
    if not arrays:
        raise SourceError(f"{folder} must hold files like train-images-idx3-ubyte.gz; there is none.")
    return from_arrays(folder, arrays)


def read(path: Path) -> np.ndarray:
    """One idx file as an array.

    Raises:
        SourceError: it is no idx file or is cut short.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path} cannot be unpacked ({error}): it is cut short or damaged. Fetch it again."
        ) from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        raise SourceError(f"{path} is no idx file: it must start with 0, 0, a type and a number of dimensions.")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise SourceError(f"{path} is cut short in its header. Fetch it again.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    dtype = np.dtype(_DTYPES[content[2]])
    expected = math.prod(shape) * dtype.itemsize
    if len(content) - start != expected:
        raise SourceError(
            f"{path} must hold {expected:,} bytes of values for shape {shape}; it holds {len(content) - start:,}. "
            "It is cut short or damaged: fetch it again."
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
