"""Odd pictures, made here with Pillow, mean what they show; damaged and huge ones are refused by name."""

import contextlib
import json
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from dlapp import pictures
from dlapp.errors import UnreadablePicture

ORIENTATION = 0x0112

# Height 2, width 3, every pixel different.
UPRIGHT = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [90, 90, 90], [255, 255, 255]]],
    np.uint8,
)
# How a camera stores the upright picture under each value of the tag, by the EXIF standard: where row 0
# and column 0 of what is stored lie in what is seen.
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.transpose(1, 0, 2),  # left, top
    6: UPRIGHT[:, ::-1].transpose(1, 0, 2),  # right, top
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: UPRIGHT[::-1].transpose(1, 0, 2),  # left, bottom
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation_gives_the_upright_picture(tmp_path, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=exif(orientation))
    np.testing.assert_array_equal(pictures.read(path, 3), UPRIGHT)
    header = pictures.read_header(path)
    assert (header.height, header.width) == (2, 3)
    assert header.plain == (suffix == "png" and orientation == 1)


def test_exif_orientation_of_a_photograph(tmp_path):
    # 16 x 24 in blocks of 8, which JPEG keeps apart
    blocks = np.kron(STORED[6], np.ones((8, 8, 1), np.uint8))
    Image.fromarray(blocks).save(tmp_path / "a.jpg", exif=exif(6), quality=95, subsampling=0)
    # quality 95 moves a flat block by a few of 255 levels; a wrong turn moves it by 90 or more
    np.testing.assert_allclose(pictures.read(tmp_path / "a.jpg", 3)[4::8, 4::8].astype(int), UPRIGHT, atol=8)
    assert pictures.read_header(tmp_path / "a.jpg") == pictures.Header(16, 24, 3, plain=False)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("damage", [b"MM\x00\xd0\x00\x00\x00\x08", b"garbage"], ids=["bad header", "garbage"])
def test_damaged_exif_does_not_spoil_a_good_picture(tmp_path, suffix, damage):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (3, 2), "white").save(path, exif=b"Exif\x00\x00" + damage)
    assert pictures.read_header(path).height == 2
    np.testing.assert_array_equal(pictures.read(path, 1), np.full((2, 3, 1), 255))


RED, BLUE, CLEAR = [255, 0, 0], [0, 0, 255], 0


def _palette() -> Image.Image:
    picture = Image.new("P", (2, 1))
    picture.putpalette(RED + BLUE)
    picture.putpixel((1, 0), 1)
    return picture


def _grey16(dtype: str) -> Image.Image:
    # 257 x (0, 1, 4, 128, 255), and two between that are rounded down
    return Image.fromarray(np.array([[0, 257, 1028, 32896, 65535, 300, 60000]], dtype))


def _merge(mode: str, *pixels: tuple) -> Image.Image:
    picture = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        picture.putpixel((x, 0), pixel)
    return picture


# 30, 59 and 11 % of red, green and blue (ITU-R 601)
LUMA_RED, LUMA_BLUE = round(0.299 * 255), round(0.114 * 255)
GREY16 = [0, 1, 4, 128, 255, 1, 233]

