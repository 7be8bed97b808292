"""Picture files: one folder a class, with or without ``train/``, ``val/`` and ``test/`` above.

Every file is read once, for its header and the hash of the source, but none is decoded or kept: a set
may be far larger than memory.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlapp import pictures
from dlapp.data.examples import SPLIT_NAMES, Examples, Loaded
from dlapp.data.parallel import map_files
from dlapp.errors import SourceError, UnreadablePicture
from dlapp.files import sha256


def load(rest: str, *, channels: int | None = None, unreadable: list[str] | None = None) -> Loaded:
    """Lists the pictures below a folder, looks at the header of each and hashes them all.

    Args:
        rest: the folder.
        channels: 1, 3 or 4; where it is None, 1 if every picture is grey, else 3.
        unreadable: takes the reasons why files are no pictures, which are then left out.

    Raises:
        SourceError: there are no classes, one is empty, or files are no pictures.
    """
    root = Path(rest)
    if not root.is_dir():
        raise SourceError(f"{rest} is not a folder.")
    tops = _subfolders(root)
    by_name = find_splits(root)
    if by_name and len(by_name) < len(tops):
        split_tops = sorted(by_name.values())
        others = ", ".join(top.name for top in tops if top not in split_tops)
        raise SourceError(
            f"{rest} mixes splits ({', '.join(top.name for top in split_tops)}) and other folders ({others}). "
            "Put every class below a split, or have no splits."
        )
    by_split = {split: _list_classes(top) for split, top in (by_name or {"train": root}).items()}
    first = by_split.get("train") or next(iter(by_split.values()))
    labels = tuple(first)
    for split, classes in by_split.items():
        unknown = sorted(set(classes) - set(labels))
        if unknown:
            raise SourceError(f"class {unknown[0]!r} is in the {split} split of {rest} but not in its train split.")
    return read_headers(root, by_split, labels, channels, unreadable)


def find_splits(root: Path) -> dict[str, Path]:
    """The folders below ``root`` that are called train, val, test or the like, by split.

    Raises:
        SourceError: two are of one split.
    """
    found: dict[str, Path] = {}
    for folder in _subfolders(root):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split in found:
            raise SourceError(f"{root} has two folders for the {split} split. Merge them.")
        if split is not None:
            found[split] = folder
    return found


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _list_classes(top: Path) -> dict[str, list[Path]]:
    folders = _subfolders(top)
    if not folders:
        raise SourceError(f"{top} must hold one folder for each class, with the pictures of the class in it.")
    classes = {}
    for folder in folders:
        files = pictures.below(folder)
        if not files:
            raise SourceError(
                f"class {folder.name!r} has no pictures: {folder} holds no {', '.join(sorted(pictures.SUFFIXES))}. "
                "Fill the folder or remove it."
            )
        classes[folder.name] = files
    return classes


def read_headers(
    root: Path,
    by_split: dict[str, dict[str, list[Path]]],
    labels: Sequence[str],
    channels: int | None,
    tolerated: list[str] | None,
) -> Loaded:
    """Examples from the files of each class of each split; as :func:`load`.

    Args:
        root: names in the hash are below it.
        by_split: split: class: files.
        labels: the classes.
        channels, tolerated: as for :func:`load`, whose ``unreadable`` is ``tolerated`` here.
    """
    places = {label: place for place, label in enumerate(labels)}
    files = {split: [path for found in classes.values() for path in found] for split, classes in by_split.items()}
    targets = {
        split: np.array([places[label] for label, found in classes.items() for _ in found], np.int32)
        for split, classes in by_split.items()
    }
    numbered, digest = examine(root, files, channels, tolerated)
    parts = {split: dataclasses.replace(part, targets=targets[split][part.targets]) for split, part in numbered.items()}
    return Loaded(parts, tuple(labels), digest)


def examine(
    root: Path, files: Mapping[str, Sequence[Path]], channels: int | None, tolerated: list[str] | None
) -> tuple[dict[str, Examples], str]:
    """Looks at the header of every file and hashes it.

    Args:
        root: names in the hash are below it, or relative to it.
        files: by split.
        channels, tolerated: as for :func:`read_headers`.

    Returns:
        Examples whose targets are their places in ``files``, those that are no pictures left out; and the SHA-256.

    Raises:
        SourceError: files are no pictures.
    """
    digest = hashlib.sha256()
    unreadable: list[str] = []
    listed: dict[str, list[tuple[Path, int, pictures.Header]]] = {split: [] for split in files}
    every = [(split, place, path) for split, paths in files.items() for place, path in enumerate(paths)]
    looked_at = map_files(_look_at, [path for _, _, path in every])
    for (split, place, path), (header, content) in zip(every, looked_at, strict=True):
        if header is None:
            unreadable.append(content)
            continue
        digest.update(f"{relative(path, root)} {content}\n".encode())
        listed[split].append((path, place, header))
    if tolerated is not None:
        tolerated += unreadable
    elif unreadable:
        raise SourceError(
            pictures.name_some(unreadable)
            + f"\n{len(unreadable)} of the files in {root} cannot be used: repair or remove them."
        )
    if channels is None:
        grey = all(header.channels == 1 for found in listed.values() for _, _, header in found)
        channels = 1 if grey else 3
    parts = {
        split: Examples(
            inputs=np.array([str(path) for path, _, _ in found]),
            targets=np.array([place for _, place, _ in found], np.int32),
            channels=channels,
            plain=np.array([header.plain and channels in (header.channels, 3) for _, _, header in found], bool),
            sizes=np.array([(header.height, header.width) for _, _, header in found], np.int32).reshape(-1, 2),
        )
        for split, found in listed.items()
    }
    return parts, digest.hexdigest()


def relative(path: Path, root: Path) -> str:
    """The name of a file as it counts in a hash, the same wherever ``root`` lies."""
    return Path(os.path.relpath(path, root)).as_posix()


def _look_at(path: Path) -> tuple[pictures.Header | None, str]:
    """The header and the SHA-256 of a file; or None, and why it is no picture."""
    try:
        return pictures.read_header(path), sha256(path)
    except UnreadablePicture as error:
        return None, str(error)
