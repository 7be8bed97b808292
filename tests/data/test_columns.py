"""What the columns of train are, and how the rows of another table are written in their code."""

import numpy as np
import pytest

from dlapp.data import Examples, load
from dlapp.data.columns import observed, recode
from dlapp.errors import SourceError
from dlapp.signature import Column

NAN = np.nan


def examples(rows, *columns):
    inputs = np.array(rows, np.float32)
    return Examples(inputs, np.arange(len(inputs), dtype=np.int32), 0, columns=columns)


COLOUR = Column("colour", ("blue", "green", "red"))
SIZE = Column("size")


def test_categories_are_those_that_train_has_twice():
    train = examples([[0, 1], [0, 2], [1, 3], [NAN, 4], [2, 5], [2, 6]], COLOUR, SIZE)
    assert observed(train) == (Column("colour", ("blue", "red"), missing=True), Column("size"))


def test_a_number_may_be_missing_and_codes_of_nothing_count_for_none():
    train = examples([[-1, NAN], [-1, 2], [1, 3]], COLOUR, SIZE)
    assert observed(train) == (Column("colour", ()), Column("size", missing=True))


def test_rows_are_written_in_the_order_and_the_code_of_the_model():
    rows = examples([[7, 0], [8, 1], [9, 2], [NAN, NAN], [6, -1]], SIZE, COLOUR)
    known = (Column("colour", ("red", "blue", "grey"), missing=True), Column("size"))
    found = recode(rows, known)
    assert found.columns == known
    np.testing.assert_array_equal(found.inputs, [[1, 7], [-1, 8], [0, 9], [NAN, NAN], [-1, 6]])
    assert found.inputs.dtype == np.float32
    np.testing.assert_array_equal(found.targets, rows.targets)
    np.testing.assert_array_equal(rows.inputs[:, 1], [0, 1, 2, NAN, -1]), "the original belongs to the caller"


def test_columns_that_a_model_does_not_know_are_left():
    found = recode(examples([[1, 0, 5], [2, 1, 6]], SIZE, COLOUR, Column("more")), (Column("more"),))
    np.testing.assert_array_equal(found.inputs, [[5], [6]])


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (Column("weight"), "the column 'weight' is missing; there are size, colour"),
        (Column("colour"), "the column 'colour' must hold numbers, as the table that was trained on"),
        (Column("size", ("a",)), "the column 'size' must hold categories"),
    ],
    ids=["absent", "numbers", "categories"],
)
def test_other_columns_are_refused(known, message):
    with pytest.raises(SourceError, match=message):
        recode(examples([[1, 0]], SIZE, COLOUR), (known,))


def colours(path, *, train, dev):
    (path / "train.csv").write_text("colour,y\n" + "".join(f"{c},{'uv'[k % 2]}\n" for k, c in enumerate(train)))
    (path / "dev.csv").write_text("colour,y\n" + "".join(f"{c},{'uv'[k % 2]}\n" for k, c in enumerate(dev)))
    return f"csv:{path}?target=y"


def test_dev_does_not_reach_the_categories(tmp_path):
    source = colours(tmp_path, train=["red", "blue"] * 20 + ["grey", "pink"], dev=["pink", "green", "green", "red"] * 2)
    data = load(source)
    # the one grey or pink of train may have gone to test; neither is seen twice in train
    assert data.train.columns == (Column("colour", ("blue", "red")),)
    np.testing.assert_array_equal(data.dev.inputs[:, 0], [-1, -1, -1, 1] * 2)
    assert {-1, 0, 1} >= set(data.train.inputs[:, 0].tolist()) >= {0, 1}


def test_another_source_is_written_in_the_code_of_the_model(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    trained = load(colours(tmp_path / "a", train=["red", "blue"] * 20, dev=["red", "blue"] * 4))
    other = colours(tmp_path / "b", train=["green", "red"] * 20, dev=["red", "green"] * 4)
    np.testing.assert_array_equal(load(other, columns=trained.train.columns).dev.inputs[:, 0], [1, -1] * 4)
    np.testing.assert_array_equal(load(other).dev.inputs[:, 0], [1, 0] * 4)
    (tmp_path / "a" / "other.csv").write_text("shade,y\n" + "red,u\nblue,v\n" * 20)
    with pytest.raises(SourceError, match=r"other\.csv: the column 'colour' is missing; there are shade"):
        load(f"csv:{tmp_path / 'a' / 'other.csv'}?target=y", columns=trained.train.columns)


def test_a_model_s_columns_are_read_whatever_another_table_looks_like(tmp_path):
    def write(name, rows):
        (tmp_path / name).write_text("id,size,town,y\n" + "\n".join(rows) + "\n")

    write("train.csv", [f"{7 * n % 60},{n % 7},{'abc'[n % 3]},{n % 2}" for n in range(60)])
    known = load(f"csv:{tmp_path / 'train.csv'}?target=y").train.columns
    assert [column.name for column in known] == ["id", "size", "town"]
    # here id counts the rows, size is empty and each town is another
    write("few.csv", [f"{n},,{'abcdefghijklmnopqrstuvwxyz'[n]},{n % 2}" for n in range(24)])
    found = load(f"csv:{tmp_path / 'few.csv'}?target=y", columns=known)
    assert found.train.columns == known
    rows = np.concatenate([part.inputs for part in found.splits().values()])
    assert np.isnan(rows[:, 1]).all()
    assert sorted(rows[:, 2].tolist()) == [-1.0] * 21 + [0.0, 1.0, 2.0]


def test_an_embedded_table_lacks_the_columns_of_another():
    with pytest.raises(SourceError, match="iris: the column 'alcohol' is missing; there are sepal"):
        load("iris", columns=load("wine").train.columns)
