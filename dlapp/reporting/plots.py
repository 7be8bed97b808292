"""Plots as SVG text, to stand inside a page."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from dlapp.errors import DlappError
from dlapp.evaluation.intervals import ENDLESS
from dlapp.files import replacing

TRAIN, DEV, BEST = "#2f6fb0", "#d1662c", "#8a8f98"
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8f98",
    "axes.grid": True,
    "grid.color": "#e6e8ec",
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}
_FEW_STEPS = 30  # that are marked one by one
_ALL_TICKS = 30  # beyond so many classes, labels would run into each other


def curves(history: Sequence[dict[str, float]], metric: str) -> str:
    """Loss and another metric of train and dev against the epoch; the best epoch is marked."""
    epochs = [row["epoch"] for row in history]
    best = min(history, key=lambda row: row["dev_loss"])["epoch"]
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "curves"}):  # ids are unique on the page, and repeat
        figure = matplotlib.figure.Figure(figsize=(9.6, 3.3), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, [row[f"train_{name}"] for row in history], color=TRAIN, label="train", marker=marker)
            axes.plot(epochs, [row[f"dev_{name}"] for row in history], color=DEV, label="dev", marker=marker)
            axes.axvline(best, color=BEST, linestyle=":", label=f"kept: epoch {best:.0f}")
            axes.set(xlabel="epoch", title={"r2": "R\u00b2"}.get(name, name))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.axes[0].set_ylim(bottom=0)
        figure.axes[1].legend(frameon=False)
        return as_svg(figure)


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """A confusion matrix: rows are true, columns predicted, shaded by the share of the row."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.2, 0.5 * len(labels) + 1.2), 12)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "confusion", "axes.grid": False}):
        figure = matplotlib.figure.Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="true")
        _label_classes(axes, labels)
        if len(labels) <= _ALL_TICKS:
            for (row, column), count in np.ndenumerate(counts):
                color = "white" if shares[row, column] > 0.5 else "#1c2330" if count else "#c4c8cf"
                axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
        return as_svg(figure)


def gradient_flow(norms: Sequence[float]) -> str:
    """The norm of the gradient at each step before the last, on a logarithmic scale."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "gradient_flow"}):
        figure = matplotlib.figure.Figure(figsize=(9.6, 3.0), layout="constrained")
        axes = figure.subplots()
        present = np.maximum(norms, np.finfo(np.float32).tiny)
        axes.semilogy(range(len(norms)), present, color=TRAIN, marker="o" if len(norms) < _FEW_STEPS else None)
        axes.axhline(1e-3 * present.max(), color=BEST, linestyle=":", label="a thousandth of the largest")
        axes.set(xlabel="steps before the last", ylabel="norm of the gradient")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
        return as_svg(figure)


def scatter(targets: np.ndarray, values: np.ndarray, name: str) -> str:
    """Predicted against true values of a regression, with the line on which both are equal."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "scatter"}):
        figure = matplotlib.figure.Figure(figsize=(5.2, 5.2), layout="constrained")
        axes = figure.subplots()
        ends = [float(min(targets.min(), values.min())), float(max(targets.max(), values.max()))]
        axes.plot(ends, ends, color=BEST, linestyle=":")
        axes.scatter(targets, values, s=14, alpha=0.6, color=TRAIN, edgecolors="none", rasterized=len(values) > 2000)
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", aspect="equal")
        return as_svg(figure)


