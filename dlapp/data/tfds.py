"""Sets of pictures or texts that tensorflow-datasets has prepared: ``tfds:NAME``, ``tfds:NAME/CONFIG:VERSION``.

Nothing is downloaded and no code of a set is run: what lies in the folder of a prepared set is read.
https://www.tensorflow.org/datasets
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shlex
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlapp.data.annotated import Object, Picture, assemble
from dlapp.data.arrays import from_arrays
from dlapp.data.examples import SPLIT_NAMES, Loaded
from dlapp.data.folder import read_headers
from dlapp.data.text_files import text_examples
from dlapp.errors import SourceError, UnknownName
from dlapp.files import replacing_folder

_NAME = re.compile(r"(?P<set>\w+)(/(?P<config>[\w+.-]+))?(:(?P<version>(\d+|\*)(\.(\d+|\*)){2}))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_OPTIONS = ("data_dir", "image", "label", "objects", "text")
_IGNORED = ("is_crowd", "is_difficult")  # of objects, as COCO and VOC have them
_OBJECTS = "objects.json"  # of a split that is written as files
_INFO = "dataset_info.json"
_MOST_IN_MEMORY = 2 * 1024**3  # bytes
_BATCH = 256
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"BM": ".bmp", b"GI": ".gif"}
_IMAGE = ("image", "Image", "picture")  # an option, the feature that it names, and what that is
_LABEL = ("label", "ClassLabel", "class label")
_TEXT = ("text", "Text", "text")


class _Set(NamedTuple):
    """A prepared set: its builder, the folder that it reads, and the features that are an example.

    ``label`` is the class of the picture; of a set with boxes the feature that has them, and ``objects`` says which
    features of an object are its box, its class and, where there is one, whether it is ignored.
    """

    name: str
    folder: Path
    builder: Any
    image: str
    label: str
    labels: tuple[str, ...]
    objects: tuple[str, ...] = ()


def load(rest: str, *, channels: int | None = None, unreadable: list[str] | None = None) -> Loaded:
    """Reads ``NAME?data_dir=PATH``, a set that is prepared in ``PATH/NAME/VERSION``.

    The name is written as tensorflow-datasets writes it, with a configuration and a version if need be:
    ``mnist``, ``cifar10:3.*.*``, ``mnist_corrupted/spatter``. Of several versions the newest is read. ``data_dir``
    is ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets`` where it is left out; ``image`` and ``label`` name the
    features of a set that has several. Splits that are neither train nor validation nor test, or have no labels,
    are left out, and a note says so.

    Pictures of one size are read into memory, as those of ``idx:`` are. Pictures of varying size, or of more than
    2 GiB, may be larger than memory: their files are written once into a folder beside the prepared set
    (``dlapp-VERSION-IMAGE-LABEL``), which takes as much of the disk as the set itself, and are handled as those of
    ``folder:`` from then on. The folder may be removed; it is written anew if the set is prepared again.

    A set whose pictures have no class but objects, each with ``bbox`` and a class, is one for detection, and so is a
    set with both where ``objects`` names the feature that has the boxes. Its pictures become files.

    A set without pictures is one of texts: with a class each, or a source and a target where both are supervised
    texts, or else lines. ``text`` names the feature of a set that has several.

    Args:
        rest: the name and options.
        channels: 1, 3 or 4 for pictures that are handled as files; as for ``folder:``.
        unreadable: takes the reasons why files are no pictures, which are then left out.

    Raises:
        SourceError: tensorflow-datasets is not installed, the set is not prepared, or it is none of pictures with
            one label each or with boxes, and none of texts.
        UnknownName: there is no such option or feature.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SourceError(f"tfds:{rest} needs tensorflow-datasets: pip install 'dlapp[tfds]'.") from error
    name, _, query = rest.partition("?")
    options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in _OPTIONS:
            raise UnknownName("option of tfds", option, _OPTIONS)
    folder = _find(name, options.get("data_dir"))
    try:
        builder = tfds.builder_from_directory(folder)
    except Exception as error:  # whatever a damaged JSON or an old layout leads to
        raise SourceError(f"{folder} cannot be read ({_first_line(error)}): remove it and prepare it again.") from error
    features = builder.info.features
    kinds = {type(feature) for feature in features.values()}
    if tfds.features.Text in kinds and tfds.features.Image not in kinds:
        return _as_texts(tfds, name, folder, builder, options)
    boxed = _choose_objects(tfds, name, features, options)
    if boxed is None:
        image, label = _choose(tfds, name, builder, options)
        found = _Set(name, folder, builder, image, label, tuple(features[label].names or ()))
    else:
        image, label = _choose_one(tfds, name, features, options, _IMAGE, None), boxed[0]
        names = features[label].feature[boxed[2]].names
        found = _Set(name, folder, builder, image, label, tuple(names or ()), boxed[1:])
    if not found.labels:
        raise SourceError(f"{label} of tfds:{name} does not say which classes there are: prepare the set anew.")
    if np.dtype(features[image].np_dtype) != np.uint8:
        raise SourceError(
            f"pictures must have values of 8 bits; {image} of tfds:{name} has {features[image].np_dtype}. Convert them "
            "to 8 bits and read them as folder: or npz:."
        )
    splits, notes = _map_splits(name, builder)
    if boxed is not None:
        loaded = _with_boxes(found, splits, channels, unreadable)
        return loaded._replace(notes=(*notes, *loaded.notes))
    shape = features[image].shape
    examples = sum(builder.info.splits[split].num_examples for split in splits.values())
    if None in shape or examples * int(np.prod(shape)) > _MOST_IN_MEMORY:
        loaded, unlabelled = _as_files(found, splits, channels, unreadable)
    else:
        loaded, unlabelled = _as_arrays(found, splits)
    notes += [f"the split {split} of tfds:{name} has no labels and is left out" for split in unlabelled]
    return loaded._replace(notes=tuple(notes))


