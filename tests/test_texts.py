"""Texts to numbers and back, against Keras's ``TextVectorization`` and by hand."""

import numpy as np
import pytest

from dlapp import texts
from dlapp.signature import Vocabulary


@pytest.mark.parametrize("standardize", ["none", "lower", "strip_punctuation", "lower_and_strip_punctuation"])
@pytest.mark.parametrize("unit", ["word", "character"])
def test_tokens_are_those_of_keras(unit, standardize):
    import keras

    told = ["It's  GOOD, isn't it?", "a_b [c] {d} ~e~ `f` 1,000.50", "\ttabs and\nlines \\ / | "]
    layer = keras.layers.TextVectorization(
        standardize=None if standardize == "none" else standardize,
        split="whitespace" if unit == "word" else "character",
        ragged=True,
    )
    layer.adapt(told)
    spoken = np.array(layer.get_vocabulary())
    for text in told:
        numbers = layer(np.array([text]))[0].numpy()
        assert texts.split_tokens(text, unit, standardize) == spoken[numbers].tolist()


def test_letters_of_other_scripts_become_lower_case():
    assert texts.split_tokens("Élan ÜBER", "word", "lower") == ["élan", "über"]


def test_words_that_are_parted_stay_one_token_each():
    assert texts.split_tokens(["New York", "It's"], "word", "lower_and_strip_punctuation") == ["new york", "its"]


def test_a_vocabulary_is_ordered_by_frequency_and_then_by_the_alphabet():
    found = texts.build_vocabulary(["b a c", "c a", "d [UNK]"], unit="word")
    assert found.tokens == ("", "[UNK]", "a", "c", "b", "d")
    assert texts.build_vocabulary(["b a c", "c a"], unit="word", size=3).tokens == ("", "[UNK]", "a")
    assert texts.build_vocabulary(["b a c", "c a"], unit="word", min_count=2).tokens == ("", "[UNK]", "a", "c")


def test_text_goes_to_numbers_and_back():
    vocabulary = Vocabulary(("", "[UNK]", "[START]", "[END]", "a", "b"), "character", marked=True)
    numbers = texts.encode("abxa", vocabulary)
    assert numbers.tolist() == [2, 4, 5, 1, 4, 3]
    assert numbers.dtype == np.int32
    assert texts.decode([*numbers, 4, 4], vocabulary) == "ab[UNK]a"
    assert texts.unknown_tokens("abxxy", vocabulary) == ["x", "y"]
    words = Vocabulary(("", "[UNK]", "on", "off"), "word", "lower", length=2)
    assert texts.encode("Off ON off", words).tolist() == [3, 2]
    assert texts.decode([3, 2, 0, 0], words) == "off on"


def test_a_mark_in_a_text_is_no_mark():
    vocabulary = texts.build_vocabulary(["[END] x"], unit="word", marked=True)
    assert texts.encode("[END] x", vocabulary).tolist() == [2, 1, 4, 3]


def test_padding_stands_behind():
    assert texts.pad([np.array([1, 2]), np.array([3])]).tolist() == [[1, 2], [3, 0]]
    assert texts.pad([]).shape == (0, 0)
