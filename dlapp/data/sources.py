"""Sources by name: ``digits``, ``idx:DIR``, ``csv:FILE?target=COLUMN``, ... or a bare path."""

import dataclasses
import importlib
import shlex
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dlapp import pictures
from dlapp.data.columns import observed, recode
from dlapp.data.examples import SPLIT_NAMES, Data, Loaded, join, split, with_channels, with_largest
from dlapp.errors import SourceError, UnknownName
from dlapp.signature import Column

# scheme: (file of the loader, how it is written, what it is)
SOURCES: dict[str, tuple[str, str, str]] = {
    "digits": (
        "digits",
        "digits",
        "handwritten digits of 8 x 8, shipped inside scikit-learn; 1,797, or fewer: digits?classes=0,1,2",
    ),
    "breast_cancer": ("embedded", "breast_cancer", "569 tumours by 30 measurements: malignant or benign"),
    "diabetes": ("embedded", "diabetes", "442 patients by 10 measurements: progression after a year, a number"),
    "iris": ("embedded", "iris", "150 irises by 4 measurements: 3 species"),
    "wine": ("embedded", "wine", "178 wines by 13 measurements: 3 growers"),
    "shapes": ("shapes", "shapes", "discs, squares and triangles with boxes, drawn; shapes?objects=1&noise=0.3&seed=1"),
    "h5": ("hdf5", "h5:FILE", "the course's HDF5 layout: train_set_x, train_set_y, list_classes, test_set_x, ..."),
    "idx": ("idx", "idx:DIR", "MNIST's idx and idx.gz files"),
    "folder": ("folder", "folder:DIR", "one folder a class, with or without train/, val/ and test/ above"),
    "voc": ("voc", "voc:DIR", "pictures with boxes in the XML of PASCAL VOC and labelImg"),
    "yolo": ("yolo", "yolo:DIR", "pictures with boxes in YOLO's text files: data.yaml, or images/ and labels/"),
    "coco": ("coco", "coco:FILE", "pictures with boxes in COCO's JSON: instances_train2017.json, FILE.json?images=DIR"),
    "npz": ("npz", "npz:FILE", "NumPy arrays of pictures or rows: x_train, y_train, x_test, ... or x, y"),
    "tfds": (
        "tfds",
        "tfds:NAME",
        "a set of pictures or texts that tensorflow-datasets has prepared, as in tfds:mnist; see --data-dir",
    ),
    "pydoc": ("running_text", "pydoc", "the text of Python's own documentation topics, for a language model"),
    "pydoc_words": (
        "documentation_words",
        "pydoc_words",
        "sentences of Python's documentation, each word tagged code, term or text by its markup",
    ),
    "text": ("running_text", "text:FILE", "a running text, for a language model"),
    "lines": ("lines", "lines:FILE", "one sequence a line, such as names, for a language model"),
    "labelled": (
        "labelled",
        "labelled:FILE-or-DIR",
        "texts with a class: a table, one folder a class or one file a class",
    ),
    "conllu": ("conllu", "conllu:FILE", "words with tags, as in Universal Dependencies; conllu:FILE?column=xpos"),
    "pairs": ("pairs", "pairs:FILE", "source, tab, target: a text and what it is to become"),
    "dates": ("dates", "dates", "dates as people write them, and in ISO 8601; dates?examples=10000&seed=0"),
    "csv": ("table", "csv:FILE?target=COLUMN", "a table with numbers and categories, or a folder of train.csv, ..."),
}

# of what is embedded: where it comes from, and under which license others may use it
LICENSES: dict[str, str] = {
    "digits": "Alpaydin and Kaynak 1998, UCI Machine Learning Repository, CC BY 4.0",
    "breast_cancer": "Wolberg et al. 1993, UCI Machine Learning Repository, CC BY 4.0",
    "diabetes": "Efron et al. 2004; no license is stated",
    "iris": "Fisher 1936, UCI Machine Learning Repository, CC BY 4.0",
    "wine": "Aeberhard and Forina 1992, UCI Machine Learning Repository, CC BY 4.0",
    "shapes": "drawn by dlapp from a seed: nobody's",
    "dates": "made by dlapp from a seed: nobody's",
    "pydoc": "Python Software Foundation, PSF License Version 2",
    "pydoc_words": "Python Software Foundation, PSF License Version 2",
}
# embedded sources that take options, with an example
_WITH_OPTIONS = {"digits": "digits?classes=0,1,2", "shapes": "shapes?objects=1", "dates": "dates?seed=1"}
_TEXTS = ("text", "lines", "labelled", "conllu", "pairs")  # whose files have an encoding
_SUFFIXES = {
    **{".h5": "h5", ".hdf5": "h5", ".npz": "npz", ".csv": "csv", ".tsv": "csv"},
    **{".yaml": "yolo", ".yml": "yolo", ".json": "coco", ".conllu": "conllu", ".txt": "text"},
}


