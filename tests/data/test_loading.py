"""Every source: what it gives, and the error for each way in which it can be wrong."""

import gzip
import struct

import h5py
import numpy as np
import pytest
from PIL import Image

from dlapp.data import load
from dlapp.data.examples import join, with_labels
from dlapp.data.sources import parse
from dlapp.errors import SourceError, UnknownName


def images(count=30, size=6, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), np.uint8)


def labels(count=30, classes=3):
    return np.arange(count) % classes


def paint(path, mode="RGB", size=(8, 6), color=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color or 0).save(path)


def paint_classes(root, *, each=10, classes=("cat", "dog"), mode="RGB"):
    for k, name in enumerate(classes):
        for number in range(each):
            paint(root / name / f"{number}.png", mode, color=(40 * k, 9, number) if mode == "RGB" else None)
    return root


def write_idx(path, array):
    content = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    return path


def test_digits_are_1797_pictures_in_three_stratified_splits():
    digits = load("digits")
    assert digits.labels == tuple("0123456789")
    assert {name: len(part) for name, part in digits.splits().items()} == {"train": 1257, "dev": 270, "test": 270}
    for part in digits.splits().values():
        shares = np.bincount(part.targets) / len(part)
        assert (abs(shares - 0.1) < 0.02).all(), "classes are about equal in each split"
    assert digits.train.inputs.dtype == np.uint8
    assert digits.train.inputs.max() == 255


def test_splits_are_disjoint_complete_and_decided_by_the_seed(tmp_path):
    everything = images(60)
    np.savez(tmp_path / "a.npz", x=everything, y=labels(60))

    def drawn(seed):
        data = load(f"npz:{tmp_path / 'a.npz'}", dev=0.2, test=0.1, seed=seed)
        return [{picture.tobytes() for picture in part.inputs} for part in data.splits().values()]

    train, dev, test = drawn(0)
    assert (len(train), len(dev), len(test)) == (42, 12, 6)
    assert train | dev | test == {picture.tobytes() for picture in everything}
    assert drawn(0) == [train, dev, test] != drawn(1)


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")],
)
def test_npz_keeps_its_own_splits(tmp_path, names):
    values = (images(40), labels(40), images(10, seed=1), labels(10)[:, np.newaxis])
    np.savez(tmp_path / "a.npz", **dict(zip(names, values, strict=True)), class_names=np.array(["a", "b", "c"]))
    data = load(str(tmp_path / "a.npz"))
    assert data.labels == ("a", "b", "c")
    assert data.own_splits == ("train", "test")
    np.testing.assert_array_equal(data.test.inputs, values[2])
    np.testing.assert_array_equal(data.test.targets, labels(10))
    assert len(data.train) + len(data.dev) == 40


def test_labels_may_be_words_of_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", x=images(), y=np.array([b"cat", b"dog"] * 15))
    assert load(str(tmp_path / "a.npz")).labels == ("cat", "dog")


def test_npz_takes_rows_one_hot_labels_grey_pictures_and_fractions(tmp_path):
    np.savez(tmp_path / "rows.npz", X=np.eye(30, 4), Y=np.eye(3)[labels()])
    rows = load(str(tmp_path / "rows.npz"))
    assert rows.channels == 0
    assert rows.train.inputs.dtype == np.float32
    assert rows.labels == ("0", "1", "2")
    grey = images(channels=1)[..., 0]
    np.savez(tmp_path / "grey.npz", images=grey / 255, labels=labels() + 5)
    pictures = load(str(tmp_path / "grey.npz"))
    assert pictures.labels == ("5", "6", "7")
    everything = join(list(pictures.splits().values())).inputs
    assert sorted(picture.tobytes() for picture in everything) == sorted(picture.tobytes() for picture in grey)


