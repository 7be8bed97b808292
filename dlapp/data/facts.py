"""One pass over raw examples that finds what an audit has to know of each."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dlapp import pictures
from dlapp.data.examples import Examples
from dlapp.data.parallel import map_files
from dlapp.errors import UnreadablePicture

SIDE = 16  # of a thumbnail


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """What was found of each of n examples.

    Attributes:
        hashes: (n,) text, equal for equal pixels or cells; empty where the picture cannot be read.
        thumbnails: (n, 256) float32, 16 x 16 grey averages in 0 to 255; (n, 0) for rows and texts.
        brightness, contrast: (n,) float32, mean and standard deviation of the thumbnail.
        colour: (n, 3) float32, mean red, green and blue; (n, 0) for rows and texts.
        sizes: (n, 2) height and width; zeros for rows and texts.
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
    """Reads every example once, files in parallel."""
    if examples.are_texts:
        return _without_pixels(np.array([_hash_text(text) for text in examples.inputs], str))
    if examples.channels == 0:
        return _of_rows(examples)
    if examples.are_files:
        looked = map_files(functools.partial(_look_at_file, channels=examples.channels), examples.inputs.tolist())
    else:
        looked = [_look_at(picture) for picture in examples.inputs]
    count = len(examples)
    hashes = np.full(count, "", dtype="U32")
    small = np.zeros((count, SIDE, SIDE, examples.channels), np.uint8)
    sizes = np.zeros((count, 2), np.int32)
    errors: dict[int, str] = {}
    for index, found in enumerate(looked):
        if isinstance(found, str):
            errors[index] = found
        else:
            hashes[index], small[index], sizes[index] = found
    colours = small[..., :3].astype(np.float32)  # without transparency
    thumbnails = colours.mean(axis=3).reshape(count, SIDE * SIDE)
    return Facts(
        hashes,
        thumbnails,
        thumbnails.mean(axis=1),
        thumbnails.std(axis=1),
        np.broadcast_to(colours.mean(axis=(1, 2)), (count, 3)),
        sizes,
        errors,
    )


def hash_array(array: np.ndarray) -> str:
    """32 hexadecimal digits, equal for arrays of equal shape, dtype and values; NaN equals NaN."""
    digest = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _look_at_file(path: str, channels: int) -> tuple[str, np.ndarray, tuple[int, int]] | str:
    """As :func:`_look_at`; or why the picture cannot be read."""
    try:
        return _look_at(pictures.read(path, channels))
    except UnreadablePicture as error:
        return str(error)


def _look_at(picture: np.ndarray) -> tuple[str, np.ndarray, tuple[int, int]]:
    """The hash of a picture, its thumbnail, its height and width."""
    return hash_array(picture), _shrink(picture), (picture.shape[0], picture.shape[1])


def _shrink(picture: np.ndarray) -> np.ndarray:
    """(16, 16, channels) uint8, the averages of areas."""
    squeezed = picture[..., 0] if picture.shape[-1] == 1 else picture
    return np.asarray(Image.fromarray(squeezed).resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(SIDE, SIDE, -1)


def _hash_text(text: str | Sequence[str]) -> str:
    joined = text if isinstance(text, str) else "\n".join(text)
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()


def _of_rows(examples: Examples) -> Facts:
    rows = np.where(np.isnan(examples.inputs), np.float32(np.nan), examples.inputs + 0.0)  # one NaN, and no -0
    return _without_pixels(np.array([hash_array(row) for row in rows]))


def _without_pixels(hashes: np.ndarray) -> Facts:
    count = len(hashes)
    empty = np.zeros((count, 0), np.float32)
    return Facts(
        hashes,
        empty,
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
        empty,
        np.zeros((count, 2), np.int32),
        {},
    )
