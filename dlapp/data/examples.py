"""What a source gives: examples with their targets, in splits."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from dlapp import boxes, pictures
from dlapp.boxes import Boxes
from dlapp.errors import SourceError
from dlapp.signature import Column, Layout

SPLITS = ("train", "dev", "test")
SPLIT_NAMES = {  # as people call them
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}
_NAMED = 20  # classes in an error
_TOLD = 6  # columns of a row, in words
_LETTERS = 160  # of a text that is told
_LEAST_TEXT = 10  # characters of each split of a running text


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and the target of each.

    Attributes:
        inputs: (n, height, width, channels) uint8 pictures, (n, columns) float32 rows, (n,) paths of picture files,
            or (n,) objects: texts, or tuples of the words of a text.
        targets: (n,) int32, indices into the labels; (n,) float32 numbers for a regression; (n,) int32, how many
            objects there are, where these have boxes; zeros for texts whose target is another sequence.
        channels: what every picture is decoded to; 0 for rows and texts.
        plain: (n,) bool, files that need nothing but decoding; empty unless ``inputs`` are paths.
        sizes: (n, 2) height and width of every picture file, upright; empty unless ``inputs`` are paths.
        columns: of a table, whose cells are NaN where they are missing and the index of a category where
            the column has some; empty for pictures and for rows from an array.
        origins: (n,) text, the file and line of every row; empty where that says nothing.
        layout: of the table that the rows come from.
        boxes: of the objects in each picture; None where the target is another.
        wanted: (n,) objects, the sequence that a text is to become: a text, or (words,) int32 indices into the
            labels; None where the target is another.
    """

    inputs: np.ndarray
    targets: np.ndarray
    channels: int
    plain: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))
    sizes: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.int32))
    columns: tuple[Column, ...] = ()
    origins: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, str))
    layout: Layout | None = None
    boxes: Boxes | None = None
    wanted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def are_files(self) -> bool:
        """Whether ``inputs`` are paths instead of values."""
        return self.inputs.ndim == 1 and not self.are_texts

    @property
    def are_texts(self) -> bool:
        """Whether ``inputs`` are texts."""
        return self.inputs.dtype == object

    def take(self, indices: np.ndarray | Sequence[int]) -> Self:
        """The examples at ``indices``, in that order."""
        return dataclasses.replace(
            self,
            inputs=self.inputs[indices],
            targets=self.targets[indices],
            plain=self.plain[indices] if len(self.plain) else self.plain,
            sizes=self.sizes[indices] if len(self.sizes) else self.sizes,
            origins=self.origins[indices] if len(self.origins) else self.origins,
            boxes=None if self.boxes is None else self.boxes[indices],
            wanted=None if self.wanted is None else self.wanted[indices],
        )

    @property
    def picture_sizes(self) -> np.ndarray:
        """(n, 2) height and width of every picture."""
        return self.sizes if self.are_files else np.tile(np.array(self.inputs.shape[1:3], np.int32), (len(self), 1))

    def read(self, index: int) -> Any:
        """One raw input: (height, width, channels) uint8, (columns,) float32, a text or its words."""
        if self.are_files:
            return pictures.read(self.inputs[index], self.channels)
        return self.inputs[index]

    def name(self, index: int, split: str) -> str:
        """The file of an example (and its line in a table), or which of its split it is."""
        if len(self.origins):
            return str(self.origins[index])
        return str(self.inputs[index]) if self.are_files else f"{split} example {index}"

    def describe(self, index: int) -> str:
        """The first cells of a row of a table, with the names of their columns, or the beginning of a text; nothing
        for pictures."""
        if self.are_texts:
            text = self.inputs[index] if isinstance(self.inputs[index], str) else " ".join(self.inputs[index])
            return textwrap.shorten(text, _LETTERS, placeholder=" ...")
        cells = []
        for column, value in list(zip(self.columns, self.inputs[index], strict=False))[:_TOLD]:
            if value != value:  # NaN
                told = "missing"
            elif column.categories is None:
                told = f"{value:.6g}"
            else:
                told = column.categories[int(value)] if value >= 0 else "some other value"
            cells.append(f"{column.name} {told}")
        return ", ".join(cells)


class Flaw(NamedTuple):
    """A label that cannot be used as it stands: it was left out, or cut off where the picture ends.

    Attributes:
        kind: ``zero area``, ``reversed corners``, ``outside the picture``, ``unknown class``, ``damaged label file``,
            ``label file without picture`` or ``picture without label file``.
        where: file and line.
        what: what stands there.
    """

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}{self.what and f' ({self.what})'}"


