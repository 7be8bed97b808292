"""Auxiliary classifiers from training to the bundle: they are resumed with, and not shipped."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlapp.architectures.auxiliary import WithAuxiliaryClassifiers
from dlapp.exporting.bundle import export
from dlapp.training import compiling
from dlapp.training.callbacks import History


def small(input_shape, *, classes):
    """A network as Inception is one: a classifier, an auxiliary one, and dropout before it."""
    inputs = keras.Input(input_shape, name="input")
    hidden = layers.Dense(6, activation="tanh", name="hidden")(inputs)
    outputs = layers.Dense(classes, activation="softmax", name="classifier")(hidden)
    auxiliary = layers.Dropout(0.7, name="auxiliary_dropout")(hidden)
    auxiliary = layers.Dense(classes, activation="softmax", name="auxiliary_classifier")(auxiliary)
    return WithAuxiliaryClassifiers(inputs, [outputs, auxiliary], name="small")


def test_an_interrupted_run_goes_on_with_them_and_a_bundle_has_none(rows, train, workplace, monkeypatch):
    monkeypatch.setattr(compiling, "builder", lambda name: small)
    values = {
        "architecture": "shallow_network",
        "data": rows,
        "training": {"epochs": 3, "batch_size": 16, "class_weights": "balanced", "learning_rate": 0.05},
    }
    whole = train(workplace / "whole", values)
    begin = History.on_epoch_begin

    def interrupted(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        begin(self, epoch, logs)

    with monkeypatch.context() as patched:
        patched.setattr(History, "on_epoch_begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(workplace / "run", values)
    resumed = train(workplace / "run", values)
    last = [keras.models.load_model(folder.last_model) for folder in (whole, resumed)]
    assert [type(model) for model in last] == [WithAuxiliaryClassifiers] * 2
    for one, other in zip(*(model.get_weights() for model in last), strict=True):
        np.testing.assert_array_equal(one, other)
    assert resumed.read_metrics() == whole.read_metrics()
    assert resumed.read_metrics()["parameters"] == (4 + 1) * 6 + (6 + 1) * 3
    assert [layer.name for layer in resumed.load_model().layers] == ["input", "hidden", "classifier"]

    signature = resumed.read_signature()
    parity = export(  # from a script that has never seen the file of the best weights
        last[0],
        workplace / "bundle",
        labels=signature.labels,
        preprocessing=signature.preprocessing,
        samples=resumed.read_samples(),
        formats=["savedmodel"],
    )
    assert parity.holds
    variables = tf.train.list_variables(str(workplace / "bundle/saved_model/1/variables/variables"))
    shapes = [shape for _, shape in variables]
    assert shapes.count([6, 3]) == 1, "the classifier's once, and no auxiliary one"
