"""What ``check`` says of texts, counted by hand."""

import numpy as np
import pytest

from dlapp.data import auditing, corpora
from dlapp.data.text_files import text_examples


def test_lengths_and_words_by_hand():
    parts = {"train": text_examples(["a cat", "a dog sat"]), "test": text_examples(["a bird sat on"])}
    found = corpora.measure(parts)
    assert found["characters"] == {"min": 5, "median": 9, "max": 13}
    assert found["words"] == {"min": 2, "median": 3, "max": 4}
    assert found["distinct_words"] == 6
    assert found["rare_words"] == 4, "cat, dog, bird, on"
    assert found["distinct_characters"] == len(set("a cata dog sata bird sat on"))
    assert found["unseen_words"] == pytest.approx(2 / 4), "bird and on"
    assert list(corpora.unseen_letters(parts)) == [("test", ["b", "i", "n", "r"])]


def test_tags_are_counted_by_split():
    part = text_examples([("a", "b"), ("c",)], wanted=[np.array([0, 1]), np.array([1])])
    assert corpora.count_tags({"train": part, "dev": part.take([1])}, ["N", "V"]) == {
        "N": {"train": 1, "dev": 0},
        "V": {"train": 2, "dev": 1},
    }
    assert corpora.describe(part, 0, ["N", "V"]) == "N V"
    same = text_examples([("a", "b"), ("c",), ("d", "e")], wanted=[np.array([0, 1]), np.array([1]), np.array([0, 1])])
    kinds = corpora.kinds(same)
    assert kinds[0] == kinds[2] != kinds[1]


def verdicts(source):
    return {line["text"]: line["verdict"] for line in auditing.audit(source)["verdicts"]}


def test_a_source_of_pairs_is_audited(tmp_path):
    (tmp_path / "p.txt").write_text("go\tva\nrun\tcorre\ngo\tve\nrun\tcorre\n")
    found = verdicts(f"pairs:{tmp_path / 'p.txt'}")
    assert found["1 group of the same examples has different targets"] == "note"
    assert found["1 example repeats another; splits drawn from them would have some on both sides"] == "note"


def test_leaks_between_splits_of_texts_are_told(tmp_path):
    for split, text in (
        ("train", "a good film with a good end\tpos\na bad film with a bad end\tneg\n"),
        ("test", "a good film with a good end\tpos\nzoo\tneg\n"),
    ):
        (tmp_path / f"{split}.tsv").write_text(text * 3)
    found = auditing.audit(f"labelled:{tmp_path}")
    leak = next(line for line in found["verdicts"] if "more than one split" in line["text"])
    assert "flatters the error on test" in leak["text"]
    # of eight words the last
    assert any(line["text"] == "12 % of the words of dev and test are not in train" for line in found["verdicts"])
    assert any("test has characters that train has not: 'z'" in line["text"] for line in found["verdicts"])
    assert found["texts"]["words"]["max"] == 7
    assert found["columns"] == []


def test_a_running_text_is_told_in_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    assert "14 characters, 3 words" in verdicts(f"text:{tmp_path / 'a.txt'}")
