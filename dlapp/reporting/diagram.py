"""A network as a picture: one box a layer, from top to bottom."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.figure
from matplotlib.patches import FancyBboxPatch

from dlapp.errors import DlappError
from dlapp.files import replacing

if TYPE_CHECKING:
    from dlapp.architectures.summary import LayerSummary

_COLORS = {"Conv": "#d6e6f5", "Pool": "#f6e0d3", "Dense": "#dff0d8", "Input": "#eceef2"}
_HEIGHT = 0.62


def draw(layers: Sequence["LayerSummary"], name: str, path: Path) -> None:
    """Writes the diagram; the suffix of ``path`` decides the format.

    Args:
        layers: rows of ``architectures.summary.summarize``.
        name: of the network.
        path: .png, .svg or .pdf.

    Raises:
        DlappError: the format is unknown or the folder does not exist.
    """
    if not path.suffix:
        raise DlappError(f"{path} must end with the format to draw, as in {path}.png.")
    if not path.parent.is_dir():
        raise DlappError(f"{path.parent} does not exist: make the folder first, or write elsewhere.")
    figure = matplotlib.figure.Figure(figsize=(7.2, _HEIGHT * len(layers) + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(-len(layers) + 0.4, 0.7), title=name)
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
        axes.text(3.0, -row, "   ".join(details), va="center", fontsize=8.5)
        if row:
            axes.annotate("", (5, -row + 0.34), (5, -row + 0.66), arrowprops={"arrowstyle": "->", "color": "#8a8f98"})
    try:
        with replacing(path) as beside:
            figure.savefig(beside, dpi=150)
    except ValueError as error:
        raise DlappError(f"{path} has a format that cannot be drawn: {error}") from error
