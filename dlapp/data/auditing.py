"""What is wrong with the data, before there is any model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlapp import pictures
from dlapp.data import corpora, objects
from dlapp.data.duplicates import Group, find_repeats
from dlapp.data.examples import Examples, Loaded
from dlapp.data.facts import Facts, gather
from dlapp.data.samples import draw_samples
from dlapp.data.sources import read
from dlapp.errors import SourceError
from dlapp.files import replacing

_SHOWN = 20  # constant columns
_LEAST, _FEW = 3, 10  # examples of a class
_COINCIDE = 0.01  # of the rows repeat others of their split
_NAME = 25  # characters of the median text: longer ones are no names
_UNBALANCED = 10  # times as many of the largest class as of the smallest


def audit(source: str, *, drawing: Path | None = None) -> dict[str, Any]:
    """Everything that can be said of a source without a model, ready for JSON.

    ``verdicts`` is a list of lines with a verdict: ``ok``, ``note`` or ``problem``.

    Args:
        source: as it is written.
        drawing: the file of a sheet of pictures with their labels, which is written, over another if need be.

    Raises:
        SourceError: the source cannot be read; or there is no picture to draw, or no place for the drawing.
    """
    if drawing is not None:
        _check_drawing(drawing)
    unreadable: list[str] = []
    loaded = read(source, unreadable=unreadable)
    parts = dict(loaded.parts) if len(loaded.parts) > 1 else {"all": next(iter(loaded.parts.values()))}
    drawn = drawing is not None and _draw(source, drawing, parts, loaded.labels)
    facts = {name: gather(part) for name, part in parts.items()}
    unreadable += [reason for found in facts.values() for reason in found.errors.values()]
    groups = find_repeats(
        {name: found.hashes for name, found in facts.items()},
        {name: found.thumbnails for name, found in facts.items()},
        {name: objects.kinds(part) for name, part in parts.items()},
    )
    counts = {name: len(part) for name, part in parts.items()}
    verdicts = [
        _line("ok", f"{sum(counts.values()):,} examples: " + ", ".join(f"{n} {c:,}" for n, c in counts.items()))
    ]
    verdicts += [_line("note", note) for note in loaded.notes]
    measured: dict[str, Any] = {}
    if loaded.task == "detection":
        classes, measured = objects.count_classes(parts, loaded.labels), objects.measure(parts)
        verdicts += _judge_objects(measured, classes, parts)
        verdicts += _judge_boxes(loaded, measured, parts)
    elif loaded.task == "tagging":
        classes = corpora.count_tags(parts, loaded.labels)
        verdicts += _judge_tags(classes)
    else:
        classes = _count_classes(loaded, parts)
        if loaded.task == "classification":
            verdicts += _judge_balance(classes, parts)
        elif loaded.task == "regression":
            verdicts += _judge_target(loaded, parts)
    sizes = _measure_pictures(facts, parts)
    spoken = corpora.measure(parts)
    verdicts += _judge_texts(spoken, parts)
    columns = [] if spoken else _measure_columns(parts)
    verdicts += _judge_columns(columns)
    if unreadable:
        verdicts.append(
            _line(
                "problem",
                f"{_count(unreadable, 'file')} cannot be read: repair or remove {_agree(unreadable, 'it', 'them')}",
                unreadable,
            )
        )
    elif sizes:
        verdicts.append(_line("ok", "every picture can be read"))
    verdicts += judge_repeats(groups, parts, loaded.labels)
    return {
        "source": source,
        "task": loaded.task,
        "examples": counts,
        "classes": classes,
        "objects": measured,
        "flaws": [flaw._asdict() for flaw in loaded.flaws],
        "pictures": sizes,
        "texts": spoken,
        "columns": columns,
        "unreadable": unreadable,
        "drawing": str(drawing) if drawn else None,
        "repeats": [
            {
                "exact": group.exact,
                "leaks": group.leaks,
                "contradicts": group.contradicts,
                "members": _name_members(group, parts, loaded.labels),
            }
            for group in groups
        ],
        "verdicts": verdicts,
    }


def _check_drawing(file: Path) -> None:
    if file.suffix.lower() not in pictures.SUFFIXES:
        raise SourceError(f"a drawing is a file of {', '.join(sorted(pictures.SUFFIXES))}; got {file}.")
    if not file.parent.is_dir():
        raise SourceError(f"{file} cannot be written: there is no folder {file.parent}. Make it first.")


def _draw(source: str, file: Path, parts: Mapping[str, Examples], labels: Sequence[str]) -> bool:
    """Whether there was a picture to draw."""
    first = next(iter(parts.values()))
    if not first.channels:
        has = "texts" if first.are_texts else "rows"
        raise SourceError(f"a sheet is drawn of pictures; {source} has {has}. Leave --draw out.")
    drawn = draw_samples(parts, labels)
    if drawn is None:
        return False
    try:
        with replacing(file) as beside:
            drawn.save(beside)
    except OSError as error:
        raise SourceError(f"{file} cannot be written: {error}.") from error
    return True


def judge_repeats(
    groups: Sequence[Group], parts: Mapping[str, Examples], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Lines on leaks between splits, contradictory labels and duplicates within a split."""
    told = {id(group): " = ".join(_name_members(group, parts, labels)[:4]) for group in groups}
    first = next(iter(parts.values()))
    rows = first.channels == 0
    within = [group for group in groups if not group.leaks and not group.contradicts]
    more = sum(len(group.members) - 1 for group in within)
    # rows of few different values and names coincide by chance, pictures and sentences do not; what was copied from
    # split to split is no chance
    chance = sum(len(group.members) - len({split for split, _ in group.members}) for group in groups if group.exact)
    sentences = first.are_texts and np.median([sum(map(len, text)) for text in first.inputs]) > _NAME
    coincide = rows and not sentences and chance > _COINCIDE * sum(map(len, parts.values()))
    lines = []
    leaks = [group for group in groups if group.leaks]
    if leaks:
        lie = _agree(leaks, "lies", "lie")
        text = f"{_count(leaks, 'group')} of the same or nearly the same examples {lie} in more than one split"
        shared = [{split for split, _ in group.members} for group in leaks]
        flattered = [name for name in parts if name != "train" and any({"train", name} <= splits for splits in shared)]
        if flattered and not coincide:
            errors = _agree(flattered, "error", "errors")
            text += f" and {_agree(leaks, 'flatters', 'flatter')} the {errors} on {' and '.join(flattered)}"
        lines.append(_line("note" if coincide else "problem", text, [told[id(group)] for group in leaks]))
    targeted = bool(labels) or first.wanted is not None
    contradictions = [group for group in groups if group.contradicts and group.exact and targeted]
    if contradictions:
        have = _agree(contradictions, "has", "have")
        wanted = "labels" if labels else "targets"
        text = f"{_count(contradictions, 'group')} of the same examples {have} different {wanted}"
        lines.append(_line("note" if coincide else "problem", text, [told[id(group)] for group in contradictions]))
    doubtful = [group for group in groups if group.contradicts and not group.exact and labels]
    if doubtful:
        have = _agree(doubtful, "has", "have")
        text = f"{_count(doubtful, 'group')} of nearly the same pictures {have} different labels"
        lines.append(_line("note", text, [told[id(group)] for group in doubtful]))
    if within:
        text = f"{more:,} examples repeat others" if more > 1 else "1 example repeats another"
        if "all" in parts:
            text += "; splits drawn from them would have some on both sides"
        lines.append(_line("note", text, [told[id(group)] for group in within]))
    if not groups:
        lines.append(_line("ok", "no example is there twice" if rows else "no picture is there twice, or nearly"))
    return lines


