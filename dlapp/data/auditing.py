"""One pass over raw examples that finds what an audit has to know of each."""

import dataclasses
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from dlapp.data.examples import Examples
from dlapp.errors import UnreadablePicture

SIDE = 16  # of a thumbnail
_CHUNK = 64  # examples a task


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """What was found of each of n examples.

    Attributes:
        hashes: (n,) text, equal for equal pixels or cells; empty where the picture cannot be read.
        thumbnails: (n, 256) float32, 16 x 16 grey averages in 0 to 255; (n, 0) for rows.
        brightness, contrast: (n,) float32, mean and standard deviation of the thumbnail.
        colour: (n, 3) float32, mean red, green and blue; (n, 0) for rows.
        sizes: (n, 2) height and width; zeros for rows.
        errors: why a picture cannot be read, by the number of the example.
    """

    hashes: np.ndarray
    thumbnails: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    colour: np.ndarray
    sizes: np.ndarray
    errors: dict[int, str]


def gather(examples: Examples) -> Facts:
    """Reads every example once, pictures in parallel."""
    if examples.channels == 0:
        return _of_rows(examples)
    count = len(examples)
    hashes = np.full(count, "", dtype="U32")
    small = np.zeros((count, SIDE, SIDE, examples.channels), np.uint8)
    sizes = np.zeros((count, 2), np.int32)
    errors: dict[int, str] = {}

    def look(begin: int) -> None:
        for index in range(begin, min(begin + _CHUNK, count)):
            try:
                picture = examples.read(index)
            except UnreadablePicture as error:
                errors[index] = str(error)
                continue
            sizes[index] = picture.shape[:2]
            hashes[index] = hash_array(picture)
            small[index] = _shrink(picture)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow decodes and resizes outside of Python's lock
        list(threads.map(look, range(0, count, _CHUNK)))
    colours = small[..., :3].astype(np.float32)  # without transparency
    thumbnails = colours.mean(axis=3).reshape(count, -1)
    return Facts(
        hashes,
        thumbnails,
        thumbnails.mean(axis=1),
        thumbnails.std(axis=1),
        np.broadcast_to(colours.mean(axis=(1, 2)), (count, 3)),
        sizes,
        dict(sorted(errors.items())),
    )


def hash_array(array: np.ndarray) -> str:
    """32 hexadecimal digits, equal for arrays of equal shape, dtype and values; NaN equals NaN."""
    digest = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _shrink(picture: np.ndarray) -> np.ndarray:
    """(16, 16, channels) uint8, the averages of areas."""
    squeezed = picture[..., 0] if picture.shape[-1] == 1 else picture
    return np.asarray(Image.fromarray(squeezed).resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(SIDE, SIDE, -1)


def _of_rows(examples: Examples) -> Facts:
    count = len(examples)
    rows = np.where(np.isnan(examples.inputs), np.float32(np.nan), examples.inputs + 0.0)  # one NaN, and no -0
    empty = np.zeros((count, 0), np.float32)
    return Facts(
        np.array([hash_array(row) for row in rows]),
        empty,
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
        empty,
        np.zeros((count, 2), np.int32),
        {},
    )