def load(
    source: str,
    *,
    dev: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    own: bool = True,
    channels: int | None = None,
    columns: Sequence[Column] | None = None,
    flawed: Literal["refuse", "skip"] = "refuse",
    single: bool = False,
) -> Data:
    """Reads a source into train, dev and test.

    Splits that the source brings are used; the others are drawn from its train, stratified by class.
    Arrays are read into memory; picture files are hashed, and decoded later.

    Args:
        source: ``scheme:rest``, or a path that is recognised by what it holds.
        dev, test: fractions of the examples, where the source has no such split.
        seed: decides which examples.
        own: False joins the splits that the source brings and draws all of them anew.
        channels: 1, 3 or 4 for pictures: grey is repeated, RGB becomes grey by the luma of ITU-R 601, transparent
            parts are laid on white. Where it is None arrays keep theirs and files have 1 if all are grey, else 3.
        columns: of a table, as a model knows them; those of its train where it is None.
        flawed: labels of boxes that cannot be used as they stand are an error, or left out with a note.
        single: the largest object of each picture alone; a source that draws them draws one.

    Raises:
        UnknownName: the scheme is unknown.
        SourceError: the source cannot be read or does not hold what it should.
    """
    loaded = read(source, channels=channels, columns=columns, single=single)
    if loaded.flaws:
        loaded = _leave_out(source, loaded, flawed)
    if not own:
        loaded = loaded._replace(parts={"train": join(list(loaded.parts.values()))})
    data = split(source, loaded, dev=dev, test=test, seed=seed)
    if data.train.boxes is not None and not len(data.train.boxes.corners):
        raise SourceError(f"train of {source} has no object in {len(data.train)} pictures: add labels, or repair them.")
    if single and data.task == "detection":
        return with_largest(data)
    if not data.train.columns:
        return data
    try:
        known = observed(data.train) if columns is None else columns
        parts = {name: recode(part, known) for name, part in data.splits().items()}
    except SourceError as error:
        raise SourceError(f"{source}: {error}") from error
    return dataclasses.replace(data, **parts)


def read(
    source: str,
    *,
    channels: int | None = None,
    columns: Sequence[Column] | None = None,
    unreadable: list[str] | None = None,
    single: bool = False,
) -> Loaded:
    """What a source holds, in the splits that it brings itself, none of them drawn.

    Args:
        source: as for :func:`load`.
        channels, columns: as for :func:`load`.
        unreadable: takes the reasons why files cannot be used, which are then left out; without it they are
            an error.
        single: as for :func:`load`.

    Raises:
        UnknownName: the scheme is unknown.
        SourceError: the source cannot be read or does not hold what it should.
    """
    scheme, rest = parse(source)
    module = importlib.import_module(f"dlapp.data.{SOURCES[scheme][0]}")
    if scheme == "shapes":
        loaded = module.load(rest, single=single)
    elif scheme in ("folder", "tfds", "voc", "yolo", "coco"):
        loaded = module.load(rest, channels=channels, unreadable=unreadable)
    elif scheme == "csv":
        loaded = module.load(rest, known=columns)
    else:  # what is embedded and takes no options is known by its name
        loaded = module.load(rest if rest or scheme in _WITH_OPTIONS else scheme)
    if channels is None:
        return loaded
    return loaded._replace(parts={name: with_channels(part, channels) for name, part in loaded.parts.items()})


