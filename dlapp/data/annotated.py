"""What sources of pictures with boxes have in common: headers, a hash, and a judgement of every box."""

import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dlapp import boxes
from dlapp.boxes import Boxes
from dlapp.data.examples import Flaw, Loaded
from dlapp.data.folder import examine, relative
from dlapp.data.parallel import map_files
from dlapp.files import sha256

_ROUNDING = 1.0  # pixels outside the picture that no one is told of
Units = Literal["pixels", "inclusive", "fractions"]


class Object(NamedTuple):
    """One object as a label file has it.

    Attributes:
        label: its class.
        corners: y1, x1, y2, x2.
        where: file and line.
        ignored: it need not be found.
    """

    label: str
    corners: tuple[float, float, float, float]
    where: str
    ignored: bool = False


class Picture(NamedTuple):
    """One picture as a label file has it.

    Attributes:
        path: its file.
        objects: those in it; there may be none.
        size: height and width as the label file says; None where it says nothing.
        where: file and line of that.
    """

    path: Path
    objects: Sequence[Object] = ()
    size: tuple[int, int] | None = None
    where: str = ""


def assemble(
    root: Path,
    by_split: Mapping[str, Sequence[Picture]],
    labels: Sequence[str] | None,
    *,
    units: Units,
    label_files: Sequence[Path],
    flaws: Sequence[Flaw],
    notes: Sequence[str],
    channels: int | None,
    unreadable: list[str] | None,
) -> Loaded:
    """Examples with boxes; those that cannot be used are left out and told as flaws.

    A box that goes beyond the picture by a pixel at most is cut off there without a word; by more, with a flaw.

    Args:
        root: names in the hash are relative to it.
        by_split: the pictures of each split.
        labels: the classes; where it is None, the sorted names in train.
        units: of the corners: ``pixels`` as in :class:`Boxes`; ``inclusive``, those of VOC, where the first pixel is
            1 and the last one belongs to the box; or ``fractions`` of height and width.
        label_files: that count for the hash.
        flaws, notes: found so far.
        channels, unreadable: as for ``folder.load``.

    Raises:
        SourceError: files are no pictures.
    """
    if labels is None:
        first = by_split.get("train") or next(iter(by_split.values()))
        labels = sorted({one.label for picture in first for one in picture.objects})
    found = list(flaws)
    numbered, digest = examine(
        root, {split: [picture.path for picture in some] for split, some in by_split.items()}, channels, unreadable
    )
    parts = {}
    for split, part in numbered.items():
        chosen, sizes = [by_split[split][place] for place in part.targets.tolist()], part.sizes.tolist()
        fitting = [_fits(*pair, found) for pair in zip(chosen, sizes, strict=True)]
        part = part.take(np.flatnonzero(np.array(fitting, bool)))
        chosen = [picture for picture, fits in zip(chosen, fitting, strict=True) if fits]
        labelled = _judge(chosen, part.sizes, labels, units, found)
        parts[split] = dataclasses.replace(part, targets=labelled.counts.astype(np.int32), boxes=labelled)
    content = hashlib.sha256(f"{digest} {list(labels)}".encode())
    for file, hashed in sorted((relative(file, root), hashed) for file, hashed in _hash(label_files)):
        content.update(f"{file} {hashed}\n".encode())
    told = sorted(set(found), key=lambda flaw: _by_place(flaw.where))
    return Loaded(parts, tuple(labels), content.hexdigest(), task="detection", notes=tuple(notes), flaws=tuple(told))


def read_number(text: str) -> float:
    """The number that a label file has; NaN, which is told as damage, where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _hash(files: Sequence[Path]) -> list[tuple[Path, str]]:
    return list(zip(files, map_files(sha256, files), strict=True))


def _by_place(where: str) -> list[tuple[int, str]]:
    """Sorts line 2 before line 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", where)]


def _fits(picture: Picture, size: Sequence[int], flaws: list[Flaw]) -> bool:
    """Whether a picture is as large as its label file says: boxes of another size would be elsewhere."""
    if picture.size is None or list(picture.size) == size:
        return True
    told, real = (f"{width} x {height}" for height, width in (picture.size, size))
    what = f"it says {told} pixels, {picture.path} has {real} as it is seen; the picture is left out"
    flaws.append(Flaw("damaged label file", picture.where, what))
    return False


def _judge(
    chosen: Sequence[Picture], sizes: np.ndarray, labels: Sequence[str], units: Units, flaws: list[Flaw]
) -> Boxes:
    """The boxes that can be used, of all these pictures; what is wrong goes to ``flaws``."""
    objects = [one for picture in chosen for one in picture.objects]
    counts = np.array([len(picture.objects) for picture in chosen], np.int64)
    corners = np.array([one.corners for one in objects], np.float64).reshape(-1, 4)
    if units == "fractions":
        corners = corners * np.repeat(np.concatenate([sizes, sizes], axis=1), counts, axis=0)
    places = {label: place for place, label in enumerate(labels)}
    classes = np.array([places.get(one.label, -1) for one in objects], np.int32)
    limits = np.repeat(sizes, counts, axis=0)  # (m, 2)
    numbers = np.asarray(np.isfinite(corners).all(axis=1))
    corners = np.where(numbers[:, np.newaxis], corners, 0)
    sides = corners[:, 2:] - corners[:, :2]
    as_written = corners
    if units == "inclusive":
        corners = corners - np.array([1, 1, 0, 0])
    inside = boxes.clip(corners, limits)
    excess = np.abs(corners - inside).max(axis=1, initial=0)
    wholly = boxes.areas(inside) == 0
    usable = np.ones(len(objects), bool)
    verdicts = (
        (~numbers, "damaged label file", "coordinates must be finite numbers"),
        (classes < 0, "unknown class", ""),
        ((sides < 0).any(axis=1), "reversed corners", ""),
        ((sides == 0).any(axis=1), "zero area", ""),
        (wholly, "outside the picture", ", all of it"),
        (excess > _ROUNDING, "outside the picture", ", cut off"),
    )
    for wrong, kind, more in verdicts:
        for index in np.flatnonzero(wrong & usable).tolist():
            if kind == "unknown class":
                what = repr(objects[index].label)
            elif kind == "damaged label file":
                what = more
            else:
                y1, x1, y2, x2 = as_written[index].round(2).tolist()
                height, width = limits[index].tolist()
                what = f"x {x1:g} to {x2:g}, y {y1:g} to {y2:g} of {width} x {height} pixels{more}"
            flaws.append(Flaw(kind, objects[index].where, what))
        if more != ", cut off":
            usable &= ~wrong
    ignored = np.array([one.ignored for one in objects], bool)
    labelled = Boxes(
        counts, inside.astype(np.float32), classes, ignored=ignored if ignored.any() else np.zeros(0, bool)
    )
    return labelled.where(usable)
