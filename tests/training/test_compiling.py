"""Networks, optimizers and schedules of a recipe against formulas in NumPy."""

import math
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.architectures import builder
from dlapp.errors import RecipeError, UnknownName
from dlapp.recipe import Optimizer, Recipe, Training
from dlapp.training.compiling import build, compile_for
from dlapp.training.precision import in_mixed_precision
from dlapp.training.schedules import WarmUp, learning_rate

RATE = 0.1
GRADIENTS = (0.5, -2.0, 1.5)


def recipe(architecture, **values):
    return Recipe.from_values({"architecture": architecture, "data": "digits", **values})


def gradient_descent(w):
    for g in GRADIENTS:
        w -= RATE * g
    return w


def momentum(w, nesterov=False):
    velocity = 0.0
    for g in GRADIENTS:
        velocity = 0.9 * velocity - RATE * g
        w += 0.9 * velocity - RATE * g if nesterov else velocity
    return w


def rmsprop(w):
    mean_square = 0.0
    for g in GRADIENTS:
        mean_square = 0.9 * mean_square + 0.1 * g * g
        w -= RATE * g / math.sqrt(mean_square + 1e-7)
    return w


def adam(w, decay=0.0):
    first = second = 0.0
    for t, g in enumerate(GRADIENTS, start=1):
        first = 0.9 * first + 0.1 * g
        second = 0.999 * second + 0.001 * g * g
        w -= RATE * decay * w
        w -= RATE * (first / (1 - 0.9**t)) / (math.sqrt(second / (1 - 0.999**t)) + 1e-7)
    return w


FORMULAS = {
    "gradient_descent": gradient_descent,
    "momentum": momentum,
    "nesterov": lambda w: momentum(w, nesterov=True),
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": lambda w: adam(w, decay=0.004),
}


def test_every_optimizer_has_a_formula():
    assert set(FORMULAS) == set(get_args(Optimizer))


@pytest.mark.parametrize(("name", "formula"), FORMULAS.items(), ids=FORMULAS)
def test_optimizers_take_the_steps_of_their_formulas(name, formula):
    model = builder("logistic_unit")((1,), kernel_initializer="ones")
    training = Training(optimizer=name, learning_rate=RATE, schedule="constant")
    compile_for(model, training, task="classification", steps_per_epoch=len(GRADIENTS))
    for g in GRADIENTS:
        model.optimizer.apply(
            [keras.ops.full(v.shape, g) for v in model.trainable_variables], model.trainable_variables
        )
    kernel, bias = (weight.item() for weight in model.get_weights())
    # Adam's 1 - 0.999 has 4 good digits in float32; leaving out AdamW's decay would change the third
    assert kernel == pytest.approx(formula(1.0), rel=1e-4)
    assert bias == pytest.approx(formula(0.0), rel=1e-4)


def test_cosine_falls_to_zero_over_all_the_steps():
    schedule = learning_rate(Training(epochs=5, learning_rate=0.3, schedule="cosine"), steps_per_epoch=8)
    steps = np.arange(41)
    expected = 0.3 * 0.5 * (1 + np.cos(np.pi * steps / 40))
    np.testing.assert_allclose([float(schedule(step)) for step in steps], expected, atol=1e-7)  # float32 of 0.3
    assert float(schedule(45)) == pytest.approx(0.0, abs=1e-7)


def test_constant_stays():
    assert learning_rate(Training(learning_rate=0.3, schedule="constant"), steps_per_epoch=8) == 0.3
    assert learning_rate(Training(learning_rate=0.3, schedule="plateau"), steps_per_epoch=8) == 0.3


SCHEDULES = {  # the course's formulas, with t in epochs
    "step": lambda t: 0.3 * 0.5 ** np.floor(t / 2),
    "exponential": lambda t: 0.3 * 0.5 ** (t / 2),
    "inverse_time": lambda t: 0.3 / (1 + 0.5 * t / 2),
    "cosine": lambda t: 0.3 * 0.5 * (1 + np.cos(np.pi * t / 10)),
    "constant": lambda t: 0.3 + 0 * t,
}


