"""What is tried next with a bundle, by what it does."""

from pathlib import Path

import pytest

from dlapp import signature as signatures
from dlapp.cli.export import following_command
from dlapp.signature import Preprocessing, Vocabulary, Windows

LETTERS = Preprocessing(0, vocabulary=Vocabulary(("", "[UNK]", "a"), "character"))
PICTURES = Preprocessing(1, (8, 8))
AB = ("a", "b")


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (signatures.classification(AB, PICTURES), "dlapp predict 'my bundle' PICTURE..."),
        (
            signatures.sliding_classification(AB, PICTURES, Windows((8, 8), (4, 4))),
            "dlapp predict 'my bundle' PICTURE... --slide",
        ),
        (signatures.classification(AB, Preprocessing(0, mean=(0.0,))), "dlapp predict 'my bundle' TABLE.csv"),
        (signatures.tagging(AB, LETTERS), "dlapp predict 'my bundle' \"some text\""),
        (signatures.language_model(LETTERS, (4,)), "dlapp generate 'my bundle'"),
    ],
    ids=["pictures", "sliding", "rows", "tags", "language model"],
)
def test_names_the_verb_and_its_input(signature, told, workplace):
    folder = Path("export/my bundle")
    folder.mkdir(parents=True)
    signature.write(folder / "signature.json")
    assert following_command(folder) == told


def test_a_bundle_elsewhere_is_named_by_its_path(tmp_path):
    signatures.classification(AB, PICTURES).write(tmp_path / "signature.json")
    assert following_command(tmp_path) == f"dlapp predict {tmp_path} PICTURE..."
