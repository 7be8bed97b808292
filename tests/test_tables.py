"""Tables as people have them: what is read, what each cell means, and which line is wrong."""

import numpy as np
import pytest

from dlapp.errors import SourceError
from dlapp.signature import Column, Layout
from dlapp.tables import Table, codes, encode, is_missing

HEADED = "size,city,price\n1.5,Bern,10\n2,Ulm,20\n"


@pytest.fixture
def table(tmp_path):
    """Writes a file and reads it."""

    def read(content, **options):
        path = tmp_path / "a.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Table.read(path, **options)

    return read


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
def test_the_delimiter_is_found(table, delimiter):
    found = table(HEADED.replace(",", delimiter))
    assert (found.delimiter, found.names) == (delimiter, ("size", "city", "price"))
    assert found.rows == [["1.5", "Bern", "10"], ["2", "Ulm", "20"]]
    assert (len(found), found.lines, found.has_header) == (2, [2, 3], True)


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("title,genre\nHeat,Crime|Drama\nUp,Comedy|Drama\n", ","),
        ("1,Crime|Drama\n2,Comedy|Drama\n", ","),
        ("1,5;2,5;3\n4,5;5,5;6\n", ";"),
        ("size;price\n1,5;2,5\n4;5,5\n", ";"),
        ("name\tprice\nSmith, Jane\t1\nLee, Bo\t2\n", "\t"),
        ('name;note\n"a;b";"1,2"\n', ";"),
    ],
    ids=["bar in most rows", "bar in every row", "decimal commas alone", "decimal commas", "commas in names", "quoted"],
)
def test_a_delimiter_inside_of_cells_is_none(table, content, delimiter):
    assert table(content).delimiter == delimiter


def test_a_table_of_one_column_needs_no_delimiter(table):
    assert table("word\nother\n", header=False).rows == [["word"], ["other"]]


def test_a_delimiter_that_is_given_is_not_looked_for(table):
    assert table("a,b;c\n1,2;3\n", delimiter=";").names == ("a,b", "c")


HEADERS = {
    "names above numbers": ("a,b\n1,2\n3,4\n", True),
    "numbers alone": ("1,2\n3,4\n", False),
    "names above a gap and numbers": ("a,b\nx,\ny,4\n", True),
    "text that comes again": ("red,yes\nblue,no\nred,yes\n", False),
    "text unlike what follows": ("colour,answer\nred,yes\nblue,no\n", True),
    "a year among the names": ("a,2019\nx,5\ny,6\n", False),
    "an unnamed index": (",a\n0,5\n1,6\n", True),
    "a gap above text": (",no\nred,yes\nblue,no\nblue,yes\n", False),
    "one row": ("a,b\n", False),
    "decimal commas": ("1,5;2,5\n3,5;4,5\n", False),
}


