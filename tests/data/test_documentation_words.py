"""Words of Python's documentation, tagged by its markup."""

import sys
import types

import pytest

from dlapp.data import load
from dlapp.data.documentation_words import load as load_words
from dlapp.errors import SourceError


def _read(monkeypatch, text: str, fewest: int = 1) -> list[str]:
    """Sentences with the tag behind every word that is not text."""
    module = types.ModuleType("pydoc_data.topics")
    module.topics = {"topic": text}
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", module)
    monkeypatch.setattr("dlapp.data.documentation_words._FEWEST", fewest)
    loaded = load_words("pydoc_words")
    train, names = loaded.parts["train"], loaded.labels
    return [
        " ".join(
            word if names[tag] == "text" else f"{word}/{names[tag]}" for word, tag in zip(words, tags, strict=True)
        )
        for words, tags in zip(train.inputs, train.wanted, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('Use the "with" statement here.', ["Use the with/code statement here ."]),
        (
            'Call "range(3)" or\n"max\n(a)" now.',
            ["Call range/code (/code 3/code )/code or max/code (/code a/code )/code now ."],
        ),
        ("It is an *iterable\nobject* to me.", ["It is an iterable/term object/term to me ."]),
        ("So 2 * 3 * 4 is 24.", ["So 2 * 3 * 4 is 24 ."]),
        ('* A point of a list.\n\n1. Another "one" of it.', ["A point of a list .", "Another one/code of it ."]),
        ("See **PEP 484** for more.", ["See PEP 484 for more ."]),
        ('Now "**" raises to powers.', ["Now */code */code raises to powers ."]),
        ("First one of these. And then 3.11 of those!", ["First one of these .", "And then 3 . 11 of those !"]),
        ('Some "code. With a point" in it.', ["Some code/code ./code With/code a/code point/code in it ."]),
        ("Each is there once.\n\nEach is there once.", ["Each is there once ."]),
        ("Too short.\n\nThis one is not.", ["This one is not ."]),
        ("A heading of words\n==================\n\nA text of words.", ["A text of words ."]),
        ('   for "x" in y: z\n\nA text of words.', ["A text of words ."]),
        ('   Set in as "code" is.\n\nA text of words.', ["Set in as code/code is .", "A text of words ."]),
        ('   "a" ::= "b".\n\n   >>> Print(3).\n\nA text of words.', ["A text of words ."]),
        ('A mark " that is not closed.\n\nA text of words.', ["A text of words ."]),
    ],
)
def test_marks_become_tags(monkeypatch, text, sentences):
    assert _read(monkeypatch, f'{text}\n\nThe "code" that is always there.')[: len(sentences)] == sentences


def test_another_markup_is_an_error(monkeypatch):
    with pytest.raises(SourceError, match=r"pydoc_words finds 1 sentences with code .* marks it otherwise: use conllu"):
        _read(monkeypatch, 'Use the "with" statement here.', fewest=2)


def test_python_without_topics_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(SourceError, match="pydoc_words needs pydoc_data"):
        load_words("pydoc_words")


def test_this_python_has_some_of_each_and_no_split_has_a_sentence_of_another():
    data = load("pydoc_words")
    assert (data.task, data.labels) == ("tagging", ("code", "term", "text"))
    sentences = [words for part in data.splits().values() for words in part.inputs]
    assert len(set(sentences)) == len(sentences) > 1000
    for part in data.splits().values():
        assert {tag for tags in part.wanted for tag in tags.tolist()} == {0, 1, 2}
