"""Tables as people have them: a delimiter found, a header or none, UTF-8 or Latin-1.

Training and prediction read tables by this file, so that a cell means the same in both.
"""

import contextlib
import csv
import dataclasses
import io
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from dlapp.errors import SourceError
from dlapp.signature import Column, Layout

# what pandas takes for missing, in its spelling, and UCI's question mark
MISSING = frozenset(
    {
        "",
        "?",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-NaN",
        "-nan",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    }
)
_DELIMITERS = ",;\t|"
_END = "\x04"  # behind the last line
_LOOKED_AT = 200  # rows that decide on the delimiter and the header


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """The cells of a CSV file.

    Attributes:
        path: of the file.
        names: of the columns; ``column1``, ``column2``, ... where there is no header.
        rows: cells as text, without the header; every row has one for each name.
        lines: where in the file each row begins, from 1.
        has_header: whether the first row is no example.
        delimiter: between the cells.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    has_header: bool
    delimiter: str

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        delimiter: str | None = None,
        header: bool | None = None,
        known: Collection[str] = (),
        layout: Layout | None = None,
    ) -> Self:
        """Reads a CSV file.

        Args:
            path: of the file.
            delimiter: found among comma, semicolon, tab and bar where it is None.
            header: whether the first row names the columns; found where it is None.
            known: names of columns; a first row that has all of them is a header.
            layout: of the table that a model knows. One without a header is read like it, with or without
                the target.

        Raises:
            SourceError: the file is missing, empty or binary, or a row is longer or shorter than the first.
        """
        text = _decode(path)
        if layout is not None and _fits(text, layout, known):
            delimiter = layout.delimiter
        delimiter = delimiter or _find_delimiter(text)
        lines, rows = _split(path, text, delimiter)
        if not rows:
            raise SourceError(f"{path} is empty: a table needs rows.")
        width = len(rows[0])
        for line, row in zip(lines, rows, strict=True):
            if len(row) != width:
                raise SourceError(
                    f"line {line} of {path} has {len(row)} cells; the first row has {width}. "
                    "Put cells that hold the delimiter into double quotes."
                )
        first = tuple(cell.strip() for cell in rows[0])
        if header is None:
            header = bool(known) and set(known) <= set(first)
            if not header and (layout is None or layout.header):
                header = _looks_like_header(rows, delimiter)
        if header:
            names = tuple(name or f"column{n}" for n, name in enumerate(first, start=1))
        else:
            names = _names_by_place(path, width, known, layout)
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise SourceError(f"the columns of {path} must have different names; {twice!r} stands there twice.")
        return cls(path, names, rows[int(header) :], lines[int(header) :], header, delimiter)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """The cells of one column, without spaces around them."""
        place = self.names.index(name)
        return [row[place].strip() for row in self.rows]

    def numbers(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Cells as numbers.

        Returns:
            (n,) float64, NaN where a cell is missing or no number; and (n,) bool, which cells are
            neither a number nor missing.
        """
        cells = ["nan" if is_missing(cell) else cell for cell in cells]
        if self.delimiter != ",":
            cells = [_with_point(cell) for cell in cells]
        if not any("_" in cell for cell in cells):  # NumPy is fast, and reads 1_000 as Python does
            with contextlib.suppress(ValueError):
                return np.array(cells, np.float64), np.zeros(len(cells), bool)
        values = np.array([_number(cell) for cell in cells], object)
        wrong = np.array([value is None for value in values])
        return np.where(wrong, np.nan, values).astype(np.float64), wrong

    def has_decimal_commas(self, name: str) -> bool:
        """Whether a comma is the decimal point in a column of numbers."""
        return self.delimiter != "," and any("," in cell for cell in self.column(name))


def encode(table: Table, columns: Sequence[Column]) -> tuple[np.ndarray, dict[int, str]]:
    """The raw values that a network takes: numbers as they are, categories as their index.

    Columns are found by name; in a table without a header, by their place if it has as many.

    Returns:
        (rows, columns) float32, NaN where a cell is missing and -1 for a category that is not among the
        known; and what is wrong with the rows that cannot be used, by their index.

    Raises:
        SourceError: a column is not there.
    """
    places = _places(table, columns)
    values = np.empty((len(table), len(columns)), np.float32)
    wrong: dict[int, str] = {}
    for position, (column, place) in enumerate(zip(columns, places, strict=True)):
        cells = [row[place].strip() for row in table.rows]
        if column.categories is not None:
            values[:, position] = codes(cells, column.categories)
            continue
        found, bad = table.numbers(cells)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told so
            values[:, position] = found
        for row in np.flatnonzero(bad | np.isinf(values[:, position])).tolist():
            wrong.setdefault(
                row, f"line {table.lines[row]} of {table.path}: {column.name} must be a number; got {cells[row]!r}."
            )
    return values, wrong


def codes(cells: Sequence[str], categories: Sequence[str]) -> np.ndarray:
    """(n,) float64: the index of each cell's category, -1 for any other value, NaN where it is missing."""
    known: dict[str | float, float] = {category: float(index) for index, category in enumerate(categories)}
    numbers = [_number(category) for category in categories]
    for index, number in enumerate(numbers):
        if number is not None:  # a column with a gap comes as 1.0 where another has 1
            known.setdefault(number, float(index))
    return np.array([np.nan if is_missing(cell) else _code(cell, known) for cell in cells], np.float64)


