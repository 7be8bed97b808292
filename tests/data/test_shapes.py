"""Shapes that are drawn: what the boxes say is what the pixels show, and the seed decides everything."""

import hashlib

import numpy as np
import pytest

from dlapp.data import load, shapes
from dlapp.data.sources import read
from dlapp.errors import SourceError, UnknownName


def drawn(options="", **given):
    return shapes.load(options, **given).parts["train"]


def test_boxes_are_tight_around_what_is_drawn():
    train = drawn("objects=1&examples=60&noise=0&size=64")
    for index, picture in enumerate(train.inputs):
        y1, x1, y2, x2 = train.boxes[index].corners[0].astype(int)
        # the object has one colour and its background none twice in a row and a column: look for the colour inside
        colour = picture[(y1 + y2) // 2, (x1 + x2) // 2]
        rows, columns = np.nonzero((picture == colour).all(axis=2))
        assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (y1, x1, y2, x2)


@pytest.mark.parametrize(("label", "share"), [("disc", np.pi / 4), ("square", 1), ("triangle", 0.5)])
def test_a_shape_fills_as_much_of_its_box_as_geometry_says(label, share):
    train = drawn("objects=1&examples=60&noise=0")
    chosen = np.flatnonzero(train.boxes.classes == shapes.LABELS.index(label))
    for index in chosen.tolist():
        y1, x1, y2, x2 = train.boxes.corners[index].astype(int)
        inside = train.inputs[index, y1:y2, x1:x2]
        middle = inside[len(inside) // 2, len(inside) // 2]
        # the rim, at most as many pixels as the box is wide, counts in part
        assert (inside == middle).all(axis=2).mean() == pytest.approx(share, abs=1.001 / (y2 - y1))
    assert len(chosen) > 10


def test_no_object_is_more_than_half_hidden(monkeypatch):
    masks, mask = [], shapes._mask
    monkeypatch.setattr(shapes, "_mask", lambda *given, **named: masks.append(mask(*given, **named)) or masks[-1])
    fewest = []
    for seed in range(40):
        masks.clear()
        boxes = drawn(f"objects=8&examples=1&size=64&seed={seed}").boxes
        if not len(boxes.corners) or len(masks) > len(boxes.corners):  # one found no place: which is not told
            continue
        owners = np.full((64, 64), -1)
        for number, (corners, shape) in enumerate(zip(boxes.corners.astype(int), masks, strict=True)):
            owners[corners[0] : corners[2], corners[1] : corners[3]][shape] = number
        fewest += [(owners == number).sum() / shape.sum() for number, shape in enumerate(masks)]
    assert len(fewest) > 50
    assert 0.5 <= min(fewest) < 0.8, "some are hidden, none by more than half"


def test_pictures_have_as_many_objects_as_asked_for_and_some_have_none():
    train = drawn("examples=600&size=48")
    assert train.inputs.shape == (600, 48, 48, 3)
    counts = np.bincount(train.targets)
    np.testing.assert_array_equal(train.targets, train.boxes.counts)
    assert len(counts) == 5
    assert 15 <= counts[0] <= 50  # 30 are expected, with a standard deviation of 5
    assert counts[1:].min() > 100
    sides = train.boxes.corners[:, 2:] - train.boxes.corners[:, :2]
    assert (sides.min(), sides.max()) == (6, 20)  # 1/8 and 5/12 of 48
    kinds = np.bincount(train.boxes.classes) / len(train.boxes.classes)
    np.testing.assert_allclose(kinds, 1 / 3, atol=0.05)


def test_one_object_where_one_is_wanted_unless_more_are_asked_for():
    assert (drawn("examples=50", single=True).targets == 1).all()
    assert (drawn("examples=50&objects=1").targets == 1).all()
    assert drawn("examples=50&objects=3", single=True).targets.max() == 3


def test_the_seed_alone_decides_and_the_first_pictures_stay():
    few, many = drawn("examples=5&seed=3"), drawn("examples=9&seed=3")
    np.testing.assert_array_equal(few.inputs, many.inputs[:5])
    np.testing.assert_array_equal(few.boxes.corners, many.boxes[range(5)].corners)
    assert (drawn("examples=5&seed=4").inputs != few.inputs).any()


def test_the_pictures_are_those_of_every_machine():
    """Drawn with NumPy 2.0 and later, on whole numbers alone: the recipe's hash must not depend on where."""
    found = hashlib.sha256(drawn("examples=20").inputs).hexdigest()
    assert found == "51ada8ae693221b150677edaa1a280456b93db9474a9fb509ca961aaa1ace636"


def test_noise_is_as_wide_as_said():
    still, noisy = drawn("examples=1&noise=0&seed=1"), drawn("examples=1&noise=0.2&seed=1")
    off = np.abs(noisy.inputs.astype(int) - still.inputs)
    assert off.max() == 51  # 0.2 x 255


def test_shapes_are_a_source_with_splits():
    data = load("shapes?examples=40&size=32", single=True)
    assert (data.task, data.labels) == ("detection", ("disc", "square", "triangle"))
    assert [len(part) for part in data.splits().values()] == [28, 6, 6]
    assert all((part.boxes.counts == 1).all() for part in data.splits().values())
    assert load("shapes?examples=40&size=32").train.targets.max() > 1
    assert load("shapes?examples=40&size=32", single=True).hash == data.hash
    assert load("shapes?examples=40&size=32&seed=1", single=True).hash != data.hash
    assert read("shapes?examples=2", channels=1).parts["train"].inputs.shape == (2, 96, 96, 1)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("shapes?object=2", UnknownName, r"unknown option of shapes 'object'. Did you mean objects\?"),
        ("shapes?objects=0", SourceError, "objects of shapes must be a whole number, 1 to 20; got '0'"),
        ("shapes?objects=2.5", SourceError, "must be a whole number, 1 to 20; got '2.5'"),
        ("shapes?size=", SourceError, "size of shapes must be a whole number, 32 to 1024; got ''"),
        ("shapes?noise=nan", SourceError, "noise of shapes must be a number, 0 to 1; got 'nan'"),
        ("shapes?noise=1.01", SourceError, "noise of shapes must be a number, 0 to 1; got '1.01'"),
        ("shapes?examples=100000", SourceError, r"up to 2 GiB; 100000 examples of 96 x 96 take more"),
        ("shapes:2", SourceError, r"takes nothing after its name, or options as in shapes\?objects=1; got 'shapes:2'"),
    ],
)
def test_wrong_options_are_told(source, kind, message):
    with pytest.raises(kind, match=message):
        load(source)
