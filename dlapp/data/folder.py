"""Picture files: one folder a class, with or without ``train/``, ``val/`` and ``test/`` above.

Every file is read once, for its header and the hash of the source, but none is decoded or kept: a set
may be far larger than memory.
"""

import hashlib
from collections.abc import Sequence
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
    split_tops = [top for top in tops if top.name.lower() in SPLIT_NAMES]
    if split_tops and len(split_tops) < len(tops):
        others = ", ".join(top.name for top in tops if top not in split_tops)
        raise SourceError(
            f"{rest} mixes splits ({', '.join(top.name for top in split_tops)}) and other folders ({others}). "
            "Put every class below a split, or have no splits."
        )
    by_split: dict[str, dict[str, list[Path]]] = {}
    for top in split_tops or [root]:
        split = SPLIT_NAMES[top.name.lower()] if split_tops else "train"
        if split in by_split:
            raise SourceError(f"{rest} has two folders for the {split} split. Merge them.")
        by_split[split] = _list_classes(top)
    first = by_split.get("train") or next(iter(by_split.values()))
    labels = tuple(first)
    for split, classes in by_split.items():
        unknown = sorted(set(classes) - set(labels))
        if unknown:
            raise SourceError(f"class {unknown[0]!r} is in the {split} split of {rest} but not in its train split.")
    return read_headers(root, by_split, labels, channels, unreadable)


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
    digest = hashlib.sha256()
    unreadable: list[str] = []
    listed: dict[str, tuple[list[Path], list[int], list[pictures.Header]]] = {split: ([], [], []) for split in by_split}
    places = {label: place for place, label in enumerate(labels)}
    every = [
        (split, places[label], path)
        for split, classes in by_split.items()
        for label, files in classes.items()
        for path in files
    ]
    looked_at = map_files(_look_at, [path for _, _, path in every])
    for (split, label, path), (header, content) in zip(every, looked_at, strict=True):
        if header is None:
            unreadable.append(content)
            continue
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
        for column, value in zip(listed[split], (path, label, header), strict=True):
            column.append(value)  # pyright: ignore[reportArgumentType]
    if tolerated is not None:
        tolerated += unreadable
    elif unreadable:
        raise SourceError(
            pictures.name_some(unreadable)
            + f"\n{len(unreadable)} of the files in {root} cannot be used: repair or remove them."
        )
    if channels is None:
        grey = all(header.channels == 1 for _, _, headers in listed.values() for header in headers)
        channels = 1 if grey else 3
    parts = {
        split: Examples(
            inputs=np.array([str(path) for path in files]),
            targets=np.array(targets, np.int32),
            channels=channels,
            plain=np.array([header.plain and channels in (header.channels, 3) for header in headers], bool),
            sizes=np.array([(header.height, header.width) for header in headers], np.int32).reshape(-1, 2),
        )
        for split, (files, targets, headers) in listed.items()
    }
    return Loaded(parts, tuple(labels), digest.hexdigest())


def _look_at(path: Path) -> tuple[pictures.Header | None, str]:
    """The header and the SHA-256 of a file; or None, and why it is no picture."""
    try:
        return pictures.read_header(path), sha256(path)
    except UnreadablePicture as error:
        return None, str(error)
