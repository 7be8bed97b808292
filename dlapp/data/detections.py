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
    assert preprocessing.size is not None
    cells = read_cells(outputs, detection, count)
    candidates = int(np.prod(detection.grid)) * detection.boxes
    corners = tf.reshape(to_corners(cells.centres, cells.sizes, detection.grid), (-1, candidates, 1, 4))
    scores = tf.sigmoid(cells.object)[..., tf.newaxis] * tf.nn.softmax(cells.classes)
    found = tf.image.combined_non_max_suppression(
        corners,
        tf.reshape(scores, (-1, candidates, count)),
        max_output_size_per_class=detection.most,
        max_total_size=detection.most,
        iou_threshold=detection.max_overlap if max_overlap is None else max_overlap,
        score_threshold=detection.min_score if min_score is None else min_score,
        clip_boxes=False,
    )
    placed = place(sizes[:, 0], sizes[:, 1], preprocessing)
    down, right = preprocessing.size
    sizes = tf.cast(sizes, tf.float32)
    # (batch or 1, 2): fractions of the network's picture -> pixels of the picture that was given
    within = tf.cast(tf.stack([placed.height, placed.width], axis=1), tf.float32)
    start = tf.cast(tf.stack([placed.top, placed.left], axis=1), tf.float32)
    factor, offset = sizes / within * [float(down), float(right)], start * sizes / within
    boxes = found.nmsed_boxes * tf.tile(factor, (1, 2))[:, tf.newaxis] - tf.tile(offset, (1, 2))[:, tf.newaxis]
    boxes = tf.clip_by_value(boxes, 0.0, tf.tile(sizes, (1, 2))[:, tf.newaxis])
    return {
        # letterboxing moves the zeros behind the last box too
        "boxes": boxes * tf.cast(found.nmsed_scores > 0, tf.float32)[..., tf.newaxis],
        "scores": found.nmsed_scores,
        "classes": tf.cast(found.nmsed_classes, tf.int32),
        "count": found.valid_detections,
    }
