"""CSV files: ``csv:FILE?target=COLUMN``, or a folder with train.csv, dev.csv and test.csv."""

import dataclasses
import datetime
import hashlib
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import SPLIT_NAMES, SPLITS, Loaded
from dlapp.errors import SourceError, UnknownName
from dlapp.signature import Column, Layout
from dlapp.tables import Table, encode, is_missing

_OPTIONS = ("target", "task", "drop", "categories", "split", "delimiter", "header")
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}
_LEAST_ROWS = 3
_MOST_CLASSES = 20  # whole numbers with more different values are a quantity
_ROWS_A_CLASS = 5  # and so are those with fewer rows for each
_IDENTIFIER = 0.5  # a text column with more different values for each row tells rows apart, not kinds
_MOSTLY = 0.9  # a column of which so many cells are numbers (dates) is one, and the others are mistakes
_PLACE = re.compile(r"-?\d+")
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})|\d{1,2}:\d{2}(:\d{2})?"
    r"|\d{1,2}\.? [A-Za-z]{3,9}\.?,? \d{4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})([T ,].*)?"
)


_Rows = dict[str, list[tuple[str, Any]]]  # by split: the name of a table, and the places in it


@dataclasses.dataclass(frozen=True)
class _Options:
    """What stands after the question mark."""

    target: str = ""
    task: str = ""
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    split: str = ""
    delimiter: str | None = None
    header: bool | None = None


def load(rest: str, *, known: Sequence[Column] | None = None) -> Loaded:
    """Reads ``FILE?target=COLUMN``; more options follow with ``&``.

    ``task`` (classification or regression) overrides what is inferred from the target: text is a
    class; so are whole numbers of at most 20 values with 5 rows each or more; other numbers are a quantity.
    ``drop`` and ``categories`` name columns, with commas, to leave out or to take as classes although
    they are numbers; ``split`` names a column that says train, dev or test; ``delimiter`` and
    ``header`` (yes or no) override what is found. Of a table without a header, columns are
    ``column1``, ``column2``, ...; the last is also ``-1``.

    A text column that tells rows apart instead of kinds, and a column that counts the rows, are left
    out, and a note says so; but where ``known`` says which columns a model takes, these are read and no others.

    Raises:
        SourceError: the file cannot be read, or a column does not hold what it should.
        UnknownName: there is no such column or option.
    """
    file, _, query = rest.partition("?")
    options = _parse(query)
    tables, options, notes = _open(file, options)
    first, target = next(iter(tables.values())), options.target
    names = [name for name in first.names if name not in (target, options.split, *options.drop)]
    for name, table in tables.items():
        absent = [column for column in names if column not in table.names]
        if absent:
            raise SourceError(f"{table.path} lacks the column {absent[0]!r}, which other splits have ({name}).")
    rows = _rows(tables, options)
    if known is None:
        columns, left_out = _columns(tables, rows.get("train", next(iter(rows.values()))), names, options)
        notes += left_out
    else:
        columns = _known_columns(tables, names, known)
    notes += _tell_reading(first, columns)
    task, targets, note = _targets(tables, target, options.task)
    notes.append(note)
    if not columns:
        raise SourceError(
            f"{file} has no column but the target {target!r} to learn from"
            + "".join(f"; {note}" for note in notes[:-1])
            + ". Add one."
        )
    digest = hashlib.sha256(query.encode())
    for name in sorted(tables):
        digest.update(tables[name].path.read_bytes())
    layout = Layout(first.delimiter, first.has_header, first.names, target)
    loaded = _load_parts(file, tables, rows, columns, targets, task=task, layout=layout)
    return loaded._replace(digest=digest.hexdigest(), notes=tuple(notes))


