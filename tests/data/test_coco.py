"""COCO's JSON in the layouts that people have, and annotations that do not fit, by their numbers."""

import json

import numpy as np
import pytest

from dlapp.data import load
from dlapp.data.sources import parse, read
from dlapp.errors import SourceError, UnknownName
from tests.data.test_annotated import paint

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}]


def write(file, images, annotations=None, *, count=3, categories=CATEGORIES, names="{}.png", **stated):
    """``count`` pictures of 80 x 60 in ``images``, each with a dog, unless ``annotations`` say otherwise."""
    for number in range(count):
        paint(images / names.format(number))
    if annotations is None:
        annotations = [{"image_id": 10 + n, "category_id": 18, "bbox": [20, 10, 20.5, 30]} for n in range(count)]
    content = {
        "images": [{"id": 10 + number, "file_name": names.format(number), **stated} for number in range(count)],
        "annotations": [{"id": 100 + place, **entry} for place, entry in enumerate(annotations)],
        "categories": categories,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1))
    return file


LAYOUTS = {
    "beside": ("labels.json", "."),
    "images": ("labels.json", "images"),
    "named like the file": ("instances_train2017.json", "train2017"),
    "as COCO is unpacked": ("annotations/instances_train2017.json", "train2017"),
    "images of COCO": ("annotations/instances_train2017.json", "images/train2017"),
    "images above": ("annotations/labels.json", "images"),
}


@pytest.mark.parametrize(("file", "images"), LAYOUTS.values(), ids=LAYOUTS)
def test_pictures_are_found(tmp_path, file, images):
    source = str(write(tmp_path / file, tmp_path / images, width=80, height=60))
    assert parse(source) == ("coco", source)
    loaded = read(source)
    assert (loaded.labels, loaded.flaws) == (("cat", "dog"), ())
    train = loaded.parts["train"]
    assert train.targets.tolist() == [1, 1, 1]
    assert train.boxes.classes.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(train.boxes.corners, [[10, 20, 40, 40.5]] * 3)


def test_pictures_are_where_an_option_says(tmp_path):
    file = write(tmp_path / "labels.json", tmp_path / "elsewhere", names="deep/{}.png")
    with pytest.raises(SourceError, match=r"names deep/0\.png, which is not in .*\. Say where: coco:.*\?images=DIR"):
        read(str(file))
    for folder in ("elsewhere", tmp_path / "elsewhere"):
        assert len(read(f"{file}?images={folder}").parts["train"]) == 3
    with pytest.raises(UnknownName, match=r"unknown option of coco 'image'. Did you mean images\?"):
        read(f"coco:{file}?image=elsewhere")


@pytest.mark.parametrize("place", [".", "annotations"])
def test_a_folder_gives_its_splits(tmp_path, place):
    write(tmp_path / place / "instances_train2017.json", tmp_path / "train2017", count=5)
    swapped = [{"id": 1, "name": "dog"}, {"id": 2, "name": "emu"}]
    annotations = [{"image_id": 10, "category_id": number, "bbox": [1, 1, 5, 5]} for number in (1, 2)]
    write(tmp_path / place / "instances_val2017.json", tmp_path / "val2017", annotations, count=2, categories=swapped)
    assert parse(str(tmp_path))[0] == "coco"
    loaded = read(f"coco:{tmp_path}")
    assert {split: len(part) for split, part in loaded.parts.items()} == {"train": 5, "dev": 2}
    assert loaded.labels == ("cat", "dog")
    assert loaded.parts["dev"].boxes.classes.tolist() == [1], "classes are those of train, by their names"
    assert [(flaw.kind, flaw.what) for flaw in loaded.flaws] == [("unknown class", "'emu'")]
    write(tmp_path / place / "instances_train2014.json", tmp_path / "train2014")
    with pytest.raises(SourceError, match=r"several files for the train split: .*2014\.json, .*2017\.json\. Name one"):
        read(f"coco:{tmp_path}")


def test_exports_of_roboflow_are_read(tmp_path):
    for split, count in (("train", 4), ("valid", 2), ("test", 1)):
        write(tmp_path / split / "_annotations.coco.json", tmp_path / split, count=count)
    data = load(f"coco:{tmp_path}")
    assert [len(part) for part in data.splits().values()] == [4, 2, 1]


