"""Pictures with boxes and names drawn into them, and sheets of pictures."""

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dlapp import pictures

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Color = tuple[int, int, int]
_Area = tuple[int, int, int, int]  # left, top, right, bottom; of a label or its text, in pixels of the drawing

_COLORS: tuple[Color, ...] = (
    *((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)),
    *((140, 86, 75), (227, 119, 194), (110, 110, 110), (188, 189, 34), (23, 190, 207)),
)
_LEAST_SIDE = 480  # pixels of a drawing: text on a strip of digits would be larger than they
_TEXT = 15  # pixels, of captions and legends
_GAP = 8  # pixels between the pictures of a sheet


def color(index: int) -> Color:
    """The colour of a class; no two of the first hundred are equal."""
    if index < len(_COLORS):
        return _COLORS[index]
    # steps of the golden ratio around the circle of hues never come close to where they were
    hue = (0.2 + 0.618034 * index) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65 + 0.15 * (index % 2), 0.95 - 0.2 * (index % 3))
    return round(255 * red), round(255 * green), round(255 * blue)


def font(text: int = _TEXT) -> Font:
    """The font of all that is written, ``text`` pixels high."""
    return ImageFont.load_default(text)


def enlarge(picture: np.ndarray, *, side: int | None = None) -> tuple[Image.Image, float]:
    """A picture to draw into, and how many of its pixels a pixel of ``picture`` became, down and to the right.

    Args:
        picture: (height, width, 1, 3 or 4) uint8; what is transparent becomes white.
        side: how long the longer side may be; shorter ones are enlarged by a whole factor, longer ones shrunk. Where
            it is None, only pictures of less than 480 pixels are enlarged, and none is shrunk.
    """
    image = Image.fromarray(pictures.convert(picture[np.newaxis], 3)[0])
    longer = max(image.size)
    if side is not None and longer > side:
        factor = side / longer
        size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
        return image.resize(size, Image.Resampling.LANCZOS), factor
    factor = max(1, -(-_LEAST_SIDE // longer) if side is None else side // longer)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST), factor


def draw_boxes(
    picture: np.ndarray,
    corners: npt.ArrayLike,
    texts: Sequence[str],
    classes: Sequence[int],
    *,
    dashed: bool | Sequence[bool] = False,
    side: int | None = None,
) -> Image.Image:
    """The picture in RGB with a box and a text for each object, in the colour of its class.

    Args:
        picture: (height, width, 1, 3 or 4) uint8.
        corners: (m, 4) y1, x1, y2, x2 in pixels of ``picture``.
        texts: what is written at each; nothing where it is empty.
        classes: of each, which choose the colours.
        dashed: whether the lines are broken; of all boxes or of each.
        side: of the drawing, as :func:`enlarge` takes it.
    """
    image, factor = enlarge(picture, side=side)
    mark(image, np.asarray(corners, np.float64).reshape(-1, 4) * factor, texts, classes, dashed=dashed)
    return image


def mark(
    image: Image.Image,
    corners: np.ndarray,
    texts: Sequence[str],
    classes: Sequence[int],
    *,
    dashed: bool | Sequence[bool] = False,
) -> None:
    """Draws boxes into ``image``, (m, 4) y1, x1, y2, x2 in its own pixels, and then their texts over all of them.

    A text stands above its box, or where there is room: no two cover each other as long as there is any.
    """
    pen = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 300))
    boxes = [_pixels(box, image) for box in np.asarray(corners).tolist()]
    broken = np.broadcast_to(dashed, len(boxes)).tolist()
    for box, index, dashes in reversed(list(zip(boxes, classes, broken, strict=True))):  # the first is the uppermost
        _outline(pen, box, color(index), line, dashed=dashes)
    letters = font(round(7 + max(image.size) / 60))
    labels: list[tuple[_Area, str, Color]] = []
    for box, text, index in zip(boxes, texts, classes, strict=True):
        if text:
            short = _shorten(text, letters, image.width - 6)
            place = _find_place(box, _measure(pen, short, letters), image.size, [label[0] for label in labels])
            labels.append((place, short, color(index)))
    for place, text, fill in reversed(labels):
        _write(pen, place, text, fill, letters)


