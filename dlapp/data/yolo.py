"""Boxes in text files as YOLO's trainers read them: class, centre x and y, width, height, a line an object.

The layout is that of Ultralytics: https://docs.ultralytics.com/datasets/detect/
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dlapp import pictures
from dlapp.data.annotated import Object, Picture, assemble, read_number
from dlapp.data.examples import Flaw, Loaded
from dlapp.data.folder import find_splits
from dlapp.data.parallel import map_files
from dlapp.errors import SourceError

_KEYS = {"train": "train", "val": "dev", "test": "test"}  # of data.yaml
_NAME_FILES = ("classes.txt", "obj.names")
_MOST_CLASSES = 10_000  # without names
_NAMED = 5  # label files in a note


class Config(NamedTuple):
    """What a data.yaml or a folder says.

    Attributes:
        root: names in the hash are relative to it.
        entries: by split: folders of pictures, and text files that list some.
        names: of the classes; None where they are not said.
        files: that were read for this.
        notes: what a person should know of it.
    """

    root: Path
    entries: dict[str, list[Path]]
    names: list[str] | None
    files: list[Path]
    notes: list[str]


class _Row(NamedTuple):
    """An object of a label file: the number of its class, y1, x1, y2, x2 as fractions, and its line."""

    number: int
    corners: tuple[float, float, float, float]
    line: int
    is_polygon: bool


class _Read(NamedTuple):
    """What a label file says; None where there is no file or it cannot be read."""

    rows: tuple[_Row, ...] | None = ()
    flaws: tuple[Flaw, ...] = ()


def load(rest: str, *, channels: int | None = None, unreadable: list[str] | None = None) -> Loaded:
    """Reads ``FILE.yaml``, a folder that holds one, or a folder with ``images`` and ``labels``.

    The YAML file has ``train``, ``val`` and ``test``, each a folder, a list of folders or a .txt file that lists
    pictures, relative to ``path``, and ``names``. The labels of ``images/a.jpg`` are in ``labels/a.txt``, those of
    pictures that lie in no folder called images beside them. Without a YAML file the names are in ``classes.txt`` or
    ``obj.names``, or else class0, class1, ...; and train, val and test are folders within images or above it.

    A picture without a label file, or with an empty one, has no objects. Of a polygon (the rows of segmentation) the
    box around it is taken. Where val is not there, or is train itself, it is left to be drawn from train.

    Args:
        rest: the file or folder.
        channels: 1, 3 or 4; where it is None, 1 if every picture is grey, else 3.
        unreadable: takes the reasons why files are no pictures, which are then left out.

    Raises:
        SourceError: the YAML file or its train cannot be read, or files are no pictures.
    """
    config = _configure(Path(rest))
    flaws: list[Flaw] = []
    listed = {split: _list_pictures(entries, config.root, flaws) for split, entries in config.entries.items()}
    if not listed["train"]:
        raise SourceError(f"train of {rest} has no pictures: {', '.join(map(str, config.entries['train']))} is empty.")
    notes = list(config.notes)
    if set(listed.get("dev", ())) == set(listed["train"]):
        del listed["dev"]
        notes.append("val is the same as train, so it says nothing new: dev is drawn from train instead")
    every = list(dict.fromkeys(path for paths in listed.values() for path in paths))
    label_files = {path: label_path(path) for path in every}
    read = dict(zip(every, map_files(_read, label_files.values()), strict=True))
    names = config.names
    if names is None:
        most = max((row.number for content in read.values() for row in content.rows or ()), default=-1)
        if most >= _MOST_CLASSES:
            raise SourceError(f"{rest} has labels of class {most} and names no classes: write them into classes.txt.")
        names = [f"class{number}" for number in range(most + 1)]
    by_split = {}
    for split, paths in listed.items():
        by_split[split] = [
            Picture(path, _name_objects(content.rows or (), names, label_files[path], flaws))
            for path in paths
            if (content := read[path]).rows is not None or not content.flaws
        ]
    there = [file for file in label_files.values() if file.is_file()]
    notes += _tell(read, label_files, config)
    return assemble(
        config.root,
        by_split,
        names,
        units="fractions",
        label_files=[*there, *config.files],
        flaws=[*flaws, *(flaw for content in read.values() for flaw in content.flaws)],
        notes=notes,
        channels=channels,
        unreadable=unreadable,
    )


def label_path(path: Path) -> Path:
    """Where the labels of a picture are: the last folder called images in its path is labels, the suffix .txt."""
    parts = list(path.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def find_yaml(folder: Path) -> Path | None:
    """data.yaml, or the only YAML file in a folder; None where there is none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    chosen = [path for path in found if path.stem == "data"] or found
    if len(chosen) > 1:
        raise SourceError(
            f"{folder} holds {', '.join(path.name for path in chosen)}: name one, as in yolo:{chosen[0]}."
        )
    return chosen[0] if chosen else None


