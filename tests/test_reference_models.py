"""The reference models of ``models/``: what is committed is what dlapp writes from what was measured."""

import json
import re
from pathlib import Path

import pytest

from dlapp.architectures import ARCHITECTURES
from dlapp.recipe import Recipe
from dlapp.reporting.model_card import number, render
from tests.benchmarks import models

ROOT = Path(__file__).parents[1] / "models"
NAMES = models.recipes()


def _results(name):
    return json.loads((ROOT / name / "results.json").read_text(encoding="utf-8"))


def test_the_chapters_have_one_each():
    assert len(NAMES) >= 12
    built = {Recipe.read(ROOT / name / "recipe.toml").architecture for name in NAMES}
    wanted = {"logistic_unit", "softmax_regression", "deep_network", "lenet5", "resnet20", "inception_v1", "alexnet"}
    assert built >= wanted | {"vgg11", "localizer", "yolo_grid", "recurrent"}


def test_the_table_is_that_of_the_results():
    assert (ROOT / "README.md").read_text(encoding="utf-8") == models.table([_results(name) for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_that_of_its_results(name):
    card = (ROOT / name / "README.md").read_text(encoding="utf-8")
    assert card == render(_results(name)), f"write it anew: dlapp card models/{name}"
    shown = re.findall(r"!\[.*?\]\((.*?)\)", card)
    assert 2 <= len(shown) <= 3
    assert all((ROOT / name / path).is_file() for path in shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_its_command_machine_time_and_metric(name):
    path, results = ROOT / name / "recipe.toml", _results(name)
    recipe = Recipe.read(path)
    assert (recipe.architecture, recipe.data) == (results["architecture"], results["data"]["source"])
    assert recipe.architecture in ARCHITECTURES
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(
        f"# dlapp train models/{name}/recipe.toml       {results['training']['processors']} CPU cores"
    )
    assert first.endswith(f" {number(results['headline']['value'])}")


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_has_an_interval_that_the_next_run_is_held_to(name):
    headline = _results(name)["headline"]
    assert headline["low"] <= headline["measured"] <= headline["high"]
    assert headline["low"] < headline["high"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_small(name):
    files = {path.name: path.stat().st_size for path in (ROOT / name).iterdir() if path.suffix != ".keras"}
    assert sum(files.values()) < 500_000, files