def sheet(images: Sequence[Image.Image], *, columns: int, side: int = 320, captions: Sequence[str] = ()) -> Image.Image:
    """A grid of pictures on white, row after row.

    Args:
        images: at least one; each is shrunk until neither side is longer than ``side``.
        columns: how many stand in a row.
        side: in pixels.
        captions: a text below each image, of one or more lines; none where it is empty.

    Raises:
        ValueError: there is no image, or not as many captions.
    """
    if not images:
        raise ValueError("images must be at least one; got none.")
    if captions and len(captions) != len(images):
        raise ValueError(f"captions must be as many as the images, {len(images)}; got {len(captions)}.")
    shrunk = [image.convert("RGB") for image in images]  # copies, which thumbnail() changes
    for image in shrunk:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    letters = font()
    text_height = max((caption.count("\n") + 1 for caption in captions), default=0) * (_TEXT + 4)
    width = max(image.width for image in shrunk)
    rows = [shrunk[start : start + columns] for start in range(0, len(shrunk), columns)]
    heights = [max(image.height for image in row) for row in rows]
    page_width = _GAP + min(columns, len(shrunk)) * (width + _GAP)
    page = Image.new("RGB", (page_width, _GAP + sum(heights) + len(rows) * (text_height + _GAP)), "white")
    pen = ImageDraw.Draw(page)
    top = _GAP
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, image in enumerate(row):
            left = _GAP + column * (width + _GAP)
            page.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
            if captions:
                lines = captions[number * columns + column].split("\n")
                caption = "\n".join(_shorten(line, letters, width) for line in lines)
                pen.multiline_text((left, top + height + 1), caption, fill="black", font=letters)
        top += height + text_height + _GAP
    return page


def _pixels(box: Sequence[float], image: Image.Image) -> _Area:
    """The pixels of a box inside the image; at least one."""
    top, bottom = (min(max(round(side), 0), image.height) for side in box[::2])
    left, right = (min(max(round(side), 0), image.width) for side in box[1::2])
    left, top = min(left, image.width - 1), min(top, image.height - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _outline(pen: ImageDraw.ImageDraw, box: _Area, fill: Color, line: int, *, dashed: bool) -> None:
    # Pillow's own outline of a box that is smaller than two lines goes beyond it
    left, top, right, bottom = box
    dash, step = (4 * line, 7 * line) if dashed else (max(right - left, bottom - top),) * 2
    wide, high = min(line, right - left), min(line, bottom - top)
    for start in range(left, right, step):
        end = min(start + dash, right) - 1
        pen.rectangle([start, top, end, top + high - 1], fill=fill)
        pen.rectangle([start, bottom - high, end, bottom - 1], fill=fill)
    for start in range(top, bottom, step):
        end = min(start + dash, bottom) - 1
        pen.rectangle([left, start, left + wide - 1, end], fill=fill)
        pen.rectangle([right - wide, start, right - 1, end], fill=fill)


def _measure(pen: ImageDraw.ImageDraw, text: str, letters: Font) -> tuple[int, int]:
    """Width and height of a label."""
    width = pen.textbbox((0, 0), text, font=letters)[2]
    return round(width) + 6, round(pen.textbbox((0, 0), "gM|", font=letters)[3]) + 4


def _find_place(box: _Area, size: tuple[int, int], room: tuple[int, int], placed: Sequence[_Area]) -> _Area:
    """The first place for a label at its box where it covers no other, else the one where it covers least."""
    (left, top, right, bottom), (width, height) = box, size
    downs = [top - height, top, bottom, bottom - height]
    if bottom - top < 3 * height:  # inside it would hide what the box is about
        downs[1:3] = bottom, top
    places = [
        (max(0, min(x, room[0] - width)), max(0, min(y, room[1] - height)))
        for y in downs
        for x in (left, right - width)
    ]
    areas = [(x, y, x + width, y + height) for x, y in places]
    return min(areas, key=lambda area: sum(_shared(area, other) for other in placed))


def _shared(one: _Area, other: _Area) -> int:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0) * max(down, 0)


def _write(pen: ImageDraw.ImageDraw, place: _Area, text: str, fill: Color, letters: Font) -> None:
    pen.rectangle([*place[:2], place[2] - 1, place[3] - 1], fill=fill)
    pen.text((place[0] + 3, place[1] + 1), text, fill=_contrast(fill), font=letters)


def _contrast(background: Color) -> str:
    """Black or white, whichever stands out more: the contrast ratio of WCAG 2.2 is at least 4.5."""
    shares = np.asarray(background) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def _shorten(text: str, letters: Font, width: int) -> str:
    """As much of the text as ``width`` pixels hold."""
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
