"""A new last layer: what is replaced, what is frozen, and what stays as it was."""

import keras
import numpy as np
import pytest
from keras import layers

from dlapp import architectures
from dlapp.architectures import deep_network, lenet5, replace_head
from dlapp.architectures.transfer import split_head, unfreeze


def small(**top):
    """A network with everything that behaves otherwise in training, its averages away from their start."""
    x = inputs = keras.Input((8, 8, 3), name="input")
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.Dropout(0.5, name="dropout1")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(5, activation="tanh", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout2")(x)
    x = layers.Dense(top.get("classes", 3), activation=top.get("activation", "softmax"), name="classifier")(x)
    if "last" in top:
        x = top["last"](x)
    model = keras.Model(inputs, x, name="small")
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in model.weights])
    return model


PICTURES = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype(np.float32)


def before_head(model, name="dense"):
    return keras.Model(model.input, model.get_layer(name).output)(PICTURES, training=False).numpy()


@pytest.mark.parametrize(
    ("top", "note"),
    [
        ({}, "softmax in the layer"),
        ({"activation": None}, "logits"),
        ({"activation": None, "last": layers.Softmax(name="probabilities")}, "softmax layer"),
        ({"classes": 1, "activation": "sigmoid"}, "one unit"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_last_layer_is_replaced_and_the_others_are_kept(top, note):
    model = small(**top)
    found = replace_head(model, 7)
    assert found.output_shape == (None, 7)
    assert [layer.name for layer in found.layers] == ["input", "conv", "norm", "relu", "flatten", "dense", "classifier"]
    np.testing.assert_array_equal(before_head(found), before_head(model))
    assert [weight.path for weight in found.trainable_weights] == ["classifier/kernel", "classifier/bias"]
    assert sum(weight.shape.num_elements() for weight in found.trainable_weights) == (5 + 1) * 7
    kernel, bias = found.get_layer("classifier").get_weights()
    logits = before_head(model) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found(PICTURES), expected, atol=1e-6)


def test_frozen_layers_do_in_training_what_they_do_in_inference():
    found = replace_head(small(), 7)
    np.testing.assert_array_equal(found(PICTURES, training=True), found(PICTURES, training=False))
    averages = found.get_layer("norm").get_weights()
    found.compile("sgd", "sparse_categorical_crossentropy")
    found.fit(PICTURES, np.arange(4), epochs=2, verbose=0)
    for before, after in zip(averages, found.get_layer("norm").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_penalty_of_the_first_training_is_none_of_the_second():
    model = lenet5((16, 16, 1), kernel_regularizer=keras.regularizers.L2(1.0))
    found = replace_head(model, 3)
    unfreeze(found, "all")
    assert not found.losses
    assert model.losses


def test_the_model_it_came_from_stays_as_it_was():
    model = small()
    weights, trainable = model.get_weights(), [weight.path for weight in model.trainable_weights]
    found = replace_head(model, 3)
    for weight in found.weights:
        weight.assign(keras.ops.zeros_like(weight))
    assert [weight.path for weight in model.trainable_weights] == trainable
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_feature_maps_are_averaged():
    model = lenet5((20, 20, 1), include_top=False)
    found = replace_head(model, 4, dropout=0.3)
    assert [layer.name for layer in found.layers[-3:]] == ["head_pool", "head_dropout", "classifier"]
    x = np.random.default_rng(0).normal(size=(2, 20, 20, 1)).astype(np.float32)
    kernel, bias = found.get_layer("classifier").get_weights()
    logits = model(x).numpy().mean(axis=(1, 2)) @ kernel + bias
    np.testing.assert_allclose(found(x), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-6)
    assert np.abs(found(x, training=True) - found(x)).max() > 0


def test_hidden_layers_are_no_head():
    model = deep_network((6,), include_top=False, units=(5, 4))
    found = replace_head(model, 2)
    assert found.get_layer("classifier").kernel.shape == (4, 2)
    np.testing.assert_array_equal(split_head(found)[0](np.ones((1, 6))), model(np.ones((1, 6))))


def test_features_that_differ_in_every_epoch_are_refused():
    x = inputs = keras.Input((6,), name="input")
    x = layers.GaussianNoise(0.1, name="noise")(x)
    model = keras.Model(inputs, layers.Dense(2, name="classifier")(x), name="noisy")
    with pytest.raises(ValueError, match=r"noise \(GaussianNoise\) of noisy gives other features in every epoch"):
        replace_head(model, 3)


def test_a_second_transfer_is_as_good_as_the_first():
    once = replace_head(small(), 4, dropout=0.5)
    twice = replace_head(once, 6, dropout=0.5)
    np.testing.assert_array_equal(before_head(twice), before_head(once))
    assert twice.output_shape == (None, 6)


def test_regularizer_and_activation_are_those_of_the_new_layer():
    found = replace_head(small(), 1, classifier_activation="sigmoid", kernel_regularizer=keras.regularizers.L2(1.0))
    kernel = found.get_layer("classifier").get_weights()[0]
    np.testing.assert_allclose(keras.ops.sum(found.losses), (kernel**2).sum(), rtol=1e-6)
    assert found.get_layer("classifier").activation is keras.activations.sigmoid


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0, "classifier_activation": None}, r"classes must be at least 1, .*; got 0"),
        ({"classes": 1}, r"at least 2 classes; got 1\. For a yes/no output"),
        ({"classes": 3, "dropout": 1.0}, r"dropout must be at least 0 and less than 1.*got 1\.0"),
    ],
)
def test_a_head_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        replace_head(small(), options.pop("classes"), **options)


def test_a_network_that_ends_in_neither_a_vector_nor_maps_is_refused():
    inputs = keras.Input((5, 2), name="input")
    model = keras.Model(inputs, layers.Conv1D(3, 2, name="conv")(inputs), name="sequence")
    with pytest.raises(ValueError, match=r"sequence gives \(4, 3\) before its last layer; a new one needs a vector"):
        replace_head(model, 2)


def test_the_last_layers_are_unfrozen_without_normalization():
    found = replace_head(small(), 3)
    assert unfreeze(found, 1) == ["dense"]
    assert {weight.path for weight in found.trainable_weights} == {
        "dense/kernel",
        "dense/bias",
        "classifier/kernel",
        "classifier/bias",
    }
    assert unfreeze(found, "all") == ["conv"]
    assert not found.get_layer("norm").trainable


@pytest.mark.parametrize("count", [0, 3])
def test_no_more_layers_are_unfrozen_than_there_are(count):
    with pytest.raises(ValueError, match=rf"count must be from 1 to 2, the frozen layers of small .*; got {count}"):
        unfreeze(replace_head(small(), 3), count)


def test_features_and_head_make_the_network():
    found = replace_head(small(), 3, dropout=0.2)
    features, head = split_head(found)
    assert head.input_shape == (None, 5)
    np.testing.assert_allclose(head(features(PICTURES)), found(PICTURES), atol=1e-7)
    assert {id(weight) for weight in head.weights} == {id(weight) for weight in found.trainable_weights}
    split_head(found)  # which is asked for again when a learning curve is drawn


def test_it_is_found_where_the_builders_are():
    assert architectures.replace_head is replace_head
