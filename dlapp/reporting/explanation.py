"""Where a classifier looked, drawn over the picture, with its filters and what they answer."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from PIL import Image

from dlapp.pictures import convert, shrink
from dlapp.reporting.plots import STYLE, write_figure

MOST = 64  # maps of a layer that are drawn
_HEAT = "inferno"  # its lightness rises evenly, so it reads in grey and to the colour-blind
_SIGNED = "RdBu_r"
_LARGEST = 1024  # pixels of a side that are drawn
_SMOOTH = 224  # pixels that the longer side of an overlay has at least
_CELL = 48  # likewise of a filter or activation


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """Filters, or activations of a layer.

    Attributes:
        title: what they are.
        values: (maps, height, width) of numbers, or (maps, height, width, 3) of colours from 0 to 1.
        labels: one for each, or none.
    """

    title: str
    values: np.ndarray
    labels: Sequence[str] = ()


def upsample(heat: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A map in the size of its picture (bilinear), divided by its maximum.

    Preprocessing stretches the whole picture to the network's size, so stretching back needs no offset.

    Args:
        heat: (rows, columns) float32, not negative.
        size: height and width.

    Returns:
        (height, width) float32 in [0, 1]; zeros where ``heat`` is all zero.
    """
    stretched = np.asarray(Image.fromarray(heat).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    highest = stretched.max()
    return stretched / highest if highest > 0 else stretched


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture in grey under the colours of a map: (height, width, 3) uint8.

    Args:
        picture: (height, width, channels) uint8; a small one is enlarged, so that the map over it is smooth.
        heat: (rows, columns) float32, not negative.
    """
    factor = math.ceil(_SMOOTH / max(picture.shape[:2]))
    grey = convert(picture[np.newaxis], 1)[0, ..., 0] / np.float32(255)
    grey = grey.repeat(factor, axis=0).repeat(factor, axis=1)
    colours = matplotlib.colormaps[_HEAT](upsample(heat, grey.shape))[..., :3]
    mixed = 0.45 * grey[..., np.newaxis] + 0.55 * colours
    return np.rint(255 * mixed).astype(np.uint8)


def filter_maps(weights: np.ndarray) -> np.ndarray:
    """Weights as they can be drawn.

    Args:
        weights: (filters, height, width, channels).

    Returns:
        Of three channels colours, (filters, height, width, 3): grey is zero, and each filter is divided by its own
        largest weight. Else the mean over the channels, (filters, height, width).
    """
    if weights.shape[-1] != 3:
        return weights.mean(axis=-1)
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    return 0.5 + 0.5 * weights / np.where(largest > 0, largest, 1)


def draw(
    path: Path, picture: np.ndarray, *, title: str, told: str, heat: np.ndarray | None = None, maps: Sequence[Maps] = ()
) -> None:
    """Writes one picture: what was given, the map over it, and below them filters and activations.

    Args:
        path: .png, .svg or .pdf.
        picture: (height, width, channels) uint8.
        title: what the network answered.
        told: what the map shows, or why there is none.
        heat: (rows, columns) float32, not negative.
        maps: drawn below, at most 64 of each.

    Raises:
        DlappError: the format is unknown or the folder does not exist.
    """
    shown = shrink(picture, _LARGEST)
    heights = [3.6, *(_grid_height(one) for one in maps)]
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        figure = matplotlib.figure.Figure(figsize=(9.6, sum(heights) + 0.6), layout="constrained")
        figure.suptitle(title, fontsize=13, parse_math=False)
        rows: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        given, over = rows[0].subplots(1, 2)
        _show(given, convert(shown[np.newaxis], 3)[0], f"as given, {picture.shape[0]} x {picture.shape[1]}")
        if heat is None:
            over.text(0.5, 0.5, told, ha="center", va="center", transform=over.transAxes, parse_math=False)
            over.axis("off")
        else:
            _show(over, overlay(shown, heat), told)
            bar = rows[0].colorbar(ScalarMappable(Normalize(0, 1), _HEAT), ax=[given, over], shrink=0.8)
            bar.set_label("as a share of the strongest")
        for row, one in zip(rows[1:], maps, strict=True):
            _draw_grid(row, one)
        write_figure(figure, path)


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation="nearest" if picture.shape[1] < 128 else "antialiased")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.axis("off")


def _shape(maps: Maps) -> tuple[int, int]:
    """Rows and columns of the grid."""
    count = min(len(maps.values), MOST)
    rows = math.ceil(count / (8 if count <= 16 else 16))
    return rows, math.ceil(count / rows)


def _grid_height(maps: Maps) -> float:
    """In inches, with the title."""
    rows, columns = _shape(maps)
    aspect = maps.values.shape[1] / maps.values.shape[2]
    return rows * 8.0 / max(columns, 6) * aspect + (0.8 if maps.labels else 0.5)


def _draw_grid(figure: Any, maps: Maps) -> None:
    rows, columns = _shape(maps)
    total, height, width = maps.values.shape[:3]
    values = maps.values[:MOST]
    factor = math.ceil(_CELL / width)
    values = values.repeat(factor, axis=1).repeat(factor, axis=2)
    down, right = (size * factor for size in (height, width))
    gap = math.ceil(right * (0.14 if maps.labels else 0.06))
    canvas = np.full((rows * (down + gap) - gap, columns * (right + gap) - gap, *values.shape[3:]), np.nan)
    axes = figure.subplots()
    for number, value in enumerate(values):
        top, left = (number // columns) * (down + gap), (number % columns) * (right + gap)
        canvas[top : top + down, left : left + right] = value
        if maps.labels:
            axes.text(left, top - 1, maps.labels[number], fontsize=8, va="bottom", parse_math=False)
    if values.ndim == 4:
        axes.imshow(np.where(np.isnan(canvas), 1, canvas))
    else:
        # a few values far above the others would leave all the rest dark
        largest = float(np.quantile(np.abs(values), 0.995)) or float(np.abs(values).max()) or 1.0
        signed = bool((values < 0).any())
        norm = Normalize(-largest if signed else 0, largest)
        shown = axes.imshow(canvas, cmap=_SIGNED if signed else "magma", norm=norm)
        beyond = "both" if signed else "max"
        figure.colorbar(
            shown, ax=axes, fraction=0.03, pad=0.01, extend=beyond if np.abs(values).max() > largest else None
        )
    count = "" if total == 1 else f"all {total}, " if total <= MOST else f"the first {MOST} of {total}, "
    pad = 14 if maps.labels else 6
    title = f"{maps.title}: {count}{height} x {width}"
    axes.set_title(title, fontsize=10, loc="left", pad=pad, parse_math=False)
    axes.axis("off")
