"""Gradient checking against gradients whose error is known, kinks at known places, and every builder."""

import inspect
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlapp.architectures import ARCHITECTURES, builder
from dlapp.architectures.auxiliary import WithAuxiliaryClassifiers
from dlapp.architectures.custom_layers import GroupedConv2D, LocalResponseNormalization
from dlapp.architectures.resnet import bottleneck_block, residual_block
from dlapp.training.compiling import loss_and_metric
from dlapp.training.gradient_checking import check_gradients

SMALL = {"lenet5": (16, 16, 1), "recurrent": (4, 3, 1)}  # others take a row of six
SQUARES = keras.losses.MeanSquaredError()


@keras.saving.register_keras_serializable("test_gradient_checking")
class Scaled(layers.Layer):
    """Multiplies by a weight whose gradient is ``factor`` times what it should be."""

    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, inputs):
        @tf.custom_gradient
        def scaled(x, scale):
            def backward(upstream):
                return upstream * scale, self.factor * tf.reduce_sum(upstream * x, axis=0)

            return x * scale, backward

        return scaled(inputs, tf.convert_to_tensor(self.scale))


DEEP = {name for name, entry in ARCHITECTURES.items() if entry.size is not None or entry.task} - {"lenet5"}


def sequence(shape, *middle):
    return keras.Sequential([keras.Input(shape), *middle], name="toy")


def batch(shape, outputs=1, examples=8):
    """Normal inputs; normal targets, or for integers classes."""
    chance = np.random.default_rng(0)
    return chance.normal(size=(examples, *shape)), chance.normal(size=(examples, outputs))


def by_name(found):
    return {tensor.name: tensor for tensor in found}


# builders that fit into a few pixels: larger ones take minutes, and blocks that only they have follow below
@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in DEEP])
def test_every_builder_has_correct_gradients(name):
    make, shape = builder(name), SMALL.get(name, (6,))
    classes = inspect.signature(make).parameters["classes"].default
    model = make(shape, classes=classes, kernel_regularizer=keras.regularizers.L2(0.01))
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3))
    inputs, targets = batch(shape)
    if classes > 1:
        targets = np.arange(8)[:, np.newaxis] % classes
    loss, _ = loss_and_metric(model, "classification" if classes > 1 else "regression")
    found = check_gradients(model, inputs, targets, loss)
    assert {tensor.name for tensor in found} == {weight.path for weight in model.trainable_weights}
    for tensor in found:
        assert tensor.verdict == "correct", tensor
        assert tensor.relative_error < 1e-7, tensor  # what the course asks for; float32 would leave 1e-3
        assert tensor.checked + tensor.kinks == min(20, np.prod(tensor.shape))


@pytest.mark.parametrize(
    "block",
    [
        lambda x: LocalResponseNormalization(size=3, alpha=0.5, name="norm")(x),
        lambda x: GroupedConv2D(4, 3, groups=2, padding="same", activation="relu", name="grouped")(x),
        lambda x: residual_block(x, 4, strides=2, name="block"),
        lambda x: bottleneck_block(x, 2, strides=2, strided=2, name="block"),
        lambda x: bottleneck_block(x, 2, name="block"),
    ],
    ids=["response normalization", "groups", "residual", "projected bottleneck", "bottleneck"],
)
def test_blocks_of_larger_networks_have_correct_gradients(block):
    inputs = keras.Input((4, 4, 2))
    # tanh: normalization would leave a bias before it no gradient
    x = block(layers.Conv2D(8, 3, padding="same", activation="tanh", name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="classifier")(layers.Flatten(name="flatten")(x)))
    loss, _ = loss_and_metric(model, "classification")
    found = check_gradients(model, batch((4, 4, 2))[0], np.arange(8) % 3, loss)
    assert {tensor.name for tensor in found} == {weight.path for weight in model.trainable_weights}
    assert {tensor.verdict for tensor in found} == {"correct"}, found


def test_auxiliary_classifiers_are_a_part_of_the_cost():
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh", kernel_regularizer="l2", name="hidden")(inputs)
    ends = [layers.Dense(3, activation="softmax", name=f"end{number}")(hidden) for number in range(3)]
    loss = keras.losses.SparseCategoricalCrossentropy()
    found = check_gradients(WithAuxiliaryClassifiers(inputs, ends), batch((4,))[0], np.arange(8) % 3, loss)
    assert {tensor.name.split("/")[0] for tensor in found} == {"hidden", "end0", "end1", "end2"}
    assert {tensor.verdict for tensor in found} == {"correct"}


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"activation": "relu", "pooling": "max"}, {"correct"}),
        ({"activation": "sigmoid", "dropout": 0.5}, {"correct"}),
        ({"activation": "relu", "classifier_activation": None}, {"correct"}),
    ],
    ids=["relu and max pooling", "sigmoid and dropout", "relu and logits"],
)
def test_options_of_lenet5(options, kinds):
    model = builder("lenet5")((16, 16, 1), classes=3, **options)
    inputs, _ = batch((16, 16, 1))
    loss, _ = loss_and_metric(model, "classification")
    found = check_gradients(model, inputs, np.arange(8) % 3, loss)
    assert {tensor.verdict for tensor in found} == kinds


