"""Files of a person -> an answer for each, and a reason for each that gets none."""

import dataclasses
import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dlapp import pictures
from dlapp.errors import DlappError, SourceError, UnreadablePicture
from dlapp.inference.bundle import Bundle
from dlapp.signature import Column

_BATCH = 32
_BATCH_BYTES = 32 * 2**20  # photographs go alone: inside the graph they are floats


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The answer for one input.

    Attributes:
        input: the file, or the file and the line (of a CSV file) or row (of an array).
        top: (label, probability) of the likeliest classes, likeliest first; empty if there is an error.
        error: why there is no answer.
        value: what a regression predicts; None for a classifier.
    """

    input: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    value: float | None = None


def expand(inputs: Sequence[str]) -> list[Path]:
    """Files, folders and globs as files: of a folder, the pictures at any depth.

    Raises:
        SourceError: a folder holds no pictures, or nothing matches a glob.
    """
    files: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = pictures.below(path)
            if not found:
                raise SourceError(f"{given} holds no pictures ({', '.join(sorted(pictures.SUFFIXES))}).")
            files += found
        elif glob.has_magic(given) and not path.exists():
            found = sorted(Path(match) for match in glob.glob(given, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
            if not found:
                raise SourceError(f"nothing matches {given}.")
            files += [file for file in found if file.is_file()]
        else:
            files.append(path)
    return files


def predict(bundle: Bundle, files: Iterable[Path], *, top: int = 1) -> Iterator[Prediction]:
    """Answers in the order of ``files``; a file that cannot be read gives its reason instead.

    Pictures of one size that follow each other go through the network together.

    Raises:
        DlappError: the bundle does something else than classify or predict a number.
    """
    if bundle.signature.task not in ("classification", "regression"):
        raise DlappError(f"{bundle.folder} does {bundle.signature.task}, which this dlapp cannot print.")
    read = _read_pictures if bundle.signature.preprocessing.size is not None else _read_rows
    waiting: list[tuple[str, np.ndarray]] = []
    for name, value, error in read(bundle, files):
        if waiting and (value is None or value.shape != waiting[0][1].shape or _is_full(waiting)):
            yield from _answer(bundle, waiting, top)
            waiting = []
        if value is None:
            yield Prediction(name, error=error)
        else:
            waiting.append((name, value))
    if waiting:
        yield from _answer(bundle, waiting, top)


def _is_full(waiting: Sequence[tuple[str, np.ndarray]]) -> bool:
    return len(waiting) == _BATCH or (len(waiting) + 1) * waiting[0][1].nbytes > _BATCH_BYTES


def _answer(bundle: Bundle, inputs: Sequence[tuple[str, np.ndarray]], top: int) -> Iterator[Prediction]:
    outputs = bundle.run(np.stack([value for _, value in inputs]))
    if bundle.signature.task == "regression":
        for (name, _), value in zip(inputs, outputs["value"][:, 0].tolist(), strict=True):
            yield Prediction(name, value=value)
        return
    probabilities = outputs["probabilities"]
    for (name, _), row in zip(inputs, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[:top].tolist()
        yield Prediction(name, tuple((bundle.signature.labels[k], float(row[k])) for k in order))


def _read_pictures(bundle: Bundle, files: Iterable[Path]) -> Iterator[tuple[str, np.ndarray | None, str]]:
    for file in files:
        try:
            yield str(file), pictures.read(file, bundle.signature.preprocessing.channels), ""
        except UnreadablePicture as error:
            yield str(file), None, str(error)


def _read_rows(bundle: Bundle, files: Iterable[Path]) -> Iterator[tuple[str, np.ndarray | None, str]]:
    for file in files:
        yield from (_read_array if file.suffix.lower() == ".npy" else _read_table)(bundle, file)


def _read_array(bundle: Bundle, file: Path) -> Iterator[tuple[str, np.ndarray | None, str]]:
    columns = len(bundle.signature.preprocessing.mean)
    try:
        rows = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        yield str(file), None, f"{file} cannot be read as a NumPy file (.npy): {error}."
        return
    if rows.ndim != 2 or rows.shape[1] != columns or rows.dtype.kind not in "fiub":
        yield (
            str(file),
            None,
            f"{file} must hold one array of (rows, {columns} columns); it holds {rows.dtype} of {rows.shape}.",
        )
        return
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told so
        values = rows.astype(np.float32)
    may_miss = bool(bundle.signature.preprocessing.columns)
    for number, row in enumerate(values):
        usable = bool((np.isfinite(row) | (np.isnan(row) & may_miss)).all())
        wrong = "infinity" if may_miss else "NaN or infinity"
        yield f"{file}:{number}", row if usable else None, f"row {number} of {file} holds {wrong}."


def _read_table(bundle: Bundle, file: Path) -> Iterator[tuple[str, np.ndarray | None, str]]:
    from dlapp import tables  # a bundle of pictures does without

    preprocessing = bundle.signature.preprocessing
    width = len(preprocessing.mean)
    try:
        table = tables.Table.read(file, known=[column.name for column in preprocessing.columns])
        if not preprocessing.columns and len(table.names) != width:
            raise SourceError(f"{file} must have {width} columns; it has {len(table.names)}.")
        # an array's columns have no names: those of the table are as good
        columns = preprocessing.columns or tuple(Column(name) for name in table.names)
        values, wrong = tables.encode(table, columns)
    except SourceError as error:
        yield str(file), None, str(error)
        return
    if not len(table):
        yield str(file), None, f"{file} has a header and no rows."
    for number, row in enumerate(values):
        error = wrong.get(number, "")
        if not error and not preprocessing.columns and np.isnan(row).any():
            error = f"line {table.lines[number]} of {file}: a cell is missing, which this bundle does not take."
        yield f"{file}:{table.lines[number]}", None if error else row, error
