"""Real data that scikit-learn ships: no network, no file."""

import numpy as np

from dlapp.data.arrays import Loaded, from_arrays


def load(_: str) -> Loaded:
    """The digits of UCI's Optical Recognition of Handwritten Digits, test part: (1797, 8, 8, 1) uint8.

    scikit-learn has 17 levels of grey, 0 to 16; here they are 0 to 255, as in a picture file.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return from_arrays("digits", {"train": (images, digits.target)}, [str(digit) for digit in digits.target_names])
