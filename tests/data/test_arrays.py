"""What arrays may look like in npz and HDF5 files, and what is refused because its meaning is not certain."""

import itertools

import h5py
import numpy as np
import pytest

from dlapp.data import load
from dlapp.data.examples import join
from dlapp.errors import SourceError

X = np.random.default_rng(0).integers(0, 256, (30, 6, 6, 3), np.uint8)
Y = np.arange(30) % 3
ONE_HOT = np.eye(3)[Y]


def npz(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return f"npz:{folder / 'a.npz'}"


def h5(folder, **arrays):
    with h5py.File(folder / "a.h5", "w") as file:
        for key, value in arrays.items():
            file[key] = value
    return f"h5:{folder / 'a.h5'}"


def pairs(data):
    """(bytes of an input, its class), whatever split it went to."""
    everything = join(list(data.splits().values()))
    names = [data.labels[target] for target in everything.targets]
    return sorted((row.tobytes(), name) for row, name in zip(everything.inputs, names, strict=True))


@pytest.mark.parametrize("inputs", ["x", "Images", "inputs", "features", "DATA"])
@pytest.mark.parametrize("targets", ["y", "labels", "Targets", "label", "target"])
def test_npz_finds_arrays_by_the_names_they_usually_have(tmp_path, inputs, targets):
    expected = sorted(zip([picture.tobytes() for picture in X], map(str, Y), strict=True))
    assert pairs(load(npz(tmp_path, **{inputs: X, targets: Y}))) == expected


@pytest.mark.parametrize("dev", ["dev", "val", "valid", "validation"])
@pytest.mark.parametrize("order", ["{0}_{1}", "{1}_{0}"], ids=["x_train", "train_x"])
def test_npz_finds_splits_before_or_after_the_name(tmp_path, dev, order):
    sizes = {"train": 30, dev: 9, "test": 6}
    arrays = {order.format(key, split): all_[:n] for split, n in sizes.items() for key, all_ in (("x", X), ("y", Y))}
    data = load(npz(tmp_path, **arrays))
    assert data.own_splits == ("train", "dev", "test")
    for part, size in zip(data.splits().values(), sizes.values(), strict=True):
        np.testing.assert_array_equal(part.inputs, X[:size])
        np.testing.assert_array_equal(part.targets, Y[:size])


NUMBERS, LETTERS = ("0", "1", "2"), ("u", "v", "w")
TARGETS = {
    "column": (Y[:, np.newaxis], {}, NUMBERS),
    "row": (Y[np.newaxis], {}, NUMBERS),
    "whole fractions": (Y.astype(np.float32), {}, NUMBERS),
    "one-hot": (ONE_HOT, {}, NUMBERS),
    "one-hot booleans": (ONE_HOT.astype(bool), {}, NUMBERS),
    "text": (np.array(LETTERS)[Y], {}, LETTERS),
    "bytes": (np.array([b"u", b"v", b"w"])[Y], {}, LETTERS),
    "names as bytes": (Y, {"list_classes": np.array([b"u", b"v", b"w"])}, LETTERS),
    "names in UTF-8": (Y, {"class_names": np.array(["naïve".encode(), b"v", b"w"])}, ("naïve", "v", "w")),
    "one-hot with names": (ONE_HOT, {"classes": np.array(LETTERS)}, LETTERS),
}


@pytest.mark.parametrize(("targets", "names", "classes"), TARGETS.values(), ids=TARGETS)
def test_targets_keep_their_pictures_and_names(tmp_path, targets, names, classes):
    data = load(npz(tmp_path, x=X, y=targets, **names))
    assert data.labels == classes
    assert pairs(data) == sorted(zip([picture.tobytes() for picture in X], [classes[k] for k in Y], strict=True))
    assert data.train.targets.dtype == np.int32


GREY = X[..., 0]
INPUTS = {
    "grey": (GREY, GREY[..., np.newaxis]),
    "8-bit fractions": (X / 255, X),
    "8-bit in float32": ((X / 255).astype(np.float32), X),
    "fractions below a level": (np.clip(X - 0.4, 0, None) / 255, X),
    "0 to 255 in floats": (X.astype(np.float32), X),
    "int64": (X.astype(np.int64), X),
    "4 channels": (np.concatenate([X, X[..., :1]], axis=3), np.concatenate([X, X[..., :1]], axis=3)),
    "rows of integers": (X.reshape(30, -1).astype(np.int16), X.reshape(30, -1).astype(np.float32)),
    "black and white": (GREY > 127, np.where(GREY > 127, 255, 0).astype(np.uint8)[..., np.newaxis]),
}


@pytest.mark.parametrize(("stored", "expected"), INPUTS.values(), ids=INPUTS)
def test_inputs_become_uint8_pictures_or_float32_rows(tmp_path, stored, expected):
    test = load(npz(tmp_path, x_train=stored, y_train=Y, x_test=stored, y_test=Y)).test
    assert test.inputs.dtype == expected.dtype
    np.testing.assert_array_equal(test.inputs, expected)
    assert test.channels == (0 if expected.ndim == 2 else expected.shape[3])


OVERSHOT = np.linspace(0, 1.0001, X.size).reshape(X.shape)  # as resizing by splines leaves it
MULTI_HOT = np.concatenate([[[1, 1, 0]], ONE_HOT[1:]])
NO_HOT = np.concatenate([[[0, 0, 0]], ONE_HOT[1:]])
REFUSED = {
    "two classes at once": (npz, {"x": X, "y": MULTI_HOT}, "one label|exactly one|one-hot"),
    "no class": (npz, {"x": X, "y": NO_HOT}, "one label|exactly one|one-hot"),
    "labels too large for a float": (npz, {"x": X, "y": Y * 1e300}, "whole numbers"),
    "labels of NaN": (npz, {"x": X, "y": np.where(Y == 0, np.nan, Y)}, "whole numbers"),
    "text labels beside class names": (
        npz,
        {"x": X, "y": np.array(["u", "v", "w"])[Y], "classes": np.array(["u", "v", "w"])},
        "must be 0 to 2",
    ),
    "negative labels": (npz, {"x": X, "y": Y - 1, "classes": np.array(["u", "v", "w"])}, "got -1 to 1"),
    "one class name twice": (npz, {"x": X, "y": Y, "classes": np.array(["u", "u", "w"])}, "'u'"),
    "a number of classes for their names": (npz, {"x": X, "y": Y, "classes": np.array(3)}, "class"),
    "a number for list_classes": (h5, {"train_set_x": X, "train_set_y": Y, "list_classes": 3}, "class"),
    "names in Latin-1": (
        h5,
        {"train_set_x": X, "train_set_y": Y, "list_classes": np.array([b"\xe9t\xe9", b"v", b"w"])},
        "UTF-8|class",
    ),
    "one number for all labels": (npz, {"x": X, "y": np.array(3)}, "labels of shape"),
    "one number for all inputs": (npz, {"x": np.array(3), "y": Y}, "pictures must be|one label for each example"),
    "a list of numbers for inputs": (npz, {"x": np.arange(30.0), "y": Y}, "pictures must be"),
    "channels first": (npz, {"x": X.transpose(0, 3, 1, 2), "y": Y}, r"1, 3 or 4 channels.* \(30, 3, 6, 6\)"),
    "text for inputs": (npz, {"x": np.full((30, 4), "a"), "y": Y}, "must be numbers"),
    "infinity": (npz, {"x": np.where(X > 250, np.inf, X), "y": Y}, "holds NaN or infinity"),
    "rows beyond float32": (npz, {"x": np.full((30, 2), 1e300), "y": Y}, "infinity|float32|too large"),
    "a little more than 1": (npz, {"x": OVERSHOT, "y": Y}, "0 to 255"),
    "no example": (npz, {"x": X[:0], "y": Y[:0]}, "train split of .* is empty"),
    "no pixel": (npz, {"x": X[:, :0], "y": Y}, "pictures must be|empty"),
    "inputs by split and labels not": (npz, {"x_train": X, "y": Y}, "its arrays are x_train, y"),
    "a class that train lacks": (
        npz,
        {"x_train": X, "y_train": Y % 2, "x_dev": X, "y_dev": Y, "x_test": X, "y_test": Y},
        "'2'.*train",
    ),
    "labels alone in HDF5": (h5, {"train_set_y": Y}, "its keys are train_set_y"),
}


@pytest.mark.parametrize(("write", "arrays", "message"), REFUSED.values(), ids=REFUSED)
def test_arrays_of_uncertain_meaning_are_refused(tmp_path, write, arrays, message):
    with pytest.raises(SourceError, match=message):
        load(write(tmp_path, **arrays))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF
    path.write_bytes(content)


def one_array(path):
    np.save(path.with_suffix(".npy"), X)
    path.with_suffix(".npy").rename(path)


DAMAGE = {"cut short": cut, "one byte": flip, "empty": lambda path: path.write_bytes(b""), "npy": one_array}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_npz_damage_is_an_error_that_names_the_file(tmp_path, damage):
    npz(tmp_path, x=X, y=Y)
    damage(tmp_path / "a.npz")
    with pytest.raises(SourceError, match=r"a\.npz is not an npz file that can be read"):
        load(f"npz:{tmp_path / 'a.npz'}")


def test_pickled_content_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "ran",))

    np.savez(tmp_path / "a.npz", x=np.array([Bomb()] * 30), y=Y)
    with pytest.raises(SourceError, match="is not an npz file that can be read"):
        load(f"npz:{tmp_path / 'a.npz'}")
    assert not (tmp_path / "ran").exists()


def test_h5_that_cannot_be_put_together(tmp_path):
    source = h5(tmp_path, train_set_x=X, train_set_y=Y)
    path = source.removeprefix("h5:")
    with pytest.raises(SourceError, match="holds a second train split"):
        load(f"{source},{path}")
    with pytest.raises(SourceError, match=r"none\.h5 does not exist"):
        load(f"{source},{tmp_path / 'none.h5'}")
    cut(tmp_path / "a.h5")
    with pytest.raises(SourceError, match=r"a\.h5 is not an HDF5 file that can be read"):
        load(source)


def test_the_hash_changes_with_any_value(tmp_path):
    other_x, other_y = X.copy(), Y.copy()
    other_x[29, 5, 5, 2] ^= 1
    other_y[:2] = Y[1::-1]
    hashes = [load(npz(tmp_path, x=x, y=y)).hash for x, y in itertools.product((X, other_x), (Y, other_y))]
    assert len(set(hashes)) == 4
    assert load(npz(tmp_path, x=X, y=Y)).hash == hashes[0]
