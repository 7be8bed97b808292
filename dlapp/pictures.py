"""Pictures as people have them: a file -> an array of uint8.

Training and prediction read pictures through this one module, so that a rotated photograph or a
transparent drawing means the same to both.
"""

import dataclasses
import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlapp.errors import UnreadablePicture

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# not all that Pillow knows: a PostScript file would be run by Ghostscript
_FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_NAMED_IN_AN_ERROR = 5
SUFFIXES = frozenset(_FORMATS)
MAX_PIXELS = 89_478_485  # from here on Pillow too suspects a decompression bomb
_CONVERTED_AT_ONCE = 2**22  # pixels
_ORIENTATION = 0x0112  # the EXIF tag
_DAMAGED_EXIF = (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def name_some(reasons: Sequence[str]) -> str:
    """The first few of many reasons, one a line, and how many more there are."""
    more = len(reasons) - _NAMED_IN_AN_ERROR
    return "\n".join(reasons[:_NAMED_IN_AN_ERROR]) + (f"\n... and {more} more." if more > 0 else "")


def below(folder: Path) -> list[Path]:
    """The files in a folder, at any depth, whose suffix is that of a picture; nothing hidden."""
    found: list[Path] = []
    ends = tuple(SUFFIXES)
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(top, name) for name in files if name.lower().endswith(ends) and not name.startswith(".")]
    return sorted(found)


@dataclasses.dataclass(frozen=True)
class Header:
    """What can be told of a picture without decoding it.

    Attributes:
        height, width: in pixels, upright.
        channels: 1, 3 or 4, as stored (a palette counts as RGB).
        plain: nothing but decoding is needed: 8 bits, upright, no palette, no alpha to blend.
    """

    height: int
    width: int
    channels: int
    plain: bool


def read_header(path: str | Path) -> Header:
    """Looks at a picture without decoding it.

    Raises:
        UnreadablePicture: it is no picture, or has more than 89 megapixels.
    """
    with _open(path) as picture:
        orientation = _read_orientation(picture)
        width, height = picture.size
        if orientation in (5, 6, 7, 8) and picture.format != "TIFF":  # Pillow has swapped those already
            width, height = height, width
        alpha = picture.has_transparency_data
        channels = 4 if alpha else 1 if picture.mode in ("1", "L", "I;16", "I;16B", "I", "F") else 3
        plain = picture.format in ("JPEG", "PNG") and orientation == 1 and picture.mode in ("L", "RGB") and not alpha
        if plain and picture.format == "PNG" and "exif" not in picture.info:
            plain = b"eXIf" not in Path(path).read_bytes()  # it may stand behind the pixels
        return Header(height, width, channels, plain)


def read(path: str | Path, channels: int) -> "np.ndarray":
    """Decodes a picture.

    It is turned upright as its EXIF data say. CMYK and palettes become RGB, 16-bit grey is divided
    by 257, RGB becomes grey by the luma of ITU-R 601, and transparent parts are laid on white unless
    4 channels are asked for. Of an animation the first frame counts.

    Args:
        path: a file in any format of Pillow's that ``SUFFIXES`` names.
        channels: 1, 3 or 4.

    Returns:
        (height, width, channels) uint8.

    Raises:
        UnreadablePicture: it is no picture, is damaged, or has more than 89 megapixels.
    """
    import numpy as np
    from PIL import Image, ImageOps

    with _open(path) as picture:
        try:
            picture.load()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UnreadablePicture(f"{path} is damaged: {_reason(error)}. Save it again or leave it out.") from error
        try:
            upright = ImageOps.exif_transpose(picture)
        except _DAMAGED_EXIF:
            upright = picture  # what the pixels show is whole
        if upright.mode == "F":
            raise UnreadablePicture(f"{path} has floating-point values and no white: save it with 8 or 16 bits.")
        array = np.asarray(_convert(upright, channels))
    return array.reshape(array.shape[0], array.shape[1], channels)


