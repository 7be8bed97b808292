"""Metrics on arrays, whoever computed them: no TensorFlow in this room."""

from dlapp.evaluation.classification import score, worst_classes, worst_mistakes
from dlapp.evaluation.regression import score_regression, worst_values

__all__ = ["score", "score_regression", "worst_classes", "worst_mistakes", "worst_values"]