def test_h5_is_one_file_two_files_a_folder_or_a_twin(tmp_path):
    train, test = images(), images(9, seed=1)
    names = np.array([b"zero", b"one", b"two"])
    whole = write_h5(
        tmp_path / "whole.h5", train_set_x=train, train_set_y=labels()[np.newaxis], list_classes=names,
        test_set_x=test, test_set_y=labels(9)[np.newaxis],
    )  # fmt: skip
    pair = tmp_path / "pair"
    pair.mkdir()
    write_h5(pair / "train_signs.h5", train_set_x=train, train_set_y=labels(), list_classes=names)
    write_h5(pair / "test_signs.h5", test_set_x=test, test_set_y=labels(9), list_classes=names)
    one = load(f"h5:{whole}")
    assert one.labels == ("zero", "one", "two")
    for source in (f"h5:{pair / 'train_signs.h5'},{pair / 'test_signs.h5'}", f"h5:{pair}", f"h5:{pair}/test_signs.h5"):
        other = load(source)
        assert (other.hash, other.own_splits) == (one.hash, ("train", "test"))
        np.testing.assert_array_equal(other.test.inputs, test)


def test_h5_with_one_split_alone_is_split(tmp_path):
    path = write_h5(tmp_path / "signs.h5", test_set_x=images(), test_set_y=labels())
    assert [len(part) for part in load(str(path)).splits().values()] == [22, 4, 4]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_reads_both_splits(tmp_path, suffix):
    for split, count in (("train", 30), ("t10k", 6)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte{suffix}", images(count, channels=1)[..., 0])
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte{suffix}", labels(count).astype(np.uint8))
    data = load(str(tmp_path))
    np.testing.assert_array_equal(data.test.inputs, images(6, channels=1))
    assert (len(data.train) + len(data.dev), data.channels) == (30, 1)


def test_folder_takes_the_splits_that_it_has_and_leaves_other_files_alone(tmp_path):
    paint_classes(tmp_path / "train")
    paint_classes(tmp_path / "Val", each=2)
    (tmp_path / "train/cat/notes.txt").write_text("not a picture")
    (tmp_path / "train/cat/.hidden.png").write_text("not a picture")
    data = load(f"folder:{tmp_path}")
    assert data.labels == ("cat", "dog")
    assert data.own_splits == ("train", "dev")
    assert (len(data.train) + len(data.test), len(data.dev)) == (20, 4)
    assert data.train.read(0).shape == (6, 8, 3)


@pytest.mark.parametrize(
    ("modes", "asked", "channels"),
    [(("L", "L"), None, 1), (("L", "RGB"), None, 3), (("RGB", "RGBA"), None, 3), (("L", "LA"), 4, 4), (("RGB",), 1, 1)],
)
def test_folder_decodes_to_the_channels_that_its_pictures_need(tmp_path, modes, asked, channels):
    for name in ("a", "b"):
        for number in range(10):
            paint(tmp_path / name / f"{number}.png", modes[number % len(modes)])
    data = load(f"folder:{tmp_path}", channels=asked)
    assert data.train.read(0).shape == (6, 8, channels)


@pytest.mark.parametrize("kind", ["digits", "npz", "h5", "idx", "folder"])
def test_pictures_of_every_source_have_the_channels_that_are_asked_for(tmp_path, kind):
    grey = images(channels=1)
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x=grey, y=labels())
    elif kind == "h5":
        write_h5(tmp_path / "a.h5", train_set_x=grey, train_set_y=labels())
    elif kind == "idx":
        write_idx(tmp_path / "train-images-idx3-ubyte", grey[..., 0])
        write_idx(tmp_path / "train-labels-idx1-ubyte", labels().astype(np.uint8))
    elif kind == "folder":
        paint_classes(tmp_path, mode="L")
    source = {"digits": "digits", "npz": f"npz:{tmp_path}/a.npz", "h5": f"h5:{tmp_path}/a.h5"}.get(
        kind, f"{kind}:{tmp_path}"
    )
    own, asked = load(source), load(source, channels=3)
    assert (own.channels, asked.channels) == (1, 3)
    assert asked.hash == own.hash, "it is the same source"
    for name, part in own.splits().items():
        other = asked.splits()[name]
        np.testing.assert_array_equal(other.targets, part.targets)
        for index in range(3):
            np.testing.assert_array_equal(other.read(index), np.repeat(part.read(index), 3, axis=2))