def _configure(path: Path) -> Config:
    if path.is_file():
        return _from_yaml(path)
    if not path.is_dir():
        raise SourceError(f"{path} does not exist. Name a data.yaml, or a folder that holds one, or images and labels.")
    file = find_yaml(path)
    return _from_yaml(file) if file is not None else _from_folder(path)


def _from_yaml(file: Path) -> Config:
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{file} cannot be read as YAML: {reason}. Repair it.") from error
    if not isinstance(content, dict) or "train" not in content:
        raise SourceError(f"{file} must have train: and names:, as data.yaml of a YOLO set has. Add them.")
    path = str(content.get("path") or ".")
    bases = [file.parent / path, *([Path(path)] if "path" in content else []), file.parent]
    entries: dict[str, list[Path]] = {}
    notes = []
    for key, split in _KEYS.items():
        named = content.get(key)
        if not named:
            continue
        wanted = [str(entry) for entry in (named if isinstance(named, list) else [named])]
        found = [_find(entry, bases) for entry in wanted]
        absent = [entry for entry, place in zip(wanted, found, strict=True) if place is None]
        if absent and split == "train":
            raise SourceError(f"train of {file} is {absent[0]}, which is not there: looked below {bases[0]}.")
        if absent:
            what = "is drawn" if len(absent) == len(wanted) else "is what is there"
            notes.append(f"{key} of {file} is {absent[0]}, which is not there: {split} {what}")
        if there := [place for place in found if place is not None]:
            entries[split] = there
    return Config(file.parent, entries, _read_names(file, content), [file], notes)


def _find(entry: str, bases: Sequence[Path]) -> Path | None:
    """What an entry of data.yaml means; of ``../train/images`` the first two dots may be one folder too many."""
    for name in (entry, entry.removeprefix("../")):
        for base in bases:
            if (base / name).exists():
                return base / name
    return None


def _read_names(file: Path, content: Mapping[str, Any]) -> list[str] | None:
    names, count = content.get("names"), content.get("nc")
    if names is None and isinstance(count, int):
        return [f"class{number}" for number in range(count)]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            told = ", ".join(map(str, names))
            raise SourceError(f"names of {file} must be numbered from 0 to {len(names) - 1}; got {told}.")
        names = [names[number] for number in range(len(names))]
    if names is None:
        return None
    if not isinstance(names, list) or not names:
        raise SourceError(f"names of {file} must be a list of the classes; got {names!r}.")
    if isinstance(count, int) and count != len(names):
        raise SourceError(f"{file} has nc: {count}, but {len(names)} names. Correct one of them.")
    return _check_names(file, [str(name) for name in names])


def _check_names(file: Path, names: list[str]) -> list[str]:
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise SourceError(f"the class names of {file} must differ; {twice!r} stands there twice.")
    return names


