"""Dense networks: what their arguments change. What every builder must do stands in test_builders.py."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlapp.architectures import deep_network, linear_unit, shallow_network

CLOSE: dict[str, Any] = {
    "rtol": 1e-5,
    "atol": 1e-5,
}  # float32 against float64 through three layers of at most 24 products each
NETWORKS = [shallow_network, deep_network]


def rows(examples=6, features=5):
    return np.random.default_rng(0).normal(size=(examples, features)).astype(np.float32)


def with_random_weights(model):
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 1.0, weight.shape) for weight in model.get_weights()])
    return model


def kernels(model):
    return [weight.numpy() for weight in model.trainable_weights if weight.name == "kernel"]


def names(model):
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("make", "shape", "options", "output", "parameters"),
    [
        (linear_unit, (1,), {}, 1, 2),  # slope and intercept
        (linear_unit, (4, 3, 2), {}, 1, 24 + 1),
        (shallow_network, (2,), {}, 2, (2 + 1) * 4 + (4 + 1) * 2),
        (shallow_network, (2,), {"units": 7, "classes": 1, "classifier_activation": None}, 1, (2 + 1) * 7 + 7 + 1),
        (shallow_network, (5,), {"include_top": False}, 4, (5 + 1) * 4),
        (deep_network, (64, 64, 3), {}, 10, (12_288 + 1) * 64 + (64 + 1) * 32 + (32 + 1) * 10),
        (deep_network, (5,), {"units": [4, 3, 2], "classes": 6}, 6, (5 + 1) * 4 + (4 + 1) * 3 + (3 + 1) * 2 + 3 * 6),
        (deep_network, (5,), {"units": 4, "classes": 6}, 6, (5 + 1) * 4 + (4 + 1) * 6),
        (deep_network, (5,), {"units": [], "classes": 6}, 6, (5 + 1) * 6),  # softmax regression
        (deep_network, (5,), {"units": [4, 3], "include_top": False}, 3, (5 + 1) * 4 + (4 + 1) * 3),
        # (k + 4) n: kernel, then gamma, beta and two moving averages in the place of the bias; the classifier has its
        # bias and no normalization
        (
            deep_network,
            (5,),
            {"units": [4, 3], "classes": 6, "batch_normalization": True},
            6,
            (5 + 4) * 4 + (4 + 4) * 3 + (3 + 1) * 6,
        ),
        (shallow_network, (5,), {"batch_normalization": True}, 2, (5 + 4) * 4 + (4 + 1) * 2),
        # dropping has nothing to learn
        (deep_network, (5,), {"units": [4, 3], "dropout": 0.5}, 10, (5 + 1) * 4 + (4 + 1) * 3 + (3 + 1) * 10),
    ],
)
def test_shape_and_count(make, shape, options, output, parameters):
    model = make(shape, **options)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, output)
    assert model.count_params() == parameters


@pytest.mark.parametrize("make", NETWORKS)
def test_every_weight_has_a_gradient_with_everything_on(make):
    model = with_random_weights(make((5,), classes=3, dropout=0.2, batch_normalization=True, activation="tanh"))
    x, targets = rows(12), np.arange(12) % 3
    with tf.GradientTape() as tape:
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(targets, model(x, training=True)))
    gradients = tape.gradient(loss, model.trainable_weights)
    flat = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.isfinite(gradient).all() or not np.any(gradient)
    ]
    assert not flat
    assert {weight.name for weight in model.non_trainable_weights} - {"seed_generator_state"} == {
        "moving_mean",
        "moving_variance",
    }


@pytest.mark.parametrize("make", NETWORKS)
def test_a_model_with_every_option_is_saved_and_loaded(make, tmp_path):
    model = make(
        (2, 3),
        activation="leaky_relu",
        kernel_initializer=keras.initializers.HeNormal(),
        kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
        dropout=0.5,
        batch_normalization=True,
    )
    with_random_weights(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = rows(features=6).reshape(-1, 2, 3)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert names(loaded) == names(model)
    assert loaded.get_layer("dropout1").rate == 0.5
    assert float(sum(loaded.losses)) == float(sum(model.losses)) > 0


def fit(model, x, targets, rate, steps):
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_weights)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(model(x, training=True) - targets))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_weights)
        return loss

    return [float(step()) for _ in range(steps)]


@pytest.mark.parametrize("activation", [None, "linear", "relu"])
def test_the_linear_unit_finds_the_price_of_a_house(activation):
    size = np.linspace(-1, 1, 8, dtype=np.float32)[:, np.newaxis]
    price = 2 * size + 3  # never negative
    model = linear_unit((1,), activation=activation)
    assert model(size).numpy().min() == (1.0 if activation == "relu" else 0.0)
    losses = fit(model, size, price, rate=0.1, steps=300)
    assert losses[-1] < 1e-4
    kernel, bias = (weight.item() for weight in model.get_weights())
    assert (kernel, bias) == pytest.approx((2, 3), abs=0.02)


def test_a_relu_unit_that_begins_at_zero_never_leaves_it():
    # why its bias is one unless told otherwise
    size = np.linspace(-1, 1, 8, dtype=np.float32)[:, np.newaxis]
    stuck = linear_unit((1,), activation="relu", bias_initializer="zeros")
    assert set(fit(stuck, size, 2 * size + 3, rate=0.1, steps=5)) == {np.mean((2 * size + 3) ** 2, dtype=np.float32)}
    assert not np.any(stuck.get_weights()[0])


@pytest.mark.parametrize("make", NETWORKS)
def test_a_network_learns_numbers_by_heart(make):
    x, targets = rows(), np.linspace(-2, 2, 6, dtype=np.float32)[:, np.newaxis]
    model = make((5,), classes=1, classifier_activation=None, activation="tanh")
    losses = fit(model, x, targets, rate=0.05, steps=200)
    assert losses[0] > 0.5
    assert losses[-1] < 0.01


ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.2 * z),  # Keras's slope; the course has 0.01
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hidden_layers_have_the_activation(activation):
    model = deep_network((2, 3, 4), classes=3, units=[6, 5], activation=activation)
    x = np.random.default_rng(0).normal(size=(4, 2, 3, 4))
    y = x.reshape(4, -1)  # row by row
    *hidden, (kernel, bias) = np.array(model.get_weights(), object).reshape(-1, 2)
    for weights, biases in hidden:
        y = ACTIVATIONS[activation](y @ weights.astype(np.float64) + biases)
    y = np.exp(y @ kernel + bias)
    np.testing.assert_allclose(model(x), y / y.sum(axis=1, keepdims=True), **CLOSE)


def test_each_layer_may_have_an_activation_of_its_own():
    model = deep_network((5,), units=[4, 3], activation=["tanh", "relu"])
    found = [model.get_layer(name).activation for name in ("activation1", "activation2")]
    assert found == [keras.activations.tanh, keras.activations.relu]


def test_the_activations_at_the_defaults():
    assert shallow_network().get_layer("activation1").activation is keras.activations.tanh
    assert deep_network((5,)).get_layer("activation2").activation is keras.activations.relu


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [
        ("small_normal", 0.01),
        ("he", np.sqrt(2 / 400)),
        ("glorot", np.sqrt(2 / (400 + 300))),
        ({"class_name": "RandomNormal", "config": {"stddev": 0.3}}, 0.3),
        (keras.initializers.RandomNormal(stddev=0.3), 0.3),
        ("lecun_normal", np.sqrt(1 / 400)),
    ],
    ids=["small_normal", "he", "glorot", "dict", "object", "Keras's own"],
)
def test_initial_weights_have_the_deviation(initializer, deviation):
    model = deep_network((400,), units=[300], kernel_initializer=initializer)
    kernel, bias, *_ = model.get_weights()
    # of 120,000 numbers: the standard error of the deviation is 0.2 %, that of the mean 0.3 % of the deviation
    assert kernel.std() == pytest.approx(deviation, rel=0.01)
    assert abs(kernel.mean()) < 0.015 * deviation
    assert not bias.any()


@pytest.mark.parametrize(
    ("make", "deviation"), [(shallow_network, 0.01), (deep_network, np.sqrt(2 / 400))], ids=["shallow", "deep"]
)
def test_the_initializer_at_the_defaults(make, deviation):
    kernel = make((400,), units=300).get_weights()[0]
    assert kernel.std() == pytest.approx(deviation, rel=0.01)


def test_with_zero_weights_all_units_learn_the_same():
    model = deep_network((5,), classes=3, units=[4], activation="sigmoid", kernel_initializer="zeros")
    assert not any(kernel.any() for kernel in kernels(model))
    x, targets = rows(), np.eye(3, dtype=np.float32)[np.arange(6) % 3]
    fit(model, x, targets, rate=0.05, steps=20)
    first, last = kernels(model)
    assert np.abs(first).max() > 0.01
    # the same sums for each unit, that a vectorized product may add in another order
    np.testing.assert_allclose(first, first[:, :1].repeat(4, axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, last[:1].repeat(4, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make_initializer",
    [
        lambda: "he",
        lambda: "small_normal",
        keras.initializers.HeNormal,
        lambda: keras.initializers.HeNormal(seed=3),
        lambda: keras.initializers.HeNormal(seed=keras.random.SeedGenerator(3)),
        lambda: {"class_name": "HeNormal", "config": {"seed": 3}},
    ],
    ids=["he", "small_normal", "object", "object with a seed", "seed generator", "dict with a seed"],
)
def test_layers_of_one_shape_begin_with_different_weights(make_initializer):
    options = {"units": [5, 5], "classes": 5, "kernel_initializer": make_initializer()}
    first, second, third = kernels(deep_network((5,), **options))
    assert not np.isclose(first, second).any()
    assert not np.isclose(first, third).any()
    assert not np.isclose(second, third).any()


def test_a_seed_repeats_the_weights_and_is_that_of_the_first_layer():
    initializer = keras.initializers.HeNormal(seed=3)
    model, again = (deep_network((5,), kernel_initializer=initializer) for _ in range(2))
    for found, expected in zip(kernels(again), kernels(model), strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(kernels(model)[0], initializer((5, 64)))


def test_dropout_stands_behind_every_hidden_layer():
    model = deep_network((5,), units=[4, 3], dropout=0.3)
    assert names(model) == [
        "input", "dense1", "activation1", "dropout1", "dense2", "activation2", "dropout2", "classifier"
    ]  # fmt: skip
    assert [model.get_layer(name).rate for name in ("dropout1", "dropout2")] == [0.3, 0.3]
    assert names(shallow_network(dropout=0.3)) == ["input", "dense1", "activation1", "dropout1", "classifier"]


def test_each_layer_may_have_a_dropout_of_its_own():
    model = deep_network((5,), units=[4, 3, 2], dropout=[0.2, 0.0, 0.6])
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)}
    assert rates == {"dropout1": 0.2, "dropout3": 0.6}


def test_units_are_dropped_in_training_alone():
    # 400 units that give 1, of which the classifier takes the mean
    model = deep_network((1,), units=[400], classes=1, classifier_activation=None, dropout=0.25)
    model.set_weights([np.ones((1, 400)), np.zeros(400), np.full((400, 1), 1 / 400), np.zeros(1)])
    one = np.ones((50, 1), np.float32)
    np.testing.assert_allclose(model(one), 1, rtol=1e-6)  # a sum of 400 float32
    dropped = model(one, training=True).numpy()
    assert dropped.std() > 0.01
    # kept units are divided by 0.75; the mean of 20,000 such has a standard error of sqrt(0.25 / 0.75 / 20,000) = 0.004
    assert dropped.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("make", NETWORKS)
def test_z_is_normalized_before_the_activation(make):
    model = make((5,), activation="tanh", batch_normalization=True, dropout=0.5)
    assert names(model)[:5] == ["input", "dense1", "norm1", "activation1", "dropout1"]
    biased = {layer.name: layer.use_bias for layer in model.layers if isinstance(layer, layers.Dense)}
    assert biased.pop("classifier")
    assert not any(biased.values())


def test_batch_normalization_computes_what_the_paper_says():
    model = with_random_weights(shallow_network((5,), units=3, batch_normalization=True))
    kernel, gamma, beta, mean, variance, last, bias = (w.astype(np.float64) for w in model.get_weights())
    x = rows(20)
    z = x @ kernel

    def outputs(mean, variance):
        normalized = gamma * (z - mean) / np.sqrt(variance + 1e-3) + beta  # Keras's epsilon
        e = np.exp(np.tanh(normalized) @ last + bias)
        return e / e.sum(axis=1, keepdims=True)

    np.testing.assert_allclose(model(x), outputs(mean, variance), **CLOSE)
    np.testing.assert_allclose(model(x, training=True), outputs(z.mean(axis=0), z.var(axis=0)), **CLOSE)


@pytest.mark.parametrize(
    ("regularizer", "penalty"),
    [
        (keras.regularizers.L2(0.5), lambda kernel: 0.5 * (kernel**2).sum()),
        (keras.regularizers.L1(0.5), lambda kernel: 0.5 * np.abs(kernel).sum()),
        (keras.regularizers.L1L2(0.1, 0.2), lambda kernel: 0.1 * np.abs(kernel).sum() + 0.2 * (kernel**2).sum()),
    ],
    ids=["L2", "L1", "both"],
)
def test_the_penalty_is_summed_over_every_kernel(regularizer, penalty):
    model = with_random_weights(deep_network((5,), units=[4, 3], classes=2, kernel_regularizer=regularizer))
    assert len(model.losses) == 3
    expected = sum(penalty(kernel.astype(np.float64)) for kernel in kernels(model))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)  # sums of up to 20 float32


@pytest.mark.parametrize("make", NETWORKS)
def test_one_output_may_be_a_probability_or_a_number(make):
    x = rows()
    probability = with_random_weights(make((5,), classes=1, classifier_activation="sigmoid"))
    number = with_random_weights(make((5,), classes=1, classifier_activation=None))
    np.testing.assert_allclose(probability(x), 1 / (1 + np.exp(-number(x).numpy().astype(np.float64))), **CLOSE)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (linear_unit, {"classes": 2}, r"one number; got classes=2\. Use logistic_unit\(\) .* softmax_regression\(\)"),
        (shallow_network, {"units": [4]}, r"units must be a number; got \[4\]\. Use deep_network\(\)"),
        (shallow_network, {"units": 0}, r"positive whole numbers, one for each hidden layer; got \[0\]"),
        (deep_network, {"units": [4, -1]}, r"positive whole numbers, one for each hidden layer; got \[4, -1\]"),
        (deep_network, {"units": [4.5]}, r"positive whole numbers, one for each hidden layer; got \[4\.5\]"),
        (shallow_network, {"classes": 0}, r"classes must be at least 1; got 0"),
        (deep_network, {"classes": 1}, r"softmax of one output is always 1: use classifier_activation='sigmoid'"),
        (deep_network, {"dropout": 1.0}, r"at least 0 and less than 1, .*; got 1\.0"),
        (shallow_network, {"dropout": -0.1}, r"at least 0 and less than 1, .*; got -0\.1"),
        (deep_network, {"dropout": [0.1, 1.5]}, r"at least 0 and less than 1, .*; got \[0\.1, 1\.5\]"),
        (
            deep_network,
            {"dropout": [0.1]},
            r"a list of dropout has one value for each hidden layer, here 2; got \[0\.1\]",
        ),
        (deep_network, {"activation": ["relu"] * 3}, r"a list of activation has one value .*, here 2; got"),
        (deep_network, {"activation": "tahn"}, "tahn"),
        (deep_network, {"kernel_initializer": "hee"}, "hee"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)) if not isinstance(value, str) else "",
)
def test_what_cannot_be_built_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make((5,), **options)
