"""Handwritten digits that scikit-learn ships: ``digits``, ``digits?classes=0,1,2``."""

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.data.text_files import parse_options
from dlapp.errors import SourceError


def load(rest: str) -> Loaded:
    """The digits of UCI's Optical Recognition of Handwritten Digits, test part: (1797, 8, 8, 1) uint8.

    scikit-learn has 17 levels of grey, 0 to 16; here they are 0 to 255, as in a picture file.

    Args:
        rest: ``classes``, the digits that are kept (all), as in ``classes=5,6,7``.

    Raises:
        SourceError: fewer than two digits are named, one is named twice, or one is none.
    """
    from sklearn import datasets

    digits = datasets.load_digits()
    kept = parse_options(f"?{rest}", {"classes": "0,1,2,3,4,5,6,7,8,9"}, source="digits")[1]["classes"].split(",")
    if len(kept) < 2 or len(set(kept)) < len(kept) or not all(len(one) == 1 and one.isdecimal() for one in kept):
        raise SourceError(f"classes of digits are two or more of 0 to 9, as in classes=0,1,2; got {','.join(kept)!r}.")
    chosen = np.isin(digits.target, np.array(kept, int))
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    return from_arrays("digits", {"train": (images, digits.target[chosen])})
