"""Sources by name: ``digits``, ``idx:DIR``, ``h5:FILE``, ``folder:DIR``, ``npz:FILE`` or a bare path."""

import importlib
from pathlib import Path

from dlapp.data.examples import Data, split
from dlapp.errors import SourceError, UnknownName

# scheme: (file of the loader, how it is written, what it is)
SOURCES: dict[str, tuple[str, str, str]] = {
    "digits": ("embedded", "digits", "1,797 handwritten digits of 8 x 8, shipped inside scikit-learn"),
    "h5": ("hdf5", "h5:FILE", "the course's HDF5 layout: train_set_x, train_set_y, list_classes, test_set_x, ..."),
    "idx": ("idx", "idx:DIR", "MNIST's idx and idx.gz files"),
    "folder": ("folder", "folder:DIR", "one folder a class, with or without train/, val/ and test/ above"),
    "npz": ("npz", "npz:FILE", "NumPy arrays of pictures or rows: x_train, y_train, x_test, ... or x, y"),
}


def load(source: str, *, dev: float = 0.15, test: float = 0.15, seed: int = 0, channels: int | None = None) -> Data:
    """Reads a source into train, dev and test.

    Splits that the source brings are used; the others are drawn from its train, stratified by class.
    Arrays are read into memory; picture files are hashed, and decoded later.

    Args:
        source: ``scheme:rest``, or a path that is recognised by what it holds.
        dev, test: fractions of the examples, where the source has no such split.
        seed: decides which examples.
        channels: 1, 3 or 4 for picture files; the most that any of them needs where it is None, with
            transparent parts laid on white.

    Raises:
        UnknownName: the scheme is unknown.
        SourceError: the source cannot be read or does not hold what it should.
    """
    scheme, rest = parse(source)
    module = importlib.import_module(f"dlapp.data.{SOURCES[scheme][0]}")
    options = {"channels": channels} if scheme == "folder" else {}
    parts, labels, digest = module.load(rest, **options)
    return split(source, parts, labels, digest, dev=dev, test=test, seed=seed)


def parse(source: str) -> tuple[str, str]:
    """``"idx:DIR"`` -> ``("idx", "DIR")``; a bare path gets the scheme of what it holds.

    Raises:
        UnknownName: the scheme, or the name of an embedded set, is unknown.
        SourceError: nothing is there, or the scheme needs a path.
    """
    if not source:
        raise SourceError("a source must be named: `dlapp list sources` explains them.")
    scheme, colon, rest = source.partition(":")
    if scheme in SOURCES:
        needs_path = ":" in SOURCES[scheme][1]
        if needs_path and not rest:
            raise SourceError(f"{scheme} needs a path: write {SOURCES[scheme][1]}; got {source!r}.")
        if not needs_path and colon:
            raise SourceError(f"{scheme} takes nothing after its name; got {source!r}.")
        return scheme, rest
    path = Path(source)
    if path.exists():
        return _recognise(path), source
    if colon or not any(mark in source for mark in "/\\."):
        raise UnknownName("source", scheme if colon else source, SOURCES, remedy="`dlapp list sources` explains them.")
    raise SourceError(f"{source} does not exist. A source is written scheme:rest or is a path that exists.")


def _recognise(path: Path) -> str:
    if path.is_dir():
        return "idx" if any(path.glob("*idx*-ubyte*")) else "folder"
    suffixes = {".h5": "h5", ".hdf5": "h5", ".npz": "npz"}
    if path.suffix.lower() in suffixes:
        return suffixes[path.suffix.lower()]
    raise SourceError(
        f"{path} is not recognised as a source by its name. Write {', '.join(how for _, how, _ in SOURCES.values())}."
    )
