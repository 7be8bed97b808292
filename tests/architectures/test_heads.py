"""Whatever a classifier ends with becomes probabilities."""

import keras
import numpy as np
import pytest
from keras import layers

from dlapp.architectures import builder
from dlapp.architectures.heads import gives_logits, with_probabilities
from dlapp.errors import DlappError


def classifier(units, activation, *more):
    x = inputs = keras.Input((3,))
    for layer in (layers.Dense(units, activation=activation), *more):
        x = layer(x)
    return keras.Model(inputs, x, name="classifier")


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def two_columns(p):
    return np.hstack([1 - p, p])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ENDS = {
    "softmax": (lambda: classifier(4, "softmax"), softmax, False),
    "softmax layer": (lambda: classifier(4, None, layers.Softmax()), softmax, False),
    "softmax activation": (lambda: classifier(4, None, layers.Activation("softmax")), softmax, False),
    "logits": (lambda: classifier(4, None), softmax, True),
    "sigmoid unit": (lambda: classifier(1, "sigmoid"), lambda x: two_columns(sigmoid(x)), False),
    "logit unit": (lambda: classifier(1, None), lambda x: two_columns(sigmoid(x)), True),
}


@pytest.mark.parametrize(("make", "expected", "logits"), ENDS.values(), ids=ENDS)
def test_probabilities_agree_with_numpy(make, expected, logits):
    model = make()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    kernel, bias = model.get_weights()
    probabilities = with_probabilities(model)(x).numpy()
    assert gives_logits(model) == logits
    assert probabilities.dtype == np.float32
    # float32: a handful of operations, each rounded to 6e-8
    np.testing.assert_allclose(probabilities, expected(x @ kernel + bias), atol=1e-6)


@pytest.mark.parametrize("units", [1, 4])
def test_layers_are_shared_so_that_training_goes_on_in_both(units):
    model = classifier(units, None)
    wrapped = with_probabilities(model)
    assert wrapped.name == model.name
    model.layers[-1].bias.assign(np.full(units, 3.0))
    np.testing.assert_array_equal(wrapped.get_weights()[1], np.full(units, 3.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classifier(4, "relu"), "must end with softmax or None .* ends with relu"),
        (lambda: classifier(4, None, layers.Flatten()), "ends with Flatten"),
        # neither gives probabilities that sum to 1 and mean something
        (lambda: builder("softmax_regression")((3,), classes=4, classifier_activation="sigmoid"), "sigmoid"),
        (lambda: builder("logistic_unit")((3,), classifier_activation="softmax"), "softmax"),
    ],
    ids=["relu", "no activation", "four sigmoids", "softmax of one"],
)
def test_an_end_that_gives_no_probabilities_is_refused(make, message):
    with pytest.raises(DlappError, match=message):
        with_probabilities(make())
