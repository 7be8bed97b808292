"""Files and folders that are whole or absent: written beside their place, then renamed into it."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlapp.errors import AlreadyExists, DlappError, UnknownName


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside ``path`` to write a file to; it takes the place of ``path`` on success.

    The temporary name keeps the suffix, which Keras and matplotlib read as the format. Whatever
    happens inside (a full disk, Ctrl-C), ``path`` is either as it was or complete.
    """
    beside = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``folder`` to fill; it takes the place of ``folder`` on success."""
    import tempfile  # here and below: predicting imports this file, and never writes

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.part-") as scratch:
        filled = Path(scratch) / "new"
        filled.mkdir()
        yield filled
        old = Path(scratch) / "old"
        try:
            if folder.exists():
                folder.replace(old)
            filled.replace(folder)
        except BaseException:  # Ctrl-C too: with the scratch folder the old one would go
            if old.exists() and not folder.exists():
                old.replace(folder)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` in UTF-8, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system has no hard links."""
    import shutil

    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def next_free(path: Path, *, suffix: str = "") -> Path:
    """``path`` itself, or the first of ``path-2``, ``path-3``, ... that is not taken; ``suffix`` follows."""
    candidate, number = path.with_name(path.name + suffix), 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}{suffix}")
    return candidate


def below(root: Path, name: str) -> Path:
    """``root / name``.

    Raises:
        DlappError: ``name`` is not the name of a folder, but a path, hidden or empty.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise DlappError(f"a name is one word without slashes, the name of a folder below {root}/; got {name!r}.")
    return root / name


def find_folder(name: str, *, kind: str, root: str, holds: str) -> Path:
    """The folder called ``name``, as a path or below ``root``.

    Args:
        name: a folder, or the name of a folder below ``root``.
        kind: what it is, for the error: ``"model"`` or ``"bundle"``.
        root: ``"models"`` or ``"export"``, below the working directory.
        holds: a file that makes the folder what it is said to be.

    Raises:
        UnknownName: there is no such folder; the nearest names below ``root`` are suggested.
    """
    places = [Path(name), Path(root) / name]
    for folder in places:
        if (folder / holds).is_file():
            return folder
    remedy = "".join(f"{folder} has no {holds}." for folder in places if folder.is_dir())
    known = [found.parent.name for found in Path(root).glob(f"*/{holds}")]
    raise UnknownName(kind, name, known, remedy=remedy)


@contextlib.contextmanager
def moved_aside(folder: Path, *, holds: str) -> Iterator[None]:
    """Makes room for another ``folder``; the old one comes back if the block fails, and is removed else.

    After Ctrl-C the new one stays, since an interrupted run can be resumed.

    Raises:
        AlreadyExists: the folder does not hold the file ``holds``, so dlapp did not write it.
    """
    import shutil

    if not folder.exists():
        yield
        return
    if not (folder / holds).is_file():
        raise AlreadyExists(f"{folder} was not written by dlapp (it has no {holds}): move it away first.")
    aside = next_free(folder.with_name(f".{folder.name}.old"))
    folder.replace(aside)
    try:
        yield
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)  # if that fails too, the old one is still aside
        raise
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)