def normalized():
    """Dropout, batch normalization, and weights that a regularizer pulls at."""
    return sequence(
        (5,),
        layers.Dense(6, kernel_regularizer="l2", name="dense1"),
        layers.BatchNormalization(name="norm1"),
        layers.Activation("tanh"),
        layers.Dropout(0.4),
        layers.Dense(2, activity_regularizer="l2", name="dense2"),
    )


def test_dropout_and_batch_normalization_in_training_mode():
    model = normalized()
    inputs, targets = batch((5,), outputs=2)
    model.get_layer("norm1").moving_mean.assign(np.full(6, 7.0))  # of no use in training mode
    found = by_name(check_gradients(model, inputs, targets, SQUARES, samples=100))
    # the mean of the batch takes a bias before it away again
    assert found.pop("dense1/bias").verdict == "no gradient"
    assert found.keys() == {"dense1/kernel", "norm1/gamma", "norm1/beta", "dense2/kernel", "dense2/bias"}
    for tensor in found.values():
        assert tensor.verdict == "correct"
        assert tensor.relative_error < 1e-8
        assert tensor.checked == np.prod(tensor.shape)


def test_regularization_is_part_of_the_cost():
    # without data the whole gradient is that of 0.5 w^2; a cost without it would have none
    model = sequence((3,), layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5), name="dense"))
    found = by_name(check_gradients(model, np.zeros((2, 3)), np.zeros((2, 1)), SQUARES))
    assert found["dense/kernel"].verdict == "correct"
    assert found["dense/bias"].verdict == "no gradient"


def test_nothing_outside_changes():
    model = normalized()
    model.compile("adam", SQUARES)
    inputs, targets = batch((5,), outputs=2)
    before = [variable.numpy() for variable in model.variables]
    random_state, numpy_state = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    check_gradients(model, inputs, targets, model.loss, samples=3)
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == (policy.name, floatx) == ("float32", "float32")
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert random.getstate() == random_state
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_the_policy_comes_back_after_an_error():
    model = sequence((3,), layers.Dense(2))
    with pytest.raises(ZeroDivisionError, match="division"):
        check_gradients(model, np.zeros((1, 3)), np.zeros((1, 2)), lambda _targets, _outputs: 1 / 0)
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == ("float32", "float32")


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "correct"), (1.0001, "look at it"), (1.01, "wrong"), (-1.0, "wrong"), (0.0, "wrong"), (np.nan, "wrong")],
)
def test_a_wrong_gradient_is_found_and_named(factor, verdict):
    model = sequence(
        (4,), layers.Dense(3, activation="tanh", name="dense1"), Scaled(factor, name="crooked"), layers.Dense(2)
    )
    inputs, targets = batch((4,), outputs=2)
    *others, worst = check_gradients(model, inputs, targets, SQUARES, seed=3)
    assert {tensor.verdict for tensor in others} == {"correct"}
    if factor == 1.0:
        assert worst.verdict == verdict
        return
    assert (worst.name, worst.verdict) == ("crooked/scale", verdict)
    # |c g - g| / (|c g| + |g|)
    expected = 1.0 if np.isnan(factor) else abs(factor - 1) / (abs(factor) + 1)
    assert worst.relative_error == pytest.approx(expected, rel=1e-4)


def relu_unit(pre_activation):
    """One ReLU of x + b, so that moving b by as much as the pre-activation reaches the kink."""
    model = sequence((1,), layers.Dense(1, activation="relu", use_bias=True, name="unit"))
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    # the second example keeps the derivative away from 0
    return model, np.array([[pre_activation], [2.0]]), np.array([[1.0], [-1.0]])


@pytest.mark.parametrize("pre_activation", [0.0, 3e-7, -3e-7], ids=["at it", "above", "below"])
def test_a_kink_within_the_step_is_left_out(pre_activation):
    found = by_name(check_gradients(*relu_unit(pre_activation), SQUARES))
    bias = found["unit/bias"]
    assert (bias.verdict, bias.checked, bias.kinks, bias.relative_error) == ("kinks only", 0, 1, None)


@pytest.mark.parametrize("pre_activation", [3e-6, -3e-5, 9e-5, 1e-3])
def test_smaller_steps_pass_by_a_kink(pre_activation):
    found = by_name(check_gradients(*relu_unit(pre_activation), SQUARES))
    bias = found["unit/bias"]
    assert (bias.verdict, bias.checked, bias.kinks) == ("correct", 1, 0)
    assert bias.relative_error < 1e-8


@pytest.mark.parametrize(("gap", "kinks"), [(0.0, 2), (3e-7, 2), (1e-3, 0)])
def test_ties_of_max_pooling_are_kinks(gap, kinks):
    model = sequence((2,), layers.Dense(2, name="dense"), layers.Reshape((2, 1)), layers.MaxPooling1D(2))
    model.set_weights([np.eye(2), np.array([0.0, -gap])])
    found = by_name(check_gradients(model, np.ones((1, 2)), np.zeros((1, 1, 1)), SQUARES))
    assert found["dense/bias"].kinks == kinks
    assert found["dense/bias"].verdict == ("kinks only" if kinks else "correct")


