"""Metrics on arrays, whoever computed them: no TensorFlow in this room."""

from dlapp.evaluation.classification import score, worst_classes, worst_mistakes
from dlapp.evaluation.detection import score_detection, score_localization
from dlapp.evaluation.regression import score_regression, worst_values

__all__ = [
    "score",
    "score_detection",
    "score_localization",
    "score_regression",
    "worst_classes",
    "worst_mistakes",
    "worst_values",
]
