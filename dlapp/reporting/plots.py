"""Plots as SVG text, to stand inside a page."""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

TRAIN, DEV, BEST = "#2f6fb0", "#d1662c", "#8a8f98"
_STYLE: Any = {
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
_ALL_TICKS = 30  # beyond so many classes, labels would run into each other


def curves(history: Sequence[dict[str, float]]) -> str:
    """Loss and accuracy of train and dev against the epoch; the best epoch is marked."""
    epochs = [row["epoch"] for row in history]
    best = min(history, key=lambda row: row["dev_loss"])["epoch"]
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "curves"}):  # ids are unique on the page, and repeat
        figure = matplotlib.figure.Figure(figsize=(9.6, 3.3), layout="constrained")
        for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, [row[f"train_{metric}"] for row in history], color=TRAIN, label="train", marker=marker)
            axes.plot(epochs, [row[f"dev_{metric}"] for row in history], color=DEV, label="dev", marker=marker)
            axes.axvline(best, color=BEST, linestyle=":", label=f"kept: epoch {best:.0f}")
            axes.set(xlabel="epoch", title=metric)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.axes[0].set_ylim(bottom=0)
        figure.axes[1].legend(frameon=False)
        return _svg(figure)


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """A confusion matrix: rows are true, columns predicted, shaded by the share of the row."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.2, 0.5 * len(labels) + 1.2), 12)
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "confusion", "axes.grid": False}):
        figure = matplotlib.figure.Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="predicted", ylabel="true")
        _label_classes(axes, labels)
        if len(labels) <= _ALL_TICKS:
            for (row, column), count in np.ndenumerate(counts):
                color = "white" if shares[row, column] > 0.5 else "#1c2330" if count else "#c4c8cf"
                axes.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
        return _svg(figure)


def _label_classes(axes: Axes, labels: Sequence[str]) -> None:
    if len(labels) > _ALL_TICKS:
        return
    short = [label if len(label) <= 14 else f"{label[:13]}\u2026" for label in labels]
    long = max(map(len, short)) > 3
    axes.set_xticks(
        range(len(labels)), short, rotation=45 if long else 0, ha="right" if long else "center", parse_math=False
    )
    axes.set_yticks(range(len(labels)), short, parse_math=False)


def _svg(figure: matplotlib.figure.Figure) -> str:
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has the letters, not matplotlib
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    # what stands before the element would make the page invalid
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL)
