"""``csv:FILE?target=COLUMN``: what becomes a column, what becomes the task, and what is refused by its line."""

import re
import shutil

import numpy as np
import pytest

from dlapp.data import load
from dlapp.data.sources import read
from dlapp.errors import SourceError, UnknownName
from dlapp.signature import Column, Layout

RANDOM = np.random.default_rng(0)
SIZES = RANDOM.normal(100, 20, 60).round(1)
COLOURS = ["red", "green", "blue"]


def rows(**columns):
    """A table of these columns, comma-separated, below their names."""
    names = ",".join(columns)
    return "\n".join([names, *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]) + "\n"


def write(path, **columns):
    path.parent.mkdir(exist_ok=True)
    path.write_text(rows(**columns))
    return path


@pytest.fixture
def table(tmp_path):
    """Reads ``a.csv``: 60 rows of size, colour and kind (0 or 1), with some columns in addition or changed."""

    def make(query, **changes):
        columns = {"size": SIZES, "colour": [COLOURS[k % 3] for k in range(60)], "kind": [k % 2 for k in range(60)]}
        return read(f"csv:{write(tmp_path / 'a.csv', **(columns | changes))}?{query}")

    return make


def names(loaded):
    return [column.name for column in loaded.parts["train"].columns]


def test_a_table_is_numbers_and_categories(table):
    loaded = table("target=kind")
    train = loaded.parts["train"]
    assert (loaded.task, loaded.labels, loaded.target) == ("classification", ("0", "1"), "kind")
    assert train.columns == (Column("size"), Column("colour", ("blue", "green", "red")))
    assert (train.inputs.dtype, train.targets.dtype, train.channels) == (np.float32, np.int32, 0)
    np.testing.assert_array_equal(train.inputs[:, 0], SIZES.astype(np.float32))
    np.testing.assert_array_equal(train.inputs[:, 1], [2, 1, 0] * 20)
    np.testing.assert_array_equal(train.targets, [0, 1] * 30)
    assert loaded.notes == ("kind is one of 2 classes (&task=regression takes it as a number)",)


def test_missing_cells_are_nan(table):
    loaded = table("target=kind", size=["", *SIZES[1:]], colour=["red", "?", *["green", "red"] * 29])
    inputs = loaded.parts["train"].inputs
    assert np.argwhere(np.isnan(inputs)).tolist() == [[0, 0], [1, 1]]
    assert loaded.parts["train"].columns[1].categories == ("green", "red")


TASKS = {
    "few whole numbers": ([k % 3 for k in range(60)], "classification", ("0", "1", "2")),
    "few whole numbers with points": ([f"{k % 3}.0" for k in range(60)], "classification", ("0", "1", "2")),
    "words": (COLOURS * 20, "classification", ("blue", "green", "red")),
    "words and few numbers": ([*["a", "b"] * 29, "1", "1"], "classification", ("1", "a", "b")),
    "many whole numbers": (list(range(60)), "regression", ()),
    "13 whole numbers in 60 rows": ([k % 13 for k in range(60)], "regression", ()),  # fewer than 5 rows each
    "12 whole numbers in 60 rows": ([k % 12 for k in range(60)], "classification", tuple(map(str, range(12)))),
    "two fractions": ([k % 2 / 2 for k in range(60)], "regression", ()),
}


@pytest.mark.parametrize(("target", "task", "labels"), TASKS.values(), ids=TASKS)
def test_the_task_follows_from_the_target(table, target, task, labels):
    loaded = table("target=kind", kind=target)
    assert (loaded.task, loaded.labels) == (task, labels)
    if task == "regression":
        assert loaded.notes == ("kind is a number",)
        assert loaded.parts["train"].targets.dtype == np.float32
        np.testing.assert_array_equal(loaded.parts["train"].targets, target)


def test_21_whole_numbers_are_a_quantity_in_any_number_of_rows(tmp_path):
    for values, task in ((20, "classification"), (21, "regression")):
        write(tmp_path / "a.csv", x=np.arange(300) % 7, y=np.arange(300) % values)
        assert read(f"csv:{tmp_path / 'a.csv'}?target=y").task == task


