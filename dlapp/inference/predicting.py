"""Files of a person -> an answer for each, and a reason for each that gets none."""

import dataclasses
import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
        note: what the answer is less sure for: cells of a row such as train had none.
    """

    input: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    value: float | None = None
    note: str = ""


class Input(NamedTuple):
    """One raw input, or why there is none.

    Attributes:
        name: the file, or the file and the line or row.
        value: what the network takes, without the batch; None where it cannot be read.
        error: why it cannot.
        note: as a :class:`Prediction` has it.
    """

    name: str
    value: np.ndarray | None
    error: str = ""
    note: str = ""


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
    if bundle.signature.windows is not None:
        raise DlappError(f"{bundle.folder} slides over pictures and gives a map: use dlapp.inference.sliding.slide().")
    if bundle.signature.detection is not None:
        raise DlappError(f"{bundle.folder} finds objects and gives boxes: use dlapp.inference.detecting.detect().")
    if bundle.signature.task not in ("classification", "regression"):
        raise DlappError(f"{bundle.folder} does {bundle.signature.task}, which this dlapp cannot print.")
    read = read_pictures if bundle.signature.preprocessing.size is not None else _read_rows
    for batch in in_batches(read(bundle, files)):
        values = [given.value for given in batch if given.value is not None]
        if values:
            yield from _answer(bundle, batch, values, top)
        else:  # such an input stands alone
            yield Prediction(batch[0].name, error=batch[0].error)


def in_batches(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    """Inputs of one shape that follow each other, as many as go through a network together; one without a value
    stands alone."""
    batch: list[Input] = []
    for given in inputs:
        if batch and not _goes_with(given, batch):
            yield batch
            batch = []
        batch.append(given)
    if batch:
        yield batch


def _goes_with(given: Input, batch: Sequence[Input]) -> bool:
    first, value = batch[0].value, given.value
    if first is None or value is None or value.shape != first.shape:
        return False
    return len(batch) < _BATCH and (len(batch) + 1) * first.nbytes <= _BATCH_BYTES


def _answer(bundle: Bundle, inputs: Sequence[Input], values: Sequence[np.ndarray], top: int) -> Iterator[Prediction]:
    outputs = bundle.run(np.stack(values))
    if bundle.signature.task == "regression":
        for given, value in zip(inputs, outputs["value"][:, 0].tolist(), strict=True):
            yield Prediction(given.name, value=value, note=given.note)
        return
    for given, row in zip(inputs, outputs["probabilities"], strict=True):
        order = np.argsort(-row, kind="stable")[:top].tolist()
        answer = tuple((bundle.signature.labels[k], float(row[k])) for k in order)
        yield Prediction(given.name, answer, note=given.note)


def read_pictures(bundle: Bundle, files: Iterable[Path]) -> Iterator[Input]:
    """Each picture with as many channels as the bundle takes, or the reason why it cannot be read."""
    for file in files:
        try:
            yield Input(str(file), pictures.read(file, bundle.signature.preprocessing.channels))
        except UnreadablePicture as error:
            yield Input(str(file), None, str(error))


def _read_rows(bundle: Bundle, files: Iterable[Path]) -> Iterator[Input]:
    for file in files:
        yield from (_read_array if file.suffix.lower() == ".npy" else _read_table)(bundle, file)


def _read_array(bundle: Bundle, file: Path) -> Iterator[Input]:
    columns = len(bundle.signature.preprocessing.mean)
    try:
        rows = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        yield Input(str(file), None, f"{file} cannot be read as a NumPy file (.npy): {error}.")
        return
    if rows.ndim != 2 or rows.shape[1] != columns or rows.dtype.kind not in "fiub":
        wanted = f"{file} must hold one array of (rows, {columns} columns)"
        yield Input(str(file), None, f"{wanted}; it holds {rows.dtype} of {rows.shape}.")
        return
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told so
        values = rows.astype(np.float32)
    may_miss = bool(bundle.signature.preprocessing.columns)
    for number, row in enumerate(values):
        usable = bool((np.isfinite(row) | (np.isnan(row) & may_miss)).all())
        wrong = "infinity" if may_miss else "NaN or infinity"
        error = "" if usable else f"row {number} of {file} holds {wrong}."
        yield Input(f"{file}:{number}", row if usable else None, error)


def _read_table(bundle: Bundle, file: Path) -> Iterator[Input]:
    from dlapp import tables  # a bundle of pictures does without

    preprocessing = bundle.signature.preprocessing
    width = len(preprocessing.mean)
    known = [column.name for column in preprocessing.columns]
    try:
        table = tables.Table.read(file, known=known, layout=preprocessing.layout)
        if not preprocessing.columns and len(table.names) != width:
            raise SourceError(f"{file} must have {width} columns; it has {len(table.names)}.")
        # an array's columns have no names: those of the table are as good
        columns = preprocessing.columns or tuple(Column(name) for name in table.names)
        values, wrong = tables.encode(table, columns)
    except SourceError as error:
        yield Input(str(file), None, str(error))
        return
    if not len(table):
        yield Input(str(file), None, f"{file} has a header and no rows.")
    for number, row in enumerate(values):
        name, error = f"{file}:{table.lines[number]}", wrong.get(number, "")
        if not error and not preprocessing.columns and np.isnan(row).any():
            error = f"line {table.lines[number]} of {file}: a cell is missing, which this bundle does not take."
        yield Input(name, None if error else row, error, _tell_unknown(row, preprocessing.columns))


def _tell_unknown(row: np.ndarray, columns: Sequence[Column]) -> str:
    """Which cells of an encoded row are such as train had none; nothing where there are none of them."""
    values = list(zip(row.tolist(), columns, strict=False))
    other = [column.name for value, column in values if column.categories is not None and value == -1]
    missing = [column.name for value, column in values if value != value and not column.missing]  # NaN
    told = [f"{name} has a value that train had not, or once" for name in other]
    return "; ".join(told + [f"{name} is missing, which it never was in train" for name in missing])
