"""What becomes of boxes that fit, nearly fit and do not fit, in each of the units that label files use."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from dlapp.data.annotated import Object, Picture, assemble
from dlapp.errors import SourceError


def paint(path, size=(80, 60), mode="RGB"):
    """A picture of 80 x 60 (width x height) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def assembled(root, by_split, labels=None, *, units="pixels", **given):
    usual = {"label_files": (), "flaws": (), "notes": (), "channels": None, "unreadable": None}
    return assemble(root, by_split, labels, units=units, **{**usual, **given})


def one_box(root, corners, *, units="pixels", label="a"):
    """The boxes and flaws of a picture with this box and a sound one."""
    path = paint(root / "1.png")
    objects = [Object(label, corners, "1.txt:7"), Object("a", (0.2, 0.2, 0.5, 0.5), "1.txt:8")]
    loaded = assembled(root, {"train": [Picture(path, objects)]}, ["a", "b"], units=units)
    return loaded.parts["train"].boxes.corners[:-1].tolist(), [(flaw.kind, flaw.where) for flaw in loaded.flaws]


PIXELS = {
    "inside": ((10, 20, 30, 40), [10, 20, 30, 40], None),
    "the whole picture": ((0, 0, 60, 80), [0, 0, 60, 80], None),
    "a pixel outside": ((-1, -1, 61, 81), [0, 0, 60, 80], None),
    "more above": ((-1.01, 20, 30, 40), [0, 20, 30, 40], "outside the picture"),
    "more to the right": ((10, 20, 30, 81.5), [10, 20, 30, 80], "outside the picture"),
    "all of it below": ((60, 20, 70, 40), None, "outside the picture"),
    "no height": ((10, 20, 10, 40), None, "zero area"),
    "no width": ((10, 20, 30, 20), None, "zero area"),
    "upside down": ((30, 20, 10, 40), None, "reversed corners"),
    "right to left": ((10, 40, 30, 20), None, "reversed corners"),
    "not a number": ((10, float("nan"), 30, 40), None, "damaged label file"),
    "infinite": ((10, 20, float("inf"), 40), None, "damaged label file"),
}


@pytest.mark.parametrize(("corners", "kept", "kind"), PIXELS.values(), ids=PIXELS)
def test_a_box_is_kept_cut_off_or_left_out(tmp_path, corners, kept, kind):
    found, flaws = one_box(tmp_path, corners)
    assert found == ([] if kept is None else [kept])
    assert flaws == ([] if kind is None else [(kind, "1.txt:7")])


UNITS = {
    # y1, x1, y2, x2 of VOC: the pixels from 11 to 30 are those that others call 10 to 30
    "inclusive": ("inclusive", (11, 21, 30, 40), [10, 20, 30, 40], None),
    "inclusive, counted from 0": ("inclusive", (0, 0, 60, 80), [0, 0, 60, 80], None),
    "a click": ("inclusive", (11, 21, 11, 21), None, "zero area"),
    "inclusive and reversed": ("inclusive", (11, 21, 10, 40), None, "reversed corners"),
    "fractions": ("fractions", (0.5, 0.25, 1.0, 0.75), [30, 20, 60, 60], None),
    "fractions, rounded": ("fractions", (-0.01, 0, 1.01, 1), [0, 0, 60, 80], None),
    "fractions beyond": ("fractions", (0.5, 0.25, 1.1, 0.75), [30, 20, 60, 60], "outside the picture"),
    "pixels as fractions": ("fractions", (10, 20, 30, 40), None, "outside the picture"),
}


@pytest.mark.parametrize(("units", "corners", "kept", "kind"), UNITS.values(), ids=UNITS)
def test_units_become_pixels(tmp_path, units, corners, kept, kind):
    found, flaws = one_box(tmp_path, corners, units=units)
    np.testing.assert_allclose(found, [] if kept is None else [kept], rtol=1e-6)
    assert flaws == ([] if kind is None else [(kind, "1.txt:7")])


def test_what_stands_there_is_told(tmp_path):
    path = paint(tmp_path / "1.png")
    objects = [
        Object("a", (10, 40, 30, 20), "1.txt:10"),
        Object("a", (0, 0, 61.5, 80), "1.txt:2"),
        Object("a", (70, 90, 80, 99), "1.txt:3"),
        Object("q", (1, 1, 2, 2), "1.txt:4"),
    ]
    loaded = assembled(tmp_path, {"train": [Picture(path, objects)]}, ["a"])
    assert [str(flaw) for flaw in loaded.flaws] == [
        "1.txt:2: outside the picture (x 0 to 80, y 0 to 61.5 of 80 x 60 pixels, cut off)",
        "1.txt:3: outside the picture (x 90 to 99, y 70 to 80 of 80 x 60 pixels, all of it)",
        "1.txt:4: unknown class ('q')",
        "1.txt:10: reversed corners (x 40 to 20, y 10 to 30 of 80 x 60 pixels)",
    ]
    assert loaded.parts["train"].boxes.corners.tolist() == [[0, 0, 60, 80]]