def _from_folder(root: Path) -> Config:
    image_folder = root / "images"
    tops = find_splits(image_folder) if image_folder.is_dir() else find_splits(root)
    entries = {split: [top] for split, top in tops.items()}
    if "train" not in entries and len(entries) != 1:
        if entries:
            raise SourceError(f"{root} has {' and '.join(entries)} but no train. Add it.")
        entries = {"train": [image_folder if image_folder.is_dir() else root]}
    elif len(entries) == 1:
        entries = {"train": next(iter(entries.values()))}
    places = [folder / name for folder in (root, root / "labels") for name in _NAME_FILES]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        note = f"{root} names no classes (in data.yaml or classes.txt): they are class0, class1, ..."
        return Config(root, entries, None, [], [note])
    names = [line.strip() for line in file.read_text("utf-8", errors="replace").splitlines()]
    return Config(root, entries, _check_names(file, [name for name in names if name]), [file], [])


def _list_pictures(entries: Sequence[Path], root: Path, flaws: list[Flaw]) -> list[Path]:
    found: list[Path] = []
    for entry in entries:
        if entry.is_dir():
            found += pictures.below(entry)
            continue
        if entry.suffix.lower() != ".txt":
            raise SourceError(f"{entry} must be a folder of pictures or a .txt file that lists them.")
        for number, line in enumerate(entry.read_text("utf-8", errors="replace").splitlines(), 1):
            name = line.strip()
            path = next((path for base in (entry.parent, root, Path()) if (path := base / name).is_file()), None)
            if path is not None:
                found.append(path)
            elif name:
                flaws.append(Flaw("label file without picture", f"{entry}:{number}", f"{name} is not there"))
    return list(dict.fromkeys(found))


def _read(file: Path) -> _Read:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return _Read(None)
    except (OSError, UnicodeDecodeError) as error:
        return _Read(None, (Flaw("damaged label file", f"{file}:1", f"it is no text: {error}"),))
    rows, flaws = [], []
    for line, text in enumerate(lines, 1):
        values = [read_number(word) for word in text.split()]
        if not values:
            continue
        is_polygon = len(values) >= 7 and len(values) % 2 == 1
        if not (len(values) == 5 or is_polygon) or not all(map(math.isfinite, values)) or values[0] != int(values[0]):
            what = f"a class and 4 numbers are expected, got {text.strip()[:60]!r}"
            flaws.append(Flaw("damaged label file", f"{file}:{line}", what))
            continue
        if is_polygon:
            x, y = values[1::2], values[2::2]
            corners = (min(y), min(x), max(y), max(x))
        else:
            x, y, width, height = values[1:]
            corners = (y - height / 2, x - width / 2, y + height / 2, x + width / 2)
        rows.append(_Row(int(values[0]), corners, line, is_polygon))
    return _Read(tuple(rows), tuple(flaws))


def _name_objects(rows: Sequence[_Row], names: Sequence[str], file: Path, flaws: list[Flaw]) -> list[Object]:
    objects = []
    for row in rows:
        where = f"{file}:{row.line}"
        if 0 <= row.number < len(names):
            objects.append(Object(names[row.number], row.corners, where))
        else:
            what = f"{row.number}; there are {len(names)} classes, the first is 0"
            flaws.append(Flaw("unknown class", where, what))
    return objects


def _tell(read: Mapping[Path, _Read], label_files: Mapping[Path, Path], config: Config) -> list[str]:
    """Notes on pictures without objects, label files without pictures, and polygons."""
    notes = []
    lacking = sum(content == _Read(None) for content in read.values())
    empty = sum(content == _Read() for content in read.values())
    if lacking or empty:
        notes.append(f"pictures without objects: {lacking:,} have no label file, {empty:,} an empty one")
    used = set(label_files.values())
    folders = dict.fromkeys(label_path(entry / "a").parent for entries in config.entries.values() for entry in entries)
    alone = {
        file
        for folder in folders
        if folder.is_dir()
        for file in folder.rglob("*.txt")
        if file not in used and file.name not in _NAME_FILES and file not in config.files
    }
    if alone:
        told = ", ".join(str(file) for file in sorted(alone)[:_NAMED])
        more = f" and {len(alone) - _NAMED:,} more" if len(alone) > _NAMED else ""
        notes.append(f"label files without a picture are left out: {told}{more}")
    polygons = sum(row.is_polygon for content in read.values() for row in content.rows or ())
    if polygons:
        notes.append(f"of {polygons:,} polygons the boxes around them are taken")
    return notes
