"""Boxes in the JSON of COCO: ``coco:instances_train2017.json``, ``coco:FILE.json?images=DIR``, ``coco:DIR``.

Lin et al. 2014, Microsoft COCO: Common Objects in Context, https://arxiv.org/abs/1405.0312; the format:
https://cocodataset.org/#format-data
"""

import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlapp.data.annotated import Object, Picture, assemble
from dlapp.data.examples import SPLIT_NAMES, Flaw, Loaded
from dlapp.data.folder import find_splits
from dlapp.errors import SourceError, UnknownName

_OPTIONS = ("images",)
_INSTANCES = re.compile(r"instances_([a-z]+)\d*\.json")
_ROBOFLOW = "_annotations.coco.json"  # beside the pictures of a split, as Roboflow exports it
_LOOKED_FOR = 20  # pictures, to find out where they are
_Entries = list[dict[str, Any]]


def load(rest: str, *, channels: int | None = None, unreadable: list[str] | None = None) -> Loaded:
    """Reads ``FILE.json``, or a folder that holds ``instances_train*.json``, ``instances_val*.json``, ...

    Those may lie in a folder called annotations too. Pictures are found beside the file, in ``images``, or in a
    folder that is named like the file (``train2017`` for ``instances_train2017.json``), beside it or above;
    ``images`` names another. The classes are the categories of train, in the order of their numbers, which may have
    gaps. What is ``iscrowd`` is ignored. A picture without annotations has no objects.

    Args:
        rest: the file or folder, and ``?images=DIR``.
        channels: 1, 3 or 4; where it is None, 1 if every picture is grey, else 3.
        unreadable: takes the reasons why files are no pictures, which are then left out.

    Raises:
        UnknownName: there is no such option.
        SourceError: a file is no JSON of this kind, the pictures are not found or are none.
    """
    name, _, query = rest.partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in _OPTIONS:
            raise UnknownName("option of coco", option, _OPTIONS)
    root = Path(name)
    files = {"train": root} if root.is_file() else _find_files(root)
    flaws: list[Flaw] = []
    read = {split: _parse(file) for split, file in files.items()}
    first = "train" if "train" in read else next(iter(read))
    labels = list(_name_categories(files[first], read[first]).values())
    twice = next((label for place, label in enumerate(labels) if label in labels[:place]), None)
    if twice is not None:
        raise SourceError(f"the categories of {files[first]} must differ; {twice!r} is there twice.")
    by_split = {
        split: _list_pictures(file, read[split], _find_images(file, read[split], options.get("images")), flaws)
        for split, file in files.items()
    }
    return assemble(
        root if root.is_dir() else root.parent,
        by_split,
        labels,
        units="pixels",
        label_files=list(files.values()),
        flaws=flaws,
        notes=(),
        channels=channels,
        unreadable=unreadable,
    )