def _find(name: str, data_dir: str | None) -> Path:
    """The folder of the newest prepared version.

    Raises:
        SourceError: there is none; how it is prepared is told.
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        raise SourceError(
            f"a set is written NAME, NAME/CONFIG or NAME:VERSION, as in tfds:cifar10:3.*.*; got tfds:{name}."
        )
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    place = root / parsed["set"] / (parsed["config"] or "")
    versions = _versions(place, parsed["version"] or "*.*.*")
    if not versions and parsed["config"] is None and place.is_dir():
        configs = {child.name: found for child in place.iterdir() if (found := _versions(child, "*.*.*"))}
        if len(configs) > 1:
            raise SourceError(
                f"{place} holds several configurations: write one of "
                + ", ".join(f"tfds:{parsed['set']}/{config}" for config in sorted(configs))
                + "."
            )
        place = place / next(iter(configs), "")
        versions = _versions(place, parsed["version"] or "*.*.*")
    if not versions:
        code = f"import tensorflow_datasets as tfds; tfds.builder({_quote(name)}, data_dir={_quote(str(root))})"
        raise SourceError(
            f"tfds:{name} is not prepared in {root}, and dlapp downloads nothing. Name another folder with --data-dir, "
            f"or prepare it:\npython -c {shlex.quote(f'{code}.download_and_prepare()')}"
        )
    return max(versions, key=lambda folder: tuple(map(int, folder.name.split("."))))


def _versions(place: Path, pattern: str) -> list[Path]:
    return [path.parent for path in place.glob(f"{pattern}/{_INFO}") if _VERSION.fullmatch(path.parent.name)]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _choose(tfds: Any, name: str, builder: Any, options: Mapping[str, str]) -> tuple[str, str]:
    """The features that are the picture and the class: named, supervised, or the only ones."""
    supervised = builder.info.supervised_keys
    supervised = supervised if isinstance(supervised, tuple) and len(supervised) == 2 else (None, None)
    features = builder.info.features
    return (
        _choose_one(tfds, name, features, options, _IMAGE, supervised[0]),
        _choose_one(tfds, name, features, options, _LABEL, supervised[1]),
    )


def _choose_one(
    tfds: Any, name: str, features: Any, options: Mapping[str, str], wanted: tuple[str, str, str], usual: str | None
) -> str:
    option, kind, what = wanted
    known = sorted(key for key, feature in features.items() if type(feature) is getattr(tfds.features, kind))
    if option in options and options[option] not in known:
        raise UnknownName(f"{what} of tfds:{name}", options[option], known)
    if not known:
        has = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(features.items()))
        raise SourceError(f"tfds:{name} has no {what}, so nothing to classify: its features are {has}.")
    if option not in options and usual not in known and len(known) > 1:
        raise SourceError(f"tfds:{name} has several: {', '.join(known)}. Choose the {what} with ?{option}={known[0]}.")
    return options.get(option, usual if usual is not None and usual in known else known[0])


def _choose_objects(tfds: Any, name: str, features: Any, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The feature with boxes, those of an object that are its box and class, and the one that says it is ignored.

    None where pictures have a class each, unless ``objects`` is asked for.
    """
    found: dict[str, tuple[str, ...]] = {}
    for key, feature in features.items():
        inner: Any = getattr(feature, "feature", None)  # of each object in a sequence
        if not isinstance(feature, tfds.features.Sequence) or not isinstance(inner, tfds.features.FeaturesDict):
            continue
        boxes = [part for part, of in inner.items() if isinstance(of, tfds.features.BBoxFeature)]
        labels = [part for part, of in inner.items() if type(of) is tfds.features.ClassLabel]
        if boxes and labels:
            label = "label" if "label" in labels else labels[0]
            found[key] = (key, boxes[0], label, *[part for part in _IGNORED if part in inner][:1])
    if "objects" in options:
        if options["objects"] not in found:
            raise UnknownName(f"boxes of tfds:{name}", options["objects"], found)
        found = {options["objects"]: found[options["objects"]]}
    elif not found or "label" in options or any(type(of) is tfds.features.ClassLabel for of in features.values()):
        return None
    if len(found) > 1:
        raise SourceError(
            f"tfds:{name} has several: {', '.join(sorted(found))}. Choose the boxes with ?objects={min(found)}."
        )
    key, box, *_ = chosen = next(iter(found.values()))
    kind = features[key].feature[box].bbox_format
    if kind is not None and kind.name != "REL_YXYX":
        raise SourceError(f"{box} of tfds:{name} must be ymin, xmin, ymax, xmax as fractions; it is {kind.name}.")
    return chosen