def test_crowds_are_ignored_and_pictures_may_be_empty(tmp_path):
    annotations = [
        {"image_id": 12, "category_id": 3, "bbox": [0, 0, 80, 60], "iscrowd": 1},
        {"image_id": 10, "category_id": 18, "bbox": [0, 0, 8, 6], "iscrowd": 0},
        {"image_id": 12, "category_id": 3, "bbox": [0, 0, 7, 6]},
    ]
    train = read(str(write(tmp_path / "a.json", tmp_path, annotations))).parts["train"]
    assert train.boxes.counts.tolist() == [1, 0, 2]
    assert train.boxes.ignored.tolist() == [False, True, False]
    assert train.boxes.wanted.counts.tolist() == [1, 0, 1]


def test_what_is_wrong_is_told_by_its_number(tmp_path):
    box = {"image_id": 10, "category_id": 3, "bbox": [1, 1, 5, 5]}
    annotations = [
        *(box, box | {"image_id": 99}, box | {"category_id": 4}, box | {"bbox": [1, 1, 5]}, {"image_id": 10}),
        *(box | {"bbox": [1, 1, 0, 5]}, box | {"bbox": [9, 9, -5, 5]}, box | {"bbox": [70, 1, 20, 5]}),
        *(box | {"bbox": ["1", 1, 5, 5]}, box | {"bbox": [1, 1, float("nan"), 5]}, box | {"image_id": [10]}),
    ]
    file = write(tmp_path / "a.json", tmp_path, annotations)
    (tmp_path / "2.png").unlink()
    loaded = read(str(file))
    expected = [
        ("annotation id 101", "label file without picture"),
        ("annotation id 102", "unknown class"),
        ("annotation id 103", "damaged label file"),
        ("annotation id 104", "damaged label file"),
        ("annotation id 105", "zero area"),
        ("annotation id 106", "reversed corners"),
        ("annotation id 107", "outside the picture"),
        ("annotation id 108", "damaged label file"),
        ("annotation id 109", "damaged label file"),
        ("annotation id 110", "label file without picture"),
        ("image id 12", "label file without picture"),
    ]
    assert [(flaw.where, flaw.kind) for flaw in loaded.flaws] == [(f"{file} {what}", kind) for what, kind in expected]
    assert len(loaded.parts["train"]) == 2
    np.testing.assert_array_equal(loaded.parts["train"].boxes.corners, [[1, 1, 6, 6], [1, 70, 6, 80]])


def test_pictures_of_another_size_than_stated_are_left_out(tmp_path):
    loaded = read(str(write(tmp_path / "a.json", tmp_path, width=60, height=80)))
    assert len(loaded.parts["train"]) == 0
    assert "says 60 x 80 pixels" in loaded.flaws[0].what


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [\n', r"cannot be read as JSON: .* in line 2, column 1\. It may be cut short"),
        ("[]", "must have lists of images, annotations and categories"),
        ('{"images": [], "annotations": {}, "categories": []}', "must have lists of images, annotations"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": []}',
            "images of .* and file_name; one lacks file_n",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}',
            "must differ; 'a' is there twice",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": "2", "name": "b"}]}',
            "ids of the categories of .* must be numbers",
        ),
        ('{"images": [], "annotations": [], "categories": []}', "names no picture, which is not in"),
    ],
)
def test_what_is_no_set_is_told(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        read(f"coco:{tmp_path}/a.json")


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere does not exist\. Name a JSON file"):
        read("coco:nowhere")
    with pytest.raises(SourceError, match=r"holds no instances_train\*\.json: name a JSON file"):
        read(f"coco:{tmp_path}")


def test_boxes_equal_those_that_pycocotools_reads(tmp_path, capsys):
    from pycocotools.coco import COCO

    random = np.random.default_rng(0)
    annotations = [
        {"image_id": 10 + n % 5, "category_id": [18, 3][n % 2], "bbox": (random.random(4) * 25 + 1).tolist()}
        for n in range(20)
    ]
    file = write(tmp_path / "a.json", tmp_path, annotations, count=5)
    part, reference = read(str(file)).parts["train"], COCO(str(file))
    for index in range(5):
        own = reference.loadAnns(reference.getAnnIds(imgIds=10 + index))
        corners = [[y, x, y + height, x + width] for x, y, width, height in (entry["bbox"] for entry in own)]
        np.testing.assert_allclose(part.boxes[index].corners, corners, rtol=1e-6)
        names = [reference.cats[entry["category_id"]]["name"] for entry in own]
        assert [("cat", "dog")[number] for number in part.boxes[index].classes] == names