def test_boxes_stay_with_their_pictures(tmp_path):
    box, flat = (1, 2, 11, 12), (5, 5, 5, 9)
    pictures = [
        Picture(paint(tmp_path / "1.png"), [Object("b", box, "w"), Object("a", flat, "w"), Object("a", box, "w")]),
        Picture(paint(tmp_path / "2.png", (30, 20)), []),
        Picture(paint(tmp_path / "3.png"), [Object("a", flat, "v")]),
        Picture(paint(tmp_path / "4.png"), [Object("b", (0, 0, 5, 5), "w", ignored=True)]),
    ]
    loaded = assembled(tmp_path, {"train": pictures[:3], "dev": pictures[3:]})
    train, dev = loaded.parts["train"], loaded.parts["dev"]
    assert (loaded.task, loaded.labels) == ("detection", ("a", "b"))
    assert train.targets.dtype == np.int32
    assert train.targets.tolist() == train.boxes.counts.tolist() == [2, 0, 0]
    assert train.boxes.classes.tolist() == [1, 0]
    assert len(train.boxes.ignored) == 0
    assert train.sizes.tolist() == [[60, 80], [20, 30], [60, 80]]
    assert dev.boxes.ignored.tolist() == [True]
    assert [flaw.kind for flaw in loaded.flaws] == ["zero area"] * 2


def test_classes_are_those_of_train(tmp_path):
    pictures = [Picture(paint(tmp_path / f"{n}.png"), [Object(n, (1, 1, 5, 5), f"{n}.xml:3")]) for n in ("b", "a", "c")]
    loaded = assembled(tmp_path, {"dev": pictures[2:], "train": pictures[:2]})
    assert loaded.labels == ("a", "b")
    assert [str(flaw) for flaw in loaded.flaws] == ["c.xml:3: unknown class ('c')"]


def test_a_picture_of_another_size_than_its_label_file_says_is_left_out(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6  # seen upright it is 60 wide and 80 high
    Image.new("RGB", (80, 60)).save(tmp_path / "turned.jpg", exif=turned)
    stated = {"size": (60, 80), "where": "turned.xml:2"}
    objects = [Object("a", (0, 0, 5, 5), "turned.xml:9")]
    sound = Picture(paint(tmp_path / "1.png"), objects, size=(60, 80))
    loaded = assembled(tmp_path, {"train": [Picture(tmp_path / "turned.jpg", objects, **stated), sound]})
    assert loaded.parts["train"].inputs.tolist() == [str(tmp_path / "1.png")]
    (flaw,) = loaded.flaws
    assert (flaw.kind, flaw.where) == ("damaged label file", "turned.xml:2")
    assert "says 80 x 60 pixels" in flaw.what
    assert "has 60 x 80 as it is seen" in flaw.what


def test_unreadable_pictures_are_refused_or_left_out_with_their_boxes(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    pictures = [
        Picture(tmp_path / "bad.png", [Object("a", (0, 0, 9, 9), "x:1")]),
        Picture(paint(tmp_path / "good.png", mode="L"), [Object("a", (1, 1, 5, 5), "x:2")]),
    ]
    with pytest.raises(SourceError, match=r"bad\.png is empty(.|\n)*1 of the files in .* cannot be used"):
        assembled(tmp_path, {"train": pictures})
    unreadable: list[str] = []
    loaded = assembled(tmp_path, {"train": pictures}, unreadable=unreadable)
    assert len(unreadable) == 1
    assert loaded.parts["train"].boxes.corners.tolist() == [[1, 1, 5, 5]]
    assert loaded.parts["train"].channels == 1


def test_the_hash_is_of_pictures_label_files_and_classes_wherever_they_lie(tmp_path):
    def hashed(name, *, color=0, label="a", text="text"):
        root = tmp_path / name
        root.mkdir()
        Image.new("RGB", (9, 9), (color, 0, 0)).save(root / "1.png")
        (root / "1.txt").write_text(text)
        pictures = [Picture(root / "1.png", [Object(label, (0, 0, 5, 5), "")])]
        return assembled(root, {"train": pictures}, [label], label_files=[root / "1.txt"]).digest

    first = hashed("one")
    assert len(first) == len(hashlib.sha256().hexdigest())
    assert hashed("two") == first
    others = {hashed("three", color=1), hashed("four", label="b"), hashed("five", text="other"), first}
    assert len(others) == 4
