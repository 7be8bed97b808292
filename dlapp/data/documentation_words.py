"""Sentences of Python's documentation topics whose words are tagged by its own markup: ``pydoc_words``."""

import hashlib
import platform
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dlapp.data.examples import Loaded
from dlapp.data.text_files import text_examples
from dlapp.errors import SourceError

_TAGS = ("code", "term", "text")
# as Sphinx writes inline literals and emphasis into plain text, over the end of a line too
_MARKED = re.compile(r'"(?P<code>[^"]+)"|(?<![\w*])\*(?P<term>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])')
_BOLD = re.compile(r'(?<!")\*\*([^*"]+)\*\*(?!")')
_WORD = re.compile(r"\w+|[^\w\s]")
_ENDS = frozenset(".:!?")
_SHORTEST, _LONGEST = 4, 60  # words
_FEWEST = 500  # sentences; a Python whose topics are written otherwise has none


class _Word(NamedTuple):
    text: str
    tag: str
    ends_sentence: bool


def load(name: str) -> Loaded:
    """Words with the tag ``code``, ``term`` or ``text``: what stood between double quotes, asterisks, or neither.

    The marks themselves are taken away, so that "the with statement" is known by what follows. Each sentence is there
    once; headings, lists of code and grammar are left out.

    Args:
        name: of the source.

    Raises:
        SourceError: this Python's topics have no such markup, or are not installed.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise SourceError(f"{name} needs pydoc_data of the standard library, which this Python lacks.") from error
    sentences = {
        tuple(word.text for word in sentence): [_TAGS.index(word.tag) for word in sentence]
        for topic in sorted(topics)
        for paragraph in re.split(r"\n\s*\n", topics[topic])
        if not _is_aside(paragraph)
        for sentence in _sentences(paragraph)
        if _SHORTEST <= len(sentence) <= _LONGEST
    }
    marked = sum(_TAGS.index("code") in tags for tags in sentences.values())
    if marked < _FEWEST:
        raise SourceError(
            f"{name} finds {marked} sentences with code between double quotes in the topics of Python "
            f"{platform.python_version()}, which marks it otherwise: use conllu:FILE, or another Python."
        )
    digest = hashlib.sha256(repr(sorted(sentences.items())).encode()).hexdigest()
    wanted = [np.array(tags, np.int32) for tags in sentences.values()]
    note = f"the sentences are those of Python {platform.python_version()}; other versions have others."
    part = text_examples([*sentences], wanted=wanted)
    return Loaded({"train": part}, _TAGS, digest, task="tagging", notes=(note,))


def _is_aside(paragraph: str) -> bool:
    """Whether it is code, grammar, a heading, or has a mark that is not closed."""
    if paragraph.startswith("   ") and not _is_prose(paragraph.strip()):
        return True
    return bool(re.search(r"^[=*\-^~]{3,}$", paragraph, re.M)) or paragraph.count('"') % 2 == 1


def _is_prose(text: str) -> bool:
    """Whether something that is set in is a text of its own, such as what a method does, and no example."""
    return bool(re.match(r'[A-Z"(*\u201c]', text) and re.search(r"[.:!?)]$", text)) and not re.search(r">>>|::=", text)


def _sentences(paragraph: str) -> Iterator[list[_Word]]:
    sentence: list[_Word] = []
    for word in _words(_BOLD.sub(r"\1", re.sub(r"^\s*(\*|\d+\.|-) +", "", paragraph))):
        sentence.append(word)
        if word.ends_sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _words(paragraph: str) -> Iterator[_Word]:
    begin = 0
    for mark in (*_MARKED.finditer(paragraph), None):
        end = len(paragraph) if mark is None else mark.start()
        for word in _WORD.finditer(paragraph, begin, end):
            yield _Word(word[0], "text", word[0] in _ENDS and paragraph[word.end() : word.end() + 1].isspace())
        if mark is not None:
            assert mark.lastgroup is not None
            yield from (_Word(text, mark.lastgroup, False) for text in _WORD.findall(mark[mark.lastgroup]))
            begin = mark.end()
