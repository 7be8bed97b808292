"""The loss of a detector, term by term, and how well its boxes lie.

Redmon, J. et al. (2015), You only look once, equation 3. https://arxiv.org/abs/1506.02640
Zheng, Z. et al. (2020), Distance-IoU loss: CIoU. https://arxiv.org/abs/1911.08287
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlapp import signature as signatures
from dlapp.data.grid import Cells, read_cells, to_corners
from dlapp.recipe import BoxLoss, Detection

_SMALLEST = 1e-7  # of what is divided by, or whose root is taken


@keras.saving.register_keras_serializable("dlapp")
class GridLoss(keras.losses.Loss):
    """Object, no-object, box and class terms, summed over the cells of a picture.

    Cross-entropy says whether there is an object: ``object_weight`` for boxes that have one and ``no_object_weight``
    for all others. The box and the class (cross-entropy of the softmax) count where there is an object. The paper has
    squared differences in all four places.

    Args:
        grid: rows and columns.
        anchors: height and width of each, as fractions of the picture; none for one box a cell.
        count: of classes.
        box_loss: ``ciou``, or ``sqrt`` for squared differences of the centre and of the roots of height and width.
        object_weight, no_object_weight, box_weight, class_weight: of the terms.
    """

    def __init__(
        self,
        grid: Sequence[int],
        anchors: Sequence[Sequence[float]],
        count: int,
        *,
        box_loss: BoxLoss = "ciou",
        object_weight: float = 1.0,
        no_object_weight: float = 0.5,
        box_weight: float = 5.0,
        class_weight: float = 1.0,
        name: str = "grid_loss",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self._detection = _detection(grid, anchors)
        self._count = count
        self._box_loss = box_loss
        self._weights = {
            "object_weight": object_weight,
            "no_object_weight": no_object_weight,
            "box_weight": box_weight,
            "class_weight": class_weight,
        }

    @classmethod
    def of(cls, detection: signatures.Detection, count: int, wanted: Detection) -> "GridLoss":
        """The loss of a recipe: for the cells of ``detection``, as ``wanted`` weighs the terms."""
        weights = {name: getattr(wanted, name) for name in ("object_weight", "no_object_weight", "box_weight")}
        return cls(
            detection.grid,
            detection.anchors,
            count,
            box_loss=wanted.box_loss,
            class_weight=wanted.class_weight,
            **weights,
        )

    @property
    def cells(self) -> tuple[tuple[int, int], tuple[tuple[float, float], ...], int]:
        """Grid, anchors and count of classes."""
        return self._detection.grid, self._detection.anchors, self._count

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "grid": self._detection.grid,
            "anchors": self._detection.anchors,
            "count": self._count,
            "box_loss": self._box_loss,
            **self._weights,
        }

    def terms(self, y_true: Any, y_pred: Any) -> dict[str, Any]:
        """``object``, ``no_object``, ``box`` and ``class``, each (batch,), before they are weighed.

        Args:
            y_true: (batch, rows, columns, boxes, 5 + C), as :func:`dlapp.data.grid.encode` gives it.
            y_pred: what the network gives.
        """
        cells = read_cells(y_pred, self._detection, self._count)
        there = y_true[..., 0]
        presence = tf.nn.sigmoid_cross_entropy_with_logits(there, cells.object)
        classes = tf.nn.softmax_cross_entropy_with_logits(y_true[..., 5:], cells.classes)
        boxes = (_ciou_loss if self._box_loss == "ciou" else _sqrt_loss)(y_true, cells, self._detection.grid)
        each = {
            "object": there * presence,
            "no_object": (1 - there) * presence,
            "box": tf.where(there > 0, boxes, 0.0),
            "class": there * classes,
        }
        return {name: tf.reduce_sum(values, axis=(1, 2, 3)) for name, values in each.items()}

    def call(self, y_true: Any, y_pred: Any) -> Any:
        terms = self.terms(tf.cast(y_true, tf.float32), y_pred)
        return tf.add_n([self._weights[f"{name}_weight"] * term for name, term in terms.items()])


@keras.saving.register_keras_serializable("dlapp")
class BoxOverlap(keras.metrics.Mean):
    """Mean intersection over union of the boxes of objects with what their cells say, whether or not it is told."""

    def __init__(
        self,
        grid: Sequence[int],
        anchors: Sequence[Sequence[float]],
        count: int,
        name: str = "iou",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self._detection = _detection(grid, anchors)
        self._count = count

    def get_config(self) -> dict[str, Any]:
        own = {"grid": self._detection.grid, "anchors": self._detection.anchors, "count": self._count}
        return {**super().get_config(), **own}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        cells = read_cells(y_pred, self._detection, self._count)
        overlap = _overlap(*_corners(y_true, cells, self._detection.grid))
        super().update_state(overlap, sample_weight=tf.cast(y_true[..., 0], tf.float32))


def _detection(grid: Sequence[int], anchors: Sequence[Sequence[float]]) -> signatures.Detection:
    """As a file has them: lists instead of tuples."""
    return signatures.Detection((grid[0], grid[1]), tuple((height, width) for height, width in anchors))


def _true_sizes(y_true: Any, grid: tuple[int, int]) -> Any:
    """Heights and widths of the label, as fractions of the picture instead of cells."""
    return y_true[..., 3:5] / np.array(grid, np.float32)


def _corners(y_true: Any, cells: Cells, grid: tuple[int, int]) -> tuple[Any, Any]:
    """Of the label and of the network, (batch, rows, columns, boxes, 4), fractions of the picture."""
    wanted = to_corners(y_true[..., 2:0:-1], _true_sizes(y_true, grid), grid)
    return wanted, to_corners(cells.centres, cells.sizes, grid)


def _area(corners: Any) -> Any:
    return tf.reduce_prod(tf.maximum(corners[..., 2:] - corners[..., :2], 0.0), axis=-1)


def _overlap(first: Any, second: Any) -> Any:
    """Intersection over union of boxes (..., 4), one with one."""
    shared = _area(
        tf.concat([tf.maximum(first[..., :2], second[..., :2]), tf.minimum(first[..., 2:], second[..., 2:])], axis=-1)
    )
    return shared / tf.maximum(_area(first) + _area(second) - shared, _SMALLEST)


def _sqrt_loss(y_true: Any, cells: Cells, grid: tuple[int, int]) -> Any:
    """Squared differences of centres, in cells, and of the roots of sizes, as fractions of the picture."""
    centres = tf.math.squared_difference(y_true[..., 2:0:-1], cells.centres)
    roots = [tf.sqrt(tf.maximum(sizes, _SMALLEST)) for sizes in (_true_sizes(y_true, grid), cells.sizes)]
    return tf.reduce_sum(centres + tf.math.squared_difference(*roots), axis=-1)


def _ciou_loss(y_true: Any, cells: Cells, grid: tuple[int, int]) -> Any:
    """1 - intersection over union, plus the distance of the centres and the difference of the shapes."""
    wanted, found = _corners(y_true, cells, grid)
    overlap = _overlap(wanted, found)
    around = tf.maximum(wanted[..., 2:], found[..., 2:]) - tf.minimum(wanted[..., :2], found[..., :2])
    apart = (wanted[..., :2] + wanted[..., 2:] - found[..., :2] - found[..., 2:]) / 2
    distance = tf.reduce_sum(apart**2, axis=-1) / tf.maximum(tf.reduce_sum(around**2, axis=-1), _SMALLEST)
    shape, other = (
        tf.atan2(sizes[..., 1], tf.maximum(sizes[..., 0], _SMALLEST))
        for sizes in (_true_sizes(y_true, grid), cells.sizes)
    )
    difference = 4 / math.pi**2 * tf.math.squared_difference(shape, other)
    weight = tf.stop_gradient(difference / tf.maximum(1 - overlap + difference, _SMALLEST))
    return 1 - overlap + distance + weight * difference
