"""Plots of a detector as SVG text, to stand inside a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np

from dlapp.drawing import color
from dlapp.evaluation.detection import Curve, f1_at
from dlapp.reporting.plots import BEST, STYLE, TRAIN, as_svg

_ALL = 8  # classes that have a line each
_LEVELS = np.linspace(0, 1, 101)


def precision_recall(curves: Sequence[Curve | None], labels: Sequence[str]) -> str:
    """Precision against recall at IoU 0.5, a line a class; of many classes the mean and the worst."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "precision and recall"}):
        figure = matplotlib.figure.Figure(figsize=(4.9, 3.9), layout="constrained")
        axes = figure.subplots()
        known = {index: curve for index, curve in enumerate(curves) if curve is not None}
        for index in _shown(known):
            area = known[index].precision.mean()
            axes.plot(
                known[index].recall, known[index].precision, color=_color(index), label=f"{labels[index]} {area:.2f}"
            )
        if len(known) > 1:
            mean = np.mean([curve.precision for curve in known.values()], axis=0)
            axes.plot(_LEVELS, mean, color="black", linestyle=":", label=f"mean {mean.mean():.2f}")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.03))
        if known:
            axes.legend(frameon=False, fontsize=8, loc="lower left")
        return as_svg(figure)


def f1(curves: Sequence[Curve | None], labels: Sequence[str], min_score: float) -> str:
    """F1 against the score from which on boxes are told, a line a class; of many classes the mean and the worst."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "f1"}):
        figure = matplotlib.figure.Figure(figsize=(4.9, 3.9), layout="constrained")
        axes = figure.subplots()
        known = {index: curve for index, curve in enumerate(curves) if curve is not None}
        found = {index: [f1_at(curve, level) for level in _LEVELS] for index, curve in known.items()}
        for index in _shown(known):
            axes.plot(_LEVELS, found[index], color=_color(index), label=labels[index])
        if len(known) > 1:
            axes.plot(_LEVELS, np.mean(list(found.values()), axis=0), color="black", linestyle=":", label="mean")
        axes.axvline(min_score, color=BEST, linestyle="--", label=f"told from {min_score:g} on")
        axes.set(xlabel="least score", ylabel="F1", xlim=(0, 1), ylim=(0, 1.03))
        axes.legend(frameon=False, fontsize=8, loc="lower left")
        return as_svg(figure)


def kinds_of_errors(errors: Mapping[str, Mapping[str, Any]]) -> str:
    """What each kind of error costs in mean average precision."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "kinds of errors"}):
        figure = matplotlib.figure.Figure(figsize=(8.4, 2.6), layout="constrained")
        axes = figure.subplots()
        costs = [100 * error["cost"] for error in errors.values()]
        bars = axes.barh(range(len(errors)), costs, color=TRAIN)
        axes.bar_label(bars, [f"{cost:.1f}" for cost in costs], padding=3)
        axes.set_yticks(range(len(errors)), list(errors))
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.set(xlabel="points of mAP@0.5 that repairing these errors alone would bring")
        axes.set_xlim(0, max(1.15 * max(costs), 1))
        return as_svg(figure)


def _shown(curves: Mapping[int, Curve]) -> list[int]:
    """The classes that have a line of their own: all, or the worst."""
    order = sorted(curves, key=lambda index: curves[index].precision.mean())
    return sorted(order[:_ALL])


def _color(index: int) -> tuple[float, ...]:
    return tuple(value / 255 for value in color(index))
