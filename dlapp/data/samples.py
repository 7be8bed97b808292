"""A sheet of pictures with their labels, to see whether these are right."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dlapp.data.examples import Examples
from dlapp.drawing import draw_boxes, sheet
from dlapp.errors import UnreadablePicture

_COLUMNS, _ROWS = 6, 4
_SIDE = 320  # of a picture on the sheet, in pixels


def draw_samples(parts: Mapping[str, Examples], labels: Sequence[str]) -> Image.Image | None:
    """24 pictures drawn by lot, of as many classes as there is room for; ignored objects have broken lines.

    None where no picture can be read.
    """
    images, captions = [], []
    for split, index in _choose(parts, len(labels)):
        part = parts[split]
        try:
            picture = part.read(index)
        except UnreadablePicture:  # an audit names it
            continue
        name = Path(part.name(index, split)).name
        if part.boxes is None:
            images.append(draw_boxes(picture, np.zeros((0, 4)), [], [], side=_SIDE))
            captions.append(f"{labels[part.targets[index]] if labels else f'{part.targets[index]:.6g}'}\n{name}")
        else:
            own = part.boxes[index]
            classes: list[int] = own.classes.tolist()
            texts = [labels[number] for number in classes]
            dashed = own.ignored.tolist() if len(own.ignored) else False
            images.append(draw_boxes(picture, own.corners, texts, classes, dashed=dashed, side=_SIDE))
            captions.append(name)
        if len(images) == _COLUMNS * _ROWS:
            break
    return sheet(images, columns=_COLUMNS, side=_SIDE, captions=captions) if images else None


def _choose(parts: Mapping[str, Examples], classes: int) -> list[tuple[str, int]]:
    """Every example in the order of a lot, but first those that show a class for the first time."""
    members = [(split, index) for split, part in parts.items() for index in range(len(part))]
    order = np.random.default_rng(0).permutation(len(members))
    first, others = [], []
    unseen = set(range(classes))
    for place in order.tolist():
        split, index = members[place]
        part = parts[split]
        shown = part.boxes[index].classes.tolist() if part.boxes is not None else [part.targets[index]]
        (first if unseen.intersection(shown) else others).append((split, index))
        unseen.difference_update(shown)
    return first + others
