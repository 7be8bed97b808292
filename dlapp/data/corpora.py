"""What can be said of texts without a model: how long they are, what they are made of, and what is there twice."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlapp import texts
from dlapp.data.examples import Examples

_RARE = 2  # words that occur less often teach nothing


def measure(parts: Mapping[str, Examples]) -> dict[str, Any]:
    """Lengths and vocabularies of texts, ready for JSON; nothing where there are none.

    ``characters`` and ``words`` of a text, each with its smallest, median and largest number; how many different
    ``distinct_characters`` and ``distinct_words`` there are, ``rare_words``, which occur once, and ``unseen_words``,
    the share of the words of dev and test together that train has not.
    """
    first = next(iter(parts.values()))
    if not first.are_texts:
        return {}
    every = [text for part in parts.values() for text in part.inputs]
    words = Counter(word for text in every for word in _words(text))
    letters = Counter(letter for text in every for letter in _letters(text))
    found: dict[str, Any] = {}
    for name, split in (("characters", _letters), ("words", _words)):
        lengths = np.array([len(split(text)) for text in every])
        found[name] = {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())}
    found |= {
        "distinct_characters": len(letters),
        "distinct_words": len(words),
        "rare_words": sum(count < _RARE for count in words.values()),
        "unseen_words": None,
    }
    held_out = [text for name, part in parts.items() if name in ("dev", "test") for text in part.inputs]
    if held_out and "train" in parts:
        known = {word for text in parts["train"].inputs for word in _words(text)}
        told = [word not in known for text in held_out for word in _words(text)]
        found["unseen_words"] = float(np.mean(told)) if told else 0.0
    return found


def count_tags(parts: Mapping[str, Examples], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many words of each tag each split has."""
    counts = {
        name: np.bincount(np.concatenate(list(part.wanted)), minlength=len(labels))
        for name, part in parts.items()
        if part.wanted is not None
    }
    return {label: {name: int(count[place]) for name, count in counts.items()} for place, label in enumerate(labels)}


def unseen_letters(parts: Mapping[str, Examples]) -> Iterator[tuple[str, list[str]]]:
    """Of dev and test the characters that train has not, where there are any."""
    if "train" not in parts:
        return
    known = {letter for text in parts["train"].inputs for letter in _letters(text)}
    for name in ("dev", "test"):
        if name in parts:
            other = {letter for text in parts[name].inputs for letter in _letters(text)} - known
            if other:
                yield name, sorted(other)


def kinds(part: Examples) -> np.ndarray:
    """(n,) equal for examples whose targets are equal, whatever these are."""
    if part.wanted is None:
        return part.targets
    keys = [wanted if isinstance(wanted, str) else wanted.tobytes() for wanted in part.wanted]
    return np.array([hash(key) for key in keys], np.int64)


def describe(part: Examples, index: int, labels: Sequence[str]) -> str:
    """What a text is to become: its class, its tags or another text."""
    if part.wanted is None:
        return labels[int(part.targets[index])]
    wanted = part.wanted[index]
    if isinstance(wanted, str):
        return wanted
    tags: list[int] = wanted.tolist()
    return " ".join(labels[tag] for tag in tags)


def _words(text: str | Sequence[str]) -> Sequence[str]:
    return texts.split_tokens(text, "word", "none") if isinstance(text, str) else text


def _letters(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else " ".join(text)