# file: picture, options of save, channels as stored, {channels: first row}
ODD = {
    "cmyk.tif": (
        _merge("CMYK", (0, 255, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0)),
        {},
        3,
        {3: [RED, [0] * 3, [255] * 3], 1: [[LUMA_RED], [0], [255]], 4: [[*RED, 255], [0, 0, 0, 255], [255] * 4]},
    ),
    "palette.png": (_palette(), {}, 3, {3: [RED, BLUE], 1: [[LUMA_RED], [LUMA_BLUE]], 4: [[*RED, 255], [*BLUE, 255]]}),
    "transparent_palette.png": (
        _palette(),
        {"transparency": 0},
        4,
        {3: [[255] * 3, BLUE], 1: [[255], [LUMA_BLUE]], 4: [[*RED, 0], [*BLUE, 255]]},
    ),
    # a transparency for each entry of the palette, half for the second
    "half_transparent_palette.png": (_palette(), {"transparency": b"\xff\x80"}, 4, {3: [RED, [127, 127, 255]]}),
    "transparent.gif": (_palette(), {"transparency": 0}, 4, {3: [[255] * 3, BLUE]}),
    "grey16.png": (_grey16("uint16"), {}, 1, {1: [[v] for v in GREY16], 3: [[v] * 3 for v in GREY16]}),
    "grey16.tif": (_grey16("uint16"), {}, 1, {1: [[v] for v in GREY16]}),
    "grey16_big_endian.tif": (_grey16(">u2"), {}, 1, {1: [[v] for v in GREY16]}),
    "grey16.pgm": (_grey16("uint16"), {}, 1, {1: [[v] for v in GREY16]}),
    "grey16_transparent.png": (
        _grey16("uint16"),
        {"transparency": 1028},
        4,
        {1: [[v] for v in (0, 1, 255, 128, 255, 1, 233)]},
    ),
    # half of 10 and half of white: (10 x 128 + 255 x 127) / 255
    "grey_alpha.png": (
        _merge("LA", (10, 0), (10, 255), (10, 128)),
        {},
        4,
        {1: [[255], [10], [132]], 3: [[255] * 3, [10] * 3, [132] * 3], 4: [[10] * 3 + [a] for a in (0, 255, 128)]},
    ),
    "rgba.png": (
        _merge("RGBA", (*RED, 0), (*RED, 255), (*RED, 128)),
        {},
        4,
        {3: [[255] * 3, RED, [255, 127, 127]], 4: [[*RED, 0], [*RED, 255], [*RED, 128]]},
    ),
    "key_colour.png": (
        _merge("RGB", (9, 8, 7), (9, 8, 6)),
        {"transparency": (9, 8, 7)},
        4,
        {3: [[255] * 3, [9, 8, 6]]},
    ),
    "bits.png": (_merge("1", 0, 1), {}, 1, {1: [[0], [255]], 3: [[0] * 3, [255] * 3]}),
    "grey.png": (
        _merge("L", 0, 77),
        {},
        1,
        {1: [[0], [77]], 3: [[0] * 3, [77] * 3], 4: [[0, 0, 0, 255], [77, 77, 77, 255]]},
    ),
    "rgb.webp": (_merge("RGB", (9, 8, 7)), {"lossless": True}, 3, {3: [[9, 8, 7]]}),
}


@pytest.mark.parametrize(
    ("name", "channels"), [(name, channels) for name, odd in ODD.items() for channels in odd[3]], ids=str
)
def test_an_odd_picture_means_what_it_shows(tmp_path, name, channels):
    picture, options, stored, rows = ODD[name]
    picture.save(tmp_path / name, **options)
    array = pictures.read(tmp_path / name, channels)
    assert array.dtype == np.uint8
    expected = np.array([rows[channels]])
    # Pillow blends and weighs in integers: half a level of rounding, twice
    np.testing.assert_allclose(array.astype(int), expected, atol=1 if {127, 132, LUMA_RED} & {*expected.flat} else 0)
    header = pictures.read_header(tmp_path / name)
    assert header == pictures.Header(1, array.shape[1], stored, plain=name == "grey.png")


def test_of_an_animation_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (4, 2), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3, "Pillow saves equal frames as one"
    np.testing.assert_array_equal(pictures.read(tmp_path / "a.gif", 3), np.full((2, 4, 3), RED))


