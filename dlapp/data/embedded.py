"""Real data that scikit-learn ships: no network, no file."""

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.signature import Column


def load(name: str) -> Loaded:
    """``digits``, ``breast_cancer``, ``diabetes``, ``iris`` or ``wine``, tables in units of their own."""
    return _digits() if name == "digits" else _table(name)


def _digits() -> Loaded:
    """The digits of UCI's Optical Recognition of Handwritten Digits, test part: (1797, 8, 8, 1) uint8.

    scikit-learn has 17 levels of grey, 0 to 16; here they are 0 to 255, as in a picture file.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return from_arrays("digits", {"train": (images, digits.target)}, [str(digit) for digit in digits.target_names])


def _table(name: str) -> Loaded:
    from sklearn import datasets

    if name == "diabetes":
        table = datasets.load_diabetes(scaled=False)
        names, task, target = None, "regression", "progression"
    else:
        table = getattr(datasets, f"load_{name}")()
        names, task, target = [str(label) for label in table.target_names], "classification", "target"
    columns = [Column(str(column)) for column in table.feature_names]
    return from_arrays(name, {"train": (table.data, table.target)}, names, task=task, target=target, columns=columns)
