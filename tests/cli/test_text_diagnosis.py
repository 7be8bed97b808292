"""What ``diagnose`` tells of a tagger whose tags depend on the words that follow."""

import json

import numpy as np
import pytest


@pytest.fixture
def looking_ahead(workplace):
    """``conllu:ahead.conllu``: the tag of a word is the word behind it."""
    draw, lines = np.random.default_rng(0), []
    for _ in range(150):
        words = draw.choice(["ba", "bo", "bu"], draw.integers(4, 9))
        for number, (word, tag) in enumerate(zip(words, [*words[1:], "end"], strict=True), start=1):
            lines.append(f"{number}\t{word}\t_\t{str(tag).upper()}" + "\t_" * 6)
        lines.append("")
    (workplace / "ahead.conllu").write_text("\n".join(lines))
    return "conllu:ahead.conllu"


@pytest.mark.slow
def test_both_directions_see_what_one_does_not(dlapp, workplace, looking_ahead):
    options = ["--set", "architecture_options.units=16", "--set", "text.min_count=1", "--learning-rate", "0.02"]
    status, out, err = dlapp(
        "train", "recurrent", "--data", looking_ahead, "--epochs", 8, "--batch-size", 16, "--name", "ahead", *options
    )
    assert status == 0, err
    status, out, err = dlapp("diagnose", "ahead", "--directions", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["limits"][0].startswith("It reads in one direction: the tag of a word depends on the words up to it")
    assert found["directions"]["one"]["value"] > 0.4, "two of three words behind are as likely as the tagged one"
    assert found["directions"]["both"]["value"] < 0.1
    assert found["directions"]["sentence"].endswith("both directions are better.")
    assert any("bidirectional=true" in advice["command"] for advice in found["next"])
    page = (workplace / "models/ahead/report.html").read_text()
    assert "Directions: error on test" in page
    assert "How far back it learns" in page
    assert "Sentences with the most wrong tags" in page


def test_a_picture_has_no_directions(dlapp, copy_of_trained):
    status, _, err = dlapp("diagnose", "stripes", "--directions")
    assert status == 2
    assert "--directions compares recurrent networks" in err
