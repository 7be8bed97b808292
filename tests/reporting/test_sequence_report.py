"""The page of taggers, language models and encoder-decoders: what it marks, and that texts are no markup."""

import numpy as np
import pytest

from dlapp.evaluation.sequences import Steps, score_language_model, score_replies, score_tagging
from dlapp.recipe import Recipe
from dlapp.reporting.report import Page
from dlapp.reporting.sequence_report import write_sequence_report

HISTORY = [
    {"epoch": k, "seconds": 1.0, "train_loss": 1 / k, "dev_loss": 1 / k, "train_accuracy": 0.5, "dev_accuracy": 0.5}
    for k in (1, 2)
]
STEPS = Steps(
    lengths=np.array([2, 1]),
    wanted=np.array([0, 1, 1], np.int32),
    predicted=np.array([0, 1, 0], np.int32),
    nats=np.array([0.1, 0.2, 1.5], np.float32),
    characters=np.array([4, 2]),
    replies=("cat", "<b>dg"),
)
SCORES = {
    "tagging": score_tagging(STEPS, ["NOUN", "VERB"]),
    "language_model": score_language_model(STEPS),
    "sequence_to_sequence": score_replies(STEPS, ["cat", "<b>dog"]),
}


@pytest.fixture
def page(tmp_path):
    def write(task, **given):
        splits = dict.fromkeys(("train", "dev", "test"), SCORES[task])
        metrics = {
            **splits,
            "task": task,
            "epochs": 2,
            "parameters": 9,
            "data_hash": "h",
            "versions": {},
            "own_splits": [],
        }
        told = Page(
            title="model",
            recipe=Recipe(architecture="recurrent", data="lines:x.txt"),
            recipe_path="recipe.toml",
            metrics=metrics,
            history=HISTORY,
            labels=("NOUN", "VERB") if task == "tagging" else (),
            flow=([1.0, 0.1], "it reaches back."),
        )
        given = {"inputs": [], "wanted": [], "names": ["a.txt:1", "a.txt:2"]} | given
        write_sequence_report(tmp_path / "report.html", told, steps=STEPS, **given)
        return (tmp_path / "report.html").read_text()

    return write


def test_wrong_tags_are_marked_and_come_first(page):
    text = page("tagging", inputs=[("snowflake", "falls"), ("<i>stop",)])
    assert "<small>NOUN, not VERB</small>" in text
    assert text.index("&lt;i&gt;stop") < text.index("snowflake"), "the sentence with the mistake"
    assert "<i>stop" not in text
    assert "it reaches back." in text


def test_what_a_reply_has_wrong_is_marked(page):
    text = page("sequence_to_sequence", inputs=["katze", "hund"], wanted=["cat", "<b>dog"])
    assert text.index("hund") < text.index("katze"), "furthest from what was wanted"
    assert '<span>&lt;b&gt;d</span><span class="wrong">' in text
    assert "wanted <b>&lt;b&gt;dog</b>" in text
    assert "a.txt:2" in text


def test_generated_texts_stand_on_the_page(page):
    text = page("language_model", generated=["Kasara", "a < b"])
    assert "<pre>Kasara</pre>" in text
    assert "a &lt; b" in text
    assert f"{SCORES['language_model']['bits_per_character']:.3f}" in text
