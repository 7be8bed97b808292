"""What more data would bring: a power law through the errors that parts of the data gave.

Hestness, J. et al. (2017), Deep learning scaling is predictable, empirically. https://arxiv.org/abs/1712.00409
"""

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from dlapp.evaluation.intervals import Interval

_DRAWS = 200
_LEAST_SIZES = 4
_LEAST_GAIN = 0.02  # of the error with all the examples: less is no gain to speak of
_LEAST_MISFIT = 0.1  # of the same: a curve that passes closer fits, however little the seeds differ


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
    """Fits a + b n^-c and draws the seeds again 200 times for the interval.

    The curve is not believed where it misses the error with all the examples, as it does where errors rise.

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
    if not np.isfinite(errors).all():
        return Extrapolation(None, now, _untold("a run has diverged"))
    if len(sizes) < _LEAST_SIZES:
        return Extrapolation(None, now, "The curve has too few sizes to say what more examples would bring.")
    chance = np.random.default_rng(seed)
    twice = 2 * float(sizes[-1])
    law = _fit(sizes, errors.mean(axis=0))
    if law is None:
        return Extrapolation(None, now, _untold("no falling curve fits it"))
    if len(errors) == 1:
        return Extrapolation(None, now, _untold("one seed shows no spread"))
    left = errors.mean(axis=0) - [law(size) for size in sizes]
    # a fit through means is surer than its points are: what is left between them and the curve counts too
    spread = float(errors.std(axis=0, ddof=1).mean()) / np.sqrt(len(errors))
    if abs(left[-1]) > max(3 * spread, _LEAST_MISFIT * now):
        return Extrapolation(None, now, _untold("no falling curve fits it"))
    spread = max(spread, float(np.sqrt(np.square(left).sum() / (len(sizes) - 3))))
    value = law(twice)
    drawn, times = np.unique(
        np.sort(chance.integers(len(errors), size=(_DRAWS, len(errors))), axis=1), axis=0, return_counts=True
    )  # of few seeds, most draws are the same: each is fitted once
    laws = [_fit(sizes, errors[seeds].mean(axis=0)) for seeds in drawn]
    found = [one(twice) for one, count in zip(laws, times, strict=True) if one is not None for _ in range(count)]
    if len(found) < _DRAWS // 2:
        return Extrapolation(None, now, _untold("no falling curve fits it"))
    low, high = (float(end) for end in np.quantile(found, [0.025, 0.975]))
    low, high = float(max(min(low, value) - spread, 0.0)), float(max(high, value) + spread)
    interval = Interval(value, low, high)
    told = f"{_tell(now, shares)} to about {_tell(value, shares)} ({_tell(low, shares)} to {_tell(high, shares)})"
    if high >= now or value > (1 - _LEAST_GAIN) * now:
        sentence = f"Twice the examples might bring the error on dev from {told}: too uncertain to count on."
    else:
        sentence = f"Twice the examples would bring the error on dev from {told}."
    return Extrapolation(interval, now, sentence)


def _untold(reason: str) -> str:
    return f"The curve does not tell what more examples would bring: {reason}."


def _fit(sizes: np.ndarray, errors: np.ndarray) -> Callable[[float], float] | None:
    """From a size to its error; None where no power law fits."""
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
    return lambda size: float(law(np.array(size / sizes[-1]), *best))


def _tell(value: float, shares: bool) -> str:
    return f"{100 * value:.1f} %" if shares else f"{value:.4g}"