@pytest.mark.parametrize("warmup", [0, 1.5], ids=["cold", "warm"])
@pytest.mark.parametrize(("name", "formula"), SCHEDULES.items(), ids=SCHEDULES)
def test_schedules_follow_their_formulas(name, formula, warmup):
    decays = {} if name in ("cosine", "constant") else {"decay_rate": 0.5, "decay_epochs": 2}
    epochs = 10 + math.ceil(warmup)
    training = Training(epochs=epochs, learning_rate=0.3, schedule=name, warmup_epochs=warmup, **decays)
    schedule = learning_rate(training, steps_per_epoch=8)
    steps = np.arange(80)
    rates = np.full(80, schedule) if isinstance(schedule, float) else np.array([float(schedule(s)) for s in steps])
    risen = int(8 * warmup)
    np.testing.assert_allclose(rates[:risen], 0.3 * steps[:risen] / max(risen, 1), atol=1e-7)  # float32 of 0.3
    if name == "cosine" and warmup:  # the rest of the run, which is half an epoch longer than 10
        expected = 0.3 * 0.5 * (1 + np.cos(np.pi * (steps[risen:] - risen) / (8 * epochs - risen)))
    else:
        expected = formula((steps[risen:] - risen) / 8)
    np.testing.assert_allclose(rates[risen:], expected, atol=1e-6)


@pytest.mark.parametrize("steps_per_epoch", [1, 4])
def test_a_warm_up_leaves_a_step_of_a_short_run(steps_per_epoch):
    training = Training(epochs=1, warmup_epochs=0.9, schedule="cosine", learning_rate=0.3)
    schedule = learning_rate(training, steps_per_epoch=steps_per_epoch)
    assert float(schedule(steps_per_epoch - 1)) == pytest.approx(0.3)


@pytest.mark.parametrize("schedule", ["constant", "step"])
def test_a_warm_up_is_saved_with_its_schedule(schedule):
    made = learning_rate(Training(schedule=schedule, warmup_epochs=2), steps_per_epoch=3)
    assert isinstance(made, WarmUp)
    config = keras.optimizers.schedules.serialize(made)
    again = keras.optimizers.schedules.deserialize(config, custom_objects={"WarmUp": WarmUp})
    assert [float(again(step)) for step in range(40)] == [float(made(step)) for step in range(40)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"optimizer": "nesterov", "momentum": 0.7}, {"momentum": 0.7, "nesterov": True}),
        ({"optimizer": "rmsprop", "rho": 0.8, "epsilon": 1e-5}, {"rho": 0.8, "epsilon": 1e-5}),
        ({"optimizer": "adam", "beta_1": 0.8, "beta_2": 0.99}, {"beta_1": 0.8, "beta_2": 0.99}),
        ({"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 2.0}, {"weight_decay": 0.1, "global_clipnorm": 2.0}),
        ({"optimizer": "gradient_descent", "clip_value": 0.5}, {"clipvalue": 0.5, "momentum": 0.0}),
    ],
    ids=lambda value: value.get("optimizer", ""),
)
def test_the_optimizer_has_the_parameters_of_the_recipe(values, expected):
    model = builder("logistic_unit")((2,))
    compile_for(model, Training(**values), task="classification", steps_per_epoch=1)
    config = model.optimizer.get_config()
    assert {key: config[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize(("clip", "norm"), [({"clip_norm": 0.5}, 0.5), ({"clip_value": 0.3}, 0.3 * math.sqrt(3))])
def test_clipping_bounds_the_step(clip, norm):
    model = builder("logistic_unit")((2,))
    training = Training(optimizer="gradient_descent", learning_rate=1.0, schedule="constant", **clip)
    compile_for(model, training, task="classification", steps_per_epoch=1)
    model.optimizer.apply(
        [keras.ops.full(v.shape, 100.0) for v in model.trainable_variables], model.trainable_variables
    )
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    assert np.linalg.norm(weights) == pytest.approx(norm, rel=1e-5)


def test_the_loss_is_scaled_where_layers_compute_in_float16():
    training = Recipe.from_values({"architecture": "shallow_network", "data": "digits"}).training
    plain = builder("shallow_network")((4,), classes=3)
    model = in_mixed_precision(plain)
    for network in (plain, model):
        compile_for(network, training, task="classification", steps_per_epoch=2)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not isinstance(plain.optimizer, keras.optimizers.LossScaleOptimizer)
    before = model.get_weights()
    model.optimizer.build(model.trainable_variables)
    for infinite in (True, False):
        model.optimizer.apply([weight * (np.inf if infinite else 0) + 1 for weight in model.trainable_variables])
        moved = [not np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True)]
        assert moved == [not infinite] * len(before)
    # resuming counts the epochs by them; the schedule goes on by the steps that were taken
    assert (int(model.optimizer.iterations), int(model.optimizer.inner_optimizer.iterations)) == (2, 1)


def test_a_regression_has_one_linear_output_and_its_own_loss():
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(40, 3)).astype(np.float32), random.normal(size=40).astype(np.float32)
    model = build(recipe("deep_network", architecture_options={"units": [4]}), (3,), 0)
    compile_for(model, Training(), task="regression", steps_per_epoch=1)
    measured = model.evaluate(inputs, targets, return_dict=True, verbose=0)
    values = model.predict(inputs, verbose=0)[:, 0]
    error = ((values - targets) ** 2).mean()
    assert measured["loss"] == pytest.approx(error, rel=1e-5)  # float32 sums of 40
    assert measured["r2"] == pytest.approx(1 - error / targets.var(), rel=1e-4)


