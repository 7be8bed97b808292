"""Numbers of labelled boxes, worked by hand."""

import dataclasses

import numpy as np
import pytest

from dlapp.boxes import Boxes
from dlapp.data import objects
from dlapp.data.examples import Examples


def labelled(*of_pictures, ignored=(), size=(100, 200)):
    """Pictures of 100 x 200 (height x width), each with (class, y1, x1, y2, x2) of its objects."""
    rows = np.array([row for found in of_pictures for row in found], np.float32).reshape(-1, 5)
    counts = np.array([len(found) for found in of_pictures], np.int64)
    found = Boxes(counts, rows[:, 1:], rows[:, 0].astype(np.int32), ignored=np.array(ignored, bool))
    return Examples(np.zeros((len(counts), *size, 3), np.uint8), counts.astype(np.int32), channels=3, boxes=found)


def test_sizes_are_shares_of_the_picture():
    train = labelled([(0, 0, 0, 50, 20), (1, 10, 10, 12, 190)], [], [(1, 0, 0, 100, 200)], ignored=[0, 1, 0])
    found = objects.measure({"train": train, "dev": labelled([(0, 40, 0, 60, 6)])})
    assert {name: found[name] for name in ("count", "ignored", "tiny", "without", "most")} == {
        "count": 4,
        "ignored": 1,
        "tiny": 2,  # 2 of 100 high; 6 of 200 wide; 8 of 256 is 1/32
        "without": 1,
        "most": 2,
    }
    assert found["height"] == pytest.approx({"min": 0.02, "median": 0.35, "max": 1})
    assert found["width"] == pytest.approx({"min": 0.03, "median": 0.5, "max": 1})
    assert found["area"] == pytest.approx({"min": 0.006, "median": (0.018 + 0.05) / 2, "max": 1})
    assert objects.count_classes({"train": train}, "ab") == {"a": {"train": 1}, "b": {"train": 2}}


def test_where_there_is_no_object_there_are_no_sizes():
    found = objects.measure({"train": labelled([], [])})
    assert found == {"count": 0, "ignored": 0, "tiny": 0, "without": 2, "most": 0}


def test_the_same_box_twice_is_found_within_its_picture_and_class():
    box, almost, other = (0, 0, 100, 100), (0, 0, 100, 100.5), (0, 0, 100, 102)
    part = labelled(
        [(0, *box), (1, *box)],
        [(0, *box)],
        [(1, *other), (0, *box), (0, *almost), (0, *box)],
    )
    assert objects.find_doubles(part) == [(2, 0, [0, 0, 100, 100.5]), (2, 0, [0, 0, 100, 100])]
    assert objects.find_doubles(labelled([(0, *box), (0, *other)])) == []  # 100 of 102: 0.980


def test_pictures_are_of_a_kind_that_have_as_many_objects_of_each_class():
    box = (0, 0, 9, 9)
    kinds = objects.kinds(labelled([(0, *box), (1, *box)], [(1, *box), (0, *box)], [(0, *box)] * 2, []))
    assert kinds[0] == kinds[1]
    assert len(set(kinds.tolist())) == 3
    part = labelled([(1, *box), (0, *box), (1, *box)], [])
    assert [objects.describe(part, index, ("cat", "dog")) for index in range(2)] == ["1 cat, 2 dog", "no object"]
    bare = dataclasses.replace(part, boxes=None)
    np.testing.assert_array_equal(objects.kinds(bare), [3, 0])