def test_a_wrong_gradient_does_not_pass_as_a_kink():
    model = sequence((4,), layers.Dense(8, activation="relu"), Scaled(2.0, name="crooked"), layers.Dense(2))
    inputs, targets = batch((4,), outputs=2)
    worst = check_gradients(model, inputs, targets, SQUARES)[-1]
    assert (worst.name, worst.verdict, worst.checked, worst.kinks) == ("crooked/scale", "wrong", 8, 0)


def test_dead_layers_have_no_gradient():
    zeros = sequence((4,), layers.Dense(3, activation="tanh", kernel_initializer="zeros", name="dense1"))
    zeros.add(layers.Dense(2, kernel_initializer="zeros", name="dense2"))
    found = by_name(check_gradients(zeros, *batch((4,), outputs=2), SQUARES))
    assert {name for name, tensor in found.items() if tensor.verdict == "no gradient"} == {
        "dense1/kernel",
        "dense1/bias",
        "dense2/kernel",
    }
    assert found["dense2/bias"].verdict == "correct"
    assert found["dense1/kernel"].relative_error is None


def test_large_weights_take_large_steps():
    # (w - y)^2 at w = 1e6 is 1e12, rounded to 1e-4: a step of 1e-4 would leave an error of 1e-6
    model = sequence((1,), layers.Dense(1, use_bias=False, name="dense"))
    model.set_weights([np.full((1, 1), 1e6)])
    (kernel,) = check_gradients(model, np.ones((1, 1)), np.zeros((1, 1)), SQUARES)
    assert kernel.relative_error < 1e-10


def test_half_of_the_samples_have_a_gradient():
    tokens = np.array([[3, 14], [15, 92]])
    model = sequence((2,), layers.Embedding(10_000, 2, name="embedding"), layers.Flatten(), layers.Dense(1))
    found = by_name(check_gradients(model, tokens, np.ones((2, 1)), SQUARES, samples=5))
    # 8 of 20,000 entries have a gradient
    assert (found["embedding/embeddings"].verdict, found["embedding/embeddings"].checked) == ("correct", 5)
    assert found["dense/kernel"].checked == 4


def test_networks_within_networks_in_any_dtype():
    inner = sequence((3,), layers.Dense(4, activation="tanh", name="dense"), Scaled(name="scaled"))
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 3, name="embedding", dtype="mixed_float16")(tokens)
    x = layers.TimeDistributed(inner, name="each")(x)
    x = layers.Bidirectional(layers.SimpleRNN(2, dropout=0.3), name="both")(x)
    model = keras.Model(tokens, [layers.Dense(1, name="one")(x), layers.Dense(2, name="two")(x)])
    inputs = np.random.default_rng(0).integers(0, 7, (4, 5))

    def loss(targets, outputs):
        return sum(tf.reduce_mean(tf.square(a - b)) for a, b in zip(targets, outputs, strict=True))

    targets = [np.ones((4, 1), np.float32), np.ones((4, 2), np.float32)]
    found = check_gradients(model, inputs, targets, loss, samples=4)
    assert len(found) == len(model.trainable_weights) == 14
    assert {tensor.verdict for tensor in found} == {"correct"}


def test_track_sees_every_tensor_and_the_worst_is_last():
    seen = []

    def track(places):
        for place in places:
            seen.append(place)
            yield place

    found = check_gradients(normalized(), *batch((5,), outputs=2), SQUARES, samples=2, track=track)
    assert seen == list(range(6))
    errors = [tensor.relative_error for tensor in found if tensor.relative_error is not None]
    assert errors == sorted(errors)
    assert [tensor.relative_error is None for tensor in found] == [True, False, False, False, False, False]


def test_the_seed_chooses_the_entries():
    def errors(seed):
        model = sequence(
            (9,), layers.Dense(9, name="dense", kernel_initializer=keras.initializers.RandomNormal(seed=1))
        )
        return [tensor.relative_error for tensor in check_gradients(model, *data, SQUARES, samples=3, seed=seed)]

    data = batch((9,), outputs=9)
    assert errors(0) == errors(0)
    assert errors(0) != errors(1)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (lambda: sequence((3,), layers.Dense(1)), {"samples": 0}, ValueError, "samples must be at least 1; got 0"),
        (lambda: sequence((3,), layers.Dense(1, trainable=False)), {}, ValueError, "toy has no .* Unfreeze a layer"),
        (
            lambda: sequence((3,), layers.Rescaling(np.inf), layers.Dense(1)),
            {},
            ValueError,
            "must be a number; got nan",
        ),
        (Subclass, {}, TypeError, "must be functional, or sequential and built; subclass is neither"),
        (lambda: keras.Sequential([layers.Dense(1)], name="bare"), {}, TypeError, "bare is neither"),
    ],
    ids=["samples", "frozen", "not a number", "subclass", "not built"],
)
def test_what_cannot_be_checked_is_refused(model, options, error, message):
    with pytest.raises(error, match=message):
        check_gradients(model(), np.zeros((2, 3)), np.zeros((2, 1)), SQUARES, **options)