@pytest.mark.parametrize(("content", "expected"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_found_or_not(table, content, expected):
    found = table(content)
    assert found.has_header is expected
    assert len(found) == content.count("\n") - expected
    assert expected or found.names == ("column1", "column2")
    for header in (True, False):
        assert table(content, header=header).has_header is header, "what is said goes before what is found"


def test_a_first_row_with_all_the_known_names_is_a_header(table):
    assert table("a, 2019\n1,2\n", known=["2019", "a"]).names == ("a", "2019")
    assert not table("1,2019\n1,2\n", known=["2019", "a"]).has_header
    assert table(",a\n0,5\n1,6\n", known=["a"]).names == ("column1", "a")


@pytest.mark.parametrize(
    ("content", "city"),
    [
        (HEADED.replace("Bern", "Köln").encode("utf-8"), "Köln"),
        (HEADED.replace("Bern", "Köln").encode("utf-8-sig"), "Köln"),
        (HEADED.replace("Bern", "Köln").encode("latin-1"), "Köln"),
        (HEADED.replace("Bern", "5 €").encode("cp1252"), "5 €"),
        (HEADED.replace("Bern", "Köln").encode("utf-16"), "Köln"),
        (HEADED.replace("Bern", "Köln").encode("utf-16-be").join([b"\xfe\xff", b""]), "Köln"),
        (HEADED.replace("\n", "\r\n").encode(), "Bern"),
        (HEADED.replace("\n", "\r").encode(), "Bern"),
        (HEADED.rstrip("\n").encode(), "Bern"),
        (b"\n\n" + HEADED.replace("\n", "\n\n \n").encode() + b",,\n ,,\n", "Bern"),
    ],
    ids=["UTF-8", "UTF-8 with mark", "Latin-1", "Windows", "UTF-16", "UTF-16 BE", "CRLF", "CR", "no end", "blank rows"],
)
def test_a_file_means_the_same_in_every_encoding(table, content, city):
    found = table(content)
    assert found.names == ("size", "city", "price")
    assert found.column("city") == [city, "Ulm"]
    assert found.column("price") == ["10", "20"]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_lines_are_those_of_the_file(table, end):
    content = f'a,b{end}{end}1,"x{end}{end}y"{end}2,"say ""hi"", you"{end}{end}3,z{end}'
    found = table(content)
    assert found.lines == [3, 6, 8]
    assert found.column("b") == [f"x{end}{end}y", 'say "hi", you', "z"]
    with pytest.raises(SourceError, match=r"line 9 of .*a\.csv has 3 cells; the first row has 2\. Put cells that hold"):
        table(content + f"4,5,6{end}")


def test_a_row_of_missing_cells_is_a_row_but_not_at_the_end(table):
    found = table("a,b\n1,2\n,\n\n3,4\n,\n")
    assert (found.lines, found.column("a")) == ([2, 3, 5], ["1", "", "3"])
    found = table("a\n1\n\n3\n\n")
    assert (found.lines, found.column("a")) == ([2, 3, 4], ["1", "", "3"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv is empty: a table needs rows"),
        (b"\n ,\n\n", "is empty"),
        (b"PK\x03\x04\x00\x00", "is no text file: save the table as CSV"),
        (b"a,b\n1,2\x00\n", "is no text file"),
        (b"\xff\xfea\x00,\x00b", "neither UTF-8, UTF-16 nor Latin-1"),
        (b"a,b,a\n1,2,3\n", "must have different names; 'a' stands there twice"),
        (b"a,b\n1\n", "line 2 of .* has 1 cells; the first row has 2"),
        (b'a,b\n1,2\n3,"c\n4,d\n5,e\n', "a quote in the row that begins in line 3 is never closed"),
        (b'a,b\n1,"' + b"x" * 200_000 + b"\n", "is not a CSV file that can be read .*field limit"),
    ],
    ids=["empty", "blank", "zip", "zero byte", "half UTF-16", "twice", "short row", "open quote", "long cell"],
)
def test_what_is_no_table_is_named(table, content, message):
    with pytest.raises(SourceError, match=message):
        table(content, header=True)


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"absent\.csv cannot be read: No such file"):
        Table.read(tmp_path / "absent.csv")
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        Table.read(tmp_path)


@pytest.mark.parametrize(
    ("delimiter", "cells", "expected", "wrong"),
    [
        (",", ["1", "-2.5", "1e3", ".5", "5."], [1, -2.5, 1000, 0.5, 5], []),
        (",", ["", "NA", "nan", "?", "null", "n/a", "None"], [np.nan] * 7, []),
        (",", ["1", "two", ""], [1, np.nan, np.nan], [1]),
        (",", ["1", "2,5"], [1, np.nan], [1]),
        (";", ["1,5", "2.5", "3"], [1.5, 2.5, 3], []),
        ("\t", ["1,5", "2.5"], [1.5, 2.5], []),
        (";", ["1.234,5", "1,234,5"], [np.nan, np.nan], [0, 1]),
        (",", ["2021_07", "1_0"], [np.nan, np.nan], [0, 1]),
        (",", ["inf", "-1e400"], [np.inf, -np.inf], []),
        (",", [], [], []),
    ],
    ids=[
        "numbers",
        "missing",
        "a word",
        "comma",
        "decimal comma",
        "with tabs",
        "thousands",
        "underscores",
        "infinity",
        "none",
    ],
)
def test_cells_are_numbers_missing_or_neither(table, delimiter, cells, expected, wrong):
    values, bad = table("a\nb\n", delimiter=delimiter).numbers(cells)
    assert (values.dtype, bad.dtype) == (np.float64, bool)
    np.testing.assert_array_equal(values, expected)
    assert np.flatnonzero(bad).tolist() == wrong


def test_missing_is_said_in_many_ways_and_no_other():
    assert all(map(is_missing, ("", "?", "NA", "N/A", "NaN", "null", "<NA>", "#N/A", "None")))
    assert not any(map(is_missing, ("0", "no", "-", "nano", "none of these", "none", "unknown")))


def test_codes_are_places_among_the_categories():
    found = codes(["b", "", "a", "c", "B", "?"], ("a", "b"))
    np.testing.assert_array_equal(found, [1, np.nan, 0, -1, -1, np.nan])


SIZE, CITY = Column("size"), Column("city", ("Bern", "Ulm"))


def test_columns_are_encoded_by_name_in_the_order_of_the_network(table):
    values, wrong = encode(table("price,city,more,size\n10, Ulm ,x,1.5\n20,,y,\n30,Rom,z,3\n"), [SIZE, CITY])
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [[1.5, 1], [np.nan, np.nan], [3, -1]])
    assert wrong == {}


