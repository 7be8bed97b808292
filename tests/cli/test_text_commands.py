"""``dlapp predict`` and ``dlapp generate`` with bundles that read texts: networks as they start, of known answers."""

import io
import json
import time

import keras
import numpy as np
import pytest

from dlapp import exporting, texts
from dlapp.architectures import recurrent
from dlapp.inference.bundle import Bundle
from dlapp.inference.generating import generate
from dlapp.inference.reading import Given, answer_texts
from dlapp.signature import Preprocessing, Vocabulary

WORDS = Vocabulary(("", "[UNK]", "good", "bad", "film", "a"), "word", "lower_and_strip_punctuation", length=6)
TAGGED = Vocabulary(("", "[UNK]", "Rain", "falls", "on", "Spain"), "word")
LETTERS = Vocabulary(("", "[UNK]", *"abcd\n "), "character")
MARKED = Vocabulary(("", "[UNK]", "[START]", "[END]", *"abcd"), "character", marked=True, length=12)
SPOKEN = Vocabulary(("", "[UNK]", "[START]", "[END]", "so", "it", "goes"), "word", marked=True)


def build(name):
    """A network, what it is exported with, and its vocabulary."""
    keras.utils.set_random_seed(7)
    options = {"units": 6, "embedding_size": 5, "cell": "gru"}
    if name == "moods":
        return (
            recurrent(classes=2, vocabulary=6, bidirectional=True, **options),
            ("neg", "pos"),
            Preprocessing(0, vocabulary=WORDS),
        )
    if name == "tags":
        model = recurrent(classes=3, form="many_to_many", vocabulary=6, **options)
        return model, ("NOUN", "VERB", "ADP"), Preprocessing(0, vocabulary=TAGGED)
    if name == "pairs":
        model = recurrent(classes=8, form="encoder_decoder", vocabulary=8, **options)
        return model, (), Preprocessing(0, vocabulary=LETTERS, target_vocabulary=MARKED)
    vocabulary = {"story": LETTERS, "names": MARKED, "sayings": SPOKEN}[name]
    size = len(vocabulary)
    model = recurrent(classes=size, form="many_to_many", vocabulary=size, **options)
    return model, (), Preprocessing(0, vocabulary=vocabulary)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A working directory with bundles below export/, and the networks that they are of."""
    root, models = tmp_path_factory.mktemp("texts"), {}
    for name in ("moods", "tags", "pairs", "story", "names", "sayings"):
        models[name], labels, preprocessing = build(name)
        samples = np.array([[4, 5, 3, 2], [3, 4, 0, 0]], np.int32)
        exporting.export(
            models[name],
            root / "export" / name,
            labels=labels,
            preprocessing=preprocessing,
            samples=samples,
            formats=["onnx"],
        )
    return root, models


@pytest.fixture
def here(workshop, monkeypatch):
    monkeypatch.chdir(workshop[0])
    return workshop[1]


def test_a_text_gets_the_class_that_keras_gives(dlapp, here):
    text = "A good film!"
    expected = here["moods"].predict(texts.encode(text, WORDS)[np.newaxis], verbose=0)[0]
    status, out, err = dlapp("predict", "moods", text, "--top", 2, "--json")
    assert (status, err) == (0, "")
    (found,) = json.loads(out)["predictions"]
    assert found["input"] == text
    probabilities = {one["label"]: one["probability"] for one in found["top"]}
    np.testing.assert_allclose([probabilities["neg"], probabilities["pos"]], expected, atol=1e-6)


def test_texts_of_all_lengths_keep_their_order(here):
    draw = np.random.default_rng(0)
    some = [" ".join(draw.choice(["good", "bad", "film", "a"], draw.integers(1, 7))) for _ in range(90)]
    with_empty = [*some[:40], "?!", *some[40:]]
    found = list(answer_texts(Bundle("export/moods"), [Given(text, text) for text in with_empty], top=2))
    assert [one.input for one in found] == with_empty
    assert found[40].error == "'?!' has no word to read: give a text."
    for one, text in list(zip(found, with_empty, strict=True))[::9]:
        expected = here["moods"].predict(texts.encode(text, WORDS)[np.newaxis], verbose=0)[0]
        np.testing.assert_allclose(dict(one.top)["pos"], expected[1], atol=1e-6)


def test_what_is_unknown_or_too_long_is_told(dlapp, here):
    status, out, err = dlapp("predict", "moods", "a GOOD but very bad film a film")
    assert status == 0
    assert out.startswith("a GOOD but very bad film a film  ")
    assert "Note: a GOOD but very bad film a film: unknown: 'but', 'very'; only the first 6 of 8 words are read" in err


def test_files_and_standard_input_hold_a_text_a_line(dlapp, here, tmp_path, monkeypatch):
    path = tmp_path / "reviews.txt"
    path.write_bytes("good film\n\nbad caf\xe9\n".encode("latin-1"))
    status, _, err = dlapp("predict", "moods", path)
    assert status == 2
    assert "reviews.txt:3 is not utf-8 (byte 0xe9)" in err
    status, out, _ = dlapp("predict", "moods", path, "--encoding", "latin-1")
    assert status == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == [f"{path}:1", f"{path}:3"]
    monkeypatch.setattr("sys.stdin", io.StringIO("good\nbad film\n"))
    assert [line.split("  ")[0] for line in dlapp("predict", "moods", "-")[1].splitlines()] == ["line:1", "line:2"]
    assert dlapp("predict", "moods", "film.txt", "--text")[1].startswith("film.txt  ")
    assert "film.txt cannot be read" in dlapp("predict", "moods", "film.txt")[2]


def test_the_name_of_another_file_is_no_text(dlapp, here, tmp_path):
    path = tmp_path / "good.csv"
    path.write_text("text,mood\n")
    status, out, err = dlapp("predict", "moods", path)
    assert (status, out) == (2, "")
    assert f"{path} is a file; texts are read from files that end in .txt" in err
    assert dlapp("predict", "moods", path, "--text")[0] == 0
    assert dlapp("predict", "moods", "a good film." * 400)[0] == 0, "longer than any name of a file"


def test_every_word_gets_a_tag(dlapp, here):
    expected = here["tags"].predict(np.array([[2, 3, 4, 1]], np.int32), verbose=0)[0]
    labels = [("NOUN", "VERB", "ADP")[k] for k in expected.argmax(axis=1)]
    _, out, _ = dlapp("predict", "tags", "Rain falls on  us", "on", "--json")
    first, second = json.loads(out)["predictions"]
    assert [one["word"] for one in first["tags"]] == ["Rain", "falls", "on", "us"]
    assert [one["tag"] for one in first["tags"]] == labels
    np.testing.assert_allclose([one["probability"] for one in first["tags"]], expected.max(axis=1), atol=1e-6)
    assert len(second["tags"]) == 1
    assert first["note"] == "unknown: 'us'"
    told = " ".join(f"{word}/{tag}" for word, tag in zip(["Rain", "falls", "on", "us"], labels, strict=True))
    assert dlapp("predict", "tags", "Rain falls on us")[1] == f"{told}\n"


def test_a_reply_is_what_keras_would_write(dlapp, here):
    read = texts.encode("abca", LETTERS)[np.newaxis]
    written = [2]
    while len(written) < 13:  # the likeliest token each time, behind all that was written
        probabilities = here["pairs"].predict([read, np.array([written], np.int32)], verbose=0)[0, -1]
        probabilities[[0, 1, 2]] = 0
        if probabilities.argmax() == 3:
            break
        written.append(int(probabilities.argmax()))
    expected = texts.decode(written, MARKED)
    status, out, _ = dlapp("predict", "pairs", "abca", "bb", "--json")
    assert status == 0
    assert json.loads(out)["predictions"][0] == {"input": "abca", "reply": expected}
    found = json.loads(dlapp("predict", "pairs", "abca", "--beams", 3, "--json")[1])["predictions"][0]
    assert 1 <= len(found["replies"]) <= 3
    scores = [reply["score"] for reply in found["replies"]]
    assert scores == sorted(scores, reverse=True)


def test_the_same_seed_makes_the_same_text(dlapp, here):
    first = dlapp("generate", "story", "--prompt", "ab", "--length", 40, "--seed", 5)
    assert first == dlapp("generate", "story", "--prompt", "ab", "--length", 40, "--seed", 5)
    assert first[1] != dlapp("generate", "story", "--prompt", "ab", "--length", 40, "--seed", 6)[1]
    assert first[1].startswith("ab")
    assert len(first[1]) == len("ab") + 40 + len("\n")
    drawn = dlapp("generate", "story", "--length", 3, "--json")
    again = dlapp("generate", "story", "--length", 3, "--json", "--seed", json.loads(drawn[1])["seed"])
    assert json.loads(again[1])["texts"] == json.loads(drawn[1])["texts"]


def test_the_likeliest_text_is_what_keras_would_write(here):
    made = "".join(generate(Bundle("export/story"), "ad", random=np.random.default_rng(0), length=8, temperature=0))
    tokens = texts.encode("ad", LETTERS).tolist()
    while len(tokens) < 10:
        probabilities = here["story"].predict(np.array([tokens], np.int32), verbose=0)[0, -1]
        probabilities[[0, 1]] = 0
        tokens.append(int(probabilities.argmax()))
    assert made == texts.decode(tokens[2:], LETTERS)


def test_lines_end_by_themselves_and_words_are_parted(dlapp, here):
    made = json.loads(dlapp("generate", "names", "--count", 20, "--seed", 1, "--json")[1])["texts"]
    assert len(set(made)) > 5
    assert all(set(name) <= set("abcd") for name in made)
    spoken = dlapp("generate", "sayings", "--prompt", "so it", "--length", 4, "--seed", 3)[1].split()
    assert spoken[:2] == ["so", "it"]
    assert set(spoken) <= {"so", "it", "goes"}


def test_a_prompt_may_hold_what_train_had_not(dlapp, here):
    status, out, err = dlapp("generate", "story", "--prompt", "xa\u00fc", "--length", 3, "--seed", 1)
    assert status == 0
    assert out.startswith("xa\u00fc")
    assert err == "Note: train has no 'x', '\u00fc': it counts as unknown.\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["predict", "story", "abc"], "export/story makes texts: dlapp generate story --prompt TEXT"),
        (["predict", "moods", "good", "--beams", "2"], "--beams is for replies; export/moods does classification"),
        (["predict", "tags", "Rain", "--top", "2"], "--top is for classes; export/tags does tagging"),
        (["predict", "tags", "Rain", "--draw", "x"], "--draw is for bundles of pictures; export/tags reads texts"),
        (["predict", "moods", ""], "'' has no word to read: give a text."),
        (["generate", "moods"], "export/moods does classification; only a language model makes texts"),
        (["generate", "story", "--temperature", "-1"], "argument --temperature: must be a number from 0 on; got '-1'"),
        (["generate", "story", "--top-k", "0"], "argument --top-k: must be a positive number; got '0'"),
    ],
)
def test_what_a_bundle_cannot_do_is_refused(dlapp, here, call, message):
    status, _, err = dlapp(*call)
    assert status == (1 if call[-1] == "" else 2)
    assert message in err


def test_a_token_costs_one_step(here):
    """A thousand characters in less than a twentieth of what ``predict`` in a loop would take."""
    bundle, model = Bundle("export/story"), here["story"]
    tokens = np.full((1, 30), 2, np.int32)
    model.predict(tokens, verbose=0)
    started = time.perf_counter()
    for _ in range(5):
        model.predict(tokens, verbose=0)
    loop = (time.perf_counter() - started) / 5
    list(generate(bundle, "a", random=np.random.default_rng(0), length=10))
    started = time.perf_counter()
    assert len(list(generate(bundle, "a", random=np.random.default_rng(0), length=1000))) == 1000
    assert (time.perf_counter() - started) / 1000 < loop / 20
