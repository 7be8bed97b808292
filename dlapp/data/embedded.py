"""Real data that scikit-learn ships: no network, no file."""

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.data.text_files import parse_options
from dlapp.errors import SourceError
from dlapp.signature import Column


def load_digits(rest: str) -> Loaded:
    """The digits of UCI's Optical Recognition of Handwritten Digits, test part: (1797, 8, 8, 1) uint8.

    scikit-learn has 17 levels of grey, 0 to 16; here they are 0 to 255, as in a picture file.

    Args:
        rest: ``classes``, the digits that are kept (all), as in ``classes=5,6,7``.

    Raises:
        SourceError: fewer than two digits are named, one is named twice, or one is none.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    kept = parse_options(f"?{rest}", {"classes": "0,1,2,3,4,5,6,7,8,9"}, source="digits")[1]["classes"].split(",")
    if len(kept) < 2 or len(set(kept)) < len(kept) or not all(len(one) == 1 and one.isdecimal() for one in kept):
        raise SourceError(f"classes of digits are two or more of 0 to 9, as in classes=0,1,2; got {','.join(kept)!r}.")
    chosen = np.isin(digits.target, np.array(kept, int))
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    return from_arrays("digits", {"train": (images, digits.target[chosen])})


def load(name: str) -> Loaded:
    """``breast_cancer``, ``diabetes``, ``iris`` or ``wine``: tables in units of their own."""
    from sklearn import datasets

    if name == "diabetes":
        table = datasets.load_diabetes(scaled=False)
        names, task, target = None, "regression", "progression"
    else:
        table = getattr(datasets, f"load_{name}")()
        names, task, target = [str(label) for label in table.target_names], "classification", "target"
    columns = [Column(str(column)) for column in table.feature_names]
    return from_arrays(name, {"train": (table.data, table.target)}, names, task=task, target=target, columns=columns)