@pytest.mark.parametrize("suffix", sorted(pictures.SUFFIXES))
def test_a_truncated_picture_is_damaged(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    mode = "L" if suffix == ".pgm" else "RGB"
    Image.effect_noise((40, 30), 50).convert(mode).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with warnings.catch_warnings():
        # Pillow warns of a TIFF whose directory is cut off before it fails
        warnings.filterwarnings("ignore", "Corrupt EXIF data|Truncated File Read", UserWarning)
        with pytest.raises(UnreadablePicture, match=rf"a\{suffix} is (damaged|not a picture that can be read): .*\w\."):
            pictures.read(path, 3)
        # the header may be whole; if it is not, the error is of the same kind
        with contextlib.suppress(UnreadablePicture):
            header = pictures.read_header(path)
            assert (header.height, header.width) == (30, 40)


def test_a_header_is_read_without_decoding(tmp_path, monkeypatch):
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.new("RGB", (4, 2)).save(tmp_path / name)

    def decode(self, *_):
        raise AssertionError(f"{self.format} was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    for name in ("a.png", "a.jpg", "a.webp"):
        header = pictures.read_header(tmp_path / name)
        assert (header.height, header.width) == (2, 4)


def _eps(path):
    Image.new("RGB", (3, 2)).save(path, "EPS")


REFUSED = {
    "missing.jpg": (lambda path: None, r"missing.jpg does not exist\."),
    "folder.jpg": (lambda path: path.mkdir(), r"folder.jpg is a folder, not a picture\."),
    "empty.png": (lambda path: path.touch(), r"empty.png is empty \(0 bytes\)\. Save it again or leave it out\."),
    "text.jpg": (lambda path: path.write_text("hello"), r"text.jpg is not a picture that can be read: .* unknown\."),
    # PostScript is a program, and Pillow hands it to Ghostscript
    "program.jpg": (_eps, r"program.jpg is not a picture that can be read"),
    "float.tif": (
        lambda path: Image.fromarray(np.ones((2, 3), np.float32)).save(path),
        "float.tif.* floating-point values .* save it with 8 or 16 bits",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_by_name(tmp_path, name):
    make, message = REFUSED[name]
    make(tmp_path / name)
    with pytest.raises(UnreadablePicture, match=message) as caught:
        pictures.read(tmp_path / name, 3)
    assert str(caught.value).count(name) == 1


def _png_header(path, width: int, height: int):
    """A PNG of that size without a single pixel: whoever decodes it finds it damaged."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize("look", [pictures.read_header, lambda path: pictures.read(path, 1)], ids=["header", "read"])
@pytest.mark.parametrize(
    ("width", "height"),
    [(pictures.MAX_PIXELS + 1, 1), (10_000, 10_000), (20_000, 20_000)],
    ids=["one pixel too many", "Pillow warns", "Pillow refuses"],
)
def test_a_huge_picture_is_refused_undecoded(tmp_path, look, width, height):
    _png_header(tmp_path / "huge.png", width, height)
    # Pillow's own warning must not reach standard error beside the message
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(UnreadablePicture, match=r"huge.png .* 89 megapixels: it was not decoded. Shrink it first."):
            look(tmp_path / "huge.png")
    assert not warned


def test_the_largest_picture_is_not_too_large(tmp_path):
    _png_header(tmp_path / "large.png", pictures.MAX_PIXELS, 1)
    with pytest.raises(UnreadablePicture, match=r"large.png is damaged"):
        pictures.read(tmp_path / "large.png", 1)


def test_the_shared_set_of_odd_pictures(data_set):
    folder = data_set("odd_images_shared")
    expected = json.loads((folder / "expected.json").read_text())
    reference = pictures.read(folder / "ok_reference.jpg", 3).astype(int)
    for name, entry in expected.items():
        if entry["expected"].startswith("reject"):
            with pytest.raises(UnreadablePicture, match=re.escape(name)):
                pictures.read(folder / name, 3)
            continue
        array = pictures.read(folder / name, 3)
        width, height = sorted(entry["pillow"]["size"], reverse=True)  # all lie on their longer side
        assert array.shape == (height, width, 3), name
        header = pictures.read_header(folder / name)
        assert (header.height, header.width) == (height, width), name
        if name in ("cmyk.jpg", "exif_rotated6.jpg"):
            # the same drawing saved as JPEG again: 2 levels of 255 on average, 70 and more if turned or inverted
            assert np.abs(array - reference).mean() < 5, name
    np.testing.assert_array_equal(pictures.read(folder / "grey16.png", 1), pictures.read(folder / "grey8.png", 1))
    np.testing.assert_array_equal(pictures.read(folder / "rgba.png", 3)[0, 0], [255] * 3)
    assert pictures.read(folder / "rgba.png", 4)[0, 0, 3] == 0


@pytest.mark.parametrize("wanted", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_in_memory_are_converted_as_files_are(tmp_path, monkeypatch, channels, wanted):
    monkeypatch.setattr(pictures, "_CONVERTED_AT_ONCE", 2 * 5 * 4)
    given = np.random.default_rng(0).integers(0, 256, (3, 5, 4, channels), np.uint8)
    converted = pictures.convert(given, wanted)
    for number, picture in enumerate(given):
        Image.fromarray(picture[..., 0] if channels == 1 else picture).save(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(converted[number], pictures.read(tmp_path / f"{number}.png", wanted))
    assert (converted is given) == (channels == wanted)
    if (channels, wanted) == (3, 1):
        luma = given @ np.array([0.299, 0.587, 0.114])
        np.testing.assert_allclose(converted[..., 0], luma, atol=0.51)  # rounded to whole levels
    elif (channels, wanted) == (1, 3):
        np.testing.assert_array_equal(converted, np.repeat(given, 3, axis=3))