def _code(cell: str, known: Mapping[str | float, float]) -> float:
    number = None if cell in known else _number(cell)
    return known.get(cell if number is None else number, -1.0)


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell in MISSING


def _fits(text: str, layout: Layout, known: Collection[str]) -> bool:
    """Whether the first row has the names, or else the width, that the layout promises."""
    first = next(_first_rows(text, layout.delimiter), (1, []))[1]
    names = {cell.strip() for cell in first}
    return set(known) <= names if layout.header else len(first) in (len(layout.names), len(layout.names) - 1)


def _names_by_place(path: Path, width: int, known: Collection[str], layout: Layout | None) -> tuple[str, ...]:
    """Names of the columns of a table without a header."""
    if layout is None or width == len(known):  # as many as are wanted: they are taken by their place
        return tuple(f"column{n}" for n in range(1, width + 1))
    if width == len(layout.names):
        return layout.names
    if width == len(layout.names) - 1:
        return tuple(name for name in layout.names if name != layout.target)
    raise SourceError(
        f"{path} has no header and {width} columns; the table that was trained on has {len(layout.names)}, with the "
        f"target {layout.target}. Give it as many, with or without the target, or name the columns."
    )


def _places(table: Table, columns: Sequence[Column]) -> list[int]:
    names = [column.name for column in columns]
    absent = [name for name in names if name not in table.names]
    if not table.has_header and len(table.names) == len(columns):
        return list(range(len(columns)))
    if absent:
        some = ", ".join(map(repr, absent[:5])) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        raise SourceError(f"{table.path} lacks the column {some}; it has {', '.join(table.names)}.")
    return [table.names.index(name) for name in names]


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error
    if b"\0" in content[:4096] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(f"{path} is no text file: save the table as CSV.")
    encodings = ("utf-16",) if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SourceError(f"{path} is neither UTF-8, UTF-16 nor Latin-1: save it as UTF-8.")


def _find_delimiter(text: str) -> str:
    """The delimiter by which most of the first rows have the same number of cells, more than one.

    Of two that do, the one that leaves more numbers: the comma may stand inside of them.
    """

    def regularity(delimiter: str) -> tuple[float, float, int]:
        rows = [row for _, row in _first_rows(text, delimiter)]
        widths = Counter(map(len, rows))
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        if width == 1:
            return 0.0, 0.0, 1
        cells = [_with_point(cell) if delimiter != "," else cell for row in rows for cell in row]
        numbers = sum(_number(cell) is not None for cell in cells)
        return count / len(rows), numbers / len(cells), width

    return max(_DELIMITERS, key=regularity)


def _first_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = _rows(text, delimiter)
    for _ in range(_LOOKED_AT):
        try:
            yield next(reader)
        except (StopIteration, csv.Error):
            return


def _split(path: Path, text: str, delimiter: str) -> tuple[list[int], list[list[str]]]:
    try:
        found = list(_rows(text, delimiter))
    except csv.Error as error:
        raise SourceError(f"{path} is not a CSV file that can be read ({error}).") from error
    while found and not any(cell.strip() for cell in found[-1][1]):  # spreadsheets leave such rows at the end
        found.pop()
    if found and len(found[0][1]) > 1:  # in a single column, a blank line is a missing cell
        found = [(line, row) for line, row in found if len(row) > 1 or row[0].strip()]
    return [line for line, _ in found], [row for _, row in found]


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every row, from the first that is not blank, with the line where it begins.

    Raises:
        csv.Error: a quote is opened and never closed: it would swallow all the rows behind it.
    """
    reader = csv.reader(itertools.chain(io.StringIO(text, newline=""), [_END]), delimiter=delimiter)
    begins, last, blank = 1, 1, True
    for row in reader:
        if row == [_END]:
            return
        blank = blank and not any(cell.strip() for cell in row)
        if not blank:
            yield begins, row or [""]
        begins, last = reader.line_num + 1, begins
    raise csv.Error(f"a quote in the row that begins in line {last} is never closed")


def _looks_like_header(rows: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Whether the first row is text where numbers follow, or, in a table of text, unlike all that follows."""
    if delimiter != ",":
        rows = [[_with_point(cell) for cell in row] for row in rows[: _LOOKED_AT + 1]]
    first, rest = rows[0], rows[1 : _LOOKED_AT + 1]
    if any(_number(cell) is not None for cell in first) or not rest:
        return False
    named = [place for place, cell in enumerate(first) if not is_missing(cell.strip())]  # an index may have no name
    columns = [[row[place].strip() for row in rest] for place in named]
    if any(all(is_missing(cell) or _number(cell) is not None for cell in cells) for cells in columns):
        return True
    if len(named) < len(first):
        return False
    return len(set(first)) == len(first) and all(
        name.strip() not in cells for name, cells in zip(first, columns, strict=True)
    )


def _with_point(cell: str) -> str:
    """A number whose decimal point is a comma, as tables have it that are not delimited by commas."""
    return cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # 2021_07 is a name
    except ValueError:
        return None