def test_the_hash_is_of_the_content(tmp_path):
    before = load(f"folder:{paint_classes(tmp_path)}").hash
    assert load(f"folder:{tmp_path}", seed=5).hash == before
    paint(tmp_path / "cat/3.png", color=(1, 2, 3))
    assert load(f"folder:{tmp_path}").hash != before


def broken_folder(kind):
    def build(root):
        paint_classes(root)
        match kind:
            case "one class":
                for path in (root / "dog").iterdir():
                    path.unlink()
                (root / "dog").rmdir()
            case "empty class":
                (root / "emu").mkdir()
            case "text":
                (root / "cat/letter.jpg").write_text("dear cat")
            case "zero bytes":
                (root / "cat/none.png").touch()
            case "mixed":
                paint_classes(root / "train")
            case "one example":
                paint(root / "emu/1.png")
        return f"folder:{root}"

    return build


def broken_idx(kind):
    def build(root):
        write_idx(root / "train-images-idx3-ubyte.gz", images(channels=1)[..., 0])
        write_idx(root / "train-labels-idx1-ubyte", labels().astype(np.uint8))
        path = root / ("train-labels-idx1-ubyte" if "labels" in kind else "train-images-idx3-ubyte.gz")
        if kind == "no labels":
            path.unlink()
        elif kind == "other labels":
            write_idx(path, labels(29).astype(np.uint8))
        elif kind == "no idx":
            path.write_bytes(gzip.compress(b"\x89PNG1234"))
        else:
            path.write_bytes(path.read_bytes()[:-9])
        return f"idx:{root}"

    return build


def broken_h5(**arrays):
    return lambda root: f"h5:{write_h5(root / 'a.h5', **arrays)}"


def broken_npz(**arrays):
    def build(root):
        np.savez(root / "a.npz", **arrays)
        return f"npz:{root / 'a.npz'}"

    return build


NAN = np.where(np.eye(30, 4, dtype=bool), np.nan, 1.0)
WRONG = {
    "folder with one class": (broken_folder("one class"), "has one class .cat.; a classifier needs at least 2"),
    "folder with an empty class": (broken_folder("empty class"), "class 'emu' has no pictures"),
    "folder with a text named .jpg": (broken_folder("text"), r"letter\.jpg is not a picture(.|\n)*repair or remove"),
    "folder with a file of 0 bytes": (broken_folder("zero bytes"), r"none\.png is empty \(0 bytes\)"),
    "folder that mixes splits and classes": (broken_folder("mixed"), "mixes splits"),
    "folder with a class of one": (broken_folder("one example"), "class 'emu' of .* has 1 examples"),
    "folder without classes": (lambda root: f"folder:{root}", "one folder for each class"),
    "idx without labels": (broken_idx("no labels"), "has no labels beside it"),
    "idx with labels cut short": (broken_idx("short labels"), "labels-idx1-ubyte must hold 30 bytes .* holds 21"),
    "idx with images cut short": (broken_idx("short images"), "cannot be unpacked .*: it is cut short or damaged"),
    "idx that is none": (broken_idx("no idx"), "is no idx file"),
    "idx with labels of another number": (broken_idx("other labels"), "one label for each example; train has 30"),
    "h5 without the keys": (broken_h5(x=images(), y=labels()), "its keys are x, y"),
    "h5 with too few labels": (broken_h5(train_set_x=images(), train_set_y=labels(20)), "has 30 examples and labels"),
    "h5 with labels beyond the classes": (
        broken_h5(train_set_x=images(), train_set_y=labels(), list_classes=[0, 1]),
        "must be 0 to 1, one for each of its 2 class names; got 0 to 2",
    ),
    "npz without the names": (broken_npz(a=images()), "its arrays are a"),
    "npz with NaN": (broken_npz(x=NAN, y=labels()), "holds NaN or infinity, first in example 0 of train"),
    "npz of one class": (broken_npz(x=images(), y=np.zeros(30, int)), "has one class"),
    "npz with NaN for a label": (broken_npz(x=images(), y=np.where(labels() == 0, np.nan, 1.0)), "whole numbers"),
    "npz beyond 0 to 255": (broken_npz(x=images() - 128.0, y=labels()), "must hold 0 to 255"),
    "npz with 5 channels": (broken_npz(x=images(channels=5), y=labels()), "1, 3 or 4 channels"),
    "npz with objects": (broken_npz(x=np.array([None] * 30), y=labels()), "not an npz file that can be read"),
    "npz with other shapes by split": (
        broken_npz(x_train=images(), y_train=labels(), x_test=images(size=7), y_test=labels()),
        "examples of one shape",
    ),
    "npz with two classes an example": (broken_npz(x=images(), y=np.ones((30, 2), int)), "labels of shape .30, 2."),
    "npz of 0 bytes": (lambda root: (root / "a.npz").touch() or f"npz:{root}/a.npz", "not an npz file"),
    "npz that is text": (lambda root: (root / "a.npz").write_text("x") and f"npz:{root}/a.npz", "not an npz file"),
    "h5 that is text": (lambda root: (root / "a.h5").write_text("x") and f"h5:{root}/a.h5", "not an HDF5 file"),
}


