"""Speed against quality of the variants of a bundle, in a PNG file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dlapp.files import replacing
from dlapp.reporting.plots import BEST, DEV, STYLE, TRAIN

_COLORS = {"float32": TRAIN, "int8": DEV, "float16": "#3f8f5b"}
_LEAST_SPAN = 0.02  # of the metric: differences that are nothing are not to fill the picture
_ROW = 0.3  # inches, of a runtime


def write_benchmark(path: Path, found: Mapping[str, Any]) -> None:
    """Draws speed against the metric, a point for each variant and runtime; below, which of them each point is.

    Args:
        path: of the PNG file.
        found: what ``dlapp benchmark`` measured.
    """
    metric = found["metric"]
    rows = [row for row in found["results"] if row["throughput"] is not None]
    drawn = [row for row in rows if row[metric["name"]] is not None]
    runtimes = sorted({row["runtime"] for row in rows}, key=lambda name: -_fastest(rows, name))
    threads = f"{found['threads']} thread" + "s" * (found["threads"] > 1)
    heights = [2.6] * bool(drawn) + [0.5 + _ROW * len(runtimes)]
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(8.0, 0.9 + sum(heights)), layout="constrained")
        panels = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        if drawn:
            _points(panels[0], drawn, metric)
        _strips(panels[-1], rows, runtimes)
        figure.suptitle(f"{Path(found['bundle']).name}: {threads}, {found['processor']['name']}", fontsize=10)
        with replacing(path) as beside:
            figure.savefig(beside, dpi=130)


def _fastest(rows: Sequence[Mapping[str, Any]], runtime: str) -> float:
    return max(row["throughput"] for row in rows if row["runtime"] == runtime)


def _points(axes: Axes, rows: Sequence[Mapping[str, Any]], metric: Mapping[str, Any]) -> None:
    name = metric["name"]
    values = [row[name] for row in rows]
    span = max(max(values) - min(values), _LEAST_SPAN)
    middle = (max(values) + min(values)) / 2
    axes.set_ylim(middle - 0.8 * span, middle + 0.8 * span)
    if "float32" in metric["values"]:
        axes.axhline(metric["values"]["float32"], color=BEST, linestyle=":", linewidth=1)
    better = "lower" if metric["smaller_is_better"] else "higher"
    axes.set_ylabel(f"{name.replace('_', ' ')} on test\n({better} is better)")
    for row in rows:
        axes.plot(row["throughput"], row[name], "o", color=_color(row), markersize=7, alpha=0.8)


def _strips(axes: Axes, rows: Sequence[Mapping[str, Any]], runtimes: Sequence[str]) -> None:
    """A line for each runtime, the fastest first, with a point for each variant."""
    for row in rows:
        axes.plot(row["throughput"], runtimes.index(row["runtime"]), "o", color=_color(row), markersize=7)
    axes.set_yticks(range(len(runtimes)), runtimes)
    axes.set_ylim(len(runtimes) - 0.5, -0.5)
    axes.set(xscale="log", xlabel="inputs a second at batch 32, on a logarithmic scale")
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.figure.legend(
        handles=[
            Line2D([], [], marker="o", linestyle="", color=color, label=variant)
            for variant, color in _COLORS.items()
            if any(row["variant"] == variant for row in rows)
        ],
        loc="outside lower center",
        ncols=len(_COLORS),
        frameon=False,
    )


def _color(row: Mapping[str, Any]) -> str:
    return _COLORS.get(row["variant"], BEST)
