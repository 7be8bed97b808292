"""idx files byte by byte."""

import gzip
import struct

import numpy as np
import pytest

from dlapp.data import load
from dlapp.data.idx import read
from dlapp.errors import SourceError

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
GREY = np.random.default_rng(0).integers(0, 256, (30, 5, 4), np.uint8)


def encode(array, code=8):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gz"])
def test_every_type_is_read_as_it_was_written(tmp_path, dtype, suffix):
    array = np.arange(-60, 60).reshape(2, 3, 20).astype(dtype)
    content = encode(array, CODES[dtype])
    path = tmp_path / f"train-images-idx3{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    found = read(path)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, array)


DAMAGE = {
    "cut short": (lambda c: c[:-7], "", "must hold 600 bytes of values .* holds 593"),
    "too long": (lambda c: c + b"xx", "", "must hold 600 bytes of values .* holds 602"),
    "cut in the header": (lambda c: c[:10], "", "cut short in its header"),
    "empty": (lambda c: b"", "", "is no idx file"),
    "another magic number": (lambda c: b"\x01" + c[1:], "", "is no idx file"),
    "an unknown type": (lambda c: c[:2] + b"\x0a" + c[3:], "", "is no idx file"),
    "a size of 4 billion": (lambda c: c[:4] + b"\xff" * 12 + c[16:], "", "must hold .* bytes of values"),
    "gz cut short": (lambda c: gzip.compress(c)[:-20], ".gz", "cannot be unpacked"),
    "gz with a damaged byte": (
        lambda c: gzip.compress(c)[:60] + b"\0\0\0\0" + gzip.compress(c)[64:],
        ".gz",
        "unpacked",
    ),
    "gz that is not packed": (lambda c: c, ".gz", "cannot be unpacked"),
}


@pytest.mark.parametrize(("damage", "suffix", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_with_the_name_of_the_file(tmp_path, damage, suffix, message):
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(damage(encode(GREY)))
    with pytest.raises(SourceError, match=rf"{path.name} .*{message}"):
        read(path)


def test_files_that_do_not_belong_together(tmp_path):
    with pytest.raises(SourceError, match="must hold files like train-images-idx3-ubyte"):
        load(f"idx:{tmp_path}")
    (tmp_path / "emnist-images-idx3-ubyte").write_bytes(encode(GREY))
    with pytest.raises(SourceError, match="belongs to no split: its name must start with one of train, t10k"):
        load(f"idx:{tmp_path}")
