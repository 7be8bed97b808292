"""Metrics on arrays, whoever computed them: no TensorFlow in this room."""

from dlapp.evaluation.classification import score, worst_mistakes

__all__ = ["score", "worst_mistakes"]