def _name_members(group: Group, parts: Mapping[str, Examples], labels: Sequence[str]) -> list[str]:
    """The examples of a group, with their labels where those differ."""
    names = []
    for split, index in group.members:
        part = parts[split]
        label = ""
        if group.contradicts and (labels or part.wanted is not None):
            whose = corpora if part.boxes is None else objects
            label = f" ({whose.describe(part, index, labels)})"
        names.append(part.name(index, split) + label)
    return names


def _line(verdict: str, text: str, details: Sequence[str] = ()) -> dict[str, Any]:
    return {"verdict": verdict, "text": text, "details": list(details)}


def _first(names: Sequence[str], shown: int = 5) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more:,} more" if more > 0 else "")


def _count(things: Sequence[Any], noun: str) -> str:
    return f"{len(things):,} {_agree(things, noun, noun + 's')}"


def _agree(things: Sequence[Any], singular: str, plural: str) -> str:
    return singular if len(things) == 1 else plural


def _percent(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.995 else "100"


def _count_classes(loaded: Loaded, parts: Mapping[str, Examples]) -> dict[str, dict[str, int]]:
    counts = (
        {name: np.bincount(part.targets, minlength=len(loaded.labels)) for name, part in parts.items()}
        if loaded.labels
        else {}
    )
    return {label: {name: int(count[k]) for name, count in counts.items()} for k, label in enumerate(loaded.labels)}


def _judge_balance(classes: Mapping[str, Mapping[str, int]], parts: Mapping[str, Examples]) -> list[dict[str, Any]]:
    lines = []
    totals = {label: sum(counts.values()) for label, counts in classes.items()}
    if len(classes) < 2:
        return [_line("problem", f"one class ({', '.join(classes) or 'none'}); a classifier needs at least 2")]
    for name in parts:
        absent = [label for label, counts in classes.items() if not counts[name]]
        if absent:
            lines.append(_line("note", f"{name} has no example of {_first(absent)}"))
    if len(parts) == 1:
        rare = [f"{label} {total}" for label, total in totals.items() if total < _LEAST]
        if rare:
            told = _first(rare, _SHOWN)
            text = f"splits cannot be drawn: a class needs {_LEAST} examples, one for each; there are {told}"
            lines.append(_line("problem", text))
    few = [label for label, total in totals.items() if _LEAST <= total < _FEW]
    if few:
        lines.append(_line("note", f"fewer than {_FEW} examples of {_first(few)}"))
    least, most = min(totals, key=lambda k: totals[k]), max(totals, key=lambda k: totals[k])
    ratio = totals[most] / max(totals[least], 1)
    told = f"{len(classes):,} classes, from {totals[least]:,} examples ({least}) to {totals[most]:,} ({most})"
    if ratio == 1:
        told = f"{len(classes):,} classes of {totals[least]:,} examples each"
    if ratio >= _UNBALANCED:
        lines.append(_line("note", f"{told}: unbalanced, consider training.class_weights=balanced"))
    else:
        lines.append(_line("ok", told))
    return lines


def _judge_objects(
    measured: Mapping[str, Any], classes: Mapping[str, Mapping[str, int]], parts: Mapping[str, Examples]
) -> list[dict[str, Any]]:
    """Lines on how many objects there are, of which classes and sizes."""
    if not measured["count"]:
        return [_line("problem", "no picture has an object: there is nothing to learn")]
    lines = [
        _line(
            "ok",
            f"{measured['count']:,} objects, at most {measured['most']:,} in a picture; pictures without any: "
            f"{measured['without']:,}",
        )
    ]
    if measured["ignored"]:
        lines.append(_line("note", f"{measured['ignored']:,} of them are ignored: difficult ones, or crowds"))
    totals = {label: sum(counts.values()) for label, counts in classes.items()}
    for name in parts:
        absent = [label for label, counts in classes.items() if not counts[name]]
        if absent:
            where = "there is" if len(parts) == 1 else f"{name} has"
            lines.append(_line("note", f"{where} no object of {_first(absent)}"))
    few = [label for label, total in totals.items() if 0 < total < _FEW]
    if few:
        lines.append(_line("note", f"fewer than {_FEW} objects of {_first(few)}"))
    least, most = min(totals, key=lambda k: totals[k]), max(totals, key=lambda k: totals[k])
    told = f"{len(classes):,} classes, from {totals[least]:,} objects ({least}) to {totals[most]:,} ({most})"
    if len(classes) == 1:
        told = f"one class: {least}"
    unbalanced = totals[most] >= _UNBALANCED * max(totals[least], 1)
    lines.append(_line("note" if unbalanced else "ok", told + (": unbalanced" if unbalanced else "")))
    area, height, width = (
        {which: _percent(share) for which, share in measured[name].items()} for name in ("area", "height", "width")
    )
    lines.append(
        _line(
            "ok",
            f"an object covers {area['min']} to {area['max']} % of its picture, median {area['median']} %: "
            f"{height['median']} % of its height, {width['median']} % of its width",
        )
    )
    return lines


def _judge_boxes(loaded: Loaded, measured: Mapping[str, Any], parts: Mapping[str, Examples]) -> list[dict[str, Any]]:
    """Lines on boxes that cannot be used, are there twice or hardly to be seen."""
    lines = []
    by_kind: dict[str, list[str]] = {}
    for flaw in loaded.flaws:
        by_kind.setdefault(flaw.kind, []).append(f"{flaw.where}{flaw.what and f': {flaw.what}'}")
    for kind, places in by_kind.items():
        remedy = f"repair {_agree(places, 'it', 'them')}, or train with --set detection.flawed=skip"
        lines.append(_line("problem", f"{_count(places, 'label')} with the flaw {kind!r}: {remedy}", places))
    doubles = []
    for name, part in parts.items():
        for picture, number, (y1, x1, y2, x2) in objects.find_doubles(part):
            box = f"x {x1:g} to {x2:g}, y {y1:g} to {y2:g}"
            doubles.append(f"{part.name(picture, name)}: {loaded.labels[number]}, {box}")
    if doubles:
        lines.append(
            _line("problem", f"{_count(doubles, 'object')} {_agree(doubles, 'is', 'are')} labelled twice", doubles)
        )
    elif measured["count"] and not by_kind:
        lines.append(_line("ok", "every box lies within its picture, and none is there twice"))
    if measured["tiny"]:
        text = f"{measured['tiny']:,} objects are less than 8 pixels high or wide where pictures become 256 x 256"
        lines.append(_line("note", f"{text}; a larger preprocessing.size shows them better"))
    return lines


def _judge_target(loaded: Loaded, parts: Mapping[str, Examples]) -> list[dict[str, Any]]:
    targets = np.concatenate([part.targets for part in parts.values()])
    told = f"{loaded.target}: {targets.min():.6g} to {targets.max():.6g}, median {np.median(targets):.6g}"
    return [_line("ok", told)]


def _judge_tags(tags: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    totals = {tag: sum(counts.values()) for tag, counts in tags.items()}
    least, most = min(totals, key=lambda k: totals[k]), max(totals, key=lambda k: totals[k])
    lines = [_line("ok", f"{len(tags):,} tags, from {totals[least]:,} words ({least}) to {totals[most]:,} ({most})")]
    few = [tag for tag, total in totals.items() if total < _FEW]
    return [*lines, _line("note", f"fewer than {_FEW} words of {_first(few)}")] if few else lines


def _judge_texts(spoken: Mapping[str, Any], parts: Mapping[str, Examples]) -> list[dict[str, Any]]:
    """Lines on how long texts are and what they are made of."""
    if not spoken:
        return []
    letters, words = spoken["characters"], spoken["words"]
    told = (
        f"a text has {letters['min']:,} to {letters['max']:,} characters, median {letters['median']:,.10g}; "
        f"{words['min']:,} to {words['max']:,} words, median {words['median']:,.10g}"
    )
    if sum(map(len, parts.values())) == 1:
        told = f"{letters['max']:,} characters, {words['max']:,} words"
    lines = [
        _line("ok", told),
        _line(
            "ok",
            f"{spoken['distinct_characters']:,} different characters, {spoken['distinct_words']:,} different words, "
            f"{spoken['rare_words']:,} of which occur once",
        ),
    ]
    if spoken["unseen_words"]:
        lines.append(
            _line("note", f"{_percent(spoken['unseen_words'])} % of the words of dev and test are not in train")
        )
    for name, unseen in corpora.unseen_letters(parts):
        told = _first([repr(letter) for letter in unseen], _SHOWN)
        lines.append(_line("note", f"{name} has characters that train has not: {told}"))
    return lines


def _measure_pictures(facts: Mapping[str, Facts], parts: Mapping[str, Examples]) -> dict[str, Any]:
    first = next(iter(parts.values()))
    sizes = np.concatenate([found.sizes for found in facts.values()])
    sizes = sizes[sizes.min(axis=1) > 0]
    if not first.channels or not len(sizes):
        return {}
    return {
        "channels": first.channels,
        **{
            name: {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}
            for name, values in (("height", sizes[:, 0]), ("width", sizes[:, 1]))
        },
    }


def _measure_columns(parts: Mapping[str, Examples]) -> list[dict[str, Any]]:
    first = next(iter(parts.values()))
    if first.channels:
        return []
    rows = np.concatenate([part.inputs for part in parts.values()]).astype(np.float64)
    names = [column.name for column in first.columns] or [f"column{k + 1}" for k in range(rows.shape[1])]
    found = []
    for place, name in enumerate(names):
        cells = rows[:, place]
        present = cells[~np.isnan(cells)]
        entry: dict[str, Any] = {"name": name, "missing": 1 - len(present) / len(cells)}
        if first.columns and first.columns[place].categories is not None:
            entry["categories"] = len(np.unique(present))
        elif len(present):
            entry |= {"min": float(present.min()), "mean": float(present.mean()), "max": float(present.max())}
        entry["constant"] = len(np.unique(present)) < 2
        found.append(entry)
    return found


def _judge_columns(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if not columns:
        return []
    lines = [_line("ok", _count(columns, "column"))]
    constant = [column["name"] for column in columns if column["constant"]]
    if constant:
        lines.append(_line("note", f"the same in every row, so of no use: {', '.join(constant[:_SHOWN])}"))
    missing = [f"{column['name']} {100 * column['missing']:.1f} %" for column in columns if column["missing"]]
    if missing:
        lines.append(_line("note", f"cells are missing in {_count(missing, 'column')}", missing))
    else:
        lines.append(_line("ok", "no cell is missing"))
    return lines
