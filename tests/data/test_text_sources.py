"""Sources of texts: what each reads, what it leaves out and says so, and what it refuses with file and line."""

import datetime
import re

import numpy as np
import pytest

from dlapp import texts
from dlapp.data import load
from dlapp.data.dates import _FORMATS
from dlapp.data.sources import parse, read, with_encoding
from dlapp.errors import SourceError, UnknownName

SENTENCE = """# text = vamonos al mar
1-2\tvamonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
2.1\t_\t_\tVERB\t_\t_\t_\t_\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_
"""


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def all_of(loaded, split="train"):
    part = loaded.parts[split]
    return part.inputs.tolist(), [loaded.labels[k] for k in part.targets] if loaded.labels else part.targets.tolist()


def test_a_running_text_is_one_example(tmp_path):
    text = "Ein Text.\r\nNoch eine Zeile.\r\n" * 10
    loaded = read(f"text:{write(tmp_path / 'a.txt', text)}")
    assert loaded.task == "language_model"
    assert loaded.parts["train"].inputs.tolist() == [text.replace("\r\n", "\n")]
    assert read(str(tmp_path / "a.txt")).digest == loaded.digest, "a bare path is a running text"


def test_the_topics_of_python_are_running_text():
    data = load("pydoc")
    assert [len(part) for part in data.splits().values()] == [1, 1, 1]
    assert len(data.train.inputs[0]) > 300_000
    assert "Assert statements" in data.train.inputs[0]


def test_lines_without_text_are_left_out_and_told(tmp_path):
    path = write(tmp_path / "names.txt", "Ann\n\n  Bob \n \nCyd\n")
    loaded = read(f"lines:{path}")
    assert all_of(loaded)[0] == ["Ann", "Bob", "Cyd"]
    assert loaded.parts["train"].name(1, "train") == f"{tmp_path / 'names.txt'}:3"
    assert loaded.notes == ("2 empty lines are left out.",)


def test_files_are_splits_by_their_names(tmp_path):
    for name in ("en-train", "en-dev", "en_test"):
        write(tmp_path / f"{name}.txt", f"{name}\nmore\n")
    data = load(f"lines:{tmp_path}")
    assert [part.inputs[0] for part in data.splits().values()] == ["en-train", "en-dev", "en_test"]
    assert data.own_splits == ("train", "dev", "test")
    write(tmp_path / "more.txt", "a\nb\n")
    with pytest.raises(SourceError, match=r"more\.txt tells of no split by its name, other files .* do"):
        load(f"lines:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sms", 'ham\tit is "5,0\r\nspam\tWIN\r\nham\tok\r\nspam\t£1\r\n', [('it is "5,0', "ham"), ("WIN", "spam")]),
        ("a_labelled.txt", "Good.\t1\nBad, bad.\t0\nFine\t1\nNo\t0\n", [("Good.", "1"), ("Bad, bad.", "0")]),
        ("u.csv", "text,Label\na,x\nb,y\nc,y\nd,y\n", [("a", "x"), ("b", "y")]),
        ("r.csv", 'text,mood\n"a, b",up\nc,down\nd,up\ne,down\nf,up\n', [("a, b", "up"), ("c", "down")]),
        (
            "n.tsv",
            "id\tkind\twords\n1\tx\tlong one\n2\ty\tb\n3\tx\tc\n4\ty\td\n5\tx\te\n",
            [("long one", "x"), ("b", "y")],
        ),
    ],
)
def test_tables_of_texts(tmp_path, name, text, expected):
    inputs, labels = all_of(read(f"labelled:{write(tmp_path / name, text)}"))
    assert list(zip(inputs, labels, strict=True))[:2] == expected


def test_columns_of_a_table_may_be_named(tmp_path):
    path = write(tmp_path / "a.csv", "title,body,class\none,first text,p\ntwo,second,q\nthree,third,p\nfour,4,q\n")
    assert all_of(read(f"labelled:{path}?text=title&target=class")) == (["one", "two", "three", "four"], list("pqpq"))
    with pytest.raises(UnknownName, match=r"unknown column of .* 'titel'\. Did you mean title"):
        read(f"labelled:{path}?text=titel")


def test_a_folder_or_a_file_a_class(tmp_path):
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            write(tmp_path / "reviews" / split / label / "0.txt", f"{split} {label}\nmore")
    loaded = read(str(tmp_path / "reviews"))
    assert all_of(loaded, "test") == (["test neg\nmore", "test pos\nmore"], ["neg", "pos"])
    for label in ("Irish", "Greek"):
        write(tmp_path / "names" / f"{label}.txt", f"{label}1\n{label}2\n")
    loaded = read(str(tmp_path / "names"))
    assert all_of(loaded) == (["Greek1", "Greek2", "Irish1", "Irish2"], ["Greek", "Greek", "Irish", "Irish"])


def test_tables_in_a_folder_are_joined(tmp_path):
    write(tmp_path / "a.txt", "good\t1\nbad\t0\n")
    write(tmp_path / "b.txt", "fine\t1\nawful\t0\n")
    assert all_of(read(f"labelled:{tmp_path}")) == (["good", "bad", "fine", "awful"], list("1010"))


def test_multiword_tokens_and_empty_nodes_are_left_out(tmp_path):
    loaded = read(f"conllu:{write(tmp_path / 'a.conllu', SENTENCE + chr(10) + SENTENCE)}")
    part = loaded.parts["train"]
    assert loaded.task == "tagging"
    assert part.inputs.tolist() == [("vamos", "nos", "a", "el", "mar")] * 2
    assert [loaded.labels[tag] for tag in part.wanted[1]] == ["VERB", "PRON", "ADP", "DET", "NOUN"]
    assert loaded.notes == ("2 empty nodes are left out.", "4 multiword tokens are left out.")
    assert part.name(0, "train").endswith("a.conllu:3")
    other = read(f"conllu:{tmp_path / 'a.conllu'}?column=deprel")
    assert other.labels == ("case", "det", "obj", "obl", "root")