def parse(source: str) -> tuple[str, str]:
    """``"idx:DIR"`` -> ``("idx", "DIR")``; a bare path gets the scheme of what it holds.

    Raises:
        UnknownName: the scheme, or the name of an embedded set, is unknown.
        SourceError: nothing is there, or the scheme needs a path.
    """
    if not source:
        raise SourceError("a source must be named: `dlapp list sources` explains them.")
    name, _, options = source.partition("?")
    if name in _WITH_OPTIONS:
        return name, options
    scheme, colon, rest = source.partition(":")
    if scheme in SOURCES:
        needs_path = ":" in SOURCES[scheme][1]
        if needs_path and not rest:
            raise SourceError(f"{scheme} needs a path: write {SOURCES[scheme][1]}; got {source!r}.")
        if not needs_path and colon:
            more = f", or options as in {_WITH_OPTIONS[scheme]}" if scheme in _WITH_OPTIONS else ""
            raise SourceError(f"{scheme} takes nothing after its name{more}; got {source!r}.")
        return scheme, rest
    path = Path(source.partition("?")[0])
    if path.exists():
        return _recognise(path), source
    if colon or not any(mark in source for mark in "/\\."):
        raise UnknownName("source", scheme if colon else source, SOURCES, remedy="`dlapp list sources` explains them.")
    raise SourceError(f"{source} does not exist. A source is written scheme:rest or is a path that exists.")


def with_encoding(source: str, encoding: str | None) -> str:
    """``text:FILE?encoding=NAME``, which a recipe repeats; the source itself where ``encoding`` is None.

    Raises:
        SourceError: it is no source of texts, or names an encoding already.
    """
    if encoding is None:
        return source
    place, mark, options = source.partition("?")
    if parse(source)[0] not in _TEXTS or "encoding" in urllib.parse.parse_qs(options):
        known = ", ".join(f"{scheme}:" for scheme in _TEXTS)
        raise SourceError(f"--encoding is of files of text: it goes with {known}; got {source}.")
    return f"{place}?{options}{'&' if mark else ''}encoding={urllib.parse.quote(encoding)}"


def with_data_dir(source: str, data_dir: str | None) -> str:
    """``tfds:NAME?data_dir=PATH``, which a recipe repeats; the source itself where ``data_dir`` is None.

    Raises:
        SourceError: it is no set of tensorflow-datasets, or names a folder already.
    """
    if data_dir is None:
        return source
    name, mark, options = source.partition("?")
    if not name.startswith("tfds:") or "data_dir" in urllib.parse.parse_qs(options):
        raise SourceError(
            f"--data-dir is where a set of tensorflow-datasets lies: it goes with tfds:NAME; got {source}."
        )
    return f"{name}?{options}{'&' if mark else ''}data_dir={urllib.parse.quote(data_dir, safe='/~:')}"


def _leave_out(source: str, loaded: Loaded, flawed: Literal["refuse", "skip"]) -> Loaded:
    """What was loaded, with a note on the labels that are flawed.

    Raises:
        SourceError: they are refused.
    """
    count = len(loaded.flaws)
    if flawed == "refuse":
        labels = "1 label is flawed" if count == 1 else f"{count:,} labels are flawed"
        raise SourceError(
            f"{pictures.name_some([str(flaw) for flaw in loaded.flaws])}\n{labels}: repair them (`dlapp check "
            f"{shlex.quote(source)}` lists all), or leave them out: --set detection.flawed=skip"
        )
    kinds = Counter(flaw.kind for flaw in loaded.flaws)
    told = ", ".join(f"{kind} {times:,}" for kind, times in kinds.most_common())
    return loaded._replace(notes=(*loaded.notes, f"flawed labels are left out, or cut off at the edge: {told}"))


def _recognise(path: Path) -> str:
    if path.is_dir():
        if any(path.glob("*idx*-ubyte*")):
            return "idx"
        if any((path / name).is_file() for name in ("data.yaml", "data.yml")) or (
            (path / "images").is_dir() and (path / "labels").is_dir()
        ):
            return "yolo"
        if any(any(place.glob("instances_*.json")) for place in (path, path / "annotations")):
            return "coco"
        if _holds_xml(path) or any(_holds_xml(child) for child in path.iterdir() if child.name.lower() in SPLIT_NAMES):
            return "voc"
        if any(path.glob("*.conllu")):
            return "conllu"
        if any(path.rglob("*.txt")) and not pictures.below(path):
            return "labelled"
        return "csv" if any(path.glob("*.csv")) and not any(child.is_dir() for child in path.iterdir()) else "folder"
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    raise SourceError(
        f"{path} is not recognised as a source by its name. Write {', '.join(how for _, how, _ in SOURCES.values())}."
    )


def _holds_xml(folder: Path) -> bool:
    """Whether annotations of VOC are there, in the places where they are usual."""
    return any(any(folder.glob(pattern)) for pattern in ("*.xml", "[Aa]nnotations/**/*.xml"))
