"""Advice: in the course's order, of this run, and each a command that can be run."""

import shlex

import pytest

from dlapp.recipe import Recipe, parse_setting, with_changes
from dlapp.training.advice import Facts, advise

LONG = [{"epoch": k, "train_loss": 0.5, "dev_loss": 0.5} for k in range(1, 101)]
RUN = {
    "model": "a",
    "recipe_path": "models/a/recipe.toml",
    "source": "csv:a b.csv?target=x",
    "pictures": False,
    "units": (64, 32),
    "drops": True,
    "history": LONG,
    "steps_per_epoch": 50,
    "train_examples": 3000,
    "parameters": 5000,
}


def given(problems, *, architecture="deep_network", facts=None, **tables):
    recipe = Recipe.from_values({"architecture": architecture, "data": "digits", **tables})
    return recipe, advise(recipe, problems, Facts(**{**RUN, **(facts or {})}))


def settings(command):
    words = shlex.split(command)
    return dict(parse_setting(words[k + 1]) for k, word in enumerate(words) if word == "--set")


def changed(recipe, command):
    """The recipe that a command trains; refuses what cannot be set."""
    assert shlex.split(command)[:3] == ["dlapp", "train", "models/a/recipe.toml"]
    return Recipe.from_values(with_changes(recipe.model_dump(mode="json", exclude_none=True), settings(command)))


ALL = {"mismatch": 0.2, "avoidable_bias": 0.1, "variance": 0.1, "dev_overfitting": 0.1}


@pytest.mark.parametrize("architecture", ["deep_network", "shallow_network", "softmax_regression", "lenet5"])
@pytest.mark.parametrize("pictures", [False, True], ids=["rows", "pictures"])
def test_every_command_can_be_run(architecture, pictures):
    units = {"deep_network": (64, 32), "shallow_network": (4,)}.get(architecture, ())
    regularized = {"training": {"optimizer": "momentum", "l2": 1e-3, "dropout": 0.2, "early_stopping": 0}}
    facts = {"pictures": pictures, "units": units, "parameters": 10**6}
    recipe, advice = given(ALL, architecture=architecture, facts=facts, **regularized)
    assert len(advice) > 8
    assert len({one.command for one in advice}) == len(advice)
    for one in advice:
        if "--set" in one.command:
            assert changed(recipe, one.command) != recipe
        else:
            assert shlex.split(one.command)[1] in ("train", "tune", "diagnose", "check")


def test_bias_comes_before_variance_unless_variance_is_by_far_larger():
    def order(**problems):
        return list(dict.fromkeys(one.against for one in given(problems)[1]))

    assert order(avoidable_bias=0.1, variance=0.1) == ["bias", "variance"]
    assert order(avoidable_bias=0.02, variance=0.3) == ["variance", "bias"]
    assert order(mismatch=0.1, avoidable_bias=0.1) == ["mismatch", "bias"]
    assert order(avoidable_bias=0.3, overtraining=0.2) == ["variance"], "what overfits is large enough"
    assert order() == []


def test_a_run_of_few_steps_is_first_made_longer():
    _, advice = given({"avoidable_bias": 0.3}, facts={"steps_per_epoch": 2})
    assert advice[0].why.startswith("longer: 100 epochs were 200 steps")
    assert settings(advice[0].command) == {"training.epochs": 90, "training.batch_size": 32}
    _, advice = given({"avoidable_bias": 0.3})
    assert settings(advice[0].command) == {"architecture_options.units": [128, 64, 32]}


def test_regularization_is_taken_away_before_a_network_is_made_bigger():
    _, advice = given({"avoidable_bias": 0.3}, training={"l2": 0.1, "dropout": 0.5})
    assert settings(advice[0].command) == {"training.l1": 0, "training.l2": 0, "training.dropout": 0.0}


def test_no_dropout_for_a_network_without_and_no_convolutions_for_rows():
    _, advice = given({"variance": 0.3}, architecture="softmax_regression", facts={"drops": False, "units": ()})
    assert not any("dropout" in one.command or "lenet5" in one.command for one in advice)


def test_a_mismatch_names_what_differs():
    _, advice = given({"mismatch": 0.3}, facts={"suspects": ("age", "sex")})
    assert settings(advice[0].command) == {"split.own": False}
    assert "age, sex differ" in advice[1].why
    assert shlex.split(advice[1].command) == ["dlapp", "check", "csv:a b.csv?target=x"]
