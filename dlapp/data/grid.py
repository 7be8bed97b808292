"""From boxes to the label of a grid of cells, and from what a network says of each cell back to boxes.

The label is the course's: (p, x, y, h, w, class 1..C) for each box of each cell. p is 1 where there is an object whose
centre lies in the cell, (x, y) is that centre within the cell, from 0 to 1, and (h, w) the size in cells, which may be
more than 1. With one cell it is the label of a whole picture.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dlapp.boxes import Boxes, intersection_over_union
from dlapp.data.preprocessing import place
from dlapp.signature import Detection, Preprocessing

_LARGEST_LOGARITHM = 8.0  # of a size over its anchor's; what is not trained yet must not overflow


class Cells(NamedTuple):
    """What a network says of each box of each cell.

    Attributes:
        object: (batch, rows, columns, boxes) logits of there being an object.
        centres: (batch, rows, columns, boxes, 2) y and x, within the cell, from 0 to 1.
        sizes: (batch, rows, columns, boxes, 2) height and width, as fractions of the picture.
        classes: (batch, rows, columns, boxes, C) logits.
    """

    object: Any
    centres: Any
    sizes: Any
    classes: Any


def encode(corners: Any, classes: Any, *, size: tuple[int, int], detection: Detection, count: int) -> Any:
    """The labels of a batch of pictures.

    An object belongs to the cell that its centre lies in, and there to the box whose anchor has the most similar
    shape (intersection over union) and is free. Where all are taken by objects that come before it, it is lost.

    Args:
        corners: (batch, most, 4) float32, y1, x1, y2, x2 in pixels of the resized picture.
        classes: (batch, most) int32, -1 where there is no box.
        size: height and width of the resized picture.
        detection: its grid and anchors.
        count: of classes.

    Returns:
        (batch, rows, columns, boxes, 5 + count) float32: p, x, y, h, w and a 1 for the class.
    """
    rows, columns = detection.grid
    boxes = detection.boxes
    batch = tf.shape(corners)[0]
    present = classes >= 0
    corners = corners[present]  # (objects, 4)
    number = tf.cast(tf.where(present)[:, 0], tf.int32)  # of the picture
    classes = classes[present]
    extent = (corners[:, 2:] - corners[:, :2]) / np.array(size, np.float32)
    # in cells; divided last, so that a pixel on the edge of two cells belongs to the second
    centre = (
        (corners[:, :2] + corners[:, 2:]) * np.array([rows / 2, columns / 2], np.float32) / np.array(size, np.float32)
    )
    cell = tf.clip_by_value(tf.cast(tf.floor(centre), tf.int32), 0, [rows - 1, columns - 1])
    first = ((number * rows + cell[:, 0]) * columns + cell[:, 1]) * boxes
    slots = _choose(first, _by_similarity(extent, detection), batch * (rows * columns * boxes))
    within = centre - tf.cast(cell, tf.float32)
    in_cells = extent * np.array([rows, columns], np.float32)
    label = tf.concat([tf.ones_like(within[:, :1]), within[:, ::-1], in_cells, tf.one_hot(classes, count)], axis=1)
    kept = slots >= 0
    scattered = tf.scatter_nd(
        slots[kept][:, tf.newaxis], label[kept], tf.stack([batch * (rows * columns * boxes), 5 + count])
    )
    return tf.reshape(scattered, (-1, rows, columns, boxes, 5 + count))


def resized(boxes: Boxes, sizes: np.ndarray, preprocessing: Preprocessing) -> Boxes:
    """Boxes where their objects are once the pictures have the network's size.

    Args:
        boxes: in pixels of the pictures.
        sizes: (n, 2) height and width of the pictures.
        preprocessing: how they are resized.
    """
    placed = place(sizes[:, 0], sizes[:, 1], preprocessing)
    factor = np.stack([placed.height, placed.width], axis=1) / np.maximum(sizes, 1)
    start = np.stack([placed.top, placed.left], axis=1)
    factor, start = (np.tile(values, (1, 2))[boxes.pictures] for values in (factor, start))
    return dataclasses.replace(boxes, corners=(boxes.corners * factor + start).astype(np.float32))


def pad(boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """The corners (n, most, 4) and classes (n, most) of every picture, with class -1 behind the last box."""
    most = max(int(boxes.counts.max(initial=0)), 1)
    corners = np.full((len(boxes), most, 4), -1, np.float32)
    classes = np.full((len(boxes), most), -1, np.int32)
    places = boxes.pictures, np.arange(len(boxes.corners)) - boxes.splits[boxes.pictures]
    corners[places], classes[places] = boxes.corners, boxes.classes
    return corners, classes


def _by_similarity(extent: Any, detection: Detection) -> Any:
    """(objects, boxes) int32: the boxes of a cell, the one with the most similar anchor first."""
    if not detection.anchors:
        return tf.zeros_like(extent[:, :1], tf.int32)
    anchors = np.array(detection.anchors, np.float32)
    shared = tf.reduce_prod(tf.minimum(extent[:, tf.newaxis], anchors), axis=-1)
    either = tf.reduce_prod(extent, axis=-1)[:, tf.newaxis] + anchors.prod(axis=1) - shared
    return tf.argsort(-shared / either, axis=1, stable=True)


def _choose(first: Any, preferred: Any, count: Any) -> Any:
    """(objects,) int32: a slot for each object, ``first`` plus the best of its preferred that is free; -1 for none."""
    objects = tf.range(tf.shape(first)[0])
    slots = tf.fill(tf.shape(first), -1)
    taken = tf.zeros(count, tf.bool)
    for choice in range(preferred.shape[1]):
        wanted = first + preferred[:, choice]
        waits = (slots < 0) & ~tf.gather(taken, wanted)
        # of those that want the same, the one that comes first
        soonest = tf.math.unsorted_segment_min(tf.where(waits, objects, objects.dtype.max), wanted, count)
        slots = tf.where(waits & (tf.gather(soonest, wanted) == objects), wanted, slots)
        taken = taken | (soonest < objects.dtype.max)
    return slots


def decode(labels: np.ndarray, *, size: tuple[int, int]) -> Boxes:
    """The inverse of :func:`encode`: boxes in pixels of the resized picture, cell after cell.

    Args:
        labels: (batch, rows, columns, boxes, 5 + C).
        size: height and width of the resized picture.
    """
    rows, columns = labels.shape[1:3]
    picture, row, column, _ = found = np.nonzero(labels[..., 0] > 0.5)
    cells = labels[found]
    centre = (cells[:, [2, 1]] + np.stack([row, column], axis=1)) / (rows, columns)
    extent = cells[:, 3:5] / (rows, columns)
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1) * np.array([*size, *size])
    return Boxes(
        np.bincount(picture, minlength=len(labels)),
        corners.astype(np.float32),
        cells[:, 5:].argmax(axis=1).astype(np.int32),
    )


def read_cells(outputs: Any, detection: Detection, count: int) -> Cells:
    """What the numbers that a network gives for every cell mean.

    Args:
        outputs: (batch, rows, columns, boxes x (5 + count)), or (batch, 5 + count) for one cell.
        detection: its grid and anchors.
        count: of classes.
    """
    cells: Any = tf.reshape(tf.cast(outputs, tf.float32), (-1, *detection.grid, detection.boxes, 5 + count))
    centres = tf.sigmoid(cells[..., 2:0:-1])  # x comes first
    if detection.anchors:
        sizes = tf.exp(tf.minimum(cells[..., 3:5], _LARGEST_LOGARITHM)) * np.array(detection.anchors, np.float32)
    else:
        sizes = tf.sigmoid(cells[..., 3:5])
    return Cells(cells[..., 0], centres, sizes, cells[..., 5:])


def to_corners(centres: Any, sizes: Any, grid: tuple[int, int]) -> Any:
    """(..., rows, columns, boxes, 4) y1, x1, y2, x2, fractions of the picture.

    Args:
        centres: (..., rows, columns, boxes, 2) y and x within the cell.
        sizes: (..., rows, columns, boxes, 2) height and width, as fractions of the picture.
        grid: rows and columns.
    """
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), axis=-1).astype(np.float32)
    middle = (centres + places[:, :, np.newaxis]) / np.array(grid, np.float32)
    return tf.concat([middle - sizes / 2, middle + sizes / 2], axis=-1)


def count_lost(boxes: Boxes, labels: Any) -> int:
    """How many objects have no place in the labels that were encoded of them."""
    return len(boxes.corners) - int(tf.reduce_sum(labels[..., 0]))


def find_anchors(sizes: np.ndarray, count: int, *, seed: int = 0) -> tuple[tuple[tuple[float, float], ...], float]:
    """Anchors by k-means, where two sizes are the nearer the more they overlap (Redmon and Farhadi 2016, section 2).

    Args:
        sizes: (m, 2) heights and widths of boxes, as fractions of the resized picture.
        count: of anchors.
        seed: of the first guess.

    Returns:
        Height and width of each, smallest first, and the mean intersection over union of the sizes with the nearest.

    Raises:
        ValueError: there are fewer different sizes than anchors.
    """
    distinct = np.unique(sizes, axis=0)
    if len(distinct) < count:
        raise ValueError(
            f"there are {len(distinct)} different boxes in train, too few for {count} anchors. Set "
            "architecture_options.boxes to fewer."
        )
    from sklearn.cluster import kmeans_plusplus

    anchors, _ = kmeans_plusplus(np.log(sizes.astype(np.float64)), count, random_state=seed)
    anchors = np.exp(anchors)
    nearest = np.full(len(sizes), -1)
    while True:
        overlap = _overlap(sizes, anchors)
        before, nearest = nearest, overlap.argmax(axis=1)
        if (nearest == before).all():
            break
        for own in np.unique(nearest):
            anchors[own] = np.median(sizes[nearest == own], axis=0)
    order = np.argsort(anchors.prod(axis=1))
    found = tuple((round(float(height), 4), round(float(width), 4)) for height, width in anchors[order])
    return found, float(overlap.max(axis=1).mean())


def _overlap(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes with a common corner: (m, anchors)."""
    first, second = (np.concatenate([np.zeros_like(box), box], axis=1) for box in (sizes, anchors))
    return intersection_over_union(first, second)