def _open(file: str, options: _Options) -> tuple[dict[str, Table], _Options, list[str]]:
    """The tables that have the target, by split; the options with the names of columns; and what is left out."""
    tables = {name: _read(path, options) for name, path in _files(Path(file)).items()}
    first = next(iter(tables.values()))
    if not options.target:
        raise SourceError(
            f"a table needs a target: write csv:{file}?target=COLUMN. {first.path} has {', '.join(first.names)}."
        )
    options = _by_name(options, first)
    kept = {name: table for name, table in tables.items() if options.target in table.names}
    lacking = [table.path for name, table in tables.items() if name not in kept]
    return kept, options, [f"{path} has no column {options.target} and is left out" for path in lacking]


def _load_parts(
    file: str,
    tables: Mapping[str, Table],
    rows: _Rows,
    columns: Sequence[Column],
    targets: Mapping[str, np.ndarray],
    *,
    task: str,
    layout: Layout,
) -> Loaded:
    inputs = {name: encode(table, columns)[0] for name, table in tables.items()}
    origins = {name: np.array([f"{table.path}:{line}" for line in table.lines]) for name, table in tables.items()}

    def of(split: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([arrays[name][chosen] for name, chosen in rows[split]])

    joined = {split: (of(split, inputs), of(split, targets)) for split in rows}
    loaded = from_arrays(file, joined, task=task, target=layout.target, columns=columns)
    parts = {
        split: dataclasses.replace(part, origins=of(split, origins), layout=layout)
        for split, part in loaded.parts.items()
    }
    return loaded._replace(parts=parts)


def _parse(query: str) -> _Options:
    given: dict[str, Any] = {}
    for part in query.split("&") if query else ():
        key, _, value = part.partition("=")
        if key not in _OPTIONS:
            raise UnknownName("option of csv", key, _OPTIONS)
        given[key] = urllib.parse.unquote(value)
    for key in ("drop", "categories"):
        if key in given:
            given[key] = tuple(name.strip() for name in given[key].split(",") if name.strip())
    if given.get("task", "classification") not in ("classification", "regression"):
        raise UnknownName("task", given["task"], ("classification", "regression"))
    if "header" in given:
        if given["header"] not in ("yes", "no"):
            raise SourceError(f"header must be yes or no; got {given['header']!r}.")
        given["header"] = given["header"] == "yes"
    if "delimiter" in given:
        given["delimiter"] = _DELIMITERS.get(given["delimiter"], given["delimiter"])
        if len(str(given["delimiter"])) != 1:
            raise SourceError(f"delimiter must be one character or {', '.join(_DELIMITERS)}.")
    return _Options(**given)


def _files(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        if not path.is_file():
            raise SourceError(f"{path} does not exist.")
        return {"train": path}
    found = sorted(path.glob("*.csv"))
    named = {SPLIT_NAMES[file.stem.lower()]: file for file in found if file.stem.lower() in SPLIT_NAMES}
    if "train" in named:
        return {name: named[name] for name in SPLITS if name in named}
    if len(found) == 1:
        return {"train": found[0]}
    raise SourceError(
        f"{path} must hold train.csv (and dev.csv and test.csv if there are such splits) or one CSV file; "
        f"it holds {', '.join(file.name for file in found) or 'none'}. Name one of them."
    )


def _read(path: Path, options: _Options) -> Table:
    is_name = options.target and not _PLACE.fullmatch(options.target)  # a row of numbers may hold a place
    known = (options.target,) if is_name else ()
    return Table.read(path, delimiter=options.delimiter, header=options.header, known=known)


def _name(wanted: str, table: Table) -> str:
    """A column by its name, or by its place from 1 (or -1, from the end) where no name is like that."""
    if wanted in table.names:
        return wanted
    if _PLACE.fullmatch(wanted) and 1 <= abs(int(wanted)) <= len(table.names):
        return table.names[int(wanted) - (int(wanted) > 0)]
    raise UnknownName("column", wanted, table.names, remedy=f"{table.path} has {', '.join(table.names)}.")


def _by_name(options: _Options, table: Table) -> _Options:
    """The options with columns by their names, where they were given by their places."""
    return dataclasses.replace(
        options,
        target=_name(options.target, table),
        drop=tuple(_name(wanted, table) for wanted in options.drop),
        categories=tuple(_name(wanted, table) for wanted in options.categories),
        split=_name(options.split, table) if options.split else "",
    )


def _tell_reading(table: Table, columns: Sequence[Column]) -> list[str]:
    """What was found of how the cells are written, where it might be wrong."""
    notes = []
    if not table.has_header:
        notes.append(f"{table.path} has no header: its columns are column1 to column{len(table.names)}")
    commas = [c.name for c in columns if c.categories is None and table.has_decimal_commas(c.name)]
    if commas:
        notes.append(f"a comma is the decimal point in {', '.join(commas[:5])}{' ...' if len(commas) > 5 else ''}")
    return notes


def _rows(tables: Mapping[str, Table], options: _Options) -> _Rows:
    """Which rows of which table are train, dev and test."""
    if not options.split:
        return {name: [(name, slice(None))] for name in tables}
    found: _Rows = {}
    for name, table in tables.items():
        said = [cell.lower() for cell in table.column(_name(options.split, table))]
        unknown = next((row for row, cell in enumerate(said) if cell not in SPLIT_NAMES), None)
        if unknown is not None:
            raise SourceError(
                f"line {table.lines[unknown]} of {table.path}: {options.split} must be train, dev or test; "
                f"got {said[unknown]!r}."
            )
        for split in SPLITS:
            chosen = np.flatnonzero([SPLIT_NAMES[cell] == split for cell in said])
            if len(chosen):
                found.setdefault(split, []).append((name, chosen))
    return found


def _columns(
    tables: Mapping[str, Table], train: Sequence[tuple[str, Any]], names: Sequence[str], options: _Options
) -> tuple[tuple[Column, ...], list[str]]:
    """The columns that a network can use, as the rows of train have them, and why others are left out."""
    columns: list[Column] = []
    notes: list[str] = []
    for name in names:
        cells = [np.array(tables[table].column(name), object)[chosen] for table, chosen in train]
        present = [cell for part in cells for cell in part if not is_missing(cell)]
        if not present:
            notes.append(f"{name} is left out: it is empty")
            continue
        found = [tables[table].numbers(part.tolist()) for (table, _), part in zip(train, cells, strict=True)]
        wrong = sum(bad.sum() for _, bad in found)
        if name not in options.categories and wrong <= (1 - _MOSTLY) * len(present):
            _check_numbers(tables, name)
            many = sum(map(len, cells)) > _MOST_CLASSES and len(names) > 1
            if many and all((np.diff(values) == 1).all() for values, _ in found):
                notes.append(f"{name} is left out: it counts the rows (&categories={name} keeps it)")
            else:
                columns.append(Column(name))
            continue
        categories = tuple(sorted(set(present)))
        if name not in options.categories:
            _refuse_dates(tables, name, categories)
            if len(categories) > _IDENTIFIER * len(present) and len(present) > _MOST_CLASSES:
                notes.append(
                    f"{name} is left out: {len(categories):,} different texts in {len(present):,} rows "
                    f"(&categories={name} keeps it)"
                )
                continue
        columns.append(Column(name, categories))
    return tuple(columns), notes


def _known_columns(tables: Mapping[str, Table], names: Sequence[str], known: Sequence[Column]) -> tuple[Column, ...]:
    columns: list[Column] = []
    for column in known:
        if column.name not in names:
            path = next(iter(tables.values())).path
            raise SourceError(f"{path}: the column {column.name!r} is missing; there are {', '.join(names)}.")
        if column.categories is None:
            _check_numbers(tables, column.name)
            columns.append(Column(column.name))
        else:
            cells = {cell for table in tables.values() for cell in table.column(column.name)}
            columns.append(Column(column.name, tuple(sorted(cell for cell in cells if not is_missing(cell)))))
    return tuple(columns)


def _check_numbers(tables: Mapping[str, Table], name: str) -> None:
    for table in tables.values():
        cells = table.column(name)
        values, wrong = table.numbers(cells)
        with np.errstate(over="ignore"):
            infinite = np.isinf(values.astype(np.float32))
        for row in np.flatnonzero(wrong | infinite).tolist():
            raise SourceError(
                f"line {table.lines[row]} of {table.path}: {name} holds {cells[row]!r}, and numbers elsewhere. "
                f"Correct it, empty the cell, or take the column as text (&categories={name})."
            )


def _refuse_dates(tables: Mapping[str, Table], name: str, categories: Sequence[str]) -> None:
    if sum(_is_date(text) for text in categories) < _MOSTLY * len(categories):
        return
    table = next(iter(tables.values()))
    raise SourceError(
        f"the column {name} of {table.path} holds dates ({categories[0]!r}); a network cannot use them as they are. "
        f"Replace them by numbers (year, month, weekday, days since a day), or leave them out: &drop={name}"
    )


def _is_date(text: str) -> bool:
    if _DATE.fullmatch(text):
        return True
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _targets(tables: Mapping[str, Table], target: str, wanted: str) -> tuple[str, dict[str, np.ndarray], str]:
    """The task, the targets of each table, and a note that says how the task was found."""
    cells = {name: table.column(target) for name, table in tables.items()}
    for name, table in tables.items():
        row = next((row for row, cell in enumerate(cells[name]) if is_missing(cell)), None)
        if row is not None:
            raise SourceError(f"line {table.lines[row]} of {table.path} has no {target}. Fill it in or remove the row.")
    first = next(iter(tables.values()))
    if (count := sum(map(len, cells.values()))) < _LEAST_ROWS:
        raise SourceError(f"{first.path} has {count} of the {_LEAST_ROWS} rows that train, dev and test need at least.")
    values = {cell for column in cells.values() for cell in column}
    if len(values) == 1:
        raise SourceError(f"the target {target} of {first.path} is {values.pop()!r} in every row: nothing to learn.")
    found = {name: table.numbers(cells[name]) for name, table in tables.items()}
    every = np.concatenate([values for values, _ in found.values()])
    text = any(wrong.any() for _, wrong in found.values())
    mostly = not wanted and np.isfinite(every).mean() >= _MOSTLY
    if text and (wanted == "regression" or mostly):
        for name, (_, wrong) in found.items():
            for row in np.flatnonzero(wrong).tolist():
                raise SourceError(
                    f"line {tables[name].lines[row]} of {tables[name].path}: the target {target} must be a number; "
                    f"got {cells[name][row]!r}."
                    + (" &task=classification takes all of them as classes." if mostly else "")
                )
    for name, (values, wrong) in found.items():
        for row in np.flatnonzero(~np.isfinite(values) & ~wrong).tolist() if not text else ():
            raise SourceError(
                f"line {tables[name].lines[row]} of {tables[name].path}: the target {target} must be a finite number; "
                f"got {cells[name][row]!r}."
            )
    if not text and wanted != "classification":
        whole = bool((every == np.rint(every)).all())
        different = len(np.unique(every))
        few = different <= min(_MOST_CLASSES, len(every) / _ROWS_A_CLASS)
        if wanted == "regression" or not (whole and few):
            return "regression", {name: values for name, (values, _) in found.items()}, f"{target} is a number"
    if text:
        targets = {name: np.array(column) for name, column in cells.items()}
    else:
        targets = {name: values for name, (values, _) in found.items()}
        if not (every == np.rint(every)).all():
            raise SourceError(
                f"the target {target} holds fractions, which are no classes: leave out task=classification."
            )
    classes = len(np.unique(np.concatenate(list(targets.values()))))
    if classes > len(every) / 2:
        raise SourceError(
            f"the target {target} has {classes} different values in {len(every)} rows: it names rows, not classes."
        )
    note = f"{target} is one of {classes} classes"
    return "classification", targets, note if text else f"{note} (&task=regression takes it as a number)"
