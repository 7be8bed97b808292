"""The signature: what goes into a bundle, what comes out, and what happens to it inside.

It is read in every process that predicts, so it is made of plain dataclasses: importing pydantic
would cost such a process more than running the network does.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from dlapp.errors import BundleError
from dlapp.files import write_json

if TYPE_CHECKING:
    import numpy as np

FORMAT = 5
# of what has neither windows nor boxes nor text, which any dlapp reads; of windows; of boxes; of text
_FIRST_FORMAT, _WINDOWS_FORMAT, _BOXES_FORMAT, _TEXT_FORMAT = 1, 2, 3, 4
THRESHOLDS = ("min_score", "max_overlap")  # inputs of a detector's ONNX file that have defaults
Scale = Literal["unit", "standardize", "none"]
Unit = Literal["character", "word"]
Standardize = Literal["none", "lower", "strip_punctuation", "lower_and_strip_punctuation"]
PADDING, UNKNOWN, START, END = "", "[UNK]", "[START]", "[END]"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A named input or output. A string in ``shape`` names a dimension that varies."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def check(self, array: "np.ndarray") -> None:
        """Compares an array with what is said here.

        Raises:
            ValueError: dtype or shape differ, or there is nothing in the batch.
        """
        fits = array.ndim == len(self.shape) and all(
            size > 0 if isinstance(wanted, str) else size == wanted
            for wanted, size in zip(self.shape, array.shape, strict=True)
        )
        if array.dtype != self.dtype or not fits:
            raise ValueError(f"{self.name} must be {self.dtype} of {self.shape}; got {array.dtype} of {array.shape}.")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as the header has it; ``column3`` for the third of a table without one.
        categories: of a column of text; None for numbers. A raw cell is the index of its category,
            -1 for any other value, NaN where it is missing.
        missing: whether cells of it are missing in train; the network is then told which.
    """

    name: str
    categories: tuple[str, ...] | None = None
    missing: bool = False


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the table that was trained on is written; others of its kind are read likewise.

    Attributes:
        delimiter: between the cells.
        header: whether the first row names the columns.
        names: of all its columns, also of those that the network does not take.
        target: the column that is predicted, and may be absent from other tables.
    """

    delimiter: str
    header: bool
    names: tuple[str, ...]
    target: str


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """How a text becomes numbers, and numbers become a text.

    Attributes:
        tokens: of the numbers from 0 on: padding (an empty text), whatever is not among the others, the start and
            the end of a sequence if ``marked``, then what train has, the most frequent first.
        unit: ``character`` or ``word``; words are what blanks part.
        standardize: what happens first, in the words of Keras's ``TextVectorization``.
        marked: whether a sequence begins and ends with a token of its own.
        length: tokens that are kept of a sequence, marks among them; None for all.
    """

    tokens: tuple[str, ...]
    unit: Unit
    standardize: Standardize = "none"
    marked: bool = False
    length: int | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @functools.cached_property
    def ids(self) -> Mapping[str, int]:
        """The number of each token that stands for itself."""
        return {token: number for number, token in enumerate(self.tokens) if number >= self.reserved}

    @property
    def reserved(self) -> int:
        """How many tokens at the beginning stand for no text: padding, unknown, start and end."""
        return 4 if self.marked else 2

    @property
    def start(self) -> int | None:
        """The number of the token that a sequence begins with."""
        return 2 if self.marked else None

    @property
    def end(self) -> int | None:
        """The number of the token that a sequence ends with."""
        return 3 if self.marked else None


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What the graph does to raw values before the network sees them.

    Attributes:
        channels: channels of the picture: 1 grey, 3 RGB, 4 RGB and alpha; 0 for rows of a table.
        size: height and width that pictures are resized to (bilinear); None for rows.
        antialias: whether resizing averages over all the pixels that it drops.
        letterbox: whether the picture keeps its shape and is centred on grey, instead of being stretched.
        vocabulary: of texts, which become numbers before they reach the graph; None for all others.
        target_vocabulary: of the texts that are answered with; None where the answer is something else.
        scale: ``unit`` divides by 255, ``standardize`` subtracts ``mean`` and divides by the square
            root of ``variance``, ``none`` leaves the values alone.
        mean, variance: of the training split, one for each channel or column; categories have 0 and 1.
            The mean stands in for a missing number.
        columns: what the columns are; empty for rows that come from an array, which are all numbers.
        layout: of the file that was trained on; None where it was no table.
    """

    channels: int
    size: tuple[int, int] | None = None
    antialias: bool = False
    scale: Scale = "none"
    mean: tuple[float, ...] = ()
    variance: tuple[float, ...] = ()
    columns: tuple[Column, ...] = ()
    layout: Layout | None = None
    letterbox: bool = False
    vocabulary: Vocabulary | None = None
    target_vocabulary: Vocabulary | None = None

    @property
    def width(self) -> int:
        """Values a row has once categories are one-hot (one more slot each for values not in train) and
        missing cells are flagged."""
        slots = (1 if column.categories is None else len(column.categories) + 1 for column in self.columns)
        return sum(slots) + sum(column.missing for column in self.columns) if self.columns else len(self.mean)