def _map_splits(name: str, builder: Any) -> tuple[dict[str, str], list[str]]:
    """Its name of train, dev and test each; and what is left out. One split alone is train by any name."""
    names = list(builder.info.splits)
    if len(names) == 1:
        return {"train": names[0]}, []
    splits: dict[str, str] = {}
    for own in names:
        ours = SPLIT_NAMES.get(own.lower())
        if ours in splits:
            raise SourceError(
                f"tfds:{name} has two splits for {ours}: {splits[ours]} and {own}. Prepare it with one of them."
            )
        if ours is not None:
            splits[ours] = own
    if not splits:
        raise SourceError(
            f"tfds:{name} has the splits {', '.join(names) or '(none)'}; dlapp knows {', '.join(SPLIT_NAMES)}. Prepare "
            "it with these names."
        )
    left_out = [own for own in names if own not in splits.values()]
    return splits, [f"the split {own} of tfds:{name} is left out" for own in left_out]


def _as_arrays(found: _Set, splits: Mapping[str, str]) -> tuple[Loaded, list[str]]:
    """Pictures of one size, decoded as files are; and the splits without labels."""
    import tensorflow as tf

    shape = found.builder.info.features[found.image].shape

    def decode(encoded: Any) -> Any:
        image = tf.io.decode_jpeg(encoded, channels=shape[2], dct_method="INTEGER_ACCURATE")  # reads PNG too
        return tf.ensure_shape(image, shape)

    arrays, unlabelled = {}, []
    for ours, own in splits.items():
        count = found.builder.info.splits[own].num_examples
        inputs, targets = np.empty((count, *shape), np.uint8), np.empty(count, np.int64)
        filled = 0
        for images, labels in _batches(found, own, decode):
            inputs[filled : filled + len(labels)] = images
            targets[filled : filled + len(labels)] = labels
            filled += len(labels)
        if _has_labels(found, own, targets):
            arrays[ours] = (inputs, targets)
        else:
            unlabelled.append(own)
    if not arrays:
        raise SourceError(f"tfds:{found.name} has no labels: there is nothing to learn. Prepare a set that has.")
    return from_arrays(f"tfds:{found.name}", arrays, found.labels), unlabelled