@pytest.mark.parametrize(("build", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(tmp_path, build, message):
    with pytest.raises(SourceError, match=message):
        load(build(tmp_path))


def test_sources_are_recognised_and_unknown_ones_suggested(tmp_path):
    paint_classes(tmp_path / "pictures")
    np.savez(tmp_path / "a.npz", x=images(), y=labels())
    assert parse(str(tmp_path / "pictures"))[0] == "folder"
    assert parse(str(tmp_path / "a.npz"))[0] == "npz"
    with pytest.raises(UnknownName, match="Did you mean digits"):
        parse("digit")
    with pytest.raises(UnknownName, match="Did you mean folder"):
        parse("foldr:x")
    with pytest.raises(SourceError, match="does not exist"):
        parse("some/where")
    with pytest.raises(SourceError, match="npz needs a path: write npz:FILE"):
        parse("npz:")
    (tmp_path / "table.xlsx").touch()
    with pytest.raises(SourceError, match="is not recognised"):
        parse(str(tmp_path / "table.xlsx"))


def test_labels_of_another_source_are_found_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=images(), y=labels(), classes=np.array(["c", "a", "b"]))
    data = load(str(tmp_path / "a.npz"))
    moved = with_labels(data.train, data.labels, ("a", "b", "c"), source="a")
    assert [("a", "b", "c")[k] for k in moved.targets] == [data.labels[k] for k in data.train.targets]
    with pytest.raises(SourceError, match="has the class 'c'; the model knows a, b"):
        with_labels(data.train, data.labels, ("a", "b"), source="a")
    many = [f"class {k}" for k in range(2000)]
    with pytest.raises(SourceError, match=r"the model knows class 0, .*, class 19 and 1,980 more"):
        with_labels(data.train, data.labels, many, source="a")


@pytest.mark.parametrize(
    ("name", "source", "examples", "channels", "classes"),
    [
        ("mnist_train_idx", "idx:{}", 60_000, 1, 10),
        ("signs_test", "h5:{}", 120, 3, 6),
        ("mnist_png_1k", "folder:{}", 1_000, 1, 10),
        ("flowers5_small", "folder:{}", 200, 3, 5),
    ],
)
def test_real_sets_are_read_whole(data_set, name, source, examples, channels, classes):
    data = load(source.format(data_set(name)))
    assert sum(map(len, data.splits().values())) == examples
    assert (data.channels, len(data.labels)) == (channels, classes)
