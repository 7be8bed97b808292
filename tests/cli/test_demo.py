"""``dlapp demo``: the whole way."""

import json
from pathlib import Path

import pytest

from dlapp.recipe import Recipe

REFERENCE = Path(__file__).parents[2] / "models" / "lenet5-digits" / "recipe.toml"


@pytest.mark.slow
def test_demo_goes_the_whole_way_twice(dlapp, workplace):
    status, out, _ = dlapp("demo")
    assert status == 0
    metrics = json.loads((workplace / "models/demo/metrics.json").read_text())
    assert metrics["test"]["accuracy"] >= 0.97
    parity = json.loads((workplace / "export/demo/parity.json").read_text())
    assert parity["holds"]
    assert {row["runtime"] for row in parity["results"]} == {"keras", "savedmodel", "onnxruntime"}
    predicted = [line.split() for line in out.splitlines() if line.lstrip().startswith("models/demo/digit")]
    assert len(predicted) == 3
    assert sum(words[0][-5] == words[1] for words in predicted) >= 2, "at 0.97, two misses of three are no accident"
    assert out.rstrip().splitlines()[-3:] == [
        "  dlapp predict demo models/demo --top 3",
        "  dlapp evaluate demo",
        "  dlapp train lenet5 --data folder:PATH/TO/YOUR/PICTURES",
    ]
    done = Recipe.read(workplace / "models/demo/recipe.toml")
    reference = Recipe.read(REFERENCE)
    assert done.training == reference.training.resolved()
    assert done.preprocessing.augment == reference.preprocessing.augment
