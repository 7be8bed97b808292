"""What a search varies, and in which order."""

import pytest

from dlapp.errors import RecipeError, UnknownName
from dlapp.recipe import Axis, Recipe, Transfer
from dlapp.training.search_space import active_axes, own_value, with_space, with_values


def recipe(architecture="softmax_regression", *, space=None, options=None, **training):
    values = {"architecture": architecture, "data": "iris", "architecture_options": options or {}}
    return Recipe.from_values(values | {"training": training, "tune": {"space": space or {}}})


@pytest.mark.parametrize(
    ("architecture", "training", "axes"),
    [
        ("softmax_regression", {}, {"training.learning_rate": 1, "training.batch_size": 2}),
        (
            "shallow_network",
            {"optimizer": "nesterov"},
            {"training.learning_rate": 1, "training.momentum": 2, "training.batch_size": 2, "width": 2},
        ),
        (
            "deep_network",
            {"schedule": "exponential"},
            {
                "training.learning_rate": 1,
                "training.batch_size": 2,
                "width": 2,
                "depth": 3,
                "training.decay_rate": 3,
            },
        ),
        (
            "lenet5",
            {"optimizer": "gradient_descent", "schedule": "step"},
            {"training.learning_rate": 1, "training.batch_size": 2, "training.decay_rate": 3},
        ),
    ],
)
def test_the_default_space_is_in_the_order_of_importance(architecture, training, axes):
    space = with_space(recipe(architecture, **training), 100).tune.space
    assert {key: axis.stage for key, axis in space.items()} == axes


@pytest.mark.parametrize(
    "training",
    [
        {"learning_rate": 7.0, "batch_size": "all"},
        {"learning_rate": 1e-7, "batch_size": 100, "optimizer": "momentum", "momentum": 0.1},
        {"schedule": "exponential", "decay_rate": 0.3},
        {"schedule": "inverse_time", "decay_rate": 5.0},
    ],
)
def test_the_default_space_has_the_values_of_the_recipe(training):
    wanted = with_space(recipe("deep_network", options={"units": [3, 2]}, **training), 100)
    for key, axis in wanted.tune.space.items():
        own = own_value(wanted, key)
        assert own in axis.choices if axis.choices else axis.low <= own <= axis.high, key
    assert wanted.tune.space["training.batch_size"].choices[:3] == (16, 32, 64), "not more than there are examples"


@pytest.mark.parametrize(
    ("options", "values", "units"),
    [
        ({"units": [20, 7]}, {"width": 9}, [9, 9]),
        ({"units": [20, 7]}, {"depth": 3}, [20, 20, 20]),
        ({}, {"depth": 1}, [64]),
        ({"units": [20, 7]}, {"width": 4, "depth": 1}, [4]),
        ({"units": [20, 7]}, {"training.l2": 0.1}, [20, 7]),
    ],
)
def test_width_and_depth_set_the_units(options, values, units):
    wanted = recipe("deep_network", options=options)
    assert with_values(wanted, values).architecture_options["units"] == units


def test_a_single_hidden_layer_has_a_width_alone():
    assert with_values(recipe("shallow_network"), {"width": 9}).architecture_options["units"] == 9


def test_parameters_of_another_optimizer_are_left_out():
    values = {"training.optimizer": "adam", "training.momentum": 0.95, "training.beta_1": 0.8}
    training = with_values(recipe(optimizer="momentum", momentum=0.9), values).training
    assert (training.optimizer, training.momentum, training.beta_1) == ("adam", None, 0.8)


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({"training.learning_rat": {"low": 1, "high": 2}}, RecipeError, "Did you mean training.learning_rate"),
        ({"training.momentum": {"low": 0.1, "high": 0.9}}, RecipeError, "adam takes no momentum"),
        ({"split.dev": {"low": 0.1, "high": 0.2}}, RecipeError, "split.dev cannot be searched"),
        ({"preprocessing.channels": {"choices": [1, 3]}}, RecipeError, "channels cannot be searched"),
        ({"width": {"low": 1, "high": 2}}, RecipeError, "softmax_regression has no units"),
        ({"architecture_options.unit": {"low": 1, "high": 2}}, UnknownName, "unknown option of softmax_regression"),
    ],
)
def test_a_space_that_no_trial_could_use_is_refused(space, error, message):
    with pytest.raises(error, match=message):
        with_space(recipe(space=space), 100)


@pytest.mark.parametrize("key", ["width", "depth", "architecture_options.units"])
def test_a_network_that_is_there_is_not_built_otherwise(key):
    wanted = recipe("deep_network", space={key: {"low": 1, "high": 2}})
    wanted = wanted.model_copy(update={"transfer": Transfer(model="base")})
    with pytest.raises(RecipeError, match=f"base is built already: remove tune.space.{key}"):
        with_space(wanted, 100)


def test_depth_needs_a_list_of_layers():
    with pytest.raises(RecipeError, match="shallow_network has no list of units"):
        with_space(recipe("shallow_network", space={"depth": {"low": 1, "high": 2}}), 100)


@pytest.mark.parametrize(
    ("trials", "reached"),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 2, 3]),
        (7, [0, 1, 1, 2, 2, 3, 3]),
        (8, [0, 1, 1, 1, 2, 2, 3, 3]),
    ],
)
def test_trials_are_shared_out_among_the_stages(trials, reached):
    space = {f"training.axis{stage}": Axis(low=0.1, high=0.2, stage=stage) for stage in (1, 2, 3)}
    assert [len(active_axes(space, number, trials)) for number in range(trials)] == reached
