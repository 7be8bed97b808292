"""The range test: the rate it suggests trains, and it leaves the network alone."""

import keras
import numpy as np
import pytest

from dlapp.errors import TrainingError
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training.rate_finding import HIGHEST, LOWEST, find_learning_rate


def prepared(data, architecture="softmax_regression", **training):
    values = {"architecture": architecture, "data": data, "training": {"batch_size": 16, **training}}
    return preparing.prepare(Recipe.from_values(values))


@pytest.mark.parametrize("optimizer", ["gradient_descent", "adam"])
def test_the_suggestion_lies_where_the_loss_falls(optimizer):
    run = prepared("iris", optimizer=optimizer)
    before = run.model.get_weights()
    found = find_learning_rate(run)
    for weight, kept in zip(run.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert len(found.rates) == len(found.losses) > 50
    assert found.rates[0] == pytest.approx(LOWEST)
    assert found.rates[-1] <= HIGHEST * 1.001
    np.testing.assert_allclose(np.diff(np.log(found.rates)), np.log(HIGHEST / LOWEST) / 199, rtol=1e-6)
    assert found.losses[0] == pytest.approx(np.log(3), abs=0.02), "zero weights guess, at a rate of next to nothing"
    lowest = found.rates[int(np.argmin(found.losses))]
    assert found.suggestion <= lowest / 10 * 1.05
    trained = prepared("iris", optimizer=optimizer, learning_rate=found.suggestion, schedule="constant")
    trained.model.compile(
        keras.optimizers.get({"class_name": "SGD", "config": {"learning_rate": found.suggestion}}),
        "sparse_categorical_crossentropy",
    )
    history = trained.model.fit(trained.pipeline("train").batches(16), epochs=3, verbose=0, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("data", ["iris", "digits", "diabetes"])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_of_the_first_batches_suggests_nothing(data, seed):
    found = find_learning_rate(prepared(data, "deep_network", seed=seed))
    assert 3e-4 < found.suggestion < 0.05  # the rates that train these networks; noise is at 1e-6 as likely as at 1


def test_the_loss_is_that_of_the_training():
    found = find_learning_rate(prepared("iris", label_smoothing=0.6, class_weights={"setosa": 1.0}))
    shares = np.array([0.6, 0.2, 0.2])
    assert min(found.losses) > -shares @ np.log(shares), "no loss is below the entropy of its targets"


def test_a_loss_that_never_falls_suggests_nothing(workplace):
    np.savez("noise.npz", x=np.ones((60, 3)), y=np.arange(60) % 2)  # nothing to learn from
    with pytest.raises(TrainingError, match="did not fall at any learning rate"):
        find_learning_rate(prepared("npz:noise.npz", batch_size="all"))
