"""From what a detector says of each cell to boxes in pixels of the picture, in TensorFlow operations.

Evaluation and the exported graph both call this function, so that they cannot differ.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from dlapp.data.grid import read_cells, to_corners
from dlapp.data.preprocessing import place
from dlapp.signature import Detection, Preprocessing


def detect(
    outputs: Any,
    sizes: Any,
    *,
    preprocessing: Preprocessing,
    detection: Detection,
    count: int,
    min_score: float | Any | None = None,
    max_overlap: float | Any | None = None,
) -> dict[str, Any]:
    """The surest boxes of each picture, after non-maximum suppression class by class.

    Args:
        outputs: of the network: (batch, rows, columns, boxes x (5 + count)), or (batch, 5 + count).
        sizes: (batch, 2) or (1, 2) int32, height and width of the pictures as they were before they were resized.
        preprocessing: how they were resized.
        detection: the grid, its anchors, and thresholds.
        count: of classes.
        min_score, max_overlap: instead of those of ``detection``.

    Returns:
        ``boxes`` (batch, most, 4) float32 y1, x1, y2, x2 in pixels within the picture, ``scores`` (batch, most)
        float32, ``classes`` (batch, most) int32, and ``count`` (batch,) int32, how many there are; the rest is 0.
    """
    cells = read_cells(outputs, detection, count)
    candidates = int(np.prod(detection.grid)) * detection.boxes
    corners = tf.reshape(to_corners(cells.centres, cells.sizes, detection.grid), (-1, candidates, 4))
    corners = _to_picture(corners, sizes, preprocessing)
    inside = tf.reduce_all(corners[..., 2:] > corners[..., :2], axis=-1)[..., tf.newaxis]  # nothing of others is left
    scores = tf.sigmoid(cells.object)[..., tf.newaxis] * tf.nn.softmax(cells.classes)
    scores = tf.reshape(scores, (-1, candidates, count)) * tf.cast(inside, tf.float32)
    found = tf.image.combined_non_max_suppression(
        corners[:, :, tf.newaxis],
        scores,
        max_output_size_per_class=detection.most,
        max_total_size=detection.most,
        iou_threshold=detection.max_overlap if max_overlap is None else max_overlap,
        score_threshold=detection.min_score if min_score is None else min_score,
        clip_boxes=False,
    )
    return {
        "boxes": found.nmsed_boxes,
        "scores": found.nmsed_scores,
        "classes": tf.cast(found.nmsed_classes, tf.int32),
        "count": found.valid_detections,
    }


def _to_picture(corners: Any, sizes: Any, preprocessing: Preprocessing) -> Any:
    """Boxes (batch, n, 4) in fractions of the network's picture -> in pixels within the picture that was given."""
    assert preprocessing.size is not None
    placed = place(sizes[:, 0], sizes[:, 1], preprocessing)
    sizes = tf.cast(sizes, tf.float32)  # (batch or 1, 2)
    within = tf.cast(tf.stack([placed.height, placed.width], axis=1), tf.float32)
    start = tf.cast(tf.stack([placed.top, placed.left], axis=1), tf.float32)
    scale = sizes / within
    factor, offset, end = (
        tf.tile(values, (1, 2))[:, tf.newaxis]
        for values in (scale * np.array(preprocessing.size, np.float32), scale * start, sizes)
    )
    return tf.clip_by_value(corners * factor - offset, 0.0, end)