def _as_files(
    found: _Set, splits: Mapping[str, str], channels: int | None, unreadable: list[str] | None
) -> tuple[Loaded, list[str]]:
    """Pictures as files that are written if they are not there yet; and the splits without labels."""
    root = _write(found, splits, _write_files)
    by_split, unlabelled = {}, []
    for ours, own in splits.items():
        folders = sorted((root / ours).iterdir(), key=lambda folder: int(folder.name))
        if _has_labels(found, own, np.array([int(folder.name) for folder in folders])):
            by_split[ours] = {found.labels[int(folder.name)]: sorted(folder.iterdir()) for folder in folders}
        else:
            unlabelled.append(own)
    if not by_split:
        raise SourceError(f"tfds:{found.name} has no labels: there is nothing to learn. Prepare a set that has.")
    for ours, classes in by_split.items():
        unknown = sorted(set(classes) - set(by_split.get("train", classes)))
        if unknown:
            raise SourceError(
                f"class {unknown[0]!r} is in the {splits[ours]} split of tfds:{found.name} but not in its train split."
            )
    return read_headers(root, by_split, found.labels, channels, unreadable), unlabelled


def _as_texts(tfds: Any, name: str, folder: Path, builder: Any, options: Mapping[str, str]) -> Loaded:
    """Texts with a class, pairs of texts, or lines; splits without labels are left out."""
    features = builder.info.features
    supervised = builder.info.supervised_keys
    supervised = supervised if isinstance(supervised, tuple) and len(supervised) == 2 else (None, None)
    written = [key for key, feature in features.items() if type(feature) is tfds.features.Text]
    paired = supervised[0] in written and supervised[1] in written and "text" not in options
    text = str(supervised[0]) if paired else _choose_one(tfds, name, features, options, _TEXT, supervised[0])
    classes = [key for key, feature in features.items() if type(feature) is tfds.features.ClassLabel]
    label = ""
    if classes and not paired:
        label = _choose_one(tfds, name, features, options, _LABEL, supervised[1])
    target = str(supervised[1]) if paired else label
    labels = tuple(features[label].names or ()) if label else ()
    found = _Set(name, folder, builder, text, target, labels)
    splits, notes = _map_splits(name, builder)
    digest, parts = hashlib.sha256(), {}
    for ours, own in splits.items():
        rows = list(
            _read(found, own, {target: True} if target else {}, lambda row: [row[key] for key in (text, target) if key])
        )
        texts = [row[0].decode() for row in rows]
        answers = [row[1].decode() if paired else int(row[1]) for row in rows] if target else []
        if label and not _has_labels(found, own, answers):
            notes.append(f"the split {own} of tfds:{name} has no labels and is left out")
            continue
        digest.update(json.dumps([ours, texts, answers]).encode())
        parts[ours] = text_examples(texts, targets=answers if label else None, wanted=answers if paired else None)
    if not parts:
        raise SourceError(f"tfds:{name} has no labels: there is nothing to learn. Prepare a set that has.")
    task = "sequence_to_sequence" if paired else "classification" if label else "language_model"
    return Loaded(parts, labels, digest.hexdigest(), task=task, notes=tuple(notes))


def _with_boxes(found: _Set, splits: Mapping[str, str], channels: int | None, unreadable: list[str] | None) -> Loaded:
    """Pictures as files that are written if they are not there yet, and their boxes; splits without any left out."""
    root = _write(found, splits, _write_boxes)
    by_split: dict[str, list[Picture]] = {}
    notes = []
    for ours, own in splits.items():
        pictures = []
        for file, objects in json.loads((root / ours / _OBJECTS).read_text("utf-8")):
            path = root / ours / file
            labelled = [
                Object(found.labels[number] if number >= 0 else str(number), tuple(corners), str(path), ignored)
                for number, corners, ignored in objects
            ]
            pictures.append(Picture(path, labelled))
        if ours == "train" or any(picture.objects for picture in pictures):
            by_split[ours] = pictures
        else:
            notes.append(f"the split {own} of tfds:{found.name} has no labels and is left out")
    return assemble(
        root,
        by_split,
        found.labels,
        units="fractions",
        label_files=[root / ours / _OBJECTS for ours in by_split],
        flaws=(),
        notes=notes,
        channels=channels,
        unreadable=unreadable,
    )


