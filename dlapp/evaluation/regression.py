"""How good a prediction of a number is."""

from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics


def score_regression(targets: np.ndarray, values: np.ndarray, *, deviation: float) -> dict[str, Any]:
    """Metrics of one split, under scikit-learn's names, ready for JSON.

    Args:
        targets: (n,) in their own unit.
        values: (n,) that were predicted, in the same unit.
        deviation: of the target in train.

    Returns:
        ``examples``; ``loss``, the mean squared error in units of ``deviation``, which is what training
        minimizes, without regularization; ``mean_absolute_error`` with its 95 % interval (Student's t),
        ``mean_squared_error`` and ``root_mean_squared_error`` in the target's unit; ``r2``, where
        the targets differ.

    Raises:
        ValueError: shapes do not fit, or a value is NaN.
    """
    if values.shape != targets.shape or targets.ndim != 1:
        raise ValueError(f"values must be (n,) = {targets.shape}; got {values.shape}.")
    if np.isnan(values).any():
        raise ValueError("values must not be NaN: the network has diverged.")
    targets, values = targets.astype(np.float64), values.astype(np.float64)
    absolute = np.abs(values - targets)
    squared = float(metrics.mean_squared_error(targets, values))
    spread = float(stats.sem(absolute)) if len(absolute) > 1 else 0.0
    reach = float(stats.t.ppf(0.975, max(len(absolute) - 1, 1))) * spread
    mean = float(absolute.mean())
    scores: dict[str, Any] = {
        "examples": len(targets),
        "loss": squared / deviation**2,
        "mean_absolute_error": mean,
        "mean_absolute_error_interval": [max(mean - reach, 0.0), mean + reach],
        "mean_squared_error": squared,
        "root_mean_squared_error": squared**0.5,
    }
    if len(targets) > 1 and np.ptp(targets) > 0:
        scores["r2"] = float(metrics.r2_score(targets, values))
    return scores


def worst_values(targets: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the predictions that are furthest off, worst first; at most ``count``."""
    return np.argsort(-np.abs(values - targets), kind="stable")[:count]
