"""A network as a picture: one box a layer, from top to bottom, and lines for what goes past the next one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.figure
from matplotlib.patches import FancyBboxPatch

from dlapp.reporting.plots import write_figure

if TYPE_CHECKING:
    from dlapp.architectures.summary import LayerSummary

_COLORS = {"Conv": "#d6e6f5", "Pool": "#f6e0d3", "Dense": "#dff0d8", "Input": "#eceef2"}
_HEIGHT = 0.62
_LANE = 0.35  # between two lines beside the boxes
_LETTER = 0.125  # of a name
_LINE = "#8a8f98"


def draw(layers: Sequence["LayerSummary"], name: str, path: Path) -> None:
    """Writes the diagram; the suffix of ``path`` decides the format.

    Args:
        layers: rows of ``architectures.summary.summarize``.
        name: of the network.
        path: .png, .svg or .pdf.

    Raises:
        DlappError: the format is unknown or the folder does not exist.
    """
    lines = _lanes(layers)
    width = 10 + _LANE * (1 + max((lane for *_, lane in lines), default=-1))
    figure = matplotlib.figure.Figure(figsize=(0.72 * width, _HEIGHT * len(layers) + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(-len(layers) + 0.4, 0.7), title=name)
    column = max(3.0, 0.6 + _LETTER * max(len(layer.name) for layer in layers))
    axes.axis("off")
    for row, layer in enumerate(layers):
        color = next((color for kind, color in _COLORS.items() if kind in layer.kind), "#ffffff")
        axes.add_patch(
            FancyBboxPatch((0.2, -row - 0.32), 9.6, 0.64, boxstyle="round,pad=0.02", fc=color, ec="#8a8f98", lw=0.8)
        )
        shape = " x ".join("any" if size is None else str(size) for size in layer.output_shape)
        details = [layer.kind, shape]
        details += [f"{layer.parameters:,} parameters"] if layer.parameters else []
        details += ["sees {} x {}".format(*layer.receptive_field)] if layer.receptive_field else []
        axes.text(0.4, -row, layer.name, va="center", weight="bold", fontsize=9)
        axes.text(column, -row, "   ".join(details), va="center", fontsize=8.5)
        if row and layers[row - 1].name in layer.inputs:
            axes.annotate("", (5, -row + 0.34), (5, -row + 0.66), arrowprops={"arrowstyle": "->", "color": _LINE})
    for start, end, lane in lines:
        x = 10 + _LANE * (lane + 0.5)
        axes.plot([9.82, x, x], [-start - 0.1, -start - 0.1, -end + 0.1], color=_LINE, linewidth=1)
        axes.annotate("", (9.82, -end + 0.1), (x, -end + 0.1), arrowprops={"arrowstyle": "->", "color": _LINE})
    write_figure(figure, path)


def _lanes(layers: Sequence["LayerSummary"]) -> list[tuple[int, int, int]]:
    """Rows of both ends of every connection that goes past a row, and the lane in which nothing else stands."""
    rows = {layer.name: row for row, layer in enumerate(layers)}
    past = sorted(
        (rows[name], end) for end, layer in enumerate(layers) for name in layer.inputs if rows[name] + 1 < end
    )
    ends: list[int] = []  # of each lane
    found = []
    for start, end in past:
        lane = next((number for number, last in enumerate(ends) if last <= start), len(ends))
        ends[lane : lane + 1] = [end]
        found.append((start, end, lane))
    return found