def test_the_task_that_is_said_goes_before(table):
    assert table("target=kind&task=regression").task == "regression"
    classes = table("target=kind&task=classification", kind=[k % 15 for k in range(60)])
    assert len(classes.labels) == 15
    mixed = table("target=kind&task=classification", kind=[*[k % 2 for k in range(59)], "A"])
    assert mixed.labels == ("0", "1", "A")


TARGETS = {
    "missing cell": ({"kind": ["", *[0, 1] * 29, 0]}, "", "line 2 of .* has no kind. Fill it in or remove the row"),
    "constant number": ({"kind": [7] * 60}, "", "the target kind of .* is '7' in every row"),
    "constant word": ({"kind": ["a"] * 60}, "", "the target kind of .* is 'a' in every row"),
    "constant in two ways": ({"kind": ["7", "7.0"] * 30}, "&task=regression", "kind of .* is the same in every row"),
    "infinity": ({"kind": ["inf", *SIZES[1:]]}, "", "line 2 of .*: the target kind must be a finite number; got 'inf'"),
    "beyond float32": ({"kind": ["1e39", *SIZES[1:]]}, "", "targets of .* must be finite numbers"),
    "word among numbers": (
        {"kind": [*SIZES[:-1], "high"]},
        "",
        "line 61 of .*: the target kind must be a number; got 'high'. &task=classification takes all",
    ),
    "words as numbers": ({"kind": COLOURS * 20}, "&task=regression", "line 2 of .* must be a number; got 'red'.$"),
    "fractions as classes": ({"kind": SIZES}, "&task=classification", "holds fractions, which are no classes"),
    "a name for each row": ({"kind": [f"n{k}" for k in range(60)]}, "", "kind has 60 different values in 60 rows"),
}


@pytest.mark.parametrize(("changes", "query", "message"), TARGETS.values(), ids=TARGETS)
def test_a_target_that_cannot_be_learnt_is_refused(table, changes, query, message):
    with pytest.raises(SourceError, match=message):
        table(f"target=kind{query}", **changes)


def test_a_target_must_be_named_and_be_there(table):
    with pytest.raises(SourceError, match=r"write csv:.*a\.csv\?target=COLUMN\. .*a\.csv has size, colour, kind\."):
        table("")
    with pytest.raises(UnknownName, match=r"unknown column 'kin'. Did you mean kind\? .* has size, colour, kind"):
        table("target=kin")


@pytest.mark.parametrize(("place", "name"), [("1", "size"), ("3", "kind"), ("-1", "kind"), ("-3", "size")])
def test_columns_may_be_named_by_their_place(table, place, name):
    assert table(f"target={place}").target == name
    dropped = table(f"target=colour&drop={place}")
    assert name not in names(dropped)
    assert len(names(dropped)) == 1
    kept = table(f"target=colour&categories={place}").parts["train"].columns
    assert [column.name for column in kept if column.categories is not None] == [name]
    for beyond in ("0", "4", "-4"):
        with pytest.raises(UnknownName, match=f"unknown column '{beyond}'"):
            table(f"target={beyond}")


def test_a_first_row_with_the_number_of_the_target_is_no_header(tmp_path):
    (tmp_path / "a.csv").write_text("1,5.5\n2,6.5\n" * 20)
    loaded = read(f"csv:{tmp_path / 'a.csv'}?target=1")
    assert (loaded.target, len(loaded.parts["train"]), loaded.labels) == ("column1", 40, ("1", "2"))


OPTIONS = {
    "drop one": ("target=kind&drop=size", ["colour"]),
    "drop with spaces": ("target=kind&drop= size ,", ["colour"]),
    "number as classes": ("target=colour&categories=kind", ["size", "kind"]),
    "escaped": ("target=%6bind&drop=%73ize", ["colour"]),
    "header and delimiter": ("target=kind&header=yes&delimiter=comma", ["size", "colour"]),
    "literal delimiter": ("target=kind&delimiter=,", ["size", "colour"]),
}


