"""Discs, squares and triangles with boxes, drawn from a seed: ``shapes``, ``shapes?objects=1&noise=0.3``."""

import dataclasses
import hashlib
import math
import urllib.parse
from typing import NamedTuple

import numpy as np

from dlapp.boxes import Boxes
from dlapp.data.examples import Examples, Loaded
from dlapp.errors import SourceError, UnknownName

LABELS = ("disc", "square", "triangle")
_MOST_BYTES = 2 * 1024**3
_WITHOUT = 20  # one picture in so many has no object
_TRIES = 20  # to place an object where it hides none
_APART = 70  # grey levels by which a channel of an object differs from its background and from other objects
_UNEVEN = 40  # grey levels by which a corner differs from the middle of the background


class _Range(NamedTuple):
    """What an option may be."""

    least: float
    most: float
    whole: bool = True


_RANGES = {
    "objects": _Range(1, 20),
    "examples": _Range(1, 1_000_000),
    "size": _Range(32, 1024),
    "seed": _Range(0, 2**31 - 1),
    "noise": _Range(0, 1, whole=False),
}


@dataclasses.dataclass(frozen=True)
class _Options:
    """What stands after the question mark.

    Attributes:
        objects: the most in a picture.
        examples: how many pictures.
        size: their side, in pixels.
        seed: decides everything.
        noise: by how much of white a value is off at most.
    """

    objects: int = 4
    examples: int = 1200
    size: int = 96
    seed: int = 0
    noise: float = 0.1


def load(rest: str, *, single: bool = False) -> Loaded:
    """Draws pictures of coloured shapes on a noisy, uneven background.

    Each has 1 to ``objects`` of them, or, one picture in twenty, none where ``objects`` is more than 1. An object is
    between 1/8 and 5/12 of the side high and wide, and lies within the picture. Objects may overlap, but of none is
    more than half hidden; boxes are tight around the whole object. All of it is whole numbers, so that a seed gives
    the same bytes on every machine, and the first pictures are the same however many there are.

    Args:
        rest: options: ``objects`` (4), ``examples`` (1200), ``size`` (96), ``seed`` (0), ``noise`` (0.1).
        single: one object in each picture, unless ``rest`` says otherwise.

    Returns:
        (examples, size, size, 3) uint8 pictures, all in train.

    Raises:
        UnknownName: there is no such option.
        SourceError: an option has a value that it cannot have.
    """
    options = _parse(rest, _Options(objects=1) if single else _Options())
    random = np.random.default_rng(options.seed)
    pictures = np.empty((options.examples, options.size, options.size, 3), np.uint8)
    found = [_draw(random, options, picture) for picture in pictures]
    counts = np.array([len(objects) for objects in found], np.int64)
    corners = np.array([corners for objects in found for _, corners in objects], np.float32).reshape(-1, 4)
    classes = np.array([kind for objects in found for kind, _ in objects], np.int32)
    digest = hashlib.sha256(pictures.data)
    for array in (counts, corners, classes):
        digest.update(array.data)
    train = Examples(pictures, counts.astype(np.int32), channels=3, boxes=Boxes(counts, corners, classes))
    return Loaded({"train": train}, LABELS, digest.hexdigest(), task="detection")


def _parse(rest: str, usual: _Options) -> _Options:
    given: dict[str, float] = {}
    for name, text in urllib.parse.parse_qsl(rest, keep_blank_values=True):
        if name not in _RANGES:
            raise UnknownName("option of shapes", name, _RANGES)
        allowed = _RANGES[name]
        try:
            value = int(text) if allowed.whole else float(text)
        except ValueError:
            value = math.nan
        if not allowed.least <= value <= allowed.most:
            kind = "a whole number" if allowed.whole else "a number"
            raise SourceError(f"{name} of shapes must be {kind}, {allowed.least} to {allowed.most}; got {text!r}.")
        given[name] = value
    options = dataclasses.replace(usual, **given)
    if options.examples * options.size**2 * 3 > _MOST_BYTES:
        raise SourceError(
            f"shapes are drawn in memory, up to {_MOST_BYTES / 1024**3:g} GiB; {options.examples} examples of "
            f"{options.size} x {options.size} take more. Ask for fewer or smaller ones."
        )
    return options


def _draw(
    random: np.random.Generator, options: _Options, picture: np.ndarray
) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Fills a picture of (size, size, 3) uint8; the class of each object and its corners, the undermost first."""
    size = options.size
    paper = random.integers(_UNEVEN, 256 - _UNEVEN, 3)
    canvas = _blend(paper + random.integers(-_UNEVEN, _UNEVEN + 1, (2, 2, 3)), size)
    wanted = int(random.integers(1, options.objects + 1))
    if options.objects > 1 and random.integers(_WITHOUT) == 0:
        wanted = 0
    owners = np.full((size, size), -1, np.int8)  # which object is seen
    colours = [paper]
    objects: list[tuple[int, tuple[int, int, int, int]]] = []
    areas, visible = np.zeros((2, 0), np.int64)
    for _ in range(wanted):
        kind = int(random.integers(len(LABELS)))
        side = int(random.integers(size // 8, size * 5 // 12 + 1))
        mask = _mask(kind, side, quarters=int(random.integers(4)))
        colour = _choose_colour(random, colours)
        for _ in range(_TRIES):
            top, left = random.integers(0, size - side + 1, 2).tolist()
            place = np.s_[top : top + side, left : left + side]
            beneath = owners[place][mask]
            remaining = visible - np.bincount(beneath[beneath >= 0], minlength=len(areas))
            if np.all(2 * remaining >= areas):
                owners[place][mask] = len(areas)
                canvas[place][mask] = colour
                colours.append(colour)
                areas, visible = np.append(areas, mask.sum()), np.append(remaining, mask.sum())
                objects.append((kind, (top, left, top + side, left + side)))
                break
    most = round(255 * options.noise)
    canvas += random.integers(-most, most + 1, canvas.shape, np.int16)
    np.clip(canvas, 0, 255, out=canvas)
    picture[:] = canvas
    return objects


def _blend(corners: np.ndarray, size: int) -> np.ndarray:
    """Values of (2, 2, 3) in the corners, in between between: (size, size, 3) int16."""
    steps = np.arange(size)[:, np.newaxis]
    left, right = (((size - 1 - steps) * corners[0, k] + steps * corners[1, k]) // (size - 1) for k in range(2))
    blended = (size - 1 - steps) * left[:, np.newaxis] + steps * right[:, np.newaxis]  # (size, size, 3)
    return (blended // (size - 1)).astype(np.int16)


def _choose_colour(random: np.random.Generator, others: list[np.ndarray]) -> np.ndarray:
    """A colour of (3,) unlike the others; after many tries whichever came last."""
    colour = random.integers(0, 256, 3)
    for _ in range(_TRIES):
        if min(int(np.abs(colour - other).max()) for other in others) >= _APART:
            break
        colour = random.integers(0, 256, 3)
    return colour


def _mask(kind: int, side: int, quarters: int) -> np.ndarray:
    """(side, side) bool: the pixels of a shape that touches all four sides, turned by quarters of a circle."""
    middle = np.abs(2 * np.arange(side) + 1 - side)  # twice the distance of the centre of each pixel from the middle
    if LABELS[kind] == "disc":
        return middle[:, np.newaxis] ** 2 + middle**2 <= side**2
    if LABELS[kind] == "square":
        return np.ones((side, side), bool)
    return np.rot90(middle <= 1 + np.arange(side)[:, np.newaxis], quarters)
