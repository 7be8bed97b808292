"""Tables as people have them: a delimiter found, a header or none, UTF-8 or Latin-1.

Training and prediction read tables by this file, so that a cell means the same in both.
"""

import contextlib
import csv
import dataclasses
import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from dlapp.errors import SourceError
from dlapp.signature import Column

MISSING = frozenset(
    {"", "?", "#n/a", "#na", "-nan", "<na>", "n/a", "na", "nan", "null", "none", "nil"}
)  # what pandas takes for missing, and UCI's question mark; in lower case
_DELIMITERS = ",;\t|"
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
        cls, path: Path, *, delimiter: str | None = None, header: bool | None = None, known: Collection[str] = ()
    ) -> Self:
        """Reads a CSV file.

        Args:
            path: of the file.
            delimiter: found among comma, semicolon, tab and bar where it is None.
            header: whether the first row names the columns; found where it is None.
            known: names of columns; a first row that has all of them is a header.

        Raises:
            SourceError: the file is missing, empty or binary, or a row is longer or shorter than the first.
        """
        text = _decode(path)
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
            header = (bool(known) and set(known) <= set(first)) or _looks_like_header(rows, delimiter)
        names = first if header else tuple(f"column{n}" for n in range(1, width + 1))
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
        if self.delimiter == ";":
            cells = [_with_point(cell) for cell in cells]
        if not any("_" in cell for cell in cells):  # NumPy is fast, and reads 1_000 as Python does
            with contextlib.suppress(ValueError):
                return np.array(cells, np.float64), np.zeros(len(cells), bool)
        values = np.array([_number(cell) for cell in cells], object)
        wrong = np.array([value is None for value in values])
        return np.where(wrong, np.nan, values).astype(np.float64), wrong


def encode(table: Table, columns: Sequence[Column]) -> tuple[np.ndarray, dict[int, str]]:
    """The raw values that a network takes: numbers as they are, categories as their index.

    Columns are found by name; those of a table without a header by their place, and the target
    may stand among them or not.

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
    known = {category: float(index) for index, category in enumerate(categories)}
    return np.array([np.nan if is_missing(cell) else known.get(cell, -1.0) for cell in cells], np.float64)


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.lower() in MISSING


def _places(table: Table, columns: Sequence[Column]) -> list[int]:
    names = [column.name for column in columns]
    absent = [name for name in names if name not in table.names]
    if absent and not table.has_header and len(table.names) == len(columns):
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
        cells = [_with_point(cell) if delimiter == ";" else cell for row in rows for cell in row]
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
    lines, rows = [], []
    try:
        for line, row in _rows(text, delimiter):
            lines.append(line)
            rows.append(row)
    except csv.Error as error:
        raise SourceError(f"{path} is not a CSV file that can be read ({error}).") from error
    return lines, rows


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line where each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    begins = 1
    for row in reader:
        if any(cell.strip() for cell in row):
            yield begins, row
        begins = reader.line_num + 1


def _looks_like_header(rows: Sequence[Sequence[str]], delimiter: str) -> bool:
    """Whether the first row is text where numbers follow, or, in a table of text, unlike all that follows."""
    if delimiter == ";":
        rows = [[_with_point(cell) for cell in row] for row in rows[: _LOOKED_AT + 1]]
    first, rest = rows[0], rows[1 : _LOOKED_AT + 1]
    if any(is_missing(cell.strip()) or _number(cell) is not None for cell in first) or not rest:
        return False
    columns = [[row[place].strip() for row in rest] for place in range(len(first))]
    if any(all(is_missing(cell) or _number(cell) is not None for cell in cells) for cells in columns):
        return True
    return len(set(first)) == len(first) and all(
        name.strip() not in cells for name, cells in zip(first, columns, strict=True)
    )


def _with_point(cell: str) -> str:
    """A number whose decimal point is a comma, as tables with semicolons have it."""
    return cell.replace(",", ".") if cell.count(",") == 1 and "." not in cell else cell


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)  # 2021_07 is a name
    except ValueError:
        return None