@pytest.mark.parametrize(("query", "expected"), OPTIONS.values(), ids=OPTIONS)
def test_options_choose_columns(table, query, expected):
    assert names(table(query)) == expected


def test_a_number_taken_as_classes_is_one(table):
    assert table("target=colour&categories=kind").parts["train"].columns[1] == Column("kind", ("0", "1"))


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ("target=kind&dorp=size", UnknownName, "unknown option of csv 'dorp'. Did you mean drop"),
        ("target=kind&task=regresion", UnknownName, "unknown task 'regresion'. Did you mean regression"),
        ("target=kind&drop=siz", UnknownName, "unknown column 'siz'. Did you mean size"),
        ("target=kind&categories=color", UnknownName, "unknown column 'color'. Did you mean colour"),
        ("target=kind&split=sizes", UnknownName, "unknown column 'sizes'. Did you mean size"),
        ("target=kind&header=maybe", SourceError, "header must be yes or no; got 'maybe'"),
        ("target=kind&delimiter=::", SourceError, "delimiter must be one character or tab, comma, semicolon, bar"),
        ("target=kind&delimiter=", SourceError, "delimiter must be one character"),
        ("target=kind&drop=size,colour", SourceError, r"has no column but the target 'kind' to learn from\. Add one"),
    ],
)
def test_options_that_mean_nothing_are_refused(table, query, error, message):
    with pytest.raises(error, match=message):
        table(query)


def test_header_no_keeps_the_first_row(tmp_path):
    (tmp_path / "a.csv").write_text("a,x\nb,y\n" + "a,y\nb,x\n" * 10)
    for header, count in (("no", 22), ("yes", 21)):
        target = {"no": "column2", "yes": "x"}[header]
        assert len(read(f"csv:{tmp_path / 'a.csv'}?target={target}&header={header}").parts["train"]) == count


LEFT_OUT = {
    "empty": ({"more": [""] * 60}, "more is left out: it is empty"),
    "counts the rows": ({"more": range(100, 160)}, "more is left out: it counts the rows"),
    "a text for each row": (
        {"more": [f"n{k}" for k in range(60)]},
        "more is left out: 60 different texts in 60 rows",
    ),
}