class Loaded(NamedTuple):
    """What a loader found.

    Attributes:
        parts: at least one of train, dev and test; one alone counts as train.
        labels: the classes; none for a regression.
        digest: SHA-256 of everything that was read.
        task: ``classification``, ``regression``, ``detection``, ``tagging``, ``language_model`` or
            ``sequence_to_sequence``.
        target: the name of what a regression predicts.
        notes: what a person should know of how the source was read.
        flaws: labels of boxes that cannot be used.
    """

    parts: Mapping[str, Examples]
    labels: tuple[str, ...]
    digest: str
    task: str = "classification"
    target: str = "target"
    notes: tuple[str, ...] = ()
    flaws: tuple[Flaw, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A source, split.

    Attributes:
        source: as it was written.
        labels: the classes; none for a regression.
        train, dev, test: the splits.
        hash: SHA-256 of everything that was read, before splitting.
        own_splits: the splits that the source brought itself; the others were drawn from its train.
        task: as :class:`Loaded` has it.
        target: the name of what a regression predicts.
        notes: what a person should know of how the source was read.
    """

    source: str
    labels: tuple[str, ...]
    train: Examples
    dev: Examples
    test: Examples
    hash: str
    own_splits: tuple[str, ...] = ()
    task: str = "classification"
    target: str = "target"
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of the pictures; 0 for rows."""
        return self.train.channels

    def splits(self) -> dict[str, Examples]:
        """Train, dev and test by name."""
        return {name: getattr(self, name) for name in SPLITS}


def split(source: str, loaded: Loaded, *, dev: float, test: float, seed: int) -> Data:
    """Completes the splits of a source: what it lacks is drawn from its train, stratified by class.

    A running text, which is one example, is cut: its beginning is train, then come dev and test.

    Args:
        source: as it was written.
        loaded: what its loader found.
        dev, test: fractions of the examples of train.
        seed: decides which examples.

    Raises:
        SourceError: there are fewer than 2 classes, or too few examples (of a class) to split.
    """
    labels = loaded.labels if loaded.task == "classification" else ()
    if loaded.task == "classification" and len(labels) < 2:
        raise SourceError(
            f"{source} has one class ({', '.join(labels) or 'none'}); a classifier needs at least 2. "
            "Put the examples of each class into a folder of its own, or give a label to each example."
        )
    parts = {"train": next(iter(loaded.parts.values()))} if len(loaded.parts) == 1 else dict(loaded.parts)
    if "train" not in parts:
        raise SourceError(f"{source} has {' and '.join(parts)} but no train split. Add one or name one file alone.")
    own = tuple(name for name in SPLITS if name in parts) if len(parts) > 1 else ()
    fractions = {name: size for name, size in (("test", test), ("dev", dev)) if name not in parts}
    total = len(parts["train"])
    if fractions and labels:
        _check_enough(source, parts["train"], labels, len(fractions) + 1)
    if fractions and loaded.task == "language_model" and total == 1:
        parts |= _cut(parts["train"], fractions, source)
        fractions = {}
    for name, fraction in fractions.items():
        draw = _draw if labels else _draw_any
        parts["train"], parts[name] = draw(parts["train"], round(fraction * total), seed, source)
    for name, part in parts.items():
        if not len(part):
            raise SourceError(f"the {name} split of {source} is empty. Give it examples or remove it.")
    return Data(
        source=source,
        labels=loaded.labels,
        train=parts["train"],
        dev=parts["dev"],
        test=parts["test"],
        hash=loaded.digest,
        own_splits=own,
        task=loaded.task,
        target=loaded.target,
        notes=loaded.notes,
    )


def join(parts: Sequence[Examples]) -> Examples:
    """All the examples of ``parts``, in that order."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("inputs", "targets", "plain", "sizes", "origins")
    }
    labelled = [part.boxes for part in parts if part.boxes is not None]
    wanted = [part.wanted for part in parts if part.wanted is not None]
    return dataclasses.replace(
        parts[0],
        **arrays,
        boxes=boxes.join(labelled) if labelled else None,
        wanted=np.concatenate(wanted) if wanted else None,
    )


def with_largest(data: Data) -> Data:
    """The same pictures, each with its largest object alone, and a note of how many had more."""
    parts, crowded = {}, 0
    for name, part in data.splits().items():
        assert part.boxes is not None
        kept = boxes.largest(part.boxes.wanted)
        crowded += int((part.boxes.wanted.counts > 1).sum())
        parts[name] = dataclasses.replace(part, boxes=kept, targets=kept.counts.astype(np.int32))
    notes = data.notes
    if crowded:
        total = sum(map(len, parts.values()))
        notes += (f"{crowded:,} of {total:,} pictures have more than one object: the largest counts.",)
    return dataclasses.replace(data, notes=notes, **parts)


def with_channels(examples: Examples, channels: int) -> Examples:
    """The same pictures with 1, 3 or 4 channels, by the rules of ``pictures.read``; rows as they are."""
    if examples.channels in (0, channels):
        return examples
    if examples.are_files:
        # TensorFlow decodes to RGB whatever is plain; of other channels a header would have to be looked at again
        plain = examples.plain if channels == 3 else np.zeros_like(examples.plain)
        return dataclasses.replace(examples, channels=channels, plain=plain)
    return dataclasses.replace(examples, inputs=pictures.convert(examples.inputs, channels), channels=channels)


def with_labels(examples: Examples, found: Sequence[str], wanted: Sequence[str], *, source: str) -> Examples:
    """The same examples, their targets indices into ``wanted`` instead of ``found``.

    Raises:
        SourceError: ``source`` has a class that is not among ``wanted``.
    """
    places = {label: place for place, label in enumerate(wanted)}
    unknown = [label for label in found if label not in places]
    if unknown:
        known = ", ".join(wanted[:_NAMED]) + (f" and {len(wanted) - _NAMED:,} more" if len(wanted) > _NAMED else "")
        raise SourceError(f"{source} has the class {unknown[0]!r}; the model knows {known}.")
    order = np.array([places[label] for label in found], np.int32)
    if examples.wanted is not None:
        return dataclasses.replace(examples, wanted=as_objects([order[tags] for tags in examples.wanted]))
    if examples.boxes is not None:
        return dataclasses.replace(
            examples, boxes=dataclasses.replace(examples.boxes, classes=order[examples.boxes.classes])
        )
    return dataclasses.replace(examples, targets=order[examples.targets])


def as_objects(values: Sequence[Any]) -> np.ndarray:
    """(n,) object array of ``values``, which NumPy does not look into."""
    return np.fromiter(values, object, len(values))


def _cut(whole: Examples, fractions: Mapping[str, float], source: str) -> dict[str, Examples]:
    """A running text in pieces, the end of which are ``fractions`` in the order of train, dev and test."""
    text = whole.inputs[0]
    ends, end = {}, len(text)
    for name in ("test", "dev"):
        if name in fractions:
            ends[name] = end
            end -= round(fractions[name] * len(text))
    pieces, begin = {}, 0
    for name, stop in (("train", end), *reversed(ends.items())):
        pieces[name] = dataclasses.replace(whole, inputs=as_objects([text[begin:stop]]))
        if stop - begin < _LEAST_TEXT:
            raise SourceError(
                f"{source} has {len(text):,} characters, which leaves {stop - begin} for {name}; at least "
                f"{_LEAST_TEXT} are needed. Add text."
            )
        begin = stop
    return pieces


def _check_enough(source: str, examples: Examples, labels: tuple[str, ...], needed: int) -> None:
    counts = np.bincount(examples.targets, minlength=len(labels))
    if counts.min() < needed:
        rarest = int(counts.argmin())
        raise SourceError(
            f"class {labels[rarest]!r} of {source} has {counts[rarest]} examples in train; "
            f"splitting by class needs at least {needed}. Add some, leave the class out, or bring dev and test."
        )


def _draw(examples: Examples, size: int, seed: int, source: str) -> tuple[Examples, Examples]:
    from sklearn.model_selection import train_test_split

    counts = np.bincount(examples.targets)
    classes = int(np.count_nonzero(counts))
    size = max(size, classes)  # one of each class at the least
    if len(examples) - size < classes or counts[counts > 0].min() < 2:
        raise SourceError(
            f"{source} has {len(examples)} examples of {classes} classes left to split, too few for one of each "
            "class on both sides. Add examples or bring your own dev and test."
        )
    kept, drawn = train_test_split(
        np.arange(len(examples)), test_size=size, random_state=seed, stratify=examples.targets
    )
    return examples.take(np.sort(kept)), examples.take(np.sort(drawn))


def _draw_any(examples: Examples, size: int, seed: int, source: str) -> tuple[Examples, Examples]:
    from sklearn.model_selection import train_test_split

    size = max(size, 1)
    if len(examples) <= size:
        raise SourceError(f"{source} has {len(examples)} examples left to split, too few. Add some.")
    kept, drawn = train_test_split(np.arange(len(examples)), test_size=size, random_state=seed)
    return examples.take(np.sort(kept)), examples.take(np.sort(drawn))
