"""Sentences whose words have tags, in the CoNLL-U files of Universal Dependencies: ``conllu:FILE``.

https://universaldependencies.org/format.html
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlapp.data.examples import Loaded
from dlapp.data.text_files import digest_of, files_by_split, lines_of, parse_options, text_examples
from dlapp.errors import SourceError, UnknownName

_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_TAGS = tuple(name for name in _COLUMNS if name not in ("id", "form"))
_WORD, _SPAN, _EMPTY = re.compile(r"[1-9]\d*"), re.compile(r"[1-9]\d*-\d+"), re.compile(r"\d+\.\d+")


class _Sentence(NamedTuple):
    where: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


def load(rest: str) -> Loaded:
    """Reads ``FILE?column=upos&encoding=utf-8``; several files, with commas between or in a folder, may be splits.

    Multiword tokens (``1-2``) and empty nodes (``1.1``) are left out: the words that they stand for are there too.

    Args:
        rest: the file, and which column is the tag of a word.

    Raises:
        SourceError: a file cannot be read, a line is none of CoNLL-U, or no word has a tag in that column.
    """
    place, options = parse_options(rest, {"column": "upos", "encoding": "utf-8"}, source="conllu:")
    column = options["column"].lower()
    if column not in _TAGS:
        raise UnknownName("column of conllu:", column, _TAGS)
    by_split = files_by_split(place, [".conllu", ".conll"], source="conllu:")
    left_out: Counter[str] = Counter()
    found = {
        split: [sentence for path in paths for sentence in _sentences(path, column, options["encoding"], left_out)]
        for split, paths in by_split.items()
    }
    tags = {split: {tag for sentence in sentences for tag in sentence.tags} for split, sentences in found.items()}
    every = set().union(*tags.values())
    if every <= {"_"}:
        told = f"has no value in the column {column}" if every else "has no sentence"
        raise SourceError(f"{place} {told}: name another (?column=upos; {', '.join(_TAGS)}).")
    labels = tuple(sorted(every))
    numbers = {tag: number for number, tag in enumerate(labels)}
    parts = {
        split: text_examples(
            [sentence.words for sentence in sentences],
            wanted=[np.array([numbers[tag] for tag in sentence.tags], np.int32) for sentence in sentences],
            origins=[sentence.where for sentence in sentences],
        )
        for split, sentences in found.items()
    }
    notes = [f"{left_out[kind]:,} {kind} are left out." for kind in sorted(left_out)]
    notes += _tell_unseen(tags)
    return Loaded(parts, labels, digest_of(by_split), task="tagging", notes=tuple(notes))


def _tell_unseen(tags: dict[str, set[str]]) -> Iterator[str]:
    for split in ("dev", "test"):
        unseen = sorted(tags.get(split, set()) - tags.get("train", tags.get(split, set())))
        if unseen:
            yield f"train has no word tagged {', '.join(unseen)}, which {split} has: such tags cannot be learned."


def _sentences(path: Path, column: str, encoding: str, left_out: Counter[str]) -> Iterator[_Sentence]:
    place = _COLUMNS.index(column)
    words: list[str] = []
    tags: list[str] = []
    begins = ""
    for line in (*lines_of(path, encoding), None):
        if line is None or not line.text.strip():
            if words:
                yield _Sentence(begins, tuple(words), tuple(tags))
            words, tags = [], []
            continue
        if line.text.startswith("#"):
            continue
        cells = line.text.split("\t")
        if len(cells) != len(_COLUMNS):
            raise SourceError(
                f"{line.where}: a word of CoNLL-U has {len(_COLUMNS)} cells with tabs between; got {len(cells)}. "
                "Repair the line, or name another kind of source."
            )
        if _WORD.fullmatch(cells[0]):
            if not words:
                begins = line.where
            words.append(cells[1])
            tags.append(cells[place])
        elif _SPAN.fullmatch(cells[0]) or _EMPTY.fullmatch(cells[0]):
            left_out["multiword tokens" if "-" in cells[0] else "empty nodes"] += 1
        else:
            raise SourceError(
                f"{line.where}: the first cell of CoNLL-U is the number of the word (3, 3-4 or 3.1); got {cells[0]!r}."
            )
