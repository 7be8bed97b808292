"""Boxes around objects: y1, x1, y2, x2 in pixels, so that the box of one pixel is (y, x, y + 1, x + 1).

Sources, training, evaluation and prediction share these; they are NumPy arrays.
"""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np


def _none(dtype: type) -> np.ndarray:
    return np.zeros(0, dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of n pictures, m in all: labels, or what a network found.

    Attributes:
        counts: (n,) int64, how many each picture has.
        corners: (m, 4) float32, y1, x1, y2, x2 in pixels of the upright picture, picture after picture.
        classes: (m,) int32, indices into the labels.
        scores: (m,) float32, how sure the network is; empty for labels.
        ignored: (m,) bool, objects that need not be found and are not learned: ``difficult`` in VOC, ``iscrowd``
            in COCO; empty where there are none.
    """

    counts: np.ndarray
    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray = dataclasses.field(default_factory=lambda: _none(np.float32))
    ignored: np.ndarray = dataclasses.field(default_factory=lambda: _none(bool))

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def splits(self) -> np.ndarray:
        """(n + 1,) int64: the boxes of picture i are those from ``splits[i]`` to ``splits[i + 1]``."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @property
    def pictures(self) -> np.ndarray:
        """(m,) int64, the picture that each box is of."""
        return np.repeat(np.arange(len(self)), self.counts)

    def __getitem__(self, indices: np.ndarray | Sequence[int] | int) -> Self:
        """The boxes of some pictures, in that order; of one for a number."""
        wanted = np.atleast_1d(np.arange(len(self))[indices])
        splits = self.splits.tolist()
        rows = [np.arange(splits[index], splits[index + 1]) for index in wanted.tolist()]
        return self._rows(np.concatenate([_none(np.int64), *rows]), self.counts[wanted])

    def where(self, kept: np.ndarray) -> Self:
        """Of the same pictures, only the boxes for which ``kept``, (m,) bool, holds."""
        return self._rows(np.flatnonzero(kept), np.bincount(self.pictures[kept], minlength=len(self)))

    def _rows(self, rows: np.ndarray, counts: np.ndarray) -> Self:
        return dataclasses.replace(
            self,
            counts=counts,
            corners=self.corners[rows],
            classes=self.classes[rows],
            scores=self.scores[rows] if len(self.scores) else self.scores,
            ignored=self.ignored[rows] if len(self.ignored) else self.ignored,
        )

    @property
    def wanted(self) -> Self:
        """Without the objects that are ignored."""
        return self.where(~self.ignored) if len(self.ignored) else self


def largest(boxes: Boxes) -> Boxes:
    """Of each picture, the box with the largest area alone; none of a picture without."""
    order = np.lexsort((-areas(boxes.corners), boxes.pictures))
    kept = np.zeros(len(order), bool)
    kept[order[boxes.splits[:-1][boxes.counts > 0]]] = True
    return boxes.where(kept)


def empty(pictures: int = 0) -> Boxes:
    """No boxes at all, of so many pictures."""
    return Boxes(np.zeros(pictures, np.int64), np.zeros((0, 4), np.float32), _none(np.int32))


def join(parts: Sequence[Boxes]) -> Boxes:
    """The pictures of all ``parts`` with their boxes, in that order."""
    if not parts:
        return empty()
    ignored = [part.ignored if len(part.ignored) else np.zeros(len(part.corners), bool) for part in parts]
    return Boxes(
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.classes for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        ignored=np.concatenate(ignored) if any(part.ignored.any() for part in parts) else _none(bool),
    )


def areas(corners: np.ndarray) -> np.ndarray:
    """Of (..., 4) boxes: (...) square pixels; 0 for those that are empty or reversed."""
    return np.prod(np.maximum(corners[..., 2:] - corners[..., :2], 0), axis=-1)


def intersection_over_union(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each of (n, 4) boxes with each of (m, 4): (n, m), 1 for equal boxes, 0 for boxes that share nothing."""
    corners = np.concatenate(
        [np.maximum(first[:, None, :2], second[:, :2]), np.minimum(first[:, None, 2:], second[:, 2:])], axis=-1
    )
    shared = areas(corners)
    return shared / np.maximum(areas(first)[:, None] + areas(second) - shared, np.finfo(np.float32).tiny)


def clip(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes (m, 4) without what lies outside of pictures of (m, 2) height and width."""
    return np.clip(corners, 0, np.concatenate([sizes, sizes], axis=-1))
