"""What all sources of texts have in common: options, files by split, and their lines."""

import hashlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlapp import texts
from dlapp.data.examples import SPLIT_NAMES, SPLITS, Examples, as_objects
from dlapp.errors import SourceError, UnknownName
from dlapp.files import sha256


class Line(NamedTuple):
    """A line of a file, without its end.

    Attributes:
        where: file and number, as ``names.txt:3``.
    """

    where: str
    text: str


def parse_options(rest: str, known: Mapping[str, str], *, source: str) -> tuple[str, dict[str, str]]:
    """What stands before a question mark, and the options behind it.

    Args:
        rest: such as ``FILE?encoding=latin-1``.
        known: options and what each is where it is left out.
        source: the scheme, for errors.

    Raises:
        UnknownName: there is no such option.
        SourceError: an option is there twice, or has no value.
    """
    place, _, query = rest.partition("?")
    options = dict(known)
    for name, values in urllib.parse.parse_qs(query, keep_blank_values=True).items():
        if name not in known:
            raise UnknownName(f"option of {source}", name, known)
        if len(values) > 1 or not values[0]:
            raise SourceError(f"{source} takes one {name}; got {query!r}.")
        options[name] = values[0]
    return place, options


def files_by_split(place: str, suffixes: Sequence[str], *, source: str) -> dict[str, list[Path]]:
    """The files of a source: one, several with commas between, or those of a folder.

    Where all their names tell of a split, such as ``en-ud-train.conllu``, they are those of that split; where none
    does they are all of train.

    Raises:
        SourceError: there is none, or some tell of a split and others do not.
    """
    paths = [Path(part) for part in place.split(",")]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
        if not paths:
            raise SourceError(f"{folder} holds no {' or '.join(suffixes)} files; {source} reads these.")
    if len(paths) == 1:
        return {"train": paths}
    splits = [split_of(path) for path in paths]
    if not any(splits):
        return {"train": paths}
    if not all(splits):
        other = paths[splits.index(None)]
        raise SourceError(
            f"{other} tells of no split by its name, other files of {place} do: call it train, dev or test, or name "
            "the files one by one."
        )
    return {
        name: [path for path, split in zip(paths, splits, strict=True) if split == name]
        for name in SPLITS
        if name in splits
    }


def split_of(path: Path) -> str | None:
    """The split that a file's name tells of, ``train-00`` or ``en_test``; None where it tells of none."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((SPLIT_NAMES[word] for word in reversed(words) if word in SPLIT_NAMES), None)


def lines_of(path: Path, encoding: str) -> Iterator[Line]:
    """The lines of a file.

    Raises:
        SourceError: it cannot be read, or is empty.
    """
    for number, line in enumerate(texts.read(path, encoding).split("\n"), start=1):
        yield Line(f"{path}:{number}", line)


def digest_of(by_split: Mapping[str, Sequence[Path]]) -> str:
    """SHA-256 of the names and contents of files."""
    digest = hashlib.sha256()
    for split in sorted(by_split):
        for path in by_split[split]:
            digest.update(f"{split} {path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()


def text_examples(
    inputs: Sequence[str | tuple[str, ...]],
    *,
    targets: Sequence[int] | None = None,
    wanted: Sequence[object] | None = None,
    origins: Sequence[str] = (),
) -> Examples:
    """Examples whose inputs are texts, or words."""
    return Examples(
        as_objects(inputs),
        np.zeros(len(inputs), np.int32) if targets is None else np.array(targets, np.int32),
        channels=0,
        wanted=None if wanted is None else as_objects(wanted),
        origins=np.array(origins, str),
    )
