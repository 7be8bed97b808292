"""A prepared set of tensorflow-datasets on the command line."""

import json

import numpy as np
import pytest

from dlapp.recipe import Recipe

pytest.importorskip("tensorflow_datasets")

from tests.data.test_tfds import grey, prepare


def test_check_train_and_evaluate_find_a_prepared_set(dlapp, workplace):
    rows = grey(200)
    for row in rows:
        row["image"] = np.where(row["label"], row["image"], 255 - row["image"])
        row["image"][:3] //= 2
    prepare(workplace / "sets", "dots", {"train": rows, "test": rows[:20]})
    where = ("--data-dir", "sets")
    status, out, err = dlapp("check", "tfds:dots", *where)
    assert status == 1
    assert "220 examples: test 20, train 200" in out
    assert "lie in more than one split" in out
    assert err == ""
    assert dlapp("train", "logistic_unit", "--data", "tfds:dots:1.*.*", *where, "--epochs", 1)[0] == 0
    recipe = Recipe.read(workplace / "models/logistic_unit-dots/recipe.toml")
    assert recipe.data == "tfds:dots:1.*.*?data_dir=sets"
    assert dlapp("train", "models/logistic_unit-dots/recipe.toml", "--name", "again")[0] == 0
    own = json.loads(dlapp("evaluate", "again", "--json")[1])
    given = json.loads(dlapp("evaluate", "again", "--data", "tfds:dots", *where, "--json")[1])
    assert {key: own[key] for key in own if key != "data"} == {key: given[key] for key in given if key != "data"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "digits", "--data-dir", "sets"], "it goes with tfds:NAME; got digits"),
        (["train", "lenet5", "--data-dir", "sets"], "--data-dir goes with --data tfds:NAME"),
        (["evaluate", "stripes", "--data-dir", "sets"], "--data-dir goes with --data tfds:NAME"),
        (["train", "lenet5", "--data", "tfds:mnist", "--data-dir", "sets"], 'tfds.builder("mnist", data_dir="sets")'),
    ],
    ids=["check", "train", "evaluate", "not prepared"],
)
def test_a_wrong_call_is_one_error(dlapp, copy_of_trained, arguments, message):
    status, out, err = dlapp(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("Error: ")
    assert message in err
    assert len(err.splitlines()) <= 2
