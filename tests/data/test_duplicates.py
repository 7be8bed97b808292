"""Pictures that are there twice, or nearly, are found; pictures that are not are left alone."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from dlapp.data.duplicates import find_repeats, near_groups
from dlapp.data.examples import Examples
from dlapp.data.facts import gather


def picture(seed, side=96):
    """A smooth motif of its own, as photographs have them."""
    motif = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(motif).resize((side, side), Image.Resampling.BICUBIC))


def as_jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def examples(images, targets=None):
    return Examples(np.stack(images), np.zeros(len(images), np.int32) if targets is None else targets, channels=3)


CHANGES = {
    "saved again at 50": lambda image: as_jpeg(image, 50),
    "half as large and back": lambda image: np.asarray(Image.fromarray(image).resize((48, 48)).resize((96, 96))),
    "brighter": lambda image: np.clip(image * 1.1, 0, 255).astype(np.uint8),
    "without an edge of 1 %": lambda image: np.asarray(Image.fromarray(image[1:-1, 1:-1]).resize((96, 96))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_resembles_its_original_and_nothing_else(change):
    originals = [picture(seed) for seed in range(40)]
    copies = [CHANGES[change](image) for image in originals[:10]]
    thumbnails = gather(examples(originals + copies)).thumbnails
    groups = [tuple(group.tolist()) for group in near_groups(thumbnails)]
    assert sorted(groups) == [(k, 40 + k) for k in range(10)]


def test_different_pictures_of_one_kind_are_left_alone():
    assert near_groups(gather(examples([picture(seed) for seed in range(300)])).thumbnails) == []


def test_flat_pictures_resemble_nothing_but_count_as_the_same():
    flat = [np.full((20, 20, 3), level, np.uint8) for level in (0, 100, 100, 200)]
    facts = gather(examples(flat))
    assert near_groups(facts.thumbnails) == []
    (group,) = find_repeats({"all": facts.hashes}, {"all": facts.thumbnails}, {"all": np.zeros(4)})
    assert group.members == (("all", 1), ("all", 2))
    assert group.exact


def test_groups_know_their_splits_and_whether_targets_differ():
    images = [picture(0), picture(1), picture(2)]
    parts = {
        "train": examples([*images, as_jpeg(images[2], 60)], np.array([0, 1, 0, 0], np.int32)),
        "test": examples([images[0], images[1], picture(3)], np.array([0, 0, 0], np.int32)),
    }
    facts = {name: gather(part) for name, part in parts.items()}
    found = find_repeats(
        {name: one.hashes for name, one in facts.items()},
        {name: one.thumbnails for name, one in facts.items()},
        {name: part.targets for name, part in parts.items()},
    )
    told = {group.members: (group.exact, group.leaks, group.contradicts) for group in found}
    assert told == {
        (("train", 0), ("test", 0)): (True, True, False),
        (("train", 1), ("test", 1)): (True, True, True),
        (("train", 2), ("train", 3)): (False, False, False),
    }


def test_rows_are_the_same_where_nan_and_zero_are():
    rows = np.array([[1, np.nan], [1, np.nan], [0.0, 2], [-0.0, 2], [3, 4]], np.float32)
    facts = gather(Examples(rows, np.zeros(5, np.int32), channels=0))
    groups = find_repeats({"all": facts.hashes}, {"all": facts.thumbnails}, {"all": np.zeros(5)})
    assert sorted(group.members for group in groups) == [(("all", 0), ("all", 1)), (("all", 2), ("all", 3))]


def test_thousands_of_copies_take_no_longer():
    thumbnails = np.repeat(gather(examples([picture(seed) for seed in range(2)])).thumbnails, 5000, axis=0)
    started = time.perf_counter()
    assert sorted(map(len, near_groups(thumbnails))) == [5000, 5000]
    assert time.perf_counter() - started < 10, "25 million pairs would take minutes"
