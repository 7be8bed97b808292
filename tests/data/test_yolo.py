"""YOLO's data.yaml and folders as people leave them, and what is wrong with the rows, by file and line."""

import numpy as np
import pytest
import yaml

from dlapp.data import load
from dlapp.data.sources import parse, read
from dlapp.data.yolo import label_path
from dlapp.errors import SourceError
from tests.data.test_annotated import paint

ROW = "0 0.5 0.25 0.5 0.5"  # of 80 x 60: x 20 to 60, y 0 to 30
BOX = [0, 20, 30, 60]


def write(root, split, *rows, count=4):
    """``count`` pictures below images/SPLIT, with these rows each."""
    for number in range(count):
        path = paint(root / "images" / split / f"{number}.png")
        label_path(path).parent.mkdir(parents=True, exist_ok=True)
        label_path(path).write_text("\n".join(rows or (ROW,)) + "\n")
    return root


def configure(root, name="data.yaml", **content):
    usual = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"]}
    (root / name).write_text(yaml.safe_dump({**usual, **content}))
    return root / name


def places(loaded, root):
    return [(flaw.where.removeprefix(f"{root}/"), flaw.kind) for flaw in loaded.flaws]


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("set/images/train/a.jpg", "set/labels/train/a.txt"),
        ("images/old/images/a.b.png", "images/old/labels/a.b.txt"),
        ("set/train/a.jpg", "set/train/a.txt"),
        ("images.jpg", "images.txt"),
    ],
)
def test_labels_are_where_the_trainers_look(tmp_path, path, labels):
    assert label_path(tmp_path / path) == tmp_path / labels


@pytest.mark.parametrize("names", [["cat", "dog"], {0: "cat", 1: "dog"}], ids=["list", "mapping"])
def test_a_yaml_file_names_splits_and_classes(tmp_path, names):
    write(tmp_path, "train", ROW, "1 0.5 0.5 1 1")
    write(tmp_path, "val", count=2)
    write(tmp_path, "more", count=1)
    file = configure(tmp_path, names=names, nc=2, test=["images/more", "images/val"])
    for source in (str(file), str(tmp_path), f"yolo:{tmp_path}"):
        assert parse(source)[0] == "yolo"
        loaded = read(source)
        assert {split: len(part) for split, part in loaded.parts.items()} == {"train": 4, "dev": 2, "test": 3}
        assert loaded.labels == ("cat", "dog")
        assert loaded.notes == loaded.flaws == ()
        train = loaded.parts["train"].boxes
        np.testing.assert_array_equal(train.corners[:2], [BOX, [0, 0, 60, 80]])
        assert train.classes.tolist() == [0, 1] * 4


PATHS = {
    "beside": ({}, "{root}/data.yaml"),
    "path": ({"path": "set"}, "{root}/../data.yaml"),
    "path of a working directory": ({"path": "set"}, "{root}/../elsewhere/data.yaml"),
    "absolute": ({"path": "{root}"}, "{root}/../data.yaml"),
    "two dots too many": ({"train": "../images/train"}, "{root}/data.yaml"),
    "path that is nowhere": ({"path": "../datasets/set"}, "{root}/data.yaml"),
}


@pytest.mark.parametrize(("content", "place"), PATHS.values(), ids=PATHS)
def test_paths_are_found_as_people_write_them(workplace, content, place):
    root = workplace / "set"
    write(root, "train")
    (workplace / "elsewhere").mkdir()
    file = configure(root, **{key: value.format(root=root) for key, value in content.items()}, val=None)
    file = file.rename(place.format(root=root))
    assert len(read(f"yolo:{file}").parts["train"]) == 4


def test_a_list_of_pictures_is_a_split(tmp_path):
    write(tmp_path, "train")
    (tmp_path / "train.txt").write_text(
        f"./images/train/0.png\n\nimages/train/1.png\n{tmp_path}/images/train/2.png\n9.png"
    )
    loaded = read(str(configure(tmp_path, train="train.txt", val=None)))
    assert len(loaded.parts["train"]) == 3
    assert [str(flaw) for flaw in loaded.flaws] == [
        f"{tmp_path}/train.txt:5: label file without picture (9.png is not there)"
    ]


