"""Texts of a person -> an answer for each, and a reason for each that gets none."""

import dataclasses
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlapp import texts
from dlapp.errors import BundleError, SourceError
from dlapp.inference.bundle import Bundle
from dlapp.inference.decoding import beam_search, greedy
from dlapp.signature import Vocabulary

_BATCH = 64
_AT_ONCE = 4096  # texts that are put in the order of their lengths
_TOLD = 5  # unknown tokens
_LETTERS = 60  # of a text that stands for itself
_LONGEST_NAME = 255  # bytes of a file's; a text may have more


class Given(NamedTuple):
    """A text, and what it is called: its file and line, or its own beginning."""

    name: str
    text: str


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one text.

    Attributes:
        input: what the text is called.
        top: (label, probability) of the likeliest classes, likeliest first.
        tags: (word, tag, probability) of every word.
        replies: (text, score) that an encoder-decoder writes, best first; the score is the logarithm of the
            probability, of several beams divided by a power of the length. One without a score for one beam.
        error: why there is no answer.
        note: what the answer is less sure for.
    """

    input: str
    top: tuple[tuple[str, float], ...] = ()
    tags: tuple[tuple[str, str, float], ...] = ()
    replies: tuple[tuple[str, float | None], ...] = ()
    error: str | None = None
    note: str = ""


def gather(inputs: Iterable[str], *, encoding: str = "utf-8", verbatim: bool = False) -> Iterator[Given]:
    """Texts of a command line: a file that ends in .txt and standard input (``-``) are a text a line.

    The name of another file is refused: whoever gives it does not mean its letters.

    Args:
        inputs: as they were given.
        encoding: of the files.
        verbatim: everything is a text, whatever it looks like.

    Raises:
        SourceError: a file cannot be read, or is no .txt file.
    """
    for given in inputs:
        if not verbatim and _is_other_file(given):
            raise SourceError(
                f"{given} is a file; texts are read from files that end in .txt, one a line. Put them into one, or "
                "--text takes the name itself as a text."
            )
        if verbatim or (given != "-" and not given.lower().endswith(".txt")):
            yield Given(given if len(given) <= _LETTERS else f"{given[:_LETTERS]}...", given)
            continue
        lines = (sys.stdin.read() if given == "-" else texts.read(Path(given), encoding)).split("\n")
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield Given(f"{'line' if given == '-' else given}:{number}", line.strip())


def _is_other_file(given: str) -> bool:
    path = Path(given)
    if not path.suffix or path.suffix.lower() == ".txt" or len(given.encode()) > _LONGEST_NAME:
        return False
    return path.is_file()


def answer_texts(bundle: Bundle, given: Iterable[Given], *, top: int = 1, beams: int = 1) -> Iterator[Answer]:
    """Answers in the order of the texts; those of similar length go through the network together.

    Args:
        bundle: of a network that reads texts.
        given: the texts.
        top: how many of the likeliest classes.
        beams: sequences that an encoder-decoder keeps while it writes one; 1 takes the likeliest token each time.

    Raises:
        BundleError: the bundle reads no texts, or is a language model.
    """
    signature = bundle.signature
    vocabulary = signature.preprocessing.vocabulary
    if vocabulary is None:
        raise BundleError(f"{bundle.folder} reads no texts: use dlapp.inference.predicting.")
    if signature.task == "language_model":
        raise BundleError(f"{bundle.folder} is a language model: it makes texts, by dlapp.inference.generating.")
    waiting = iter(given)
    while some := list(itertools.islice(waiting, _AT_ONCE)):
        encoded = [texts.encode(_tokens_of(bundle, one.text), vocabulary) for one in some]
        answers: dict[int, Answer] = {
            index: Answer(one.name, error=f"{one.name!r} has no {vocabulary.unit} to read: give a text.")
            for index, one in enumerate(some)
            if not len(encoded[index])
        }
        order = sorted((index for index in range(len(some)) if index not in answers), key=lambda k: len(encoded[k]))
        for begin in range(0, len(order), _BATCH):
            places = order[begin : begin + _BATCH]
            batch = [some[place] for place in places]
            told = _answer(bundle, batch, [encoded[place] for place in places], top, beams)
            answers |= dict(zip(places, told, strict=True))
        yield from (answers[index] for index in range(len(some)))


def _tokens_of(bundle: Bundle, text: str) -> str | tuple[str, ...]:
    """A text, or of a tagger its words, each of which gets a tag whatever it is made of."""
    return tuple(text.split()) if bundle.signature.task == "tagging" else text


def _answer(
    bundle: Bundle, given: Sequence[Given], encoded: Sequence[np.ndarray], top: int, beams: int
) -> Iterator[Answer]:
    signature = bundle.signature
    vocabulary = signature.preprocessing.vocabulary
    assert vocabulary is not None
    notes = [_note(_tokens_of(bundle, one.text), len(ids), vocabulary) for one, ids in zip(given, encoded, strict=True)]
    tokens = texts.pad(encoded)
    if signature.task == "sequence_to_sequence":
        for one, replies, note in zip(given, _reply(bundle, tokens, beams), notes, strict=True):
            yield Answer(one.name, replies=replies, note=note)
        return
    probabilities = bundle.run(tokens)["probabilities"]
    labels = signature.labels
    for one, row, note in zip(given, probabilities, notes, strict=True):
        if signature.task == "tagging":
            best = row.argmax(axis=1).tolist()
            words = one.text.split()[: len(best)]
            tags = (
                (word, labels[k], float(row[place, k]))
                for place, (word, k) in enumerate(zip(words, best, strict=False))
            )
            yield Answer(one.name, tags=tuple(tags), note=note)
        else:
            order = np.argsort(-row, kind="stable")[:top].tolist()
            yield Answer(one.name, tuple((labels[k], float(row[k])) for k in order), note=note)


def _reply(bundle: Bundle, tokens: np.ndarray, beams: int) -> Iterator[tuple[tuple[str, float | None], ...]]:
    vocabulary = bundle.signature.preprocessing.target_vocabulary
    assert vocabulary is not None
    assert vocabulary.start is not None
    assert vocabulary.end is not None
    limits = {"start": vocabulary.start, "end": vocabulary.end, "length": vocabulary.length or 4 * tokens.shape[1]}
    states = bundle.encode(tokens)
    if beams == 1:
        yield from (((texts.decode(ids, vocabulary), None),) for ids in greedy(bundle.step, states, **limits))
        return
    for row in range(len(tokens)):
        found = beam_search(bundle.step, [state[row : row + 1] for state in states], beams=beams, **limits)
        yield tuple((texts.decode(ids, vocabulary), score) for ids, score in found)


def _note(text: str | Sequence[str], kept: int, vocabulary: Vocabulary) -> str:
    """What of a text the network does not know, or does not see."""
    unknown = texts.unknown_tokens(text, vocabulary)
    told = [", ".join(map(repr, unknown[:_TOLD])) + (f" and {len(unknown) - _TOLD:,} more" if unknown[_TOLD:] else "")]
    notes = [f"train has no {told[0]}" if vocabulary.unit == "character" else f"unknown: {told[0]}"] if unknown else []
    count = len(texts.split_tokens(text, vocabulary.unit, vocabulary.standardize))
    if count > kept:
        notes.append(f"only the first {kept:,} of {count:,} {vocabulary.unit}s are read")
    return "; ".join(notes)
