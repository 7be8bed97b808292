"""The NumPy calculation itself: its gradients are those of its costs, its updates what one can work out by hand."""

import itertools

import course
import numpy as np
import pytest

M, FEATURES = 7, 5
NETWORKS = [
    ([], "relu", "sigmoid", 1),
    ([], "relu", "softmax", 3),
    ([], "relu", "linear", 1),
    ([4], "tanh", "sigmoid", 1),
    ([6, 4], "relu", "softmax", 3),
    ([6, 4, 3], "sigmoid", "softmax", 3),
    ([6, 4], "tanh", "linear", 2),
]


def network(units, output, outputs):
    """Random parameters, inputs (n_x, m) and targets (n_L, m)."""
    random = np.random.default_rng(0)
    widths = [FEATURES, *units, outputs]
    parameters = [
        (random.normal(0, 0.7, (n, before)), random.normal(0, 0.7, (n, 1))) for before, n in itertools.pairwise(widths)
    ]
    x = random.normal(size=(FEATURES, M))
    labels = np.arange(M) % max(outputs, 2)
    y = {"sigmoid": labels[np.newaxis], "softmax": np.eye(outputs)[:, labels % outputs]}
    return parameters, x, y[output] if output in y else random.normal(size=(outputs, M))


def slope(function, array, index, step=1e-5):
    """The two-sided difference of ``function`` at one entry of ``array``, which is changed and put back.

    Truncation is of the order of step squared, 1e-10; rounding 1e-16 / step, 1e-11.
    """
    kept, ends = array[index], []
    for sign in (1, -1):
        array[index] = kept + sign * step
        ends.append(function())
    array[index] = kept
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("penalties", [{}, {"lambda1": 0.2, "lambda2": 0.4}], ids=["plain", "L1 and L2"])
@pytest.mark.parametrize("dropped", [False, True], ids=["whole", "dropout"])
@pytest.mark.parametrize(("units", "hidden", "output", "outputs"), NETWORKS, ids=str)
def test_every_gradient_is_a_two_sided_difference(units, hidden, output, outputs, dropped, penalties):
    parameters, x, y = network(units, output, outputs)
    random = np.random.default_rng(1)
    keeps = [0.5 + 0.1 * layer for layer in range(len(units))]
    masks = [(random.random((n, M)) < keep).astype(float) for n, keep in zip(units, keeps, strict=True)]
    dropout = {"masks": masks, "keeps": keeps} if dropped else {}

    def j():
        a, _ = course.forward(x, parameters, hidden, output, **dropout)
        return course.cost(a, y, output, parameters, **penalties)

    a, caches = course.forward(x, parameters, hidden, output, **dropout)
    gradients = course.backward(a, y, caches, parameters, hidden, **dropout, **penalties)
    for layer, derivatives in zip(parameters, gradients, strict=True):
        for value, derivative in zip(layer, derivatives, strict=True):
            assert value.shape == derivative.shape
            expected = [slope(j, value, index) for index in np.ndindex(value.shape)]
            np.testing.assert_allclose(derivative.ravel(), expected, rtol=1e-7, atol=1e-8)


def test_logistic_regression_is_a_network_of_one_layer():
    parameters, x, y = network([], "sigmoid", 1)
    (w, b), *_ = parameters
    a, j, dw, db = course.logistic_regression(w.T, b.item(), x, y)
    expected, caches = course.forward(x, parameters, "relu", "sigmoid")
    ((expected_dw, expected_db),) = course.backward(expected, y, caches, parameters, "relu")
    # the same float64 operations
    np.testing.assert_allclose(a, expected, rtol=1e-12)
    assert j == pytest.approx(course.cost(expected, y, "sigmoid"), rel=1e-12)
    np.testing.assert_allclose(dw.T, expected_dw, rtol=1e-12)
    assert db == pytest.approx(expected_db.item(), rel=1e-12)


def test_the_example_of_the_course():
    # logistic regression on two features and two examples, worked out with a pocket calculator: z is 5 and -5
    w, b = np.array([[1.0], [2.0]]), 2.0
    x, y = np.array([[1.0, -1.0], [1.0, -3.0]]), np.array([[1, 0]])
    a, j, dw, db = course.logistic_regression(w, b, x, y)
    np.testing.assert_allclose(a, [[0.993307149, 0.006692851]], atol=1e-9)  # to the digits written down
    assert j == pytest.approx(0.006715348, abs=1e-9)
    np.testing.assert_allclose(dw, [[-0.006692851], [-0.013385702]], atol=1e-9)
    assert db == pytest.approx(0, abs=1e-9)


def test_normalized_inputs_have_mean_0_and_variance_1():
    train = np.random.default_rng(0).normal([[3], [-50]], [[2], [10]], (2, 30))
    normalized = course.normalize(train, train)
    np.testing.assert_allclose(normalized.mean(axis=1), 0, atol=1e-12)  # float64, values near 50
    np.testing.assert_allclose((normalized**2).mean(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(course.normalize(train[:, :3], train), normalized[:, :3], rtol=1e-12)


@pytest.mark.parametrize(
    ("update", "settings", "first", "second"),
    [
        # dw is 2 and then -4, alpha 0.1, w is 1 before
        (course.gradient_descent, {}, 1 - 0.2, 1 - 0.2 + 0.4),
        # v = 0.2, then 0.18 - 0.4 = -0.22
        (course.momentum, {"beta": 0.9}, 1 - 0.02, 1 - 0.02 + 0.022),
        # s = 0.4, then 0.36 + 1.6 = 1.96 with the root 1.4
        (
            course.rmsprop,
            {"beta": 0.9, "epsilon": 0.1},
            1 - 0.2 / (np.sqrt(0.4) + 0.1),
            1 - 0.2 / (np.sqrt(0.4) + 0.1) + 0.4 / 1.5,
        ),
        # corrected: v = 2, s = 4; then v = (0.5 - 2) / 0.75 = -2, s = (0.75 + 4) / 0.4375
        (
            course.adam,
            {"beta1": 0.5, "beta2": 0.75, "epsilon": 0.5},
            1 - 0.2 / 2.5,
            1 - 0.2 / 2.5 + 0.2 / (np.sqrt(4.75 / 0.4375) + 0.5),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_two_updates_by_hand(update, settings, first, second):
    w, averages = update(1.0, 2.0, (0.0, 0.0), 1, alpha=0.1, **settings)
    assert w == pytest.approx(first, rel=1e-12)
    w, _ = update(w, -4.0, averages, 2, alpha=0.1, **settings)
    assert w == pytest.approx(second, rel=1e-12)