@dataclasses.dataclass(frozen=True)
class Target:
    """What a regression predicts: ``value`` is ``mean`` plus ``deviation`` times the network's output.

    Attributes:
        name: of the column.
        mean, deviation: of the target in train, in its own unit; the mean is 0 where the network
            ends with an activation of its own, which would lose its meaning.
    """

    name: str
    mean: float = 0.0
    deviation: float = 1.0


@dataclasses.dataclass(frozen=True)
class Windows:
    """Where the answers of a sliding classifier stand: row i, column j is of the window at (i, j) x ``stride``.

    Attributes:
        size: height and width of a window, in pixels of the picture.
        stride: pixels from one window to the next, down and to the right.
    """

    size: tuple[int, int]
    stride: tuple[int, int]

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of a window, in pixels."""
        top, left = row * self.stride[0], column * self.stride[1]
        return top, left, top + self.size[0], left + self.size[1]

    def check(self, height: int, width: int) -> None:
        """Refuses a picture in which no window has a place.

        Raises:
            ValueError: it is smaller than the window.
        """
        if height < self.size[0] or width < self.size[1]:
            raise ValueError(
                f"the picture must be at least as large as the window, {self.size[0]} x {self.size[1]}; got "
                f"{height} x {width}."
            )


@dataclasses.dataclass(frozen=True)
class Detection:
    """How what a network says of each cell becomes boxes.

    Attributes:
        grid: rows and columns of cells.
        anchors: height and width of each, as fractions of the resized picture; none where a cell has one box of
            any size.
        min_score: boxes below are not told.
        max_overlap: of two boxes of a class that overlap more than this (intersection over union), one is told.
        most: boxes that are told of one picture.
    """

    grid: tuple[int, int]
    anchors: tuple[tuple[float, float], ...] = ()
    min_score: float = 0.3
    max_overlap: float = 0.5
    most: int = 100

    @property
    def boxes(self) -> int:
        """Of each cell."""
        return max(len(self.anchors), 1)

    @property
    def task(self) -> str:
        """``localization`` where the whole picture is one cell with one box, else ``detection``."""
        return "localization" if (*self.grid, self.boxes, self.most) == (1, 1, 1, 1) else "detection"


@dataclasses.dataclass(frozen=True)
class Step:
    """A second graph, which goes on by one token.

    Attributes:
        inputs: ``token`` (batch,) int32, then the states that the step before left.
        outputs: ``probabilities`` (batch, classes) of the next token, then the states behind it, in the same order.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What ``signature.json`` holds, and the metadata of the ONNX file.

    Attributes:
        task: ``classification``, ``regression``, ``localization`` (one box a picture), ``detection``, ``tagging`` (a
            class for each token), ``language_model`` (the next token), ``sequence_to_sequence`` (another text) or
            ``tensors`` (of a network that dlapp knows nothing of: what goes in and what comes out is its own).
        inputs, outputs: the tensors of the graph, under the same names in every format.
        labels: the classes, in the order of the last axis of ``probabilities``; none for a regression.
        preprocessing: what the graph does to its input.
        target: what a regression predicts; None for a classifier.
        windows: of a classifier that slides over the picture, which is then not resized; None for all others.
        detection: how boxes come about; None where there are none.
        step: the graph that goes on by one token; None where there is none.
        provenance: which model, trained on what, by which versions.
        files: SHA-256 of every file of the bundle that must not change; empty outside of a bundle.
    """

    task: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    target: Target | None = None
    windows: Windows | None = None
    detection: Detection | None = None
    step: Step | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    files: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, Any]:
        """The signature as JSON has it."""
        fields = json.loads(json.dumps(dataclasses.asdict(self)))
        version = FORMAT if self.task == "tensors" else _FIRST_FORMAT
        for name, format_ in (("windows", _WINDOWS_FORMAT), ("detection", _BOXES_FORMAT), ("step", _TEXT_FORMAT)):
            if fields[name] is None:
                del fields[name]
            else:
                version = max(version, format_)
        preprocessing = fields["preprocessing"]
        for name, format_ in (
            ("letterbox", _BOXES_FORMAT),
            ("vocabulary", _TEXT_FORMAT),
            ("target_vocabulary", _TEXT_FORMAT),
        ):
            if not preprocessing[name]:
                del preprocessing[name]
            else:
                version = max(version, format_)
        return {"format": version, **fields}

    def metadata(self) -> dict[str, str]:
        """The signature as ONNX metadata: one property a field, its value in JSON."""
        fields = self.to_dict()
        del fields["files"]  # the ONNX file is one of them
        return {key: json.dumps(value, ensure_ascii=False) for key, value in fields.items()}

    def write(self, path: Path) -> None:
        """Writes ``signature.json``."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads ``signature.json``.

        Raises:
            BundleError: the file is missing, is not JSON, or comes from a newer dlapp.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BundleError(f"{path} is missing: {path.parent} is not complete. Export the model again.") from None
        except ValueError as error:
            raise BundleError(f"{path} is not JSON ({error}). Export the model again.") from error
        return cls.from_dict(fields, where=str(path))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], *, where: str) -> Self:
        """The inverse of :meth:`to_dict`; ``where`` is named in errors."""
        try:
            if not isinstance(fields["format"], int):
                raise TypeError("its format is no number")
            if fields["format"] > FORMAT:
                raise BundleError(
                    f"{where} has format {fields['format']}; this dlapp reads up to {FORMAT}. Install a newer dlapp."
                )
            pre = fields["preprocessing"]
            layout = pre["layout"]
            windows = fields.get("windows")
            detection = fields.get("detection")
            step = fields.get("step")
            return cls(
                task=fields["task"],
                inputs=_read_tensors(fields["inputs"]),
                outputs=_read_tensors(fields["outputs"]),
                labels=tuple(fields["labels"]),
                preprocessing=Preprocessing(
                    channels=pre["channels"],
                    size=None if pre["size"] is None else (pre["size"][0], pre["size"][1]),
                    antialias=pre["antialias"],
                    scale=pre["scale"],
                    mean=tuple(pre["mean"]),
                    variance=tuple(pre["variance"]),
                    columns=tuple(
                        Column(c["name"], None if c["categories"] is None else tuple(c["categories"]), c["missing"])
                        for c in pre["columns"]
                    ),
                    layout=None
                    if layout is None
                    else Layout(layout["delimiter"], layout["header"], tuple(layout["names"]), layout["target"]),
                    letterbox=pre.get("letterbox", False),
                    vocabulary=_read_vocabulary(pre.get("vocabulary")),
                    target_vocabulary=_read_vocabulary(pre.get("target_vocabulary")),
                ),
                target=None if fields["target"] is None else Target(**fields["target"]),
                windows=None if windows is None else Windows(tuple(windows["size"]), tuple(windows["stride"])),
                detection=None
                if detection is None
                else Detection(
                    grid=tuple(detection["grid"]),
                    anchors=tuple((height, width) for height, width in detection["anchors"]),
                    min_score=detection["min_score"],
                    max_overlap=detection["max_overlap"],
                    most=detection["most"],
                ),
                step=None if step is None else Step(_read_tensors(step["inputs"]), _read_tensors(step["outputs"])),
                provenance=fields["provenance"],
                files=fields["files"],
            )
        except (KeyError, TypeError, IndexError) as error:
            raise BundleError(f"{where} is not a signature ({error!r}). Export the model again.") from error