def _find_files(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        raise SourceError(f"{root} does not exist. Name a JSON file, or a folder with instances_train*.json.")
    found: dict[str, list[Path]] = {}
    for place in (root, root / "annotations"):
        for file in sorted(place.glob("instances_*.json")):
            named = _INSTANCES.fullmatch(file.name)
            if named and (split := SPLIT_NAMES.get(named[1])):
                found.setdefault(split, []).append(file)
    for split, folder in {} if found else find_splits(root).items():
        if (folder / _ROBOFLOW).is_file():
            found[split] = [folder / _ROBOFLOW]
    if not found:
        raise SourceError(f"{root} holds no instances_train*.json: name a JSON file, as in coco:FILE.json.")
    for split, files in found.items():
        if len(files) > 1:
            told = ", ".join(map(str, files))
            raise SourceError(
                f"{root} has several files for the {split} split: {told}. Name one, as in coco:{files[0]}."
            )
    return {split: files[0] for split, files in found.items()}


def _parse(file: Path) -> dict[str, _Entries]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{file} cannot be read as JSON: {error}.") from error
    except json.JSONDecodeError as error:
        reason = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise SourceError(f"{file} cannot be read as JSON: {reason}. It may be cut short.") from error
    found = {}
    for key, needed in (("images", ("id", "file_name")), ("annotations", ()), ("categories", ("id", "name"))):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise SourceError(
                f"{file} must have lists of images, annotations and categories, as COCO's instances have."
            )
        lacking = next((name for name in needed for entry in entries if name not in entry), None)
        if lacking is not None:
            raise SourceError(f"each of the {key} of {file} must have {' and '.join(needed)}; one lacks {lacking}.")
        found[key] = entries
    return found


def _name_categories(file: Path, content: Mapping[str, _Entries]) -> dict[Any, str]:
    """The name of each category by its number, in the order of the numbers."""
    try:
        entries = sorted(content["categories"], key=lambda entry: entry["id"])
        return {entry["id"]: str(entry["name"]) for entry in entries}
    except TypeError:
        raise SourceError(f"the ids of the categories of {file} must be numbers.") from None


def _find_images(file: Path, content: Mapping[str, _Entries], named: str | None) -> Path:
    """The folder below which the first pictures are."""
    own = file.stem.removeprefix("instances_")
    above = (file.parent, file.parent.parent)
    places = [place / part for part in (own, f"images/{own}", "images", ".") for place in above]
    if named is not None:
        places = [Path(named), file.parent / named]
    names = [str(entry["file_name"]) for entry in content["images"][:_LOOKED_FOR]]
    found = next((place for place in places if any((place / name).is_file() for name in names)), None)
    if found is None:
        looked = ", ".join(str(place) for place in places if place.is_dir()) or ", ".join(map(str, places))
        first = names[0] if names else "no picture"
        raise SourceError(f"{file} names {first}, which is not in {looked}. Say where: coco:{file}?images=DIR.")
    return found


def _list_pictures(file: Path, content: Mapping[str, _Entries], folder: Path, flaws: list[Flaw]) -> list[Picture]:
    categories = _name_categories(file, content)
    objects: dict[Any, list[Object]] = {entry["id"]: [] for entry in content["images"]}
    for entry in content["annotations"]:
        where = f"{file} annotation id {entry.get('id')}"
        corners = _read_corners(entry.get("bbox"))
        if corners is None:
            what = f"a bbox of 4 numbers is expected, got {json.dumps(entry.get('bbox'))[:60]}"
            flaws.append(Flaw("damaged label file", where, what))
        elif not _is_among(entry.get("image_id"), objects):
            flaws.append(Flaw("label file without picture", where, f"there is no image id {entry.get('image_id')}"))
        elif not _is_among(entry.get("category_id"), categories):
            flaws.append(Flaw("unknown class", where, f"there is no category id {entry.get('category_id')}"))
        else:
            label = categories[entry["category_id"]]
            objects[entry["image_id"]].append(Object(label, corners, where, bool(entry.get("iscrowd"))))
    found = []
    for entry in content["images"]:
        path = folder / str(entry["file_name"])
        where = f"{file} image id {entry['id']}"
        if path.is_file():
            height, width = entry.get("height"), entry.get("width")
            size = (height, width) if isinstance(height, int) and isinstance(width, int) and height * width else None
            found.append(Picture(path, objects[entry["id"]], size, where))
        else:
            flaws.append(Flaw("label file without picture", where, f"{path} is not there"))
    return found


def _is_among(number: Any, known: Mapping[Any, Any]) -> bool:
    return isinstance(number, int | str) and number in known


def _read_corners(bbox: Any) -> tuple[float, float, float, float] | None:
    """x, y, width, height -> y1, x1, y2, x2; None where these are no numbers."""
    if not isinstance(bbox, Sequence) or len(bbox) != 4 or not all(isinstance(value, int | float) for value in bbox):
        return None
    x, y, width, height = map(float, bbox)
    return y, x, y + height, x + width
