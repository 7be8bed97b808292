"""Boxes in the XML of PASCAL VOC, one file a picture, as labelImg writes it.

Everingham et al. 2010, The PASCAL Visual Object Classes Challenge; the format is that of its development kit:
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf
"""

import os
import xml.parsers.expat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dlapp import pictures
from dlapp.data.annotated import Object, Picture, assemble, read_number
from dlapp.data.examples import SPLIT_NAMES, Flaw, Loaded
from dlapp.data.folder import find_splits
from dlapp.data.parallel import map_files
from dlapp.errors import SourceError

_FOLDERS = (("jpegimages", "annotations"), ("images", "annotations"))
_CORNERS = ("bndbox/ymin", "bndbox/xmin", "bndbox/ymax", "bndbox/xmax")


class _Read(NamedTuple):
    """What an XML file says: objects, the size of the picture and its line; and what is wrong."""

    objects: tuple[Object, ...] = ()
    size: tuple[int, int] | None = None
    where: str = ""
    damaged: bool = False
    flaws: tuple[Flaw, ...] = ()


def load(rest: str, *, channels: int | None = None, unreadable: list[str] | None = None) -> Loaded:
    """Reads pictures and the XML file of each, which has the same name but for its suffix.

    They lie beside each other, in ``JPEGImages`` and ``Annotations``, or in ``images`` and ``annotations``; with or
    without ``train``, ``val`` and ``test`` folders above or within. The lists in ``ImageSets/Main`` are the splits
    where there are some.

    In VOC the first pixel is 1 and the last one belongs to the box, so that x1 is ``xmin - 1`` and x2 is ``xmax``
    here. Tools that count from 0 give -1, which is cut off as rounding. What is ``difficult`` is ignored. A box whose
    ``xmin`` and ``xmax`` are equal is a click, not an object of one pixel: it has zero area. The classes are the
    names in train.

    Args:
        rest: the folder.
        channels: 1, 3 or 4; where it is None, 1 if every picture is grey, else 3.
        unreadable: takes the reasons why files are no pictures, which are then left out.

    Raises:
        SourceError: there are no pictures or no XML, or files are no pictures.
    """
    root = Path(rest)
    if not root.is_dir():
        raise SourceError(f"{rest} is not a folder.")
    flaws: list[Flaw] = []
    notes: list[str] = []
    image_folder, label_folder = _find_folders(root)
    if image_folder == root:  # else folders called training, say, hold something else
        tops = find_splits(root) or {"train": root}
        found = {split: _pair(*_find_folders(top), flaws) for split, top in tops.items()}
    else:
        pairs = _pair(image_folder, label_folder, flaws)
        inner = find_splits(image_folder)
        found = {
            split: [pair for pair in pairs if pair[0].is_relative_to(folder)] for split, folder in inner.items()
        } or {"train": pairs}
        if others := len(pairs) - sum(map(len, found.values())):
            notes.append(f"{others:,} pictures of {image_folder} are in none of its splits and left out")
    if not any(found.values()):
        raise SourceError(
            f"{rest} has no picture with an XML file of its name: put them beside each other, or into images/ and "
            "annotations/."
        )
    files = sorted({file for pairs in found.values() for _, file in pairs})
    read = dict(zip(files, map_files(_read, files), strict=True))
    lists: list[Path] = []
    if (root / "ImageSets" / "Main").is_dir():
        every = [pair for pairs in found.values() for pair in pairs]
        lists = _find_lists(root / "ImageSets" / "Main")
        found = _by_list(lists, every, flaws, notes) or found
    used = sorted({file for pairs in found.values() for _, file in pairs})
    return assemble(
        root,
        {split: _list_pictures(pairs, read) for split, pairs in found.items()},
        None,
        units="inclusive",
        label_files=[*used, *lists],
        flaws=[*flaws, *(flaw for file in used for flaw in read[file].flaws)],
        notes=notes,
        channels=channels,
        unreadable=unreadable,
    )


def _find_folders(top: Path) -> tuple[Path, Path]:
    """Where pictures and XML files are."""
    by_name = {entry.name.lower(): entry for entry in sorted(top.iterdir(), reverse=True) if entry.is_dir()}
    for images, labels in _FOLDERS:
        if images in by_name and labels in by_name:
            return by_name[images], by_name[labels]
    return top, top


def _pair(image_folder: Path, label_folder: Path, flaws: list[Flaw]) -> list[tuple[Path, Path]]:
    """Pictures with their XML files: at the same place below the folders, or of a name that is there once."""
    files = {_stem(file, label_folder): file for file in _below(label_folder)}
    by_name = defaultdict(list)
    for file in files.values():
        by_name[file.stem].append(file)
    pairs, alone = [], []
    for path in pictures.below(image_folder):
        file = files.get(_stem(path, image_folder))
        if file is None and len(by_name[path.stem]) == 1:
            file = by_name[path.stem][0]
        if file is None:
            alone.append(path)
        else:
            pairs.append((path, file))
    flaws += [Flaw("picture without label file", str(path), "") for path in alone]
    paired = {file for _, file in pairs}
    flaws += [Flaw("label file without picture", f"{file}:1", "") for file in files.values() if file not in paired]
    return pairs