def errors(found: Mapping[str, Mapping[str, float]], bayes_error: float, *, unit: str) -> str:
    """The error of each split with its interval, if one is known, and the Bayes error.

    Args:
        found: by split: ``value``, ``low`` and ``high``.
        bayes_error: drawn as a line.
        unit: of the errors; shares are in ``%``.
    """
    factor = 100 if unit == "%" else 1
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "errors"}):
        figure = matplotlib.figure.Figure(figsize=(8.4, 0.5 * len(found) + 1.1), layout="constrained")
        axes = figure.subplots()
        for row, (name, error) in enumerate(found.items()):
            value, low, high = (factor * error[key] for key in ("value", "low", "high"))
            color = TRAIN if name.startswith("train") else DEV
            reach = None if high - low >= ENDLESS else [[value - low], [high - value]]
            axes.errorbar(value, -row, xerr=reach, fmt="o", color=color, capsize=4)
        axes.axvline(factor * bayes_error, color=BEST, linestyle=":", label="Bayes error")
        axes.set_yticks([-row for row in range(len(found))], [name.replace("_", "-") for name in found])
        axes.set(xlabel=f"error in {unit}", ylim=(-len(found) + 0.4, 0.6))
        figure.legend(frameon=False, loc="outside upper right")
        return as_svg(figure)


def learning_curve(curve: Mapping[str, Any], *, unit: str) -> str:
    """Errors on train and dev against the number of examples, with bands of the seeds, and what twice as many bring."""
    factor = 100 if unit == "%" else 1
    sizes = curve["sizes"]
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "learning curve"}):
        figure = matplotlib.figure.Figure(figsize=(8.4, 3.8), layout="constrained")
        axes = figure.subplots()
        for name, color in (("train", TRAIN), ("dev", DEV)):
            found = factor * np.array(curve[name])
            axes.plot(sizes, found.mean(axis=0), color=color, marker="o", label=name)
            axes.fill_between(sizes, found.min(axis=0), found.max(axis=0), color=color, alpha=0.18, linewidth=0)
        further = curve["extrapolation"].get("interval")
        if further:
            value, low, high = (factor * further[key] for key in ("value", "low", "high"))
            axes.errorbar(
                2 * sizes[-1],
                value,
                yerr=[[value - low], [high - value]],
                fmt="o",
                mfc="white",
                color=DEV,
                capsize=4,
                label="dev with twice the examples",
            )
        axes.set(xscale="log", xlabel="training examples", ylabel=f"error in {unit}")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks([*sizes, 2 * sizes[-1]] if further else sizes)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return as_svg(figure)


def write_rate_test(path: Path, rates: Sequence[float], losses: Sequence[float], suggestion: float) -> None:
    """Draws the loss against the learning rate of a range test, with the suggested rate, into a PNG file."""
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        axes.plot(rates, losses, color=TRAIN)
        axes.axvline(suggestion, color=DEV, linestyle=":", label=f"suggested: {suggestion:g}")
        axes.set(
            xscale="log", xlabel="learning rate", ylabel="smoothed training loss", title="learning-rate range test"
        )
        axes.set_ylim(top=min(max(losses), 2 * losses[0]) * 1.05)
        axes.legend(frameon=False)
        with replacing(path) as beside:
            figure.savefig(beside, dpi=130)


def write_figure(figure: matplotlib.figure.Figure, path: Path) -> None:
    """Writes a figure; the suffix of ``path`` decides the format.

    Raises:
        DlappError: the format is unknown or the folder does not exist.
    """
    if not path.suffix:
        raise DlappError(f"{path} must end with the format to draw, as in {path}.png.")
    if not path.parent.is_dir():
        raise DlappError(f"{path.parent} does not exist: make the folder first, or write elsewhere.")
    try:
        with replacing(path) as beside:
            figure.savefig(beside, dpi=150)
    except ValueError as error:
        raise DlappError(f"{path} has a format that cannot be drawn: {error}") from error


def _label_classes(axes: Axes, labels: Sequence[str]) -> None:
    if len(labels) > _ALL_TICKS:
        return
    short = [label if len(label) <= 14 else f"{label[:13]}\u2026" for label in labels]
    long = max(map(len, short)) > 3
    axes.set_xticks(
        range(len(labels)), short, rotation=45 if long else 0, ha="right" if long else "center", parse_math=False
    )
    axes.set_yticks(range(len(labels)), short, parse_math=False)


def as_svg(figure: matplotlib.figure.Figure) -> str:
    """A figure as text that stands inside a page."""
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has the letters, not matplotlib
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    # what stands before the element would make the page invalid
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL)
