"""VOC's XML in the layouts that people have, and what is wrong with it, by file and line."""

import numpy as np
import pytest

from dlapp.data import load
from dlapp.data.sources import parse, read
from dlapp.errors import SourceError
from tests.data.test_annotated import paint


def write_xml(path, objects=(("cat", 11, 21, 30, 40),), *, size=(80, 60), more=""):
    """An XML file with (name, ymin, xmin, ymax, xmax) of each object: the first of them begins in line 4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "<annotation>",
        "<folder>somewhere</folder>",
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>",
    ]
    for name, y1, x1, y2, x2 in objects:
        box = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        lines += ["<object>", f"<name>{name}</name>{more}", f"<bndbox>{box}</bndbox>", "</object>"]
    path.write_text("\n".join([*lines, "</annotation>"]) + "\n")
    return path


def write(images, labels, name, *objects, **given):
    paint(images / f"{name}.png")
    write_xml(labels / f"{name}.xml", objects or (("cat", 11, 21, 30, 40),), **given)


LAYOUTS = {
    "beside": ("", ""),
    "VOCdevkit": ("JPEGImages", "Annotations"),
    "images": ("images", "annotations"),
    "deeper": ("images/2020", "annotations/2020"),
    "flat labels": ("images/2020", "annotations"),
    "other names": ("pictures", "xml"),
}


@pytest.mark.parametrize(("images", "labels"), LAYOUTS.values(), ids=LAYOUTS)
def test_pictures_find_their_labels(tmp_path, images, labels):
    for name in "abc":
        write(tmp_path / images, tmp_path / labels, name, ("cat", 11, 21, 30, 40), ("dog", 1, 1, 60, 80))
    assert parse(str(tmp_path))[0] == ("folder" if labels == "xml" else "voc")
    loaded = read(f"voc:{tmp_path}")
    (train,) = loaded.parts.values()
    assert loaded.labels == ("cat", "dog")
    assert loaded.flaws == loaded.notes == ()
    assert train.targets.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(train.boxes.corners[:2], [[10, 20, 30, 40], [0, 0, 60, 80]])


@pytest.mark.parametrize(("images", "labels"), [("{}", "{}"), ("{}/images", "{}/annotations"), ("images/{}",) * 2])
def test_splits_are_folders_above_or_within(tmp_path, images, labels):
    labels = labels.replace("images", "annotations")
    for split, names in (("train", "abcd"), ("valid", "ef"), ("test", "g")):
        for name in names:
            write(tmp_path / images.format(split), tmp_path / labels.format(split), name)
    assert parse(str(tmp_path))[0] == "voc"
    data = load(f"voc:{tmp_path}")
    assert [len(part) for part in data.splits().values()] == [4, 2, 1]


def test_what_is_no_split_is_not_taken_for_one(tmp_path):
    write(tmp_path / "images", tmp_path / "annotations", "a")
    (tmp_path / "training").mkdir()  # of a pipeline
    assert len(read(f"voc:{tmp_path}").parts["train"]) == 1
    for split in ("train", "val"):
        write(tmp_path / "images" / split, tmp_path / "annotations" / split, "b")
    loaded = read(f"voc:{tmp_path}")
    assert {split: len(part) for split, part in loaded.parts.items()} == {"train": 1, "dev": 1}
    assert loaded.notes == (f"1 pictures of {tmp_path}/images are in none of its splits and left out",)


def test_the_lists_of_voc_are_splits(tmp_path):
    for number in range(6):
        write(tmp_path / "JPEGImages", tmp_path / "Annotations", f"2007_{number}")
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_0\n2007_2  1\n\n2007_9\n")
    (lists / "val.txt").write_text("2007_1\n")
    loaded = read(f"voc:{tmp_path}")
    assert {split: len(part) for split, part in loaded.parts.items()} == {"train": 2, "dev": 1}
    assert loaded.notes == (f"3 pictures are in no list of {lists} and left out",)
    told = f"{lists}/train.txt:4: label file without picture (no picture called 2007_9 has an XML file)"
    assert [str(flaw) for flaw in loaded.flaws] == [told]
    (lists / "train.txt").rename(lists / "trainval.txt")
    other = read(f"voc:{tmp_path}")
    assert list(other.parts) == ["train"]
    assert other.digest != loaded.digest


def test_difficult_objects_are_ignored_and_parts_are_no_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    write(tmp_path, tmp_path, "a", more=f"<difficult>1</difficult>{part}")
    write(tmp_path, tmp_path, "b", more=f"<difficult>0</difficult>{part}")
    train = read(f"voc:{tmp_path}").parts["train"]
    assert train.boxes.ignored.tolist() == [True, False]
    np.testing.assert_array_equal(train.boxes.corners, [[10, 20, 30, 40]] * 2)


@pytest.mark.parametrize("size", [(0, 0), ("", ""), ("x", 60)])
def test_a_size_that_no_one_filled_in_is_no_flaw(tmp_path, size):
    write(tmp_path, tmp_path, "a", size=size)
    assert read(f"voc:{tmp_path}").flaws == ()


def test_what_is_wrong_is_told_with_file_and_line(tmp_path):
    sound = ("cat", 11, 21, 30, 40)
    write(tmp_path, tmp_path, "a", sound, ("cat", 11, 40, 30, 21), ("cat", 11, 21, 11, 40), ("cat", "x", 1, 2, 3))
    write(tmp_path, tmp_path, "b", sound, ("cat", 11, 21, 30, 90), ("", 1, 1, 9, 9), ("cat", 1, "", 9, 9))
    write(tmp_path, tmp_path, "cut")
    text = (tmp_path / "cut.xml").read_text()
    (tmp_path / "cut.xml").write_text(text[: text.index("<bndbox>") + 12])
    write(tmp_path, tmp_path, "html")
    (tmp_path / "html.xml").write_text("<html/>")
    write(tmp_path, tmp_path, "coded")
    (tmp_path / "coded.xml").write_text("<?xml version='1.0' encoding='gbk'?><annotation/>")
    write(tmp_path, tmp_path, "smaller", size=(40, 30))
    write_xml(tmp_path / "alone.xml")
    paint(tmp_path / "unlabelled.png")
    loaded = read(f"voc:{tmp_path}")
    assert [(flaw.where.removeprefix(f"{tmp_path}/"), flaw.kind) for flaw in loaded.flaws] == [
        ("a.xml:8", "reversed corners"),
        ("a.xml:12", "zero area"),
        ("a.xml:16", "damaged label file"),
        ("alone.xml:1", "label file without picture"),
        ("b.xml:8", "outside the picture"),
        ("b.xml:12", "damaged label file"),
        ("b.xml:16", "damaged label file"),
        ("coded.xml:1", "damaged label file"),
        ("cut.xml:6", "damaged label file"),
        ("html.xml:1", "damaged label file"),
        ("smaller.xml:3", "damaged label file"),
        ("unlabelled.png", "picture without label file"),
    ]
    whats = {flaw.where.rpartition("/")[2]: flaw.what for flaw in loaded.flaws}
    assert whats["b.xml:12"] == "an object lacks <name>"
    assert whats["b.xml:16"] == "an object lacks <xmin>"
    assert whats["html.xml:1"] == "<annotation> is expected, <html> is there"
    assert whats["cut.xml:6"] == "unclosed token"
    (train,) = loaded.parts.values()
    assert [path.rpartition("/")[2] for path in train.inputs] == ["a.png", "b.png"]
    np.testing.assert_array_equal(train.boxes.corners, [[10, 20, 30, 40], [10, 20, 30, 40], [10, 20, 30, 80]])


def test_flaws_are_refused_or_left_out(tmp_path):
    for name in "abcdefgh":
        write(tmp_path, tmp_path, name)
    write(tmp_path, tmp_path, "wrong", *(("cat", 30, 21, 10, 40) for _ in range(6)), ("cat", 1, 1, 1, 1))
    with pytest.raises(
        SourceError, match=r"wrong\.xml:4: reversed.*\n(.*\n){4}\.\.\. and 2 more\.\n7 labels are flawed"
    ):
        load(f"voc:{tmp_path}")
    with pytest.raises(
        SourceError, match=r"`dlapp check .*` lists all\), or leave them out: --set detection\.flawed=sk"
    ):
        load(f"voc:{tmp_path}")
    data = load(f"voc:{tmp_path}", flawed="skip")
    assert data.notes == ("flawed labels are left out, or cut off at the edge: reversed corners 6, zero area 1",)
    assert sum(map(len, data.splits().values())) == 9


def test_without_any_box_there_is_nothing_to_learn(tmp_path):
    for name in "abcd":
        write(tmp_path, tmp_path, name, ("cat", 1, 1, 1, 1))
    with pytest.raises(SourceError, match=r"train of voc:.* has no object in 2 pictures: add labels"):
        load(f"voc:{tmp_path}", flawed="skip")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: None, "no picture with an XML file of its name: put them beside each other"),
        (lambda root: paint(root / "a.png"), "no picture with an XML file of its name"),
        (lambda root: [write(root / n, root / n, "a") for n in ("val", "valid")], "two folders for the dev split"),
        (lambda root: root.rmdir(), "is not a folder"),
    ],
    ids=["empty", "no labels", "val twice", "no folder"],
)
def test_a_layout_that_does_not_fit_is_told(tmp_path, build, message):
    root = tmp_path / "set"
    root.mkdir()
    build(root)
    with pytest.raises(SourceError, match=message):
        load(f"voc:{root}")


def test_nuts_are_counted_as_their_notes_say(data_set):
    loaded = read(str(data_set("nuts3_voc")))
    assert loaded.labels == ("date", "fig", "hazelnut")
    counts = {split: np.bincount(part.boxes.classes).tolist() for split, part in loaded.parts.items()}
    assert counts == {"train": [67, 36, 49], "test": [4, 4, 4]}
    assert loaded.flaws == ()


def test_raccoons_are_counted_as_their_notes_say(data_set):
    loaded = read(str(data_set("raccoon")))
    (train,) = loaded.parts.values()
    assert (len(train), len(train.boxes.corners), loaded.labels, loaded.flaws) == (200, 217, ("raccoon",), ())
    first = train.inputs.tolist().index(str(data_set("raccoon") / "images/raccoon-1.jpg"))
    np.testing.assert_array_equal(train.boxes[first].corners, [[87, 80, 408, 522]])  # its XML: 88, 81, 408, 522