def _stem(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder).with_suffix(""))


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(top, name) for name in files if name.lower().endswith(".xml") and not name.startswith(".")]
    return sorted(found)


def _find_lists(folder: Path) -> list[Path]:
    """train.txt (or trainval.txt, where that is all), val.txt and test.txt, those that are there."""
    names = ("train", "val", "test") if (folder / "train.txt").is_file() else ("trainval", "test")
    return [file for name in names if (file := folder / f"{name}.txt").is_file()]


def _by_list(
    lists: Sequence[Path], pairs: Sequence[tuple[Path, Path]], flaws: list[Flaw], notes: list[str]
) -> dict[str, list[tuple[Path, Path]]]:
    """The pairs that each list names, one a line."""
    by_name = {path.stem: (path, file) for path, file in pairs}
    found: dict[str, list[tuple[Path, Path]]] = {}
    for listing in lists:
        split = "train" if listing.stem == "trainval" else SPLIT_NAMES[listing.stem]
        found[split] = []
        for number, line in enumerate(listing.read_text("utf-8", errors="replace").splitlines(), 1):
            name = line.split()[0] if line.split() else ""
            if name in by_name:
                found[split].append(by_name[name])
            elif name:
                what = f"no picture called {name} has an XML file"
                flaws.append(Flaw("label file without picture", f"{listing}:{number}", what))
    unlisted = len(pairs) - len({path for listed in found.values() for path, _ in listed})
    if found and unlisted:
        notes.append(f"{unlisted:,} pictures are in no list of {lists[0].parent} and left out")
    return found


def _list_pictures(pairs: Iterable[tuple[Path, Path]], read: Mapping[Path, _Read]) -> list[Picture]:
    """Without those whose label file is damaged: what is in them is not known."""
    found = []
    for path, file in pairs:
        content = read[file]
        if not content.damaged:
            found.append(Picture(path, content.objects, content.size, content.where))
    return found


def _read(file: Path) -> _Read:
    reader = _Reader()
    try:
        reader.parse(file.read_bytes())
    except (xml.parsers.expat.ExpatError, ValueError, LookupError) as error:  # the others are of unknown encodings
        reason = str(error).partition(": line")[0]
        return _Read(damaged=True, flaws=(Flaw("damaged label file", f"{file}:{reader.line}", reason),))
    if reader.root != "annotation":
        what = f"<annotation> is expected, <{reader.root}> is there"
        return _Read(damaged=True, flaws=(Flaw("damaged label file", f"{file}:1", what),))
    objects, flaws = [], []
    for line, values in reader.objects:
        where = f"{file}:{line}"
        lacking = [key for key in ("name", *_CORNERS) if not values.get(key)]
        if lacking:
            flaws.append(Flaw("damaged label file", where, f"an object lacks <{lacking[0].rpartition('/')[2]}>"))
            continue
        y1, x1, y2, x2 = (read_number(values[key]) for key in _CORNERS)
        difficult = read_number(values.get("difficult", "0")) == 1
        objects.append(Object(values["name"], (y1, x1, y2, x2), where, difficult))
    height, width = (reader.size.get(side, "") for side in ("height", "width"))
    size = (int(height), int(width)) if height.isdecimal() and width.isdecimal() else None
    if size is not None and 0 in size:  # of tools that never looked
        size = None
    return _Read(tuple(objects), size, f"{file}:{reader.size_line}", flaws=tuple(flaws))


class _Reader:
    """Collects the texts below each <object> and <size>, and their lines, which ElementTree does not tell."""

    def __init__(self) -> None:
        self.root = ""
        self.objects: list[tuple[int, dict[str, str]]] = []
        self.size: dict[str, str] = {}
        self.size_line = 0
        self._open: list[str] = []
        self._text: list[str] = []
        self._parser = xml.parsers.expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append

    @property
    def line(self) -> int:
        """Where it is reading, or had to stop."""
        return self._parser.CurrentLineNumber

    def parse(self, content: bytes) -> None:
        """Raises ``ExpatError`` where it is no XML."""
        self._parser.Parse(content, True)

    def _start(self, name: str, _: object) -> None:
        self.root = self.root or name
        self._open.append(name)
        self._text.clear()
        if self._open[1:] == ["object"]:
            self.objects.append((self._parser.CurrentLineNumber, {}))
        elif self._open[1:] == ["size"]:
            self.size_line = self._parser.CurrentLineNumber

    def _end(self, _: str) -> None:
        place, text = self._open[1:], "".join(self._text).strip()
        if place[:1] == ["object"]:
            self.objects[-1][1]["/".join(place[1:])] = text
        elif place[:1] == ["size"]:
            self.size["/".join(place[1:])] = text
        self._open.pop()
        self._text.clear()