FOLDERS = {
    "no splits": ({"": 4}, ["train"]),
    "any folder": ({"train2017": 4}, ["train"]),
    "within": ({"train": 4, "val": 2}, ["train", "dev"]),
    "train alone": ({"training": 4}, ["train"]),
}


@pytest.mark.parametrize(("splits", "found"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("names", [None, "classes.txt", "obj.names", "labels/classes.txt"])
def test_a_folder_needs_no_yaml(tmp_path, splits, found, names):
    for split, count in splits.items():
        write(tmp_path, split, "1 0.5 0.25 0.5 0.5", count=count)
    if names:
        (tmp_path / names).write_text("cat\ndog\nemu\n")
    assert parse(str(tmp_path))[0] == "yolo"
    loaded = read(str(tmp_path))
    assert {split: len(part) for split, part in loaded.parts.items()} == dict(zip(found, splits.values(), strict=True))
    assert loaded.labels == (("cat", "dog", "emu") if names else ("class0", "class1"))
    assert len(loaded.notes) == (0 if names else 1)
    assert loaded.flaws == ()


def test_splits_stand_above_images_too(tmp_path):
    for split, count in (("train", 3), ("valid", 2)):
        write(tmp_path / split, "", count=count)
    assert {split: len(part) for split, part in read(f"yolo:{tmp_path}").parts.items()} == {"train": 3, "dev": 2}


def test_labels_lie_beside_pictures_too(tmp_path):
    for number in range(3):
        paint(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(ROW)
    (tmp_path / "classes.txt").write_text("cat\n")
    loaded = read(f"yolo:{tmp_path}")
    assert (loaded.labels, len(loaded.parts["train"].boxes.corners), loaded.notes) == (("cat",), 3, ())


def test_pictures_without_labels_have_no_objects_and_a_note_says_so(tmp_path):
    write(tmp_path, "train")
    (tmp_path / "labels/train/0.txt").unlink()
    (tmp_path / "labels/train/1.txt").write_text("\n")
    (tmp_path / "images/train/3.png").unlink()
    loaded = read(str(configure(tmp_path, val=None)))
    assert loaded.parts["train"].boxes.counts.tolist() == [0, 0, 1]
    assert loaded.flaws == ()
    assert loaded.notes == (
        "pictures without objects: 1 have no label file, 1 an empty one",
        f"label files without a picture are left out: {tmp_path}/labels/train/3.txt",
    )


@pytest.mark.parametrize(("val", "told"), [("images/train", "the same as train"), ("images/val", "is not there")])
def test_a_val_that_says_nothing_is_drawn_from_train(tmp_path, val, told):
    write(tmp_path, "train", count=20)
    data = load(str(configure(tmp_path, val=val)))
    assert [len(part) for part in data.splits().values()] == [14, 3, 3]
    (note,) = data.notes
    assert told in note


def test_a_flaw_of_a_picture_in_two_splits_is_told_once(tmp_path):
    write(tmp_path, "train", "7 0.5 0.5 0.5 0.5", "0 0.5 0.5 0 0.5", ROW, count=2)
    write(tmp_path, "val", count=2)
    loaded = read(str(configure(tmp_path, test=["images/train", "images/val"])))
    assert [len(part) for part in loaded.parts.values()] == [2, 2, 4]
    assert len(loaded.flaws) == 4


def test_polygons_become_the_boxes_around_them(tmp_path):
    write(tmp_path, "train", "1 0.25 0.5 0.75 0.5 0.5 0.9", count=1)
    loaded = read(str(configure(tmp_path, val=None)))
    np.testing.assert_allclose(loaded.parts["train"].boxes.corners, [[30, 20, 54, 60]], rtol=1e-6)
    assert loaded.notes == ("of 1 polygons the boxes around them are taken",)


def test_what_is_wrong_is_told_with_file_and_line(tmp_path):
    rows = [
        *(ROW, "2 0.5 0.5 0.5 0.5", "-1 0.5 0.5 0.5 0.5", "", "0 0.5 0.5 0.5", "0 0.5 0.5 x 0.5"),
        *("0 0.5 0.5 nan 0.5", "0.5 0.5 0.5 0.5 0.5", "0 0.5 0.5 0.5 0.5 0.9", "0 0.5 0.5 0 0.5"),
        *("0 0.5 0.5 -0.5 0.5", "0 1.5 0.5 0.5 0.5", "1 0.9 0.5 0.4 0.5"),
    ]
    write(tmp_path, "train", *rows, count=1)
    paint(tmp_path / "images/train/1.png")
    (tmp_path / "labels/train/1.txt").write_bytes(b"\xff\xfe\x00")
    write(tmp_path, "val")
    loaded = read(str(configure(tmp_path)))
    wrong = [
        *((2, "unknown class"), (3, "unknown class")),
        *((line, "damaged label file") for line in (5, 6, 7, 8, 9)),
        *((10, "zero area"), (11, "reversed corners"), (12, "outside the picture"), (13, "outside the picture")),
    ]
    found = [(f"labels/train/0.txt:{line}", kind) for line, kind in wrong]
    assert places(loaded, tmp_path) == [*found, ("labels/train/1.txt:1", "damaged label file")]
    assert "(2; there are 2 classes, the first is 0)" in str(loaded.flaws[0])
    assert "(a class and 4 numbers are expected, got '0 0.5 0.5 0.5')" in str(loaded.flaws[2])
    train = loaded.parts["train"]
    assert len(train) == 1, "what is in a picture whose labels are damaged is not known"
    np.testing.assert_allclose(train.boxes.corners, [BOX, [15, 56, 45, 80]], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": "images/training"}, r"train of .*data\.yaml is images/training, which is not there"),
        ({"train": "images/none"}, r"train of .* has no pictures: .*images/none is empty"),
        ({"train": "data.yaml"}, r"data\.yaml must be a folder of pictures or a \.txt file"),
        ({"nc": 3}, r"has nc: 3, but 2 names\. Correct"),
        ({"names": ["cat", "cat"]}, "must differ; 'cat' stands there twice"),
        ({"names": {1: "cat", 2: "dog"}}, "must be numbered from 0 to 1; got 1, 2"),
        ({"names": "cat"}, "must be a list of the classes; got 'cat'"),
    ],
)
def test_a_yaml_file_that_does_not_fit_is_told(tmp_path, content, message):
    write(tmp_path, "train")
    (tmp_path / "images/none").mkdir()
    with pytest.raises(SourceError, match=message):
        read(str(configure(tmp_path, **content)))


def test_what_is_no_yaml_is_told(tmp_path):
    write(tmp_path, "train")
    (tmp_path / "data.yaml").write_text("train: [")
    with pytest.raises(SourceError, match=r"data\.yaml cannot be read as YAML: .*line 1"):
        read(str(tmp_path))
    (tmp_path / "data.yaml").write_text("- train")
    with pytest.raises(SourceError, match=r"data\.yaml must have train: and names:"):
        read(str(tmp_path))
    (tmp_path / "data.yaml").unlink()
    for name in ("a.yaml", "b.yml"):
        configure(tmp_path, name)
    with pytest.raises(SourceError, match=r"holds a\.yaml, b\.yml: name one, as in yolo:.*a\.yaml"):
        read(str(tmp_path))
    with pytest.raises(SourceError, match=r"nowhere does not exist\. Name a data\.yaml, or a folder"):
        read("yolo:nowhere")


def test_a_mistyped_class_of_a_set_without_names_is_told(tmp_path):
    write(tmp_path, "", "1000000000 0.5 0.5 0.5 0.5")
    with pytest.raises(
        SourceError, match=r"labels of class 1000000000 and names no classes: write them into classes\.txt"
    ):
        read(str(tmp_path))


def test_coco128_is_counted_as_its_notes_say(data_set):
    root = data_set("coco128_train")
    loaded = read(str(root))
    (train,) = loaded.parts.values()
    alone = ("000000000656", "000000000659")
    rows = [(root / f"labels/train2017/{name}.txt").read_text().split("\n") for name in alone]
    assert len(train) == 128
    assert len(train.boxes.corners) + sum(bool(row) for lines in rows for row in lines) == 941
    assert (train.boxes.counts == 0).sum() == 2
    assert (len(loaded.labels), loaded.labels[0], loaded.flaws) == (80, "person", ())
    assert "images/val2017, which is not there: dev is drawn" in loaded.notes[0]
    assert "2 have no label file, 0 an empty one" in loaded.notes[1]
    assert all(f"{name}.txt" in loaded.notes[2] for name in alone)