def _read_tensors(fields: Sequence[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in fields)


def _read_vocabulary(fields: Mapping[str, Any] | None) -> Vocabulary | None:
    if fields is None:
        return None
    options: dict[str, Any] = {**fields, "tokens": tuple(fields["tokens"])}
    return Vocabulary(**options)


def classification(
    labels: tuple[str, ...], preprocessing: Preprocessing, provenance: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a classifier of pictures, of texts where there is a vocabulary, or else of rows."""
    return Signature(
        task="classification",
        inputs=(_raw_input(preprocessing),),
        outputs=(Tensor("probabilities", "float32", ("batch", len(labels))),),
        labels=labels,
        preprocessing=preprocessing,
        provenance=provenance or {},
    )


def sliding_classification(
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    windows: Windows,
    provenance: Mapping[str, Any] | None = None,
) -> Signature:
    """The signature of a classifier that gives a map of answers for a picture of any size."""
    shape = ("batch", "rows", "columns", len(labels))
    outputs = (Tensor("probabilities", "float32", shape),)
    return dataclasses.replace(classification(labels, preprocessing, provenance), outputs=outputs, windows=windows)


def boxes(
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    detection: Detection,
    provenance: Mapping[str, Any] | None = None,
) -> Signature:
    """The signature of a network that finds objects.

    Of ``count`` boxes, surest first, the corners are y1, x1, y2, x2 in pixels of the picture that was given; what
    follows them is zero.
    """
    most = detection.most
    return Signature(
        task=detection.task,
        inputs=(_raw_input(preprocessing),),
        outputs=(
            Tensor("boxes", "float32", ("batch", most, 4)),
            Tensor("scores", "float32", ("batch", most)),
            Tensor("classes", "int32", ("batch", most)),
            Tensor("count", "int32", ("batch",)),
        ),
        labels=labels,
        preprocessing=preprocessing,
        detection=detection,
        provenance=provenance or {},
    )


def tagging(
    labels: tuple[str, ...], preprocessing: Preprocessing, provenance: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a network that gives a class to every token; at padding all probabilities are zero."""
    return dataclasses.replace(
        classification(labels, preprocessing, provenance),
        task="tagging",
        outputs=(Tensor("probabilities", "float32", ("batch", "time", len(labels))),),
    )


def language_model(
    preprocessing: Preprocessing, states: Sequence[int], provenance: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a network that gives the probabilities of the token behind each; zero at padding.

    Args:
        preprocessing: with a vocabulary.
        states: how many numbers each state of the step has, which all begin at zero; none where it cannot go on by
            one token.
        provenance: where the model comes from.
    """
    assert preprocessing.vocabulary is not None
    size = len(preprocessing.vocabulary)
    return Signature(
        task="language_model",
        inputs=(_raw_input(preprocessing),),
        outputs=(Tensor("probabilities", "float32", ("batch", "time", size)),),
        labels=(),
        preprocessing=preprocessing,
        step=_step(states, size) if states else None,
        provenance=provenance or {},
    )


def sequence_to_sequence(
    preprocessing: Preprocessing, states: Sequence[int], provenance: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of an encoder, whose outputs are the states that the step of its decoder begins with.

    Args:
        preprocessing: with a vocabulary of what is read and one of what is answered.
        states: how many numbers each state has.
        provenance: where the model comes from.
    """
    assert preprocessing.target_vocabulary is not None
    step = _step(states, len(preprocessing.target_vocabulary))
    return Signature(
        task="sequence_to_sequence",
        inputs=(_raw_input(preprocessing),),
        outputs=step.inputs[1:],
        labels=(),
        preprocessing=preprocessing,
        step=step,
        provenance=provenance or {},
    )


def _step(states: Sequence[int], classes: int) -> Step:
    shapes: list[tuple[int | str, ...]] = [("batch", size) for size in states]
    return Step(
        inputs=(
            Tensor("token", "int32", ("batch",)),
            *(Tensor(f"state{number}", "float32", shape) for number, shape in enumerate(shapes, start=1)),
        ),
        outputs=(
            Tensor("probabilities", "float32", ("batch", classes)),
            *(Tensor(f"next_state{number}", "float32", shape) for number, shape in enumerate(shapes, start=1)),
        ),
    )


def regression(target: Target, preprocessing: Preprocessing, provenance: Mapping[str, Any] | None = None) -> Signature:
    """The signature of a network that predicts one number, in the unit of the target."""
    return Signature(
        task="regression",
        inputs=(_raw_input(preprocessing),),
        outputs=(Tensor("value", "float32", ("batch", 1)),),
        labels=(),
        preprocessing=preprocessing,
        target=target,
        provenance=provenance or {},
    )


def tensors(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], provenance: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a network of which nothing else is known: nothing is prepared, and nothing decoded."""
    return Signature(
        task="tensors",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        labels=(),
        preprocessing=Preprocessing(0),
        provenance=provenance or {},
    )


def _raw_input(preprocessing: Preprocessing) -> Tensor:
    if preprocessing.vocabulary is not None:
        return Tensor("tokens", "int32", ("batch", "time"))
    if preprocessing.size is None:
        return Tensor("features", "float32", ("batch", len(preprocessing.mean)))
    return Tensor("image", "uint8", ("batch", "height", "width", preprocessing.channels))