NAMELESS = (Column("column1"), Column("column3", ("a", "b")))


@pytest.mark.parametrize(
    ("columns", "content"),
    [
        (NAMELESS, "1,9,a\n2,8,b\n"),  # with the target in the middle
        (NAMELESS, "1,a\n2,b\n"),  # and without
        ((SIZE, Column("kind", ("a", "b"))), "1,a\n2,b\n"),  # a header in training, none now
    ],
    ids=["with target", "without target", "header lost"],
)
def test_columns_without_a_header_are_encoded_by_place(table, columns, content):
    values, wrong = encode(table(content, header=False), columns)
    np.testing.assert_array_equal(values, [[1, 0], [2, 1]])
    assert wrong == {}


@pytest.mark.parametrize(
    ("content", "header", "message"),
    [
        ("size,town\n1,Ulm\n", True, r"a\.csv lacks the column 'city'; it has size, town\."),
        ("b,c\n1,Ulm\n", True, "lacks the column 'size', 'city'; it has b, c"),
        ("1,Ulm,3\n", False, "lacks the column 'size', 'city'; it has column1, column2, column3"),
    ],
    ids=["one", "both", "no header"],
)
def test_columns_that_are_not_there_are_named(table, content, header, message):
    with pytest.raises(SourceError, match=message):
        encode(table(content, header=header), [SIZE, CITY])


TARGET_FIRST = Layout(",", False, ("column1", "column2", "column3", "column4"), "column1")
INSIDE = [Column("column2"), Column("column3")]  # column4 is not wanted


@pytest.mark.parametrize("content", ["x,1,2,9\n", "1,2,9\n", "1,2\n"], ids=["all", "without target", "wanted alone"])
def test_a_table_without_a_header_is_read_like_the_one_that_was_trained_on(table, content):
    found = table(content, known=["column2", "column3"], layout=TARGET_FIRST)
    np.testing.assert_array_equal(encode(found, INSIDE)[0], [[1, 2]])


def test_another_width_than_was_trained_on_is_told(table):
    with pytest.raises(SourceError, match="has no header and 5 columns; the table that was trained on has 4, with the"):
        table("1,2,3,4,5\n", known=["column2", "column3"], layout=TARGET_FIRST)


@pytest.mark.parametrize(
    ("content", "layout", "known", "rows"),
    [
        ("x\n1,5\n2,5\n", Layout(";", True, ("x", "y"), "y"), ["x"], [["1,5"], ["2,5"]]),
        ("a:b\n1:2\n", Layout(":", True, ("a", "b", "y"), "y"), ["a", "b"], [["1", "2"]]),
        ("a,b\n1,2\n", Layout(";", True, ("a", "b", "y"), "y"), ["a", "b"], [["1", "2"]]),
        ("p,x\nq,y\n", Layout(",", False, ("column1", "column2"), "column2"), ["column1"], [["p", "x"], ["q", "y"]]),
    ],
    ids=["decimal commas alone", "a colon", "saved anew with commas", "text without a header"],
)
def test_a_table_is_read_as_the_one_that_was_trained_on(table, content, layout, known, rows):
    assert table(content, known=known, layout=layout).rows == rows


def test_a_category_that_is_a_number_is_known_in_another_spelling():
    np.testing.assert_array_equal(codes(["1", "1.0", "01", "2", "3", "x"], ["1.0", "2.0", "x"]), [0, 0, 0, 1, -1, 2])
    np.testing.assert_array_equal(codes(["1", "01", "1.0"], ["01", "1"]), [1, 0, 0])


def test_of_many_lacking_columns_five_are_named(table):
    columns = [Column(f"x{number}") for number in range(8)]
    with pytest.raises(SourceError, match="'x0', 'x1', 'x2', 'x3', 'x4' and 3 more; it has"):
        encode(table(HEADED), columns)


def test_rows_that_cannot_be_used_are_told_by_their_line(table):
    content = 'size,city\n1,Ulm\n"two",Ulm\n\n3,Bern\ninf,Bern\n1e39,Bern\n'
    values, wrong = encode(table(content, header=True), [SIZE, CITY])
    np.testing.assert_array_equal(values[[0, 2], 0], [1, 3])
    assert list(wrong) == [1, 3, 4]
    for row, line, cell in ((1, 3, "two"), (3, 6, "inf"), (4, 7, "1e39")):
        assert wrong[row].startswith(f"line {line} of ")
        assert wrong[row].endswith(f"a.csv: size must be a number; got '{cell}'.")
