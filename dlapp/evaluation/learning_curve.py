"""What more data would bring: a power law through the errors that parts of the data gave.

Hestness, J. et al. (2017), Deep learning scaling is predictable, empirically. https://arxiv.org/abs/1712.00409
"""

import dataclasses
import warnings

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from dlapp.evaluation.intervals import Interval

_DRAWS = 200
_LEAST_SIZES = 4


@dataclasses.dataclass(frozen=True)
class Extrapolation:
    """The error on dev with twice the examples.

    Attributes:
        interval: of that error; None where no curve fits.
        now: the mean error with all the examples.
        sentence: what can be said.
    """

    interval: Interval | None
    now: float
    sentence: str


def extrapolate(sizes: np.ndarray, errors: np.ndarray, *, shares: bool = True, seed: int = 0) -> Extrapolation:
    """Fits a + b n^-c and draws the runs again 200 times for the interval.

    Args:
        sizes: (sizes,) training examples, rising.
        errors: (seeds, sizes) on dev.
        shares: whether errors are shares of wrong answers, to be told in percent.
        seed: of the draws.
    """
    now = float(errors[:, -1].mean())
    if now == 0:
        return Extrapolation(
            None, now, "There is no mistake on dev with all the examples; twice as many bring nothing."
        )
    if len(sizes) < _LEAST_SIZES:
        return Extrapolation(None, now, "The curve has too few sizes to say what more examples would bring.")
    chance = np.random.default_rng(seed)
    twice = 2 * float(sizes[-1])
    value = _predict(sizes, errors.mean(axis=0), twice)
    draws = [
        _predict(sizes, errors[chance.integers(len(errors), size=len(errors))].mean(axis=0), twice)
        if len(errors) > 1
        else None
        for _ in range(_DRAWS)
    ]
    found = [draw for draw in draws if draw is not None]
    if value is None or len(found) < _DRAWS // 2:
        reason = "one seed shows no spread" if len(errors) == 1 and value is not None else "no falling curve fits it"
        return Extrapolation(None, now, f"The curve does not tell what more examples would bring: {reason}.")
    # a fit through means is surer than its points are: what is left between them and the curve counts too
    spread = float(errors.std(axis=0, ddof=1).mean()) / np.sqrt(len(errors))
    low, high = (float(end) for end in np.quantile(found, [0.025, 0.975]))
    low, high = float(max(min(low, value) - spread, 0.0)), float(max(high, value) + spread)
    interval = Interval(value, low, high)
    told = f"{_tell(now, shares)} to about {_tell(value, shares)} ({_tell(low, shares)} to {_tell(high, shares)})"
    if low <= now <= high:
        sentence = f"Twice the examples might bring the error on dev from {told}: too uncertain to count on."
    else:
        sentence = f"Twice the examples would bring the error on dev from {told}."
    return Extrapolation(interval, now, sentence)


def _predict(sizes: np.ndarray, errors: np.ndarray, size: float) -> float | None:
    """The fitted error at ``size``; None where no power law fits."""
    scaled = np.asarray(sizes, np.float64) / sizes[-1]

    def law(n: np.ndarray, floor: float, gain: float, power: float) -> np.ndarray:
        return floor + gain * n**-power

    top = max(float(errors.max()), 1e-12)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            best, _ = curve_fit(
                law,
                scaled,
                errors,
                p0=(0.5 * float(errors.min()), max(float(errors[-1]), 1e-3 * top), 0.5),
                bounds=([0.0, 0.0, 1e-3], [top, 10 * top, 2.0]),
                max_nfev=2000,
            )
    except RuntimeError:
        return None
    return float(law(np.array(size / sizes[-1]), *best))


def _tell(value: float, shares: bool) -> str:
    return f"{100 * value:.1f} %" if shares else f"{value:.4g}"
