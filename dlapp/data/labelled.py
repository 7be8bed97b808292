"""Texts with a class: tables, one folder a class, or one file a class: ``labelled:FILE-or-DIR``."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dlapp import texts
from dlapp.data.examples import Loaded
from dlapp.data.folder import find_splits
from dlapp.data.text_files import Line, digest_of, files_by_split, lines_of, parse_options, text_examples
from dlapp.errors import SourceError, UnknownName

_SUFFIXES = (".txt", ".tsv", ".csv")
_OPTIONS = {"encoding": "utf-8", "text": "", "target": ""}
_HEADERS = ("category", "class", "label", "language", "sentiment", "tag", "target")
_SHARE = 0.5  # of the rows may differ in their class at the most


class _Example(NamedTuple):
    where: str
    text: str
    label: str


def load(rest: str) -> Loaded:
    """Reads ``FILE-or-DIR?text=COLUMN&target=COLUMN&encoding=utf-8``.

    - A table with commas or tabs: in one with tabs quotes are letters. The class is the column ``target``, else
      the one with the fewest different values, the text ``text``, else the one with the longest; columns are named
      by the header, or are column1, column2, ...
    - A folder of folders: each is a class, and holds .txt files of one text each.
    - A folder of .txt files: each is a class, and each of its lines a text. Where every line has a tab they are
      tables instead, which are joined.

    Folders and tables may be called train, dev and test; folders of these names may stand above all others.

    Raises:
        SourceError: nothing of that kind is there, or a file cannot be read.
        UnknownName: a table has no such column.
    """
    place, options = parse_options(rest, _OPTIONS, source="labelled:")
    root = Path(place)
    by_split = _by_split(root, place)
    found = {split: [one for path in paths for one in _read(path, options)] for split, paths in by_split.items()}
    files = {split: [file for path in paths for file in _files(path)] for split, paths in by_split.items()}
    kept = {split: [one for one in examples if one.text.strip()] for split, examples in found.items()}
    for split, examples in kept.items():
        if not examples:
            raise SourceError(f"{by_split[split][0]} has no text with a class.")
    empty = sum(map(len, found.values())) - sum(map(len, kept.values()))
    labels = tuple(sorted({one.label for examples in kept.values() for one in examples}))
    numbers = {label: number for number, label in enumerate(labels)}
    parts = {
        split: text_examples(
            [one.text.strip() for one in examples],
            targets=[numbers[one.label] for one in examples],
            origins=[one.where for one in examples],
        )
        for split, examples in kept.items()
    }
    notes = (f"{empty:,} texts are empty and left out.",) if empty else ()
    return Loaded(parts, labels, digest_of(files), notes=notes)


def _by_split(root: Path, place: str) -> dict[str, list[Path]]:
    """What each split is read from: tables, or folders."""
    if not root.is_dir():
        return files_by_split(place, _SUFFIXES, source="labelled:")
    splits = find_splits(root)
    if splits:
        return {split: [folder] for split, folder in splits.items()}
    tables = _text_files(root)
    if tables and all(map(_is_table, tables)):
        return files_by_split(place, _SUFFIXES, source="labelled:")
    return {"train": [root]}


def _read(path: Path, options: Mapping[str, str]) -> Iterator[_Example]:
    encoding = options["encoding"]
    if path.is_file():
        yield from _read_table(path, options)
        return
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for folder in classes:
        for file in sorted(folder.rglob("*.txt")):
            yield _Example(str(file), texts.read(file, encoding), folder.name)
    if classes:
        return
    files = _text_files(path)
    if not files:
        raise SourceError(
            f"{path} holds neither folders nor {', '.join(_SUFFIXES)} files; labelled: needs one of these a class."
        )
    for file in files:
        if _is_table(file):
            yield from _read_table(file, options)
        else:
            yield from (_Example(line.where, line.text, file.stem) for line in lines_of(file, encoding) if line.text)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)


def _text_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())


def _is_table(path: Path) -> bool:
    if path.suffix.lower() in (".tsv", ".csv"):
        return True
    with path.open("rb") as file:
        lines = [line for line in file.read(2**16).splitlines()[:-1] or [b""] if line.strip()]
    return bool(lines) and all(b"\t" in line for line in lines)


def _read_table(path: Path, options: Mapping[str, str]) -> Iterator[_Example]:
    lines = list(lines_of(path, options["encoding"]))
    rows = _rows(path, lines)
    if len({len(row) for _, row in rows}) != 1 or len(rows[0][1]) < 2:
        wheres = {len(row): where for where, row in reversed(rows)}
        told = ", ".join(f"{count} at {where}" for count, where in sorted(wheres.items()))
        raise SourceError(
            f"{path} must have at least two cells in every row, and as many in each; got {told}. Put texts that hold "
            "the delimiter into double quotes, or part them with tabs."
        )
    columns = list(zip(*(row for _, row in rows), strict=True))
    names = [f"column{number}" for number in range(1, len(columns) + 1)]
    header = [cell.strip() for cell in rows[0][1]]
    named = {options["text"], options["target"]} - {""}
    target, text = (_find(options[name], header, names, path) for name in ("target", "text"))
    if target is None:
        target = min(range(len(columns)), key=lambda place: (len(set(columns[place])), sum(map(len, columns[place]))))
    counts = Counter(cell.strip() for cell in columns[target])
    # a class that only the first row has is the name of the column, unless others have one example too
    rare = any(count == 1 for cell, count in counts.items() if cell != header[target])
    alone = counts[header[target]] == 1 and (not rare or header[target].lower() in _HEADERS)
    has_header = named <= set(header) if named else alone
    if not options["target"] and len(counts) - has_header > max(_SHARE * len(rows), 2):
        raise SourceError(
            f"{path} has {len(counts):,} different values in {len(rows):,} rows of its column {target + 1}: name the "
            "one with the class (?target=COLUMN)."
        )
    if text is None:
        others = [place for place in range(len(columns)) if place != target]
        text = max(others, key=lambda place: sum(map(len, columns[place])))
    for where, row in rows[int(has_header) :]:
        if not row[target].strip():
            raise SourceError(f"{where}: the class is missing. Give one, or remove the row.")
        yield _Example(where, row[text], row[target].strip())


def _find(name: str, header: Sequence[str], names: Sequence[str], path: Path) -> int | None:
    """The place of a column by its name; None where none is named."""
    if not name:
        return None
    for known in (header, names):
        if name in known:
            return list(known).index(name)
    raise UnknownName(f"column of {path}", name, [*header, *names])


def _rows(path: Path, lines: Sequence[Line]) -> list[tuple[str, list[str]]]:
    filled = [line for line in lines if line.text.strip()]
    if not filled:
        raise SourceError(f"{path} has no row: a table of texts has a text and a class in each.")
    if all("\t" in line.text for line in filled):
        return [(line.where, line.text.split("\t")) for line in filled]
    text = "\n".join(line.text for line in lines)
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows, begins = [], 1
    try:
        for row in reader:
            if row:
                rows.append((f"{path}:{begins}", row))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{path}:{begins}: {error}. Repair the line, or part cells with tabs.") from error
    return rows
