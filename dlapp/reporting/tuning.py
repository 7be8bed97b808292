"""Plots of a search: how the loss on dev went from trial to trial, and what it depended on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.ticker import MaxNLocator

from dlapp.files import replacing
from dlapp.reporting.plots import BEST, DEV, STYLE, TRAIN

_LOG_FROM = 10.0  # the largest loss so many times the lowest: a linear axis would show the largest alone


def write_history(path: Path, values: Sequence[float | None], states: Sequence[str]) -> None:
    """Draws the loss on dev of every trial and the lowest so far into a PNG file.

    Args:
        path: of the file.
        values: of each trial from trial 0 on, the recipe as it is; None where there is none.
        states: ``complete``, ``pruned``, or what else ended each trial.
    """
    numbers = np.arange(len(values))
    losses = np.array([np.nan if value is None else value for value in values], np.float64)
    complete = np.array([state == "complete" for state in states], bool) & np.isfinite(losses)
    pruned = ~complete & np.isfinite(losses)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.subplots()
        if complete.any():
            lowest = np.fmin.accumulate(np.where(complete, losses, np.nan))
            axes.step(numbers, lowest, where="post", color=DEV, label="lowest so far", zorder=1)
            best = int(np.nanargmin(np.where(complete, losses, np.nan)))
            axes.scatter(numbers[complete], losses[complete], s=26, color=TRAIN, label="trained to the end")
            axes.scatter(best, losses[best], s=130, facecolors="none", edgecolors=DEV, label=f"best: trial {best}")
        if len(complete) and complete[0]:
            axes.axhline(losses[0], color=BEST, linestyle=":", label="the recipe as it is", zorder=0)
        if pruned.any():
            axes.scatter(numbers[pruned], losses[pruned], s=26, marker="x", color=BEST, label="pruned")
        failed = numbers[~np.isfinite(losses)]
        if len(failed):
            bottom = axes.get_xaxis_transform()
            axes.plot(
                failed, np.full(len(failed), 0.03), "v", color=BEST, transform=bottom, label="diverged or impossible"
            )
        known = losses[np.isfinite(losses)]
        if len(known) and known.min() > 0 and known.max() > _LOG_FROM * known.min():
            axes.set_yscale("log")
        axes.set(xlabel="trial", ylabel="loss on dev", title="loss on dev from trial to trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        _save(figure, path)


def write_importance(path: Path, importances: Mapping[str, float]) -> None:
    """Draws the share of each axis into a PNG file, the most important at the top.

    Args:
        path: of the file.
        importances: shares that sum to 1; empty where there were too few trials, which the picture then says.
    """
    ordered = sorted(importances.items(), key=lambda item: item[1])
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure = matplotlib.figure.Figure(figsize=(7.2, 1.4 + 0.42 * max(len(ordered), 2)), layout="constrained")
        axes = figure.subplots()
        if ordered:
            bars = axes.barh([key for key, _ in ordered], [100 * share for _, share in ordered], color=TRAIN)
            axes.bar_label(bars, fmt="%.0f %%", padding=4)
            axes.set(xlim=(0, 110), xticks=range(0, 101, 20), xlabel="% of the variance of log(loss on dev)")
        else:
            axes.text(0.5, 0.5, "too few trials to tell", ha="center", va="center")
            axes.set_axis_off()
        axes.set_title("what the loss on dev depended on")
        _save(figure, path)


def _save(figure: matplotlib.figure.Figure, path: Path) -> None:
    with replacing(path) as beside:
        figure.savefig(beside, dpi=130)
