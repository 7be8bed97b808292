"""Splitting: stratified, seeded, disjoint, complete; and what is too small to split."""

import contextlib
import dataclasses

import numpy as np
import pytest

from dlapp.data.examples import Examples, Loaded, as_objects, join, split, with_channels, with_labels
from dlapp.errors import SourceError


def examples(counts, *, first=0):
    """Pictures numbered from ``first``; ``counts`` of each class, classes mixed."""
    targets = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    return Examples(np.arange(first, first + len(targets)).reshape(-1, 1).astype(np.float32), targets, channels=0)


def drawn(parts, classes, *, dev=0.15, test=0.15, seed=0):
    loaded = Loaded(parts, tuple(chr(97 + k) for k in range(classes)), "")
    return split("set", loaded, dev=dev, test=test, seed=seed)


def numbers(part):
    return part.inputs[:, 0].astype(int).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("counts", [(700, 200, 100), (50, 50)], ids=["unbalanced", "balanced"])
def test_every_split_has_the_classes_in_the_shares_of_the_whole(counts, seed):
    whole = examples(counts)
    data = drawn({"train": whole}, len(counts), dev=0.2, test=0.1, seed=seed)
    for part, share in ((data.train, 0.7), (data.dev, 0.2), (data.test, 0.1)):
        # dev is stratified on what test left: each class is rounded twice
        np.testing.assert_allclose(np.bincount(part.targets), np.array(counts) * share, atol=1.5)
        np.testing.assert_array_equal(part.targets, whole.targets[numbers(part)])
    assert sorted(numbers(data.train) + numbers(data.dev) + numbers(data.test)) == list(range(len(whole)))
    assert data.own_splits == ()


def test_the_seed_alone_decides():
    whole = {"train": examples((60, 40))}
    first, same, other = (drawn(whole, 2, seed=seed) for seed in (0, 0, 1))
    for name, part in first.splits().items():
        assert numbers(part) == numbers(same.splits()[name])
        assert set(numbers(part)) != set(numbers(other.splits()[name]))


@pytest.mark.parametrize("own", [("train", "dev"), ("train", "test"), ("train", "dev", "test")], ids=" ".join)
def test_own_splits_stay_whole_and_train_gives_the_others(own):
    parts = {name: examples((40, 40), first=1000 * k) for k, name in enumerate(own)}
    data = drawn(parts, 2)
    assert data.own_splits == own
    for name in set(own) - {"train"}:
        assert data.splits()[name] is parts[name]
    taken = [number for name, part in data.splits().items() if name not in own[1:] for number in numbers(part)]
    assert sorted(taken) == list(range(80))
    assert len(data.train) == 80 - 12 * (3 - len(own))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [(3, 3), (3, 3, 3), (30, 3), (9, 5, 4)], ids=str)
def test_a_tiny_class_reaches_train(counts, seed):
    data = drawn({"train": examples(counts)}, len(counts), seed=seed)
    assert np.bincount(data.train.targets, minlength=len(counts)).min() >= 1
    assert sum(map(len, data.splits().values())) == sum(counts)
    assert min(map(len, data.splits().values())) >= len(counts)


@pytest.mark.parametrize(("dev", "test"), [(0.2, 0.6), (0.1, 0.5), (0.3, 0.3), (0.4, 0.4)])
def test_large_fractions_of_a_tiny_class_are_drawn_or_refused(dev, test):
    for count in range(6, 20):
        with contextlib.suppress(SourceError):  # scikit-learn's ValueError must not get through
            data = drawn({"train": examples((count, 3))}, 2, dev=dev, test=test)
            assert np.bincount(data.train.targets, minlength=2).min() >= 1


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((30, 1), "class 'b' of set has 1 example"),
        ((30, 0), "class 'b' of set has 0 examples"),
        ((2, 2), "class 'a' of set has 2 examples"),
        ((2, 2, 2), "class 'a' of set has 2 examples"),
    ],
    ids=str,
)
def test_a_class_too_small_to_split_is_told_with_its_number(counts, message):
    with pytest.raises(SourceError, match=message):
        drawn({"train": examples(counts)}, len(counts))


def test_splits_without_train_cannot_be_trained_on():
    with pytest.raises(SourceError, match="has dev and test but no train split"):
        drawn({"dev": examples((5, 5)), "test": examples((5, 5))}, 2)


def test_taking_and_joining_files_keeps_what_belongs_to_each():
    count = 12
    order = np.random.default_rng(0).permutation(count)
    files = Examples(
        np.array([f"{'long' * k}.png" for k in range(count)]),  # names of different widths
        np.arange(count, dtype=np.int32),
        channels=3,
        plain=np.arange(count) % 2 == 0,
        sizes=np.stack([np.arange(count), np.arange(count) + 100], axis=1).astype(np.int32),
    )
    back = join([files.take(order[:5]), files.take(order[5:])]).take(np.argsort(order))
    for field in dataclasses.fields(Examples):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(files, field.name))
    moved = with_labels(files.take([0, 1]), ("a", "b"), ("b", "c", "a"), source="set")
    assert moved.targets.tolist() == [2, 0]
    assert moved.targets.dtype == np.int32
    assert moved.inputs.tolist() == files.inputs[:2].tolist()


def test_listed_files_take_other_channels_without_being_looked_at_again():
    files = Examples(np.array(["a.png", "b.bmp"]), np.arange(2), channels=1, plain=np.array([True, False]))
    assert with_channels(files, 1) is files
    assert with_channels(files, 3).channels == 3
    assert with_channels(files, 3).plain.tolist() == [True, False]
    assert with_channels(files, 4).plain.tolist() == [False, False], "TensorFlow knows no transparency"
    rows = Examples(np.zeros((2, 4), np.float32), np.arange(2), channels=0)
    assert with_channels(rows, 3) is rows


def test_a_running_text_is_cut_and_begins_with_train():
    text = "".join(chr(97 + number % 26) for number in range(200))
    one = Examples(as_objects([text]), np.zeros(1, np.int32), channels=0)
    data = split("story", Loaded({"train": one}, (), "", task="language_model"), dev=0.1, test=0.2, seed=0)
    pieces = [part.inputs[0] for part in (data.train, data.dev, data.test)]
    assert "".join(pieces) == text
    assert [len(piece) for piece in pieces] == [140, 20, 40]


def test_a_running_text_that_is_too_short_is_refused():
    one = Examples(as_objects(["a" * 50]), np.zeros(1, np.int32), channels=0)
    with pytest.raises(SourceError, match="story has 50 characters, which leaves 8 for dev; at least 10 are needed"):
        split("story", Loaded({"train": one}, (), "", task="language_model"), dev=0.15, test=0.5, seed=0)


def test_tags_go_with_their_sentences():
    sentences = as_objects([("a", "b"), ("c",), ("d", "e")])
    tags = as_objects([np.array([0, 1]), np.array([1]), np.array([1, 0])])
    part = Examples(sentences, np.zeros(3, np.int32), channels=0, wanted=tags)
    assert part.are_texts
    assert not part.are_files
    assert part.take([2]).wanted[0].tolist() == [1, 0]
    assert [tag.tolist() for tag in join([part.take([1]), part]).wanted] == [[1], [0, 1], [1], [1, 0]]
    renamed = with_labels(part, ["N", "V"], ["V", "X", "N"], source="s")
    assert [tag.tolist() for tag in renamed.wanted] == [[2, 0], [0], [0, 2]]
    assert part.describe(0) == "a b"
