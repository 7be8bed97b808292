"""Texts on their way to a network: padded, by length, each once; and what of them is scored."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from dlapp import texts
from dlapp.data.examples import Examples, as_objects
from dlapp.data.sequences import SequencePipeline
from dlapp.data.text_files import text_examples
from dlapp.signature import Preprocessing, Vocabulary

LETTERS = Vocabulary(("", "[UNK]", *"abcdefghij"), "character")
MARKED = Vocabulary(("", "[UNK]", "[START]", "[END]", *"abcdefghij"), "character", marked=True)
WORDS = Vocabulary(("", "[UNK]", "big", "cat"), "word")


def pipeline(examples, task, vocabulary=LETTERS, target=None, window=4):
    preprocessing = Preprocessing(channels=0, vocabulary=vocabulary, target_vocabulary=target)
    return SequencePipeline(examples, preprocessing, task, window)


def random_texts(count):
    draw = np.random.default_rng(0)
    return ["".join(draw.choice(list("abcdefghij"), draw.integers(1, 30))) for _ in range(count)]


def test_every_text_comes_once_with_others_of_its_length():
    some = random_texts(200)
    made = pipeline(text_examples(some, targets=range(200)), "classification")
    batches = list(made.batches(8, shuffle_seed=1).as_numpy_iterator())
    assert len(batches) == made.steps(8) == len(made.batches(8))
    assert sorted(itertools.chain.from_iterable(targets.tolist() for _, targets in batches)) == list(range(200))
    for tokens, targets in batches:
        for row, target in zip(tokens, targets, strict=True):
            assert row[row > 0].tolist() == texts.encode(some[target], LETTERS).tolist()
            assert not row[len(some[target]) :].any()
    padding = np.mean([(tokens == 0).mean() for tokens, _ in batches])
    assert padding < 0.15, "in an order that knows no lengths it is 0.45"


def test_the_order_is_a_function_of_seed_and_epoch():
    some = text_examples(random_texts(50), targets=range(50))
    epoch = tf.Variable(tf.constant(0, tf.int64))
    made = pipeline(some, "classification").batches(8, shuffle_seed=3, epoch=epoch)

    def order():
        return [target for _, targets in made.as_numpy_iterator() for target in targets.tolist()]

    first = order()
    assert order() == first
    epoch.assign(1)
    assert order() != first


def test_a_text_of_nothing_is_one_unknown_token():
    words = Vocabulary(WORDS.tokens, "word", "strip_punctuation")
    ((tokens, _),) = pipeline(text_examples(["...", "big cat"], targets=[0, 1]), "classification", words).batches(2)
    assert tokens.numpy().tolist() == [[1, 0], [2, 3]]


def test_tags_stand_at_their_words():
    sentences = text_examples([("big", "cat"), ("cat", "big", "dog")], wanted=[np.array([1, 2]), np.array([2, 1, 0])])
    ((tokens, tags),) = pipeline(sentences, "tagging", WORDS).batches(2).as_numpy_iterator()
    assert tokens.tolist() == [[2, 3, 0], [3, 2, 1]]
    assert tags.tolist() == [[1, 2, 0], [2, 1, 0]]


def test_lines_are_predicted_from_their_start_to_their_end():
    ((tokens, following),) = (
        pipeline(text_examples(["ab", "c"]), "language_model", MARKED).batches(2).as_numpy_iterator()
    )
    assert tokens.tolist() == [[2, 4, 5], [2, 6, 0]]
    assert following.tolist() == [[4, 5, 3], [6, 3, 0]]


def test_a_decoder_is_given_what_it_was_to_write():
    pairs = text_examples(["ab", "c"], wanted=["ba", "cc"])
    made = pipeline(pairs, "sequence_to_sequence", LETTERS, MARKED)
    (((read, given), wanted),) = made.batches(2).as_numpy_iterator()
    assert read.tolist() == [[2, 3], [4, 0]]
    assert given.tolist() == [[2, 5, 4], [2, 6, 6]]
    assert wanted.tolist() == [[5, 4, 3], [6, 6, 3]]


def test_windows_of_a_running_text_touch():
    tokens = texts.encode("abcdefghij", LETTERS)
    made = pipeline(text_examples(["abcdefghij"]), "language_model")
    assert [stretch.inputs[0].tolist() for stretch in made.stretches] == [[2, 3, 4, 5], [6, 7, 8, 9], [10]]
    assert np.concatenate([stretch.targets for stretch in made.stretches]).tolist() == tokens[1:].tolist()


def test_every_token_of_a_running_text_is_scored_once_behind_a_whole_window():
    text = "".join(random_texts(20))
    tokens = texts.encode(text, LETTERS)
    found = pipeline(text_examples([text]), "language_model").scored_stretches()
    assert np.concatenate([stretch.targets[stretch.unscored :] for stretch in found]).tolist() == tokens[1:].tolist()
    assert [stretch.unscored for stretch in found] == [0] + [4] * (len(found) - 1)
    assert sum(stretch.characters for stretch in found) == len(text) - 1


@pytest.mark.parametrize(
    ("vocabulary", "text", "characters"),
    [
        (MARKED, "abba", 4),
        (Vocabulary((*MARKED.tokens[:4], "big", "cat"), "word", marked=True), "big  old cat", len("big old cat")),
        (Vocabulary(MARKED.tokens, "character", marked=True, length=3), "abba", 2),
    ],
)
def test_characters_of_a_line_are_those_of_its_tokens(vocabulary, text, characters):
    (stretch,) = pipeline(text_examples([text]), "language_model", vocabulary).stretches
    assert stretch.characters == characters


def test_a_text_that_is_cut_keeps_the_tags_of_what_is_left():
    short = Vocabulary(WORDS.tokens, "word", length=2)
    sentence = Examples(
        as_objects([("big", "cat", "big")]), np.zeros(1, np.int32), channels=0, wanted=as_objects([np.array([1, 2, 1])])
    )
    (stretch,) = pipeline(sentence, "tagging", short).stretches
    assert stretch.inputs[0].tolist() == [2, 3]
    assert stretch.targets.tolist() == [1, 2]
