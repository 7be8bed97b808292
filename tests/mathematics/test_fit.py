"""What ``fit`` of a model that the recipe compiled leaves after mini-batches, against the course's equations."""

import course
import keras
import numpy as np
import pytest

from dlapp.architectures import builder
from dlapp.recipe import Training
from dlapp.training.compiling import compile_for

# float32 against float64: 7 digits, of which sums of some tens of products about 1 leave 6
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
M, BATCH, FEATURES, CLASSES = 24, 8, 5, 3
ALPHA = 0.05
LAMBDA = 0.3
RULES = {
    # the recipe's rate, and the course's update
    "gradient_descent": (ALPHA, lambda *values: course.gradient_descent(*values, alpha=ALPHA)),
    # Keras holds the rate in the velocity and the gradient whole: its rate is (1 - beta) alpha
    "momentum": (0.1 * ALPHA, lambda *values: course.momentum(*values, alpha=ALPHA, beta=0.9)),
    # epsilon stands elsewhere in Keras (test_agreement.py); 1e-14 is nothing beside gradients above 1e-4
    "rmsprop": (ALPHA, lambda *values: course.rmsprop(*values, alpha=ALPHA, beta=0.9, epsilon=1e-14)),
    "adam": (ALPHA, lambda *values: course.adam(*values, alpha=ALPHA, beta1=0.9, beta2=0.999, epsilon=1e-14)),
}


def examples():
    """Inputs (n_x, m), labels (m,) and the labels in columns (classes, m)."""
    labels = np.arange(M) % CLASSES
    return np.random.default_rng(0).normal(size=(FEATURES, M)), labels, np.eye(CLASSES)[:, labels]


def network(**options):
    model = builder("deep_network")((FEATURES,), classes=CLASSES, units=[4], activation="tanh", **options)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    return model


def in_column(array):
    """Keras keeps a kernel as (inputs, units) and a bias as (units,)."""
    return np.atleast_2d(np.asarray(array, np.float64)).T


def fit(model, name, rate, epochs, **options):
    """The losses of the epochs."""
    training = Training(
        optimizer=name, learning_rate=rate, schedule="constant", batch_size=BATCH, epochs=epochs, **options
    )
    compile_for(model, training, task="classification", steps_per_epoch=M // BATCH)
    x, labels, _ = examples()
    return model.fit(x.T, labels, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("penalized", [False, True], ids=["plain", "L2"])
@pytest.mark.parametrize("name", RULES)
def test_two_epochs_of_mini_batches(name, penalized):
    rate, update = RULES[name]
    # the m of lambda / (2 m) is that of the mini-batch: its cost is what one step sees
    options = {"kernel_regularizer": keras.regularizers.L2(LAMBDA / (2 * BATCH))} if penalized else {}
    penalty = {"lambda2": LAMBDA} if penalized else {}
    model = network(**options)
    values = [in_column(weight) for weight in model.trainable_weights]
    found = fit(model, name, rate, 2, **({"epsilon": 1e-14} if name in ("rmsprop", "adam") else {}))

    x, _, y = examples()
    averages, t, costs = [(0.0, 0.0)] * len(values), 0, []
    for start in [*range(0, M, BATCH)] * 2:
        t, batch = t + 1, slice(start, start + BATCH)
        parameters = list(zip(values[::2], values[1::2], strict=True))
        a, caches = course.forward(x[:, batch], parameters, "tanh", "softmax")
        costs.append(course.cost(a, y[:, batch], "softmax", parameters, **penalty))
        gradients = course.backward(a, y[:, batch], caches, parameters, "tanh", **penalty)
        flat = [array for layer in gradients for array in layer]
        if t == 1:
            # RMSprop and Adam divide by the root of the mean square, which this bounds from below: rounding of
            # 1e-8 then moves a weight by at most ALPHA x 1e-4
            assert min(np.abs(array).min() for array in flat) > 1e-4
        moved = [update(*three, t) for three in zip(values, flat, averages, strict=True)]
        values, averages = [value for value, _ in moved], [average for _, average in moved]
    for weight, expected in zip(model.trainable_weights, values, strict=True):
        np.testing.assert_allclose(in_column(weight), expected, err_msg=weight.path, **CLOSE)
    np.testing.assert_allclose(found, [np.mean(costs[:3]), np.mean(costs[3:])], rtol=1e-5)


def test_batch_normalization_learns_and_keeps_averages():
    epsilon, kept = 1e-3, 0.99  # Keras's; the course leaves both open
    model = network(batch_normalization=True)
    values = {weight.path: in_column(weight) for weight in model.trainable_weights}
    paths = list(values)
    x, _, y = examples()
    first = x[:, :BATCH]

    def normalized(p, x, mu=None, sigma2=None):
        z = p[paths[0]] @ x
        mu = z.mean(axis=1, keepdims=True) if mu is None else mu
        sigma2 = ((z - mu) ** 2).mean(axis=1, keepdims=True) if sigma2 is None else sigma2
        tilde = p[paths[1]] * (z - mu) / np.sqrt(sigma2 + epsilon) + p[paths[2]]
        return course.softmax(p[paths[3]] @ np.tanh(tilde) + p[paths[4]]), mu, sigma2

    def slope(path, index, step=1e-6):
        ends = []
        for change in (step, -step):
            moved = values[path].copy()
            moved[index] += change
            ends.append(course.cost(normalized({**values, path: moved}, first)[0], y[:, :BATCH], "softmax"))
        return (ends[0] - ends[1]) / (2 * step)

    # one step with a mini-batch by the differences of the cost, which are right to 1e-9
    gradients = {
        path: np.reshape([slope(path, index) for index in np.ndindex(value.shape)], value.shape)
        for path, value in values.items()
    }
    _, mu, sigma2 = normalized(values, first)
    compile_for(
        model,
        Training(optimizer="gradient_descent", learning_rate=1.0, schedule="constant", batch_size=BATCH),
        task="classification",
        steps_per_epoch=1,
    )
    model.fit(first.T, np.arange(BATCH) % CLASSES, batch_size=BATCH, shuffle=False, verbose=0)
    for weight in model.trainable_weights:
        expected = values[weight.path] - gradients[weight.path]
        np.testing.assert_allclose(in_column(weight), expected, err_msg=weight.path, **CLOSE)

    # in use: exponentially weighted averages, which began with a mean of 0 and a variance of 1
    values = {weight.path: in_column(weight) for weight in model.trainable_weights}
    mu, sigma2 = (1 - kept) * mu, kept + (1 - kept) * sigma2
    np.testing.assert_allclose(model.predict(x.T, verbose=0).T, normalized(values, x, mu, sigma2)[0], **CLOSE)
