"""Keras, through dlapp's builders, losses and optimizers, computes what the course's equations say."""

from typing import Any

import course
import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.architectures import builder
from dlapp.data.examples import Examples
from dlapp.data.measuring import measure
from dlapp.data.preprocessing import preprocess
from dlapp.recipe import Training
from dlapp.training.compiling import loss_and_metric, optimizer

# float32 against float64: 7 digits, of which sums of some tens of products about 1 leave 6
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}
M, FEATURES, CLASSES = 12, 5, 3
NUMBER = {"classes": 1, "classifier_activation": None}
YES_OR_NO = {"classes": 1, "classifier_activation": "sigmoid"}
NETWORKS = {
    # name: builder, its options, hidden activation, output
    "linear unit": ("linear_unit", {}, "relu", "linear"),
    "logistic unit": ("logistic_unit", {}, "relu", "sigmoid"),
    "softmax regression": ("softmax_regression", {"classes": CLASSES}, "relu", "softmax"),
    "shallow": ("shallow_network", {"classes": CLASSES}, "tanh", "softmax"),
    "shallow, yes or no": ("shallow_network", {"units": 4, **YES_OR_NO}, "tanh", "sigmoid"),
    "deep relu": ("deep_network", {"units": [6, 4], "classes": CLASSES}, "relu", "softmax"),
    "deep tanh": ("deep_network", {"units": [4, 3], "activation": "tanh", "classes": CLASSES}, "tanh", "softmax"),
    "deep sigmoid": ("deep_network", {"units": [6, 4, 3], "activation": "sigmoid", **YES_OR_NO}, "sigmoid", "sigmoid"),
    "deep number": ("deep_network", {"units": [6, 4], "activation": "tanh", **NUMBER}, "tanh", "linear"),
}


def build(name, **more):
    """The model with random weights and biases, and the same in columns."""
    make, options, hidden, output = NETWORKS[name]
    model = builder(make)((FEATURES,), **options, **more)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    return model, in_columns(model.trainable_weights), hidden, output


def in_columns(arrays):
    """Keras keeps a kernel as (inputs, units) and a bias as (units,)."""
    arrays = [np.asarray(array, np.float64) for array in arrays]
    return [(kernel.T, bias[:, np.newaxis]) for kernel, bias in zip(arrays[::2], arrays[1::2], strict=True)]


def data(output):
    """Inputs (n_x, m); the targets as Keras takes them (m,), and in columns (n_L, m)."""
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(FEATURES, M)), np.arange(M) % (CLASSES if output == "softmax" else 2)
    if output == "softmax":
        return x, labels, np.eye(CLASSES)[:, labels]
    numbers = random.normal(size=M) if output == "linear" else labels
    return x, numbers, numbers[np.newaxis]


def cost_and_gradients(model, x, targets, output, run=lambda step: step):
    """In training; ``tf.function`` for ``run`` computes in a graph as ``model.fit`` does."""
    loss, _ = loss_and_metric(model, "regression" if output == "linear" else "classification")

    @run
    def step():
        with tf.GradientTape() as tape:
            value = loss(targets, model(x.T, training=True)) + sum(model.losses)
        return value, tape.gradient(value, model.trainable_variables)

    value, gradients = step()
    return float(value), gradients


def assert_same(found, expected):
    for layers in zip(in_columns(found), expected, strict=True):
        for array, wanted in zip(*layers, strict=True):
            np.testing.assert_allclose(array, wanted, **CLOSE)


