"""An answer for each input in its order, and a reason for each that gets none."""

import copy
import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from dlapp.errors import SourceError
from dlapp.inference import Bundle
from dlapp.inference.predicting import expand, predict
from dlapp.signature import Column, Layout

COLOURS = {"red": (255, 30, 60), "green": (60, 255, 30), "blue": (30, 60, 255)}


def paint(path, colour, size=(5, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS[colour]).save(path)
    return path


def answers(predictions):
    return [(prediction.input, prediction.top[0][0] if prediction.top else None) for prediction in predictions]


def test_the_order_is_that_of_the_files_whatever_their_sizes(colours, tmp_path, monkeypatch):
    batches = []
    run = Bundle.run

    def counting(self, inputs):
        batches.append(len(inputs))
        return run(self, inputs)

    monkeypatch.setattr(Bundle, "run", counting)
    names = list(COLOURS) * 25  # more than two full batches
    files = [paint(tmp_path / f"{k}.png", name, (5, 5 + (k >= 70))) for k, name in enumerate(names)]
    assert answers(predict(colours, files)) == [(str(file), name) for file, name in zip(files, names, strict=True)]
    assert batches == [32, 32, 6, 5]


def test_unreadable_files_keep_their_place(colours, tmp_path):
    good = [paint(tmp_path / f"{name}.png", name) for name in COLOURS]
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(good[0].read_bytes()[:50])
    files = [tmp_path / "text.png", good[0], tmp_path / "absent.png", good[1], good[2], tmp_path / "half.png"]
    found = list(predict(colours, files))
    assert answers(found) == list(zip(map(str, files), [None, "red", None, "green", "blue", None], strict=True))
    errors = [prediction.error for prediction in found]
    assert [error is None for error in errors] == [False, True, False, True, True, False]
    for prediction in found:
        assert prediction.error is None or prediction.error.startswith(prediction.input)


def test_top_are_the_likeliest_first(colours, tmp_path):
    file = paint(tmp_path / "a.png", "blue")
    (prediction,) = predict(colours, [file], top=2)
    logits = np.array(COLOURS["blue"]) / 255 * 16  # 4 x 4 pixels of weight 1
    expected = np.exp(logits) / np.exp(logits).sum()
    assert [label for label, _ in prediction.top] == ["blue", "green"]
    assert [p for _, p in prediction.top] == pytest.approx([expected[2], expected[1]], abs=1e-5)  # as parity allows
    (every,) = predict(colours, [file], top=9)
    assert [label for label, _ in every.top] == ["blue", "green", "red"]


def test_no_files_are_no_answers(colours):
    assert list(predict(colours, [])) == []


def test_rows_are_answered_one_by_one(rows, tmp_path):
    values = np.array([[3, 1, 2], [1, np.nan, 2], [1, 2, 3], [np.inf, 1, 2], [1, 3, 2]])
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", np.array([[0, 9, 0]]))
    found = list(predict(rows, [tmp_path / "a.npy", tmp_path / "b.npy"]))
    a, b = tmp_path / "a.npy", tmp_path / "b.npy"
    assert answers(found) == [
        (f"{a}:0", "red"),
        (f"{a}:1", None),
        (f"{a}:2", "blue"),
        (f"{a}:3", None),
        (f"{a}:4", "green"),
        (f"{b}:0", "green"),
    ]
    assert found[1].error == f"row 1 of {a} holds NaN or infinity."


def half(path):
    np.save(path, np.zeros((2, 3)))
    path.write_bytes(path.read_bytes()[:-8])


def archive(path):
    with path.open("wb") as file:
        np.savez(file, x=np.zeros((2, 3)))


BAD_ROWS = {
    "absent": (lambda path: None, "cannot be read as a NumPy file"),
    "empty": (lambda path: path.touch(), "cannot be read as a NumPy file"),
    "text": (lambda path: path.write_text("1,2,3\n"), "cannot be read as a NumPy file"),
    "half": (half, "cannot be read"),
    "objects": (lambda path: np.save(path, np.array([[None] * 3])), "cannot be read as a NumPy file"),
    "half an archive": (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "cannot be read as a NumPy file"),
    "archive": (archive, "cannot be read as a NumPy file"),
    "one row": (lambda path: np.save(path, np.zeros(3)), "must hold one array"),
    "columns": (lambda path: np.save(path, np.zeros((2, 4))), "must hold one array"),
    "words": (lambda path: np.save(path, np.array([["a", "b", "c"]])), "must hold|cannot be read|numbers"),
    "complex": (lambda path: np.save(path, np.array([[1j, 2, 3]])), "must hold|cannot be read|numbers"),
    "beyond float32": (lambda path: np.save(path, np.array([[1e300, 2, 3]])), "row 0 of"),
}


@pytest.mark.parametrize(("write", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_other_files_than_rows_get_a_reason(rows, tmp_path, write, message):
    write(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.eye(3)[:1])
    bad, good = predict(rows, [tmp_path / "a.npy", tmp_path / "b.npy"])
    assert good.top[0][0] == "red"
    assert not bad.top
    assert str(tmp_path / "a.npy") in bad.error
    assert re.search(message, bad.error)


def test_folders_and_globs_become_files(tmp_path, monkeypatch):
    for name in ("b/2.PNG", "b/deep/1.jpg", "a.png", "c[1].png"):
        paint(tmp_path / name, "red")
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)

    def expanded(*inputs):
        return [path.as_posix() for path in expand(inputs)]

    assert expanded("b", "a.png") == ["b/2.PNG", "b/deep/1.jpg", "a.png"]
    assert expanded("*.png") == ["a.png", "c[1].png"]
    assert expanded("c[1].png") == ["c[1].png"]
    assert expanded("**/*.jpg") == ["b/deep/1.jpg"]
    assert expanded(f"{tmp_path}/b/*") == [f"{tmp_path}/b/2.PNG", f"{tmp_path}/b/notes.txt"]
    assert expanded("absent.png") == ["absent.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"empty holds no pictures \(\.bmp, "):
        expand(["empty"])
    with pytest.raises(SourceError, match=r"nothing matches \*\.tif"):
        expand(["*.tif"])


@pytest.mark.parametrize("header", ["", "r,g,b\n"], ids=["no header", "header"])
def test_a_table_is_answered_by_place_where_columns_have_no_names(rows, tmp_path, header):
    file = tmp_path / "a.csv"
    file.write_text(f"{header}3,1,2\n1,,2\n1,2,3\n\n1,x,2\n1,3,2\n")
    first = 1 + bool(header)
    found = list(predict(rows, [file]))
    assert answers(found) == [
        (f"{file}:{first + line}", label)
        for line, label in ((0, "red"), (1, None), (2, "blue"), (4, None), (5, "green"))
    ]
    assert found[1].error == f"line {first + 1} of {file}: a cell is missing, which this bundle does not take."
    name = "g" if header else "column2"
    assert found[3].error == f"line {first + 4} of {file}: {name} must be a number; got 'x'."


@pytest.fixture
def named(rows):
    """``rows``, whose columns have names that look like numbers; cells of them may be missing."""
    bundle = copy.copy(rows)
    columns = tuple(Column(year) for year in ("2019", "2020", "2021"))
    preprocessing = dataclasses.replace(rows.signature.preprocessing, columns=columns)
    bundle.signature = dataclasses.replace(rows.signature, preprocessing=preprocessing)
    return bundle


def test_a_table_is_answered_by_the_names_of_its_columns(named, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("2021,more,2020,2019\n3,x,2,1\n1,y,2,3\n")
    assert answers(predict(named, [file])) == [(f"{file}:2", "blue"), (f"{file}:3", "red")]
    file.write_text("3,2,1\n")
    assert answers(predict(named, [file])) == [(f"{file}:1", "red")], "without a header the place counts"


def test_cells_such_as_train_had_none_are_noted(named, tmp_path):
    columns = (Column("x", missing=True), Column("y"), Column("kind", ("0", "1")))
    preprocessing = dataclasses.replace(named.signature.preprocessing, columns=columns)
    named.signature = dataclasses.replace(named.signature, preprocessing=preprocessing)
    (tmp_path / "a.csv").write_text("x,y,kind\n1,1,1\n,1,0\n1,,1\n1,1,new\n")
    assert [found.note for found in predict(named, [tmp_path / "a.csv"])] == [
        "",
        "",
        "y is missing, which it never was in train",
        "kind has a value that train had not, or once",
    ]


def test_a_table_without_a_header_is_answered_like_the_one_that_was_trained_on(named, tmp_path):
    layout = Layout(";", False, ("label", "2019", "2020", "2021", "id"), "label")
    preprocessing = dataclasses.replace(named.signature.preprocessing, layout=layout)
    named.signature = dataclasses.replace(named.signature, preprocessing=preprocessing)
    for number, line in enumerate(("red;3;2;1;7", "3;2;1;7", "3;2;1")):
        file = tmp_path / f"{number}.csv"
        file.write_text(f"{line}\n")
        assert answers(predict(named, [file])) == [(f"{file}:1", "red")]


BAD_TABLES = {
    "absent": (None, "cannot be read: No such file"),
    "empty": ("", "is empty"),
    "header alone": ("2019,2020,2021\n", "has a header and no rows"),
    "ragged": ("2019,2020,2021\n1,2,3\n1,2\n", "line 3 of .* has 2 cells"),
    "column lacking": ("first,third\n2,3\n", "lacks the column '2019', '2020', '2021'; it has first, third"),
    "too narrow": ("1,2\n", "lacks the column .*; it has column1, column2"),
}


@pytest.mark.parametrize(("content", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_other_files_than_tables_get_a_reason(named, tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.csv").write_text(content)
    (tmp_path / "b.csv").write_text("2019,2020,2021\n3,2,1\n")
    bad, good = predict(named, [tmp_path / "a.csv", tmp_path / "b.csv"])
    assert good.top[0][0] == "red"
    assert not bad.top
    assert "a.csv" in bad.error
    assert re.search(message, bad.error)


def test_a_table_of_another_width_gets_a_reason(rows, tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3,4\n")
    (found,) = predict(rows, [tmp_path / "a.csv"])
    assert found.error == f"{tmp_path / 'a.csv'} must have 3 columns; it has 4."


def test_missing_cells_of_an_array_are_taken_where_the_network_knows_columns(named, tmp_path):
    np.save(tmp_path / "a.npy", np.array([[np.nan, 1, 2], [np.inf, 1, 2]]))
    first, second = predict(named, [tmp_path / "a.npy"])
    assert first.error is None
    assert second.error == f"row 1 of {tmp_path / 'a.npy'} holds infinity."
