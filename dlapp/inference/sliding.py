"""A sliding classifier on one picture: which window shows what, in numbers and as a picture."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from dlapp import drawing
from dlapp.errors import DlappError
from dlapp.inference.bundle import Bundle
from dlapp.signature import Windows

_TEXT = 15  # pixels, of the legend


class Window(NamedTuple):
    """A window that is surer of its class than those around it.

    Attributes:
        label, probability: of its likeliest class.
        box: top, left, bottom and right, in pixels of the picture.
    """

    label: str
    probability: float
    box: tuple[int, int, int, int]


class Map(NamedTuple):
    """The answers for all the windows of a picture.

    Attributes:
        labels: (rows, columns) int64, the likeliest class of each window, an index into the labels.
        scores: (rows, columns) float32, its probability.
        best: windows that are at least as sure as those beside them, surest first.
    """

    labels: np.ndarray
    scores: np.ndarray
    best: tuple[Window, ...]


def slide(bundle: Bundle, picture: np.ndarray, *, min_score: float = 0.5) -> Map:
    """What a sliding bundle answers for a picture, (height, width, channels) uint8.

    A network without a class for "nothing" finds some class in every window: ``min_score`` leaves out the windows
    that are less sure.

    Raises:
        DlappError: the bundle gives one answer a picture.
        ValueError: the picture is smaller than the window.
    """
    windows = bundle.signature.windows
    if windows is None:
        raise DlappError(f"{bundle.folder} gives one answer a picture. Export the model with sliding=True (--sliding).")
    probabilities = bundle.run(picture[np.newaxis])["probabilities"][0]
    labels, scores = probabilities.argmax(axis=-1), probabilities.max(axis=-1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(scores, 1), (3, 3)).max(axis=(-1, -2))
    peaks = np.argwhere((scores >= around) & (scores >= min_score))
    order = np.argsort(-scores[tuple(peaks.T)], kind="stable")
    # windows that share more than half of their pixels with a better one are the same find
    reach = [(size - 1) // step for size, step in zip(windows.size, windows.stride, strict=True)]
    down, right = (
        size - step * np.abs(np.arange(-steps, steps + 1))
        for size, step, steps in zip(windows.size, windows.stride, reach, strict=True)
    )
    same = np.multiply.outer(down, right) > math.prod(windows.size) / 2
    found = np.zeros([side + 2 * steps for side, steps in zip(scores.shape, reach, strict=True)], bool)
    best: list[Window] = []
    for row, column in peaks[order].tolist():
        if not found[row + reach[0], column + reach[1]]:
            found[row : row + len(down), column : column + len(right)] |= same
            box = windows.box(row, column)
            best.append(Window(bundle.signature.labels[labels[row, column]], float(scores[row, column]), box))
    return Map(labels, scores, tuple(best))


def draw(
    picture: np.ndarray, found: Map, windows: Windows, labels: tuple[str, ...], *, min_score: float
) -> Image.Image:
    """The picture with a coloured cell for each window that is sure enough, and the best windows framed and named.

    A cell stands in the middle of its window, as large as a step; it is the more opaque, the surer the network.
    Below stand the classes that were found.
    """
    image, factor = drawing.enlarge(picture)
    cells = Image.new("RGBA", image.size)
    pen = ImageDraw.Draw(cells)
    for row, column in np.argwhere(found.scores >= min_score).tolist():
        top, left, bottom, right = windows.box(row, column)
        middle = (left + right) / 2, (top + bottom) / 2
        corner = [factor * (at - step / 2) for at, step in zip(middle, windows.stride[::-1], strict=True)]
        end = [at + factor * step - 1 for at, step in zip(corner, windows.stride[::-1], strict=True)]
        opacity = round(40 + 130 * float(found.scores[row, column]))
        pen.rectangle([*corner, *end], fill=(*drawing.color(found.labels[row, column]), opacity))
    image = Image.alpha_composite(image.convert("RGBA"), cells).convert("RGB")
    corners = factor * np.array([window.box for window in found.best]).reshape(-1, 4)
    texts = [f"{window.label} {window.probability:.2f}" for window in found.best]
    drawing.mark(image, corners, texts, [labels.index(window.label) for window in found.best])
    return _with_legend(image, sorted(set(found.labels[found.scores >= min_score].tolist())), labels)


def _with_legend(image: Image.Image, shown: list[int], labels: tuple[str, ...]) -> Image.Image:
    font, line = drawing.font(_TEXT), _TEXT + 10
    places, x, y = [], 6, 4
    for index in shown:
        width = round(font.getlength(labels[index])) + 30
        if x + width > image.width and x > 6:
            x, y = 6, y + line
        places.append((index, x, y))
        x += width
    page = Image.new("RGB", (image.width, image.height + (y + line if shown else 0)), "white")
    page.paste(image)
    pen = ImageDraw.Draw(page)
    for index, x, y in places:
        pen.rectangle([x, image.height + y + 2, x + 14, image.height + y + 16], fill=drawing.color(index))
        pen.text((x + 20, image.height + y), labels[index], fill="black", font=font)
    return page