@pytest.mark.parametrize("run", [lambda step: step, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_cost_and_every_gradient(name, run):
    model, parameters, hidden, output = build(name)
    x, targets, y = data(output)
    a, caches = course.forward(x, parameters, hidden, output)
    np.testing.assert_allclose(model(x.T).numpy().T, a, **CLOSE)
    value, gradients = cost_and_gradients(model, x, targets, output, run)
    factor = 2 if output == "linear" else 1  # Keras's mean squared error has no half
    assert value == pytest.approx(factor * course.cost(a, y, output), rel=1e-5)
    expected = course.backward(a, y, caches, parameters, hidden)
    assert_same(gradients, [(factor * dw, factor * db) for dw, db in expected])


def test_the_logistic_unit_is_logistic_regression():
    model, ((w, b),), *_ = build("logistic unit")
    x, targets, y = data("sigmoid")
    a, j, dw, db = course.logistic_regression(w.T, b.item(), x, y)
    np.testing.assert_allclose(model(x.T).numpy().T, a, **CLOSE)
    value, gradients = cost_and_gradients(model, x, targets, "sigmoid")
    assert value == pytest.approx(j, rel=1e-5)
    assert_same(gradients, [(dw.T, db)])


@pytest.mark.parametrize("name", ["logistic unit", "deep relu"])
def test_logits_have_the_cost_and_the_gradients_of_probabilities(name):
    model, parameters, hidden, output = build(name, classifier_activation=None)
    x, targets, y = data(output)
    a, caches = course.forward(x, parameters, hidden, output)
    np.testing.assert_allclose(model(x.T).numpy().T, caches[-1][1], **CLOSE)
    value, gradients = cost_and_gradients(model, x, targets, output)
    assert value == pytest.approx(course.cost(a, y, output), rel=1e-5)
    assert_same(gradients, course.backward(a, y, caches, parameters, hidden))


@pytest.mark.parametrize("run", [lambda step: step, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("options", [{}, {"classifier_activation": None}], ids=["probabilities", "logits"])
@pytest.mark.parametrize(
    ("name", "z", "label"), [("logistic unit", [20.0], 0), ("softmax regression", [20.0, 0.0, 0.0], 2)], ids=["2", "3"]
)
def test_a_sure_mistake_costs_what_it_should(name, z, label, options, run):
    # in float32 sigmoid(20) is 1, and 1 - 1 has no logarithm: Keras looks behind the activation for the logits
    model, _, _, output = build(name, **options)
    model.set_weights([np.zeros((FEATURES, len(z))), np.array(z)])
    parameters, x = in_columns(model.trainable_weights), np.ones((FEATURES, 1))
    y = np.array([[label]]) if output == "sigmoid" else np.eye(CLASSES)[:, [label]]
    a, caches = course.forward(x, parameters, "relu", output)
    value, gradients = cost_and_gradients(model, x, np.array([label]), output, run)
    assert course.cost(a, y, output) == pytest.approx(20, rel=1e-5)  # log(1 + exp(20)), or log(2 + exp(20))
    assert value == pytest.approx(20, rel=1e-5)
    assert_same(gradients, course.backward(a, y, caches, parameters, "relu"))


@pytest.mark.parametrize(("lambda1", "lambda2"), [(0.0, 0.7), (0.7, 0.0), (0.3, 0.5)], ids=["L2", "L1", "both"])
@pytest.mark.parametrize("name", ["logistic unit", "shallow", "deep relu"])
def test_l1_and_l2_are_lambda_over_two_m(name, lambda1, lambda2):
    # Keras adds l2 x the sum of squares, the course lambda / (2 m) x that sum
    regularizer = keras.regularizers.L1L2(lambda1 / (2 * M), lambda2 / (2 * M))
    model, parameters, hidden, output = build(name, kernel_regularizer=regularizer)
    x, targets, y = data(output)
    a, caches = course.forward(x, parameters, hidden, output)
    value, gradients = cost_and_gradients(model, x, targets, output)
    penalties = {"lambda1": lambda1, "lambda2": lambda2}
    assert value == pytest.approx(course.cost(a, y, output, parameters, **penalties), rel=1e-5)
    assert_same(gradients, course.backward(a, y, caches, parameters, hidden, **penalties))


def test_dropout_is_inverted_with_the_mask_of_keras():
    rates = [0.4, 0.25]  # 1 - keep
    model, parameters, hidden, output = build("deep tanh", dropout=rates)
    x, targets, y = data(output)
    masks = []
    for number, units in ((1, 4), (2, 3)):
        layer = model.get_layer(f"dropout{number}")
        state = layer.seed_generator.state.numpy()
        scaled = layer(np.ones((M, units), np.float32), training=True).numpy().T
        layer.seed_generator.state.assign(state)  # so that the network draws the same once more
        masks.append((scaled > 0).astype(float))
        assert 0 < masks[-1].mean() < 1, "something is dropped, and not everything"
    dropout = {"masks": masks, "keeps": [1 - rate for rate in rates]}
    a, caches = course.forward(x, parameters, hidden, output, **dropout)
    value, gradients = cost_and_gradients(model, x, targets, output)
    assert value == pytest.approx(course.cost(a, y, output), rel=1e-5)
    assert_same(gradients, course.backward(a, y, caches, parameters, hidden, **dropout))
    whole, _ = course.forward(x, parameters, hidden, output)
    np.testing.assert_allclose(model(x.T).numpy().T, whole, **CLOSE)  # nothing is dropped or scaled in use


def test_rows_are_normalized_by_train():
    rows = np.random.default_rng(0).normal([3, -50, 0.1], [2, 10, 0.05], (40, 3)).astype(np.float32)
    train, others = rows[:30], rows[30:]
    preprocessing = measure(Examples(train, np.zeros(30, np.int32), channels=0))
    expected = course.normalize(others.T.astype(np.float64), train.T.astype(np.float64))
    np.testing.assert_allclose(preprocess(tf.constant(others), preprocessing).numpy().T, expected, **CLOSE)


def test_pictures_are_normalized_by_train_channel_by_channel():
    # the course has a mean for every pixel, dlapp one for every channel: each pixel is an example of 3 features
    pictures = np.random.default_rng(0).integers(0, [50, 150, 256], (40, 6, 4, 3), np.uint8)
    train, others = pictures[:30], pictures[30:]
    preprocessing = measure(Examples(train, np.zeros(30, np.int32), channels=3), size=(6, 4))
    expected = course.normalize(*(part.reshape(-1, 3).T.astype(np.float64) for part in (others, train)))
    found = preprocess(tf.constant(others), preprocessing).numpy().reshape(-1, 3).T
    np.testing.assert_allclose(found, expected, **CLOSE)


ALPHA = 0.05


def gradient_descent(epsilon):
    return ALPHA, lambda *values: course.gradient_descent(*values, alpha=ALPHA)


def momentum(epsilon):
    """Keras holds the rate in the velocity and the gradient whole: v = beta v - rate dW, W = W + v.

    Its v is -alpha / (1 - beta) times the course's where its rate is (1 - beta) alpha.
    """
    return (1 - 0.9) * ALPHA, lambda *values: course.momentum(*values, alpha=ALPHA, beta=0.9)


def rmsprop(epsilon):
    """Keras has epsilon below the root, sqrt(s + epsilon), the course beside it: sqrt(s) + epsilon."""

    def update(w, dw, averages, t):
        _, (_, s) = course.rmsprop(w, dw, averages, t, alpha=ALPHA, beta=0.9, epsilon=1.0)
        beside = np.sqrt(s + epsilon) - np.sqrt(s)
        return course.rmsprop(w, dw, averages, t, alpha=ALPHA, beta=0.9, epsilon=beside)

    return ALPHA, update


def adam(epsilon):
    """Keras has both corrections in the rate, alpha sqrt(1 - beta2^t) / (1 - beta1^t), and epsilon beside sqrt(s).

    Beside the course's corrected root, which is sqrt(s) / sqrt(1 - beta2^t), that epsilon is larger by the same.
    """

    def update(w, dw, averages, t):
        larger = epsilon / np.sqrt(1 - 0.999**t)
        return course.adam(w, dw, averages, t, alpha=ALPHA, beta1=0.9, beta2=0.999, epsilon=larger)

    return ALPHA, update


OPTIMIZERS = [(gradient_descent, None), (momentum, None)] + [
    (rule, epsilon) for rule in (rmsprop, adam) for epsilon in (1e-7, 0.01)
]


def trained(name, rate, steps, **options):
    """The weights in columns after that many steps of the recipe's optimizer."""
    model, parameters, hidden, output = build("deep tanh")
    x, targets, y = data(output)
    rule = optimizer(Training(optimizer=name, learning_rate=rate, schedule="constant", **options), rate)
    for _ in range(steps):
        rule.apply(cost_and_gradients(model, x, targets, output)[1], model.trainable_variables)
    return model.trainable_weights, (parameters, x, y, hidden, output)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("rule", "epsilon"), OPTIMIZERS, ids=lambda value: getattr(value, "__name__", value))
def test_weights_after_steps(rule, epsilon, steps):
    rate, update = rule(epsilon)
    # beta, beta_1, beta_2 and the first epsilon are what the recipe has by default
    options = {} if epsilon in (None, 1e-7) else {"epsilon": epsilon}
    found, start = trained(rule.__name__, rate, steps, **options)
    expected, gradients = course.train(*start, update, steps)
    # RMSprop and Adam divide by the root of the mean square, which the first step bounds from below: rounding of
    # 1e-8 then moves a weight by at most ALPHA x 1e-4
    assert min(np.abs(array).min() for layer in gradients[0] for array in layer) > 1e-4
    assert_same(found, expected)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_the_course_s_epsilon_stands_in_another_place(name):
    found, start = trained(name, ALPHA, 3, epsilon=0.01)
    betas = {"rmsprop": {"beta": 0.9}, "adam": {"beta1": 0.9, "beta2": 0.999}}[name]
    rule = getattr(course, name)
    expected, _ = course.train(*start, lambda *values: rule(*values, alpha=ALPHA, epsilon=0.01, **betas), 3)
    difference = max(np.abs(a[0] - b[0]).max() for a, b in zip(in_columns(found), expected, strict=True))
    assert difference > 1e-3, "the conversions above are needed"