def test_a_classifier_for_a_number_names_those_that_predict_one():
    with pytest.raises(RecipeError, match="linear_unit, shallow_network and deep_network predict one"):
        build(recipe("softmax_regression"), (3,), 0)


def test_l1_and_l2_are_on_every_kernel():
    model = build(recipe("deep_network", training={"l1": 0.1, "l2": 0.01}), (6,), 3)
    kernels = [w.numpy().astype(np.float64) for w in model.trainable_variables if w.name == "kernel"]
    expected = sum(0.1 * np.abs(kernel).sum() + 0.01 * (kernel**2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("activation", ["default", None], ids=["probabilities", "logits"])
@pytest.mark.parametrize(("architecture", "classes"), [("logistic_unit", 2), ("softmax_regression", 3)])
def test_loss_and_accuracy_mean_the_same_for_logits(architecture, classes, activation):
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(50, 4)).astype(np.float32), random.integers(0, classes, 50)
    options = {} if activation == "default" else {"classifier_activation": activation}
    model = builder(architecture)((4,), classes=classes, **options)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    compile_for(model, Training(), task="classification", steps_per_epoch=1)
    measured = model.evaluate(inputs, targets, return_dict=True, verbose=0)

    kernel, bias = model.get_weights()
    logits = inputs @ kernel + bias
    if classes == 2:
        logits = np.hstack([np.zeros_like(logits), logits])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert measured["accuracy"] == pytest.approx((probabilities.argmax(axis=1) == targets).mean())
    # Keras clips probabilities at 1e-7, and float32 sums of 50
    assert measured["loss"] == pytest.approx(-np.log(probabilities[np.arange(50), targets]).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("recipe", "classes", "error", "message"),
    [
        (recipe("lenet"), 10, UnknownName, "Did you mean lenet5"),
        (recipe("lenet5", architecture_options={"poolin": "max"}), 10, UnknownName, "'poolin'. Did you mean pooling"),
        (recipe("lenet5", architecture_options={"input_shape": [28, 28, 1]}), 10, UnknownName, "'input_shape'"),
        (recipe("lenet5", architecture_options={"activation": "tahn"}), 10, RecipeError, "lenet5 cannot be .*tahn"),
        (recipe("lenet5", architecture_options={"include_top": False}), 10, RecipeError, "Remove .* include_top"),
        (recipe("lenet5", architecture_options={"classes": 7}), 10, RecipeError, "have 10 classes; lenet5 gives .7,."),
        (recipe("logistic_unit"), 3, RecipeError, "exactly 2 classes; got 3. Use softmax_regression"),
        (recipe("logistic_unit", training={"dropout": 0.5}), 2, RecipeError, "logistic_unit has no dropout"),
    ],
    ids=["architecture", "option", "input_shape", "activation", "include_top", "classes", "binary", "dropout"],
)
def test_build_refuses(recipe, classes, error, message):
    with pytest.raises(error, match=message):
        build(recipe, (32, 32, 1), classes)


def test_l2_is_on_every_kernel_and_dropout_before_the_classifier():
    model = build(recipe("lenet5", training={"l2": 0.01, "dropout": 0.3}), (32, 32, 1), 10)
    kernels = [w.numpy() for w in model.trainable_variables if w.name == "kernel"]
    assert len(kernels) == 5
    expected = sum(0.01 * (kernel.astype(np.float64) ** 2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)  # float32 sums of up to 48,000 squares
    assert model.layers[-2].rate == 0.3


@pytest.mark.parametrize(
    ("epochs", "one_length", "devices", "expected"),
    [(100, True, [], True), (100, False, [], False), (2, True, [], False), (100, True, ["a GPU"], False)],
    ids=["windows of a long training", "several lengths", "a short training", "on a GPU"],
)
def test_xla_compiles_recurrent_steps_where_it_saves_time(epochs, one_length, devices, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices if kind else [])
    model = builder("recurrent")((None,), classes=5, vocabulary=5, form="many_to_many", units=2)
    compile_for(model, Training(epochs=epochs), task="language_model", steps_per_epoch=10, one_length=one_length)
    assert model.jit_compile is expected
