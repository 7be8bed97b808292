"""Speed against quality of the variants of a bundle, in a PNG file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from dlapp.files import replacing
from dlapp.reporting.plots import BEST, DEV, STYLE, TRAIN

_COLORS = {"float32": TRAIN, "int8": DEV, "float16": "#3f8f5b"}
_MARKERS = "osD^vP"  # one a runtime
# where a label may stand beside its point: offset in points, and which of its sides is there
_PLACES = (
    *((0, 9, "center", "bottom"), (0, -9, "center", "top"), (0, 24, "center", "bottom"), (0, -24, "center", "top")),
    *((0, 39, "center", "bottom"), (0, -39, "center", "top"), (9, 0, "left", "center"), (-9, 0, "right", "center")),
)
_LEAST_SPAN = 0.02  # of the metric: differences that are nothing are not to fill the picture


def write_benchmark(path: Path, found: Mapping[str, Any]) -> None:
    """Draws one point for each variant and runtime, or bars of speed where there is no metric.

    Args:
        path: of the PNG file.
        found: what ``dlapp benchmark`` measured.
    """
    metric = found["metric"]
    rows = [row for row in found["results"] if row["throughput"] is not None]
    drawn = [row for row in rows if row[metric["name"]] is not None]
    threads = f"{found['threads']} thread" + "s" * (found["threads"] > 1)
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(8.0, 4.6), layout="constrained")
        axes = figure.subplots()
        if drawn:
            _points(figure, axes, drawn, metric)
        else:
            _bars(axes, rows)
        axes.set_title(f"{Path(found['bundle']).name}: {threads}, {found['processor']['name']}", fontsize=10)
        with replacing(path) as beside:
            figure.savefig(beside, dpi=130)


def _points(
    figure: matplotlib.figure.Figure, axes: Axes, rows: Sequence[Mapping[str, Any]], metric: Mapping[str, Any]
) -> None:
    name = metric["name"]
    values = [row[name] for row in rows]
    span = max(max(values) - min(values), _LEAST_SPAN)
    middle = (max(values) + min(values)) / 2
    ends = [middle - 0.8 * span, middle + 0.8 * span]
    speeds = [row["throughput"] for row in rows]
    axes.set(xscale="log", xlim=(min(speeds) / 1.8, max(speeds) * 1.8), ylim=ends)
    if "float32" in metric["values"]:
        axes.axhline(metric["values"]["float32"], color=BEST, linestyle=":", linewidth=1)
    better = "lower" if metric["smaller_is_better"] else "higher"
    axes.set(xlabel="inputs a second at batch 32", ylabel=f"{name.replace('_', ' ')} on test, {better} is better")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    runtimes = list(dict.fromkeys(row["runtime"] for row in rows))
    for row in rows:
        marker = _MARKERS[runtimes.index(row["runtime"]) % len(_MARKERS)]
        axes.plot(row["throughput"], row[name], marker, color=_color(row), markersize=9)
    _label(figure, axes, [(row["throughput"], row[name], _name(row), _color(row)) for row in rows])


def _label(figure: matplotlib.figure.Figure, axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Writes beside each point where there is room: not over another label or point, nor beyond the axes."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # decides where the axes are
    frame = axes.get_window_extent()
    taken = []
    for x, y, *_ in points:
        left, low = axes.transData.transform((x, y)) - 8
        taken.append(Bbox.from_bounds(left, low, 16, 16))
    for x, y, text, color in points:
        for place in _PLACES:
            dx, dy, side, height = place
            label = axes.annotate(
                text, (x, y), (dx, dy), textcoords="offset points", ha=side, va=height, fontsize=9, color=color
            )
            box = label.get_window_extent(canvas.get_renderer())
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if place == _PLACES[-1] or (inside and not any(box.overlaps(other) for other in taken)):
                taken.append(box)
                break
            label.remove()


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    speeds = [row["throughput"] for row in rows]
    bars = axes.barh([_name(row) for row in rows], speeds, color=[_color(row) for row in rows], height=0.6)
    axes.bar_label(bars, fmt="{:,.0f}", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="inputs a second at batch 32; no metric was measured")


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['variant']}, {row['runtime']}"


def _color(row: Mapping[str, Any]) -> str:
    return _COLORS.get(row["variant"], BEST)