def convert(pictures: "np.ndarray", channels: int) -> "np.ndarray":
    """Pictures of another number of channels, by the rules of :func:`read`.

    Args:
        pictures: (n, height, width, 1, 3 or 4) uint8.
        channels: 1, 3 or 4.

    Returns:
        (n, height, width, channels) uint8; ``pictures`` itself where it has as many.
    """
    import numpy as np
    from PIL import Image

    if pictures.shape[3] == channels:
        return pictures
    converted = np.empty((*pictures.shape[:3], channels), np.uint8)
    many = max(_CONVERTED_AT_ONCE // max(pictures[0, ..., 0].size, 1), 1)
    for start in range(0, len(pictures), many):
        some = pictures[start : start + many]
        tall = some.reshape(-1, *some.shape[2:])  # one above the other: what is done to a pixel knows no others
        array = np.asarray(_convert(Image.fromarray(tall[..., 0] if tall.shape[2] == 1 else tall), channels))
        converted[start : start + many] = array.reshape(*some.shape[:3], channels)
    return converted


def shrink(picture: "np.ndarray", side: int) -> "np.ndarray":
    """A picture of (height, width, channels) uint8 whose longer side is at most ``side`` pixels."""
    import numpy as np
    from PIL import Image

    if max(picture.shape[:2]) <= side:
        return picture
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    image.thumbnail((side, side))
    return np.asarray(image).reshape(image.height, image.width, picture.shape[2])


def _read_orientation(picture: "Image.Image") -> int:
    from PIL import Image

    try:
        return Image.Image.getexif(picture).get(_ORIENTATION, 1)  # the method of PNG files would decode them
    except _DAMAGED_EXIF:
        return 1


def _open(path: str | Path) -> "Image.Image":
    from PIL import Image

    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # told as an error below
    # the format of the suffix first: asked for one that is not loaded, Pillow loads all that it has, for 50 ms
    likeliest = [_FORMATS[suffix]] if (suffix := Path(path).suffix.lower()) in _FORMATS else []
    try:
        picture = Image.open(path, formats=list(dict.fromkeys([*likeliest, *_FORMATS.values()])))
    except FileNotFoundError:
        raise UnreadablePicture(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise UnreadablePicture(f"{path} is a folder, not a picture.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture(
            f"{path} is larger than {MAX_PIXELS // 10**6} megapixels: it was not decoded. Shrink it first."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        if Path(path).is_file() and Path(path).stat().st_size == 0:
            raise UnreadablePicture(f"{path} is empty (0 bytes). Save it again or leave it out.") from None
        raise UnreadablePicture(f"{path} is not a picture that can be read: {_reason(error)}.") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise UnreadablePicture(
            f"{path} has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} megapixels: "
            "it was not decoded. Shrink it first."
        )
    return picture


def _reason(error: BaseException) -> str:
    """Pillow's words without the path, which the message around them names."""
    text = str(error) or type(error).__name__
    return "its format is unknown" if "cannot identify" in text else text.rstrip(".")


def _convert(picture: "Image.Image", channels: int) -> "Image.Image":
    if picture.mode in ("I", "I;16", "I;16B", "I;16L"):
        picture = _grey16_to_grey8(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if channels != 4:
            from PIL import Image

            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture).convert("RGB")
    return picture if picture.mode == _MODES[channels] else _via_rgb(picture).convert(_MODES[channels])


def _via_rgb(picture: "Image.Image") -> "Image.Image":
    return picture if picture.mode in ("1", "L", "RGB", "RGBA") else picture.convert("RGB")


def _grey16_to_grey8(picture: "Image.Image") -> "Image.Image":
    # convert("L") clips instead of scaling: all but the darkest 1/256 would turn white
    import numpy as np
    from PIL import Image

    values: Any = np.asarray(picture).astype(np.float32)
    grey = Image.fromarray(np.clip(np.rint(values / 257), 0, 255).astype(np.uint8))
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray(np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8)))
    return grey