@pytest.mark.parametrize(("changes", "note"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_columns_that_tell_rows_apart_are_left_out_with_a_note(table, changes, note):
    loaded = table("target=kind", **changes)
    assert names(loaded) == ["size", "colour"]
    assert any(found.startswith(note) for found in loaded.notes)
    if "categories" in " ".join(loaded.notes):
        kept = table("target=kind&categories=more", **changes)
        assert names(kept) == ["size", "colour", "more"]
        assert len(kept.parts["train"].columns[2].categories) == 60


def test_what_counts_but_not_by_one_stays(table):
    assert names(table("target=kind", more=[k // 2 for k in range(60)])) == ["size", "colour", "more"]
    assert names(table("target=kind", more=range(60, 0, -1))) == ["size", "colour", "more"]
    assert names(table("target=kind", more=[f"n{k // 2}" for k in range(60)])) == ["size", "colour", "more"]
    assert names(table("target=kind&drop=size,colour", more=range(60))) == ["more"], "it is all there is"


def test_a_number_that_counts_every_split_is_left_out(tmp_path):
    for name, count in (("train", 40), ("dev", 10), ("test", 10)):
        write(tmp_path / f"{name}.csv", id=range(count), x=SIZES[:count], y=[k % 2 for k in range(count)])
    assert names(read(f"csv:{tmp_path}?target=y")) == ["x"]


def test_train_alone_decides_what_is_a_column(tmp_path):
    colours = [COLOURS[k % 3] for k in range(60)]
    write(tmp_path / "train.csv", x=SIZES, c=colours, empty=[""] * 60, y=[k % 2 for k in range(60)])
    write(tmp_path / "test.csv", x=SIZES, c=[f"c{k}" for k in range(60)], empty=SIZES, y=[k % 2 for k in range(60)])
    loaded = read(f"csv:{tmp_path}?target=y")
    assert names(loaded) == ["x", "c"]
    assert set(loaded.parts["test"].inputs[:, 1]) == {-1}
    said = ["train"] * 60 + ["test"] * 60
    both = {"x": [*SIZES, *SIZES], "c": [*colours, *(f"c{k}" for k in range(60))], "y": [0, 1] * 60, "part": said}
    loaded = read(f"csv:{write(tmp_path / 'whole' / 'a.csv', **both)}?target=y&split=part")
    assert loaded.parts["train"].columns == (Column("x"), Column("c", ("blue", "green", "red")))


def test_an_example_is_named_by_its_line(tmp_path):
    path = write(tmp_path / "a.csv", x=SIZES, y=[k % 2 for k in range(60)])
    data = load(f"csv:{path}?target=y")
    assert len(data.dev)
    for split, part in data.splits().items():
        for index in range(len(part)):
            file, _, line = part.name(index, split).rpartition(":")
            assert file == str(path)
            assert np.float32(path.read_text().splitlines()[int(line) - 1].split(",")[0]) == part.inputs[index, 0]


def test_what_may_have_been_misread_is_told(tmp_path):
    lines = [f"{size:.1f};{k % 2}\n".replace(".", ",") for k, size in enumerate(SIZES)]
    (tmp_path / "a.csv").write_text("".join(lines))
    loaded = read(f"csv:{tmp_path / 'a.csv'}?target=2")
    np.testing.assert_array_equal(loaded.parts["train"].inputs[:, 0], SIZES.astype(np.float32))
    assert loaded.notes[:2] == (
        f"{tmp_path / 'a.csv'} has no header: its columns are column1 to column2",
        "a comma is the decimal point in column1",
    )
    assert loaded.parts["train"].layout == Layout(";", False, ("column1", "column2"), "column2")


CELLS = {
    "word among numbers": ("x", "line 6 of .*: more holds 'x', and numbers elsewhere. Correct it, empty .*categories="),
    "infinity": ("inf", "line 6 of .*: more holds 'inf', and numbers elsewhere"),
    "beyond float32": ("-1e39", "line 6 of .*: more holds '-1e39'"),
}


@pytest.mark.parametrize(("cell", "message"), CELLS.values(), ids=CELLS)
def test_a_mistake_in_a_column_of_numbers_is_told_by_its_line(table, cell, message):
    with pytest.raises(SourceError, match=message):
        table("target=kind", more=[*SIZES[:4], cell, *SIZES[5:]])


@pytest.mark.parametrize(
    "date",
    [
        "2024-03-{:02}",
        "{:02}.03.2024",
        "3/{}/24",
        "{:02}:30",
        "2024-03-{:02}T10:00:00Z",
        "March {}, 2024",
        "{} Mar 2024",
    ],
)
def test_dates_are_refused_with_advice(table, date):
    dates = [f'"{date.format(1 + k % 23)}"' for k in range(60)]
    with pytest.raises(SourceError, match=r"column more of .* holds dates \(.*weekday.*or leave them out: &drop=more"):
        table("target=kind", more=dates)
    assert names(table("target=kind&drop=more", more=dates)) == ["size", "colour"]
    assert names(table("target=kind&categories=more", more=dates)) == ["size", "colour", "more"]


def test_versions_and_ranges_are_no_dates(table):
    assert names(table("target=kind", more=["1.2.3", "10-20", "5-1"] * 20)) == ["size", "colour", "more"]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "has 0 of the 3 rows that"),
        (1, "has 1 of the 3"),
        (2, "has 2 of the 3"),
        (4, "class '0' of .* has 2 examples in train; splitting by class"),
    ],
)
def test_too_few_rows_are_told(tmp_path, count, message):
    write(tmp_path / "a.csv", x=range(5, 5 + count), y=[k % 2 for k in range(count)])
    with pytest.raises(SourceError, match=message):
        load(f"csv:{tmp_path / 'a.csv'}?target=y&task=classification")


def folder(path, **counts):
    for name, count in counts.items():
        write(path / f"{name}.csv", x=SIZES[:count], c=(COLOURS * 20)[:count], y=["u", "v"] * (count // 2))
    return path


@pytest.mark.parametrize(
    ("files", "own"),
    [
        ({"train": 40, "dev": 8, "test": 10}, ("train", "dev", "test")),
        ({"train": 40, "validation": 8}, ("train", "dev")),
        ({"TRAIN": 40, "val": 8, "Test": 10}, ("train", "dev", "test")),
        ({"whatever": 40}, ()),
    ],
    ids=["three", "validation", "letters", "one file"],
)
def test_a_folder_brings_its_splits(tmp_path, files, own):
    data = load(f"csv:{folder(tmp_path / 'a', **files)}?target=y")
    assert data.own_splits == own
    counts = {"val": "dev", "validation": "dev"}
    for name, count in files.items():
        split = counts.get(name, name.lower())
        if split in own[1:]:
            assert len(data.splits()[split]) == count
    assert sum(map(len, data.splits().values())) == sum(files.values())


def test_a_folder_of_unknown_files_is_refused(tmp_path):
    folder(tmp_path / "a", a=20, b=20)
    with pytest.raises(SourceError, match=r"a must hold train\.csv .* or one CSV file; it holds a\.csv, b\.csv"):
        read(f"csv:{tmp_path / 'a'}?target=y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="it holds none"):
        read(f"csv:{tmp_path / 'empty'}?target=y")
    with pytest.raises(SourceError, match=r"absent\.csv does not exist"):
        read(f"csv:{tmp_path / 'absent.csv'}?target=y")


def test_a_test_table_without_a_target_is_left_out(tmp_path):
    folder(tmp_path, train=40, dev=8)
    write(tmp_path / "test.csv", x=SIZES[:10], c=(COLOURS * 20)[:10])
    data = load(f"csv:{tmp_path}?target=y")
    assert data.own_splits == ("train", "dev")
    assert f"{tmp_path / 'test.csv'} has no column y and is left out" in data.notes


def test_splits_need_the_same_columns_in_any_order(tmp_path):
    folder(tmp_path, train=40)
    write(tmp_path / "dev.csv", y=["u", "v"] * 4, c=COLOURS[:1] * 8, more=range(8), x=SIZES[:8])
    dev = load(f"csv:{tmp_path}?target=y").dev
    np.testing.assert_array_equal(dev.inputs, np.stack([SIZES[:8], [2] * 8], axis=1).astype(np.float32))
    write(tmp_path / "dev.csv", y=["u", "v"] * 4, x=SIZES[:8])
    with pytest.raises(SourceError, match=r"dev\.csv lacks the column 'c'"):
        read(f"csv:{tmp_path}?target=y")
    assert names(read(f"csv:{tmp_path}?target=y&drop=c")) == ["x"], "what is dropped may be absent"


def test_splits_may_have_delimiters_of_their_own(tmp_path):
    sizes = [f"{size}5" for size in SIZES]  # two decimals: no text is a number by chance
    for name, count, mark in (("train", 8, ","), ("dev", 40, ";")):
        lines = [f"{size}{mark}{'uv'[k % 2]}\n" for k, size in enumerate(sizes[:count])]
        text = f"x{mark}y\n" + "".join(lines)
        (tmp_path / f"{name}.csv").write_text(text.replace(".", ",") if mark == ";" else text)
    parts = read(f"csv:{tmp_path}?target=y").parts
    for part in parts.values():
        np.testing.assert_array_equal(part.inputs[:, 0], np.array(sizes[: len(part)], np.float32))


def test_a_class_that_train_lacks_is_refused(tmp_path):
    folder(tmp_path, train=40)
    write(tmp_path / "dev.csv", x=SIZES[:4], c=["red"] * 4, y=["u", "v", "w", "w"])
    with pytest.raises(SourceError, match=r"class 'w' is in the dev split of .* but not in its train split"):
        read(f"csv:{tmp_path}?target=y")


@pytest.mark.parametrize("split", ["part", "4", "-1"])
def test_a_column_may_say_the_split(table, split):
    parts = ["train"] * 40 + ["Validation"] * 8 + [" test"] * 12
    loaded = table(f"target=kind&split={split}", part=parts)
    assert {name: len(part) for name, part in loaded.parts.items()} == {"train": 40, "dev": 8, "test": 12}
    assert names(loaded) == ["size", "colour"]
    np.testing.assert_array_equal(loaded.parts["dev"].inputs[:, 0], SIZES[40:48].astype(np.float32))
    np.testing.assert_array_equal(loaded.parts["test"].targets, [0, 1] * 6)


def test_a_split_that_is_none_is_told_by_its_line(table):
    with pytest.raises(SourceError, match=r"line 4 of .*: part must be train, dev or test; got 'trian'"):
        table("target=kind&split=part", part=["train", "train", "trian", *["test"] * 57])


def test_the_hash_is_of_the_files_and_of_how_they_are_read(table, tmp_path):
    first = table("target=kind").digest
    assert table("target=kind").digest == first
    others = [
        table("target=kind&drop=size").digest,
        table("target=kind", colour=["red", *COLOURS * 19, "a", "b"]).digest,
    ]
    assert len({first, *others}) == 3
    shutil.copy(write(tmp_path / "a.csv", x=SIZES, y=["u", "v"] * 30), tmp_path / "b.csv")
    assert read(f"csv:{tmp_path / 'a.csv'}?target=y").digest == read(f"csv:{tmp_path / 'b.csv'}?target=y").digest


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".CSV"])
def test_a_bare_path_with_a_target_is_a_table(tmp_path, suffix):
    content = rows(x=SIZES, y=["u", "v"] * 30).replace(",", "\t" if suffix == ".tsv" else ",")
    (tmp_path / f"a{suffix}").write_text(content)
    data = load(f"{tmp_path / 'a'}{suffix}?target=y")
    assert sum(map(len, data.splits().values())) == 60


def test_a_regression_is_split_too(tmp_path):
    data = load(f"csv:{write(tmp_path / 'a.csv', x=range(0, 120, 2), y=SIZES)}?target=y", dev=0.2, test=0.1)
    assert (data.task, data.labels, data.target) == ("regression", (), "y")
    assert [len(part) for part in data.splits().values()] == [42, 12, 6]
    every = np.concatenate([part.inputs[:, 0] for part in data.splits().values()])
    assert sorted(every.tolist()) == list(range(0, 120, 2))
    for part in data.splits().values():  # each row kept its target
        np.testing.assert_array_equal(part.targets, SIZES[part.inputs[:, 0].astype(int) // 2].astype(np.float32))


def test_titanic_is_read_as_people_expect(data_set):
    data = load(f"csv:{data_set('titanic')}?target=Survived")
    kinds = {column.name: column for column in data.train.columns}
    assert list(kinds) == ["Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Embarked"]
    assert kinds["Sex"].categories == ("female", "male")
    assert kinds["Embarked"].categories == ("C", "Q", "S")
    assert kinds["Age"].missing
    assert not kinds["Sex"].missing
    assert sum(map(len, data.splits().values())) == 891
    left_out = {re.match(r"(\w+) is left out", note)[1] for note in data.notes if " is left out:" in note}
    assert left_out == {"PassengerId", "Name", "Ticket", "Cabin"}


@pytest.mark.parametrize(
    ("source", "task", "rows_", "columns"),
    [
        ("tab_iris/iris.csv?target=variety", "classification", 150, 4),
        ("tab_wine/wine.csv?target=-1", "classification", 178, 13),
        ("tab_wine/winequality-white.csv?target=quality", "classification", 4898, 11),
        ("tab_wine/winequality-red.csv?target=12&task=regression", "regression", 1599, 11),
    ],
)
def test_tables_of_others_are_read(data_set, source, task, rows_, columns):
    found = read(f"csv:{data_set(source.split('/')[0]).parent / source}")
    assert (found.task, len(found.parts["train"]), len(found.parts["train"].columns)) == (task, rows_, columns)
