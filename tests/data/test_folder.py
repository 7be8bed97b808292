"""Folders as people leave them: stray files, nested folders, splits that do not fit."""

import numpy as np
import pytest
from PIL import Image

from dlapp.data import load
from dlapp.errors import SourceError


def paint(path, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6)).save(path, **options)


def classes(root, names=("cat", "dog"), each=10):
    for name in names:
        for number in range(each):
            paint(root / name / f"{number}.png")
    return root


def count(root):
    return sum(map(len, load(f"folder:{root}").splits().values()))


@pytest.mark.parametrize(
    "stray",
    [
        "README.md",
        "loose.png",
        "cat/notes.txt",
        "cat/Thumbs.db",
        "cat/.hidden.png",
        "cat/._0.png",  # what macOS leaves on other file systems
        "cat/.ipynb_checkpoints/0-checkpoint.png",  # a copy of a picture: it would leak from train to test
        ".git/0.png",
    ],
)
def test_what_is_no_picture_of_the_set_is_left_alone(tmp_path, stray):
    classes(tmp_path)
    if stray.endswith("checkpoint.png"):
        paint(tmp_path / stray)
    else:
        (tmp_path / stray).parent.mkdir(exist_ok=True)
        (tmp_path / stray).write_text("not a picture")
    assert count(tmp_path) == 20


def test_pictures_lie_deeper_and_have_suffixes_in_capitals(tmp_path):
    classes(tmp_path)
    paint(tmp_path / "cat/2020/summer/a.JPG", format="JPEG")
    paint(tmp_path / "dog/b.Bmp", format="BMP")
    assert count(tmp_path) == 22


def test_classes_are_in_the_order_of_their_names_whatever_the_alphabet(tmp_path):
    data = load(f"folder:{classes(tmp_path, ('日本', 'b', 'naïve'), each=4)}")
    assert data.labels == ("b", "naïve", "日本")
    for path, target in zip(data.train.inputs, data.train.targets, strict=True):
        assert data.labels[target] in path


@pytest.mark.parametrize(
    ("name", "split"),
    [("training", "train"), ("VALID", "dev"), ("validation", "dev"), ("dev", "dev"), ("Testing", "test")],
)
def test_splits_go_by_many_names(tmp_path, name, split):
    classes(tmp_path / name, each=7)
    if split != "train":
        classes(tmp_path / "train")
    data = load(f"folder:{tmp_path}")
    if split == "train":
        assert (data.own_splits, sum(map(len, data.splits().values()))) == ((), 14)
    else:
        assert data.own_splits == ("train", split)
        assert len(data.splits()[split]) == 14


def test_a_split_may_lack_a_class_that_train_has(tmp_path):
    classes(tmp_path / "train", ("ant", "cat", "dog"))
    classes(tmp_path / "val", ("dog",), each=2)
    assert load(f"folder:{tmp_path}").dev.targets.tolist() == [2, 2]


LAYOUTS = {
    "a class only in val": (
        lambda root: (classes(root / "train"), classes(root / "val", ("cat", "emu"))),
        "class 'emu' is in the dev split of .* but not in its train split",
    ),
    "val twice": (
        lambda root: (classes(root / "train"), classes(root / "val"), classes(root / "valid")),
        "two folders for the dev split",
    ),
    "dev and test alone": (lambda root: (classes(root / "dev"), classes(root / "test")), "no train split"),
    "an empty test": (
        lambda root: (classes(root / "train"), (root / "test").mkdir()),
        "test must hold one folder for each class",
    ),
    "many damaged files": (
        lambda root: [(classes(root) / f"cat/bad{k}.png").write_text("x") for k in range(7)],
        r"bad4\.png (.|\n)*and 2 more(.|\n)*7 of the files",
    ),
    "no folder": (lambda root: root.rmdir(), "is not a folder"),
}


@pytest.mark.parametrize(("build", "message"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_that_does_not_fit_is_told(tmp_path, build, message):
    root = tmp_path / "set"
    root.mkdir()
    build(root)
    with pytest.raises(SourceError, match=message):
        load(f"folder:{root}")


def test_only_headers_are_read(tmp_path, monkeypatch):
    classes(tmp_path)
    paint(tmp_path / "cat/photograph.jpg")

    def decode(self, *_):
        raise AssertionError(f"{self.filename} was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    sizes = load(f"folder:{tmp_path}").train.sizes
    np.testing.assert_array_equal(sizes, np.broadcast_to([6, 8], sizes.shape))


@pytest.mark.parametrize(("asked", "plain"), [(None, ("L", "RGB")), (3, ("L", "RGB")), (1, ("L",)), (4, ())])
def test_tensorflow_decodes_what_needs_nothing_else(tmp_path, asked, plain):
    modes = ("L", "RGB", "RGBA", "P", "1", "I;16")
    for name in ("a", "b"):
        for number in range(18):
            paint(tmp_path / name / f"{number}_{modes[number % 6].replace(';', '')}.png", modes[number % 6])
    train = load(f"folder:{tmp_path}", channels=asked).train
    found = {path.rpartition("_")[2].removesuffix(".png") for path in train.inputs[train.plain]}
    assert found == set(plain)