def test_a_tag_that_train_lacks_is_told(tmp_path):
    write(tmp_path / "x-train.conllu", SENTENCE)
    write(tmp_path / "x-dev.conllu", SENTENCE.replace("\tDET\t", "\tSYM\t"))
    loaded = read(f"{tmp_path}")
    assert loaded.notes[-1] == "train has no word tagged SYM, which dev has: such tags cannot be learned."


def test_pairs(tmp_path):
    path = write(tmp_path / "p.txt", "go\tva\n\nrun!\t走る\n")
    loaded = read(f"pairs:{path}")
    assert loaded.task == "sequence_to_sequence"
    assert loaded.parts["train"].inputs.tolist() == ["go", "run!"]
    assert loaded.parts["train"].wanted.tolist() == ["va", "走る"]


def test_dates_mean_one_day():
    loaded = read("dates?examples=3000&seed=4")
    part = loaded.parts["train"]
    assert read("dates?examples=3000&seed=4").digest == loaded.digest
    assert read("dates?examples=3000&seed=5").digest != loaded.digest
    assert read("dates").digest.startswith("49b5fe"), "the same on every machine"
    meanings: dict[str, str] = {}
    for text, iso in zip(part.inputs, part.wanted, strict=True):
        date = datetime.date.fromisoformat(iso)
        assert meanings.setdefault(text, iso) == iso
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        assert date.day in numbers
        assert {date.year, date.year % 100} & set(numbers)
        assert date.strftime("%b").lower() in text.lower() or date.month in numbers
    assert len(_FORMATS) == len(set(_FORMATS)) > 10


@pytest.mark.parametrize(
    ("source", "content", "message"),
    [
        ("text", b"", r"f\.txt is empty: there is no text in it"),
        ("text", b" \n\n", r"f\.txt is empty"),
        ("lines", b"a\nb\n\xff\n", r"f\.txt:3 is not utf-8 \(byte 0xff\)\. .* --encoding latin-1"),
        ("text", b"a\0b", r"f\.txt:1 holds a zero byte"),
        ("lines", b"one\n", "has 1 lines with text; lines: needs at least 2"),
        ("pairs", b"a\tb\na b\n", r"f\.txt:2: a pair is a text, one tab and another text; got 'a b'"),
        ("pairs", b"a\t\n", r"f\.txt:1: a pair is"),
        ("labelled", b"no label\nnone\n", "must have at least two cells in every row"),
        ("labelled", b"a\tb\nc\td\ne\tf\n", "has 3 different values in 3 rows of its column 1: name the one"),
        ("conllu", b"1\ta\n", r"f\.txt:1: a word of CoNLL-U has 10 cells with tabs between; got 2"),
        ("conllu", b"x" + b"\t_" * 9, r"f\.txt:1: the first cell of CoNLL-U is the number of the word .* got 'x'"),
        ("conllu", b"1" + b"\t_" * 9, "has no value in the column upos: name another"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, source, content, message):
    (tmp_path / "f.txt").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read(f"{source}:{tmp_path / 'f.txt'}")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("lines:nowhere.txt", SourceError, r"nowhere\.txt cannot be read: No such file"),
        ("text:a.txt?enc=x", UnknownName, r"unknown option of text: 'enc'\. Known: encoding"),
        ("conllu:a.conllu?column=pos", UnknownName, "unknown column of conllu: 'pos'"),
        ("dates?examples=3", SourceError, "examples of dates must be a whole number from 10 to 100,000; got '3'"),
        ("dates:a", SourceError, r"dates takes nothing after its name, or options as in dates\?seed=1"),
        ("pydoc:a", SourceError, "pydoc takes nothing after its name"),
    ],
)
def test_a_source_that_is_written_wrongly_is_refused(source, error, message):
    with pytest.raises(error, match=message):
        read(source)


def test_an_encoding_stands_in_the_source(tmp_path):
    path = write(tmp_path / "a.txt", "café\nété\n", "latin-1")
    source = with_encoding(f"lines:{path}", "latin-1")
    assert parse(source) == ("lines", f"{path}?encoding=latin-1")
    assert read(source).parts["train"].inputs.tolist() == ["café", "été"]
    with pytest.raises(SourceError, match="--encoding is of files of text"):
        with_encoding("digits", "latin-1")
    with pytest.raises(SourceError, match="there is no encoding 'latin-99'"):
        read(with_encoding(f"lines:{path}", "latin-99"))


def test_a_mark_of_the_order_of_bytes_is_no_text(tmp_path):
    assert texts.read(write(tmp_path / "a.txt", "abc", "utf-8-sig")) == "abc"


@pytest.mark.parametrize(
    ("source", "examples", "labels"),
    [
        ("lines:{}/dinos/dinos.txt", 1623, 0),
        ("labelled:{}/sms_spam/SMSSpamCollection", 5574, 2),
        ("{}/uci_sentences", 3000, 2),
        ("{}/names_by_nationality", 20074, 18),
        ("{}/ud_atis", 4274 + 572 + 586, 14),
    ],
)
def test_sets_that_people_have(data_set, source, examples, labels):
    root = data_set("dinos").parent
    loaded = read(source.format(root))
    assert sum(map(len, loaded.parts.values())) == examples
    assert len(loaded.labels) == labels
    assert all(np.unique(part.origins).size == len(part) for part in loaded.parts.values())
