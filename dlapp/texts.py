"""Texts as people write them <-> the numbers that a network reads; training and prediction share them."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dlapp.errors import SourceError
from dlapp.signature import END, PADDING, START, UNKNOWN, Standardize, Unit, Vocabulary

_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")  # Keras's own


def split_tokens(text: str | Sequence[str], unit: Unit, standardize: Standardize) -> list[str]:
    """The tokens of a text, by the rules of Keras's ``TextVectorization``.

    Other than there, letters of all scripts become lower case, and all that Unicode calls blank parts words.

    Args:
        text: or words that are parted already, each of which stays one token, whatever is stripped of it.
        unit: ``character`` or ``word``.
        standardize: what happens first.
    """
    if not isinstance(text, str):
        return [_standardized(word, standardize) for word in text]
    text = _standardized(text, standardize)
    return list(text) if unit == "character" else text.split()


def _standardized(text: str, how: Standardize) -> str:
    if how in ("lower", "lower_and_strip_punctuation"):
        text = text.lower()
    if how in ("strip_punctuation", "lower_and_strip_punctuation"):
        text = _PUNCTUATION.sub("", text)
    return text


def build_vocabulary(
    texts: Iterable[str | Sequence[str]],
    *,
    unit: Unit,
    standardize: Standardize = "none",
    marked: bool = False,
    length: int | None = None,
    size: int | None = None,
    min_count: int = 1,
) -> Vocabulary:
    """The vocabulary of ``texts``: the most frequent token first, of equally frequent ones the first in the alphabet.

    Args:
        texts: of train; nothing else is looked at.
        unit, standardize, marked, length: as :class:`Vocabulary` has them.
        size: tokens at most, those that stand for no text among them; None for all.
        min_count: tokens that are rarer count as unknown.
    """
    counts = Counter(itertools.chain.from_iterable(split_tokens(text, unit, standardize) for text in texts))
    reserved = (PADDING, UNKNOWN, START, END) if marked else (PADDING, UNKNOWN)
    kept = [token for token, count in counts.items() if count >= min_count and token not in reserved]
    kept.sort(key=lambda token: (-counts[token], token))
    room = None if size is None else max(size - len(reserved), 0)
    return Vocabulary((*reserved, *kept[:room]), unit, standardize, marked, length)


def encode(text: str | Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
    """(time,) int32: the number of each token, 1 for those that are unknown, cut to the vocabulary's length."""
    ids = vocabulary.ids
    numbers = [ids.get(token, 1) for token in split_tokens(text, vocabulary.unit, vocabulary.standardize)]
    if vocabulary.start is not None and vocabulary.end is not None:
        numbers = [vocabulary.start, *numbers, vocabulary.end]
    if vocabulary.length is not None:
        numbers = numbers[: vocabulary.length]
    return np.array(numbers, np.int32)


def decode(numbers: Iterable[int], vocabulary: Vocabulary) -> str:
    """The text that numbers stand for, up to the first end; padding and starts are left out."""
    silent = {0, vocabulary.start}
    told = itertools.takewhile(lambda number: number != vocabulary.end, map(int, numbers))
    tokens = [vocabulary.tokens[number] for number in told if number not in silent]
    return ("" if vocabulary.unit == "character" else " ").join(tokens)


def unknown_tokens(text: str | Sequence[str], vocabulary: Vocabulary) -> list[str]:
    """The tokens of a text that train had none of, each once, in their order."""
    tokens = split_tokens(text, vocabulary.unit, vocabulary.standardize)
    return [token for token in dict.fromkeys(tokens) if token not in vocabulary.ids]


def pad(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(n, longest) int32: sequences below each other, with zeros behind the shorter ones."""
    padded = np.zeros((len(sequences), max(map(len, sequences), default=0)), np.int32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


def read(path: Path, encoding: str = "utf-8") -> str:
    """A file as text, its lines ended by ``\\n`` alone and without a mark of the order of bytes.

    Raises:
        SourceError: it cannot be read, is empty, or holds bytes that are none of ``encoding``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        text = content.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{path}:{line} is not {encoding} (byte {content[error.start]:#04x}). Say how it is written: "
            f"--encoding {'latin-1' if encoding != 'latin-1' else 'utf-8'}, or {encoding} after repairing that line."
        ) from error
    except LookupError as error:
        raise SourceError(
            f"there is no encoding {encoding!r}; write utf-8, latin-1, cp1252, utf-16 or the like."
        ) from error
    if "\0" in text:
        raise SourceError(f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1} holds a zero byte: it is no text.")
    if not text.strip():
        raise SourceError(f"{path} is empty: there is no text in it.")
    return text.replace("\r\n", "\n").replace("\r", "\n")
