"""Advice: in the course's order, of this run, and each a command that can be run."""

import shlex

import pytest

from dlapp.architectures import ARCHITECTURES
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


@pytest.mark.parametrize(("size", "smaller"), [(8, None), (16, 8), ("all", 8)])
def test_batches_are_only_made_smaller(size, smaller):
    facts = {"steps_per_epoch": 5, "train_examples": 60}
    _, advice = given({"avoidable_bias": 0.3}, facts=facts, training={"batch_size": size})
    assert settings(advice[0].command).get("training.batch_size") == smaller
    assert ("smaller batches" in advice[0].why) == (smaller is not None)


@pytest.mark.parametrize(
    ("problem", "architecture", "facts", "tables", "gone"),
    [
        (
            "avoidable_bias",
            "lenet5",
            {"units": (), "pictures": True},
            {"architecture_options": {"activation": "relu"}},
            "activation",
        ),
        ("variance", "deep_network", {}, {"training": {"l2": 0.2}}, "training.l2"),
        ("variance", "deep_network", {}, {"training": {"dropout": 0.8}}, "training.dropout"),
        ("variance", "deep_network", {"units": (4,), "parameters": 10**6}, {}, "units"),
        ("variance", "deep_network", {"units": (2, 2), "parameters": 10**6}, {}, "units"),
        ("dev_overfitting", "deep_network", {}, {"split": {"dev": 0.4}}, "split.dev"),
        ("dev_overfitting", "deep_network", {}, {"split": {"dev": 0.2, "test": 0.7}}, "split.dev"),
        ("mismatch", "deep_network", {}, {"split": {"own": False}}, "split.own"),
    ],
    ids=["relu", "l2", "dropout", "units", "few units", "dev", "dev beside test", "own"],
)
def test_nothing_is_advised_that_the_recipe_has(problem, architecture, facts, tables, gone):
    _, advice = given({problem: 0.3}, architecture=architecture, facts=facts, **tables)
    assert not [one.command for one in advice if gone in one.command]


def test_the_one_layer_of_a_shallow_network_is_a_number():
    facts = {"units": (64,), "parameters": 10**6}
    _, advice = given({"variance": 0.3}, architecture="shallow_network", facts=facts)
    assert {"architecture_options.units": 16} in [settings(one.command) for one in advice]


def test_a_run_that_was_stopped_early_is_not_made_longer():
    def longer(epochs):
        _, advice = given({"avoidable_bias": 0.3}, facts={"steps_per_epoch": 2}, training={"epochs": epochs})
        return any(one.why.startswith("longer") for one in advice)

    assert longer(len(LONG))
    assert not longer(len(LONG) + 1)


@pytest.mark.parametrize(("head", "longer"), [(90, True), (95, False)], ids=["all epochs", "stopped"])
def test_the_epochs_of_a_transfer_are_those_of_both_stages(head, longer):
    tables = {"transfer": {"model": "base", "unfreeze": 1, "epochs": 10}, "training": {"epochs": head}}
    _, advice = given({"avoidable_bias": 0.3}, architecture="lenet5", **tables)  # after 100 epochs
    assert any(one.why.startswith("longer") for one in advice) == longer


def test_a_path_with_a_space_is_one_word():
    _, advice = given(ALL, facts={"recipe_path": "my models/a/recipe.toml"})
    paths = [word for one in advice for word in shlex.split(one.command) if word.endswith("recipe.toml")]
    assert len(paths) > 8
    assert set(paths) == {"my models/a/recipe.toml"}


def test_regularization_is_taken_away_before_a_network_is_made_bigger():
    _, advice = given({"avoidable_bias": 0.3}, training={"l2": 0.1, "dropout": 0.5})
    assert settings(advice[0].command) == {"training.l2": 0, "training.dropout": 0.0}
    soft = {"training": {"label_smoothing": 0.1}, "preprocessing": {"augment": {"mixup": 0.4, "flip": "horizontal"}}}
    recipe, advice = given({"avoidable_bias": 0.3}, **soft)
    assert changed(recipe, advice[0].command) == given({})[0]


@pytest.mark.parametrize(
    ("architecture", "tables", "rate"),
    [("deep_network", {}, 0.002), ("vgg16", {}, 1e-4), ("vgg16", {"transfer": {"model": "imagenet:vgg16"}}, 0.002)],
    ids=["deep_network", "vgg16", "a new head"],
)
def test_adam_gets_the_rate_of_its_architecture(architecture, tables, rate):
    training = {"optimizer": "momentum", "learning_rate": 0.3}
    _, advice = given({"avoidable_bias": 0.3}, architecture=architecture, training=training, **tables)
    adam = next(settings(one.command) for one in advice if "optimizer=adam" in one.command)
    assert adam == {"training.optimizer": "adam", "training.learning_rate": rate}


def test_no_dropout_for_a_network_without_and_no_convolutions_for_rows():
    _, advice = given({"variance": 0.3}, architecture="softmax_regression", facts={"drops": False, "units": ()})
    assert not any("dropout" in one.command or "lenet5" in one.command for one in advice)


def test_a_mismatch_names_what_differs():
    _, advice = given({"mismatch": 0.3}, facts={"suspects": ("age", "sex")})
    assert settings(advice[0].command) == {"split.own": False}
    assert "age, sex differ" in advice[1].why
    assert shlex.split(advice[1].command) == ["dlapp", "check", "csv:a b.csv?target=x"]


def test_a_transfer_is_told_what_it_can_do():
    tables = {"architecture": "lenet5", "transfer": {"model": "models/base"}}
    facts = {"pictures": True, "units": ()}
    _, bias = given({"avoidable_bias": 0.2}, facts=facts, **tables)
    assert {"transfer.unfreeze": "all"} in [settings(one.command) for one in bias]
    tables["transfer"] = {"model": "models/base", "unfreeze": "all"}
    _, both = given({"avoidable_bias": 0.2, "variance": 0.2}, facts=facts, **tables)
    assert {"transfer.unfreeze": 0} in [settings(one.command) for one in both]
    _, linear = given({"avoidable_bias": 0.2}, architecture="softmax_regression", transfer={"model": "models/base"})
    assert not [one for one in linear if "unfreeze" in one.command], "it has no other layer"
    assert not [one for one in both if "architecture" in one.command], "its network is built already"


@pytest.mark.parametrize(("architecture", "deeper"), [("first", "second"), ("second", None), ("alone", None)])
def test_a_deeper_network_is_the_next_of_its_family(architecture, deeper, monkeypatch):
    entry = ARCHITECTURES["lenet5"]._replace(family="family")
    table = {
        "first": entry,
        "other": entry._replace(size=(224, 224)),
        "second": entry,
        "alone": ARCHITECTURES["lenet5"],
    }
    monkeypatch.setattr("dlapp.training.advice.ARCHITECTURES", table)
    _, advice = given({"avoidable_bias": 0.2}, architecture=architecture, facts={"pictures": True, "units": ()})
    proposed = [settings(one.command)["architecture"] for one in advice if "architecture=" in one.command]
    assert proposed == ([deeper] if deeper else [])