def _write(found: _Set, splits: Mapping[str, str], write: Callable[[_Set, str, Path], None]) -> Path:
    """The folder of a set as files, written if it is not there yet."""
    root = found.folder.with_name(f"dlapp-{found.folder.name}-{found.image}-{found.label}")
    prepared = (found.folder / _INFO).stat().st_mtime
    if root.is_dir() and root.stat().st_mtime >= prepared:
        return root
    try:
        with replacing_folder(root) as scratch:
            for ours, own in splits.items():
                write(found, own, scratch / ours)
    except OSError as error:
        varying = None in found.builder.info.features[found.image].shape
        why = "vary in size" if varying else f"take more than {_MOST_IN_MEMORY / 1024**3:g} GiB"
        raise SourceError(
            f"the pictures of tfds:{found.name} {'have boxes' if found.objects else why}, so they are written as files "
            f"beside the prepared set, which failed: {error}. Make room, or copy the set to a --data-dir of your own."
        ) from error
    return root


def _write_files(found: _Set, split: str, folder: Path) -> None:
    """``CLASS/NUMBER.jpg`` of every example of a split."""
    folder.mkdir()
    number = 0
    for encoded, labels in _batches(found, split):
        for content, label in zip(encoded.tolist(), labels.tolist(), strict=True):
            _write_picture(folder / str(label), number, content)
            number += 1


def _write_boxes(found: _Set, split: str, folder: Path) -> None:
    """``NUMBER.jpg`` of every example of a split, and the number of the class, corners and ignored of its objects."""
    folder.mkdir()
    listed = []

    def choose(example: Any) -> tuple[Any, ...]:
        objects = example[found.label]
        return example[found.image], *(objects[key] for key in found.objects)

    wanted = {found.label: dict.fromkeys(found.objects, True)}
    for number, (content, corners, classes, *ignored) in enumerate(_read(found, split, wanted, choose)):
        name = _write_picture(folder, number, content)
        flags = ignored[0].astype(bool) if ignored else np.zeros(len(classes), bool)
        listed.append((name, list(zip(classes.tolist(), corners.tolist(), flags.tolist(), strict=True))))
    (folder / _OBJECTS).write_text(json.dumps(listed), encoding="utf-8")


def _write_picture(folder: Path, number: int, content: bytes) -> str:
    """Writes a file into a folder that is made if need be; its name."""
    folder.mkdir(exist_ok=True)
    name = f"{number:08}{_SUFFIXES.get(content[:2], '.img')}"
    (folder / name).write_bytes(content)
    return name


def _batches(found: _Set, split: str, decode: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures, as the bytes of a file or decoded, and the class of each; other features are not read."""

    def choose(example: Any) -> tuple[Any, Any]:
        encoded = example[found.image]
        return encoded if decode is None else decode(encoded), example[found.label]

    return _read(found, split, {found.label: True}, choose, batch=_BATCH)


def _read(
    found: _Set, split: str, labels: Mapping[str, Any], choose: Callable[[Any], Any], *, batch: int | None = None
) -> Iterator[Any]:
    """What ``choose`` takes from each example, which has its picture as a file and ``labels``; or batches of that."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    wanted = tfds.decode.PartialDecoding(
        {found.image: True, **labels}, decoders={found.image: tfds.decode.SkipDecoding()}
    )
    try:
        with _quiet():
            dataset = found.builder.as_dataset(split=split, decoders=wanted, shuffle_files=False)
        dataset = dataset.map(choose, num_parallel_calls=tf.data.AUTOTUNE)
        if batch is not None:
            dataset = dataset.batch(batch)
        yield from dataset.prefetch(2).as_numpy_iterator()
    except (tf.errors.OpError, AssertionError) as error:
        raise SourceError(
            f"the {split} split in {found.folder} is damaged ({_first_line(error)}): remove it and prepare it again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without remarks of tensorflow-datasets on its own code."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _has_labels(found: _Set, split: str, targets: np.ndarray | Sequence[int]) -> bool:
    """False where every label is -1, as in the test split of a competition."""
    unknown = np.asarray(targets) < 0
    if unknown.any() and not unknown.all():
        raise SourceError(
            f"the {split} split of tfds:{found.name} has examples without a label. Prepare it with labels for all, or "
            "for none: then it is left out."
        )
    return not unknown.any()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
