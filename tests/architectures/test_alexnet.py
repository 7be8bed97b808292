"""AlexNet's own layers against NumPy, its sizes and its initialisation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlapp.architectures import builder
from dlapp.architectures.custom_layers import GroupedConv2D, LocalResponseNormalization
from dlapp.architectures.summary import summarize


def by_the_formula(x, size=5, k=2.0, alpha=1e-4, beta=0.75):
    """Section 3.3 of the paper, sum by sum."""
    channels = x.shape[-1]
    y = np.empty(x.shape)
    for i in range(channels):
        first, last = max(0, i - size // 2), min(channels - 1, i + size // 2)
        y[..., i] = x[..., i] / (k + alpha * (x[..., first : last + 1] ** 2).sum(axis=-1)) ** beta
    return y


@pytest.mark.parametrize("options", [{}, {"size": 3, "bias": 1.0, "alpha": 0.5, "beta": 0.4}, {"size": 9}], ids=str)
def test_response_normalization_is_the_papers(options):
    # as large as the maps of pixels up to 255 get, so that the sums matter beside k = 2
    x = np.random.default_rng(0).normal(scale=100, size=(2, 3, 4, 7))
    expected = by_the_formula(x, **{"k" if name == "bias" else name: value for name, value in options.items()})
    assert np.abs(expected / x - 2**-0.75).max() > 0.1
    # float32: exp and log of values up to 20 lose a digit
    np.testing.assert_allclose(LocalResponseNormalization(**options)(x.astype(np.float32)), expected, rtol=1e-5)


def test_response_normalization_has_the_gradient_of_tensorflows():
    x = tf.constant(np.random.default_rng(0).normal(scale=100, size=(2, 3, 4, 7)).astype(np.float32))
    gradients = []
    for normalize in (
        LocalResponseNormalization(),
        lambda x: tf.nn.local_response_normalization(x, 2, 2.0, 1e-4, 0.75),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(normalize(x) ** 2)
        gradients.append(tape.gradient(value, x).numpy())
    # of numbers up to 50; float32 in another order
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-3, rtol=1e-4)


def test_large_activations_in_half_precision_are_normalized():
    x = np.full((1, 1, 1, 8), 1000, np.float16)  # whose square float16 does not hold
    y = LocalResponseNormalization(dtype="mixed_float16")(x)
    assert y.dtype == "float16"
    np.testing.assert_allclose(y, by_the_formula(x.astype(np.float64)), rtol=2e-3)  # 11 bits


def test_response_normalization_needs_a_middle():
    with pytest.raises(ValueError, match=r"size must be an odd number of channels, .*; got 4"):
        LocalResponseNormalization(4)


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"padding": "same", "dilation_rate": 2}], ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_group_of_filters_sees_its_channels_alone(groups, options):
    layer = GroupedConv2D(8, 3, groups=groups, activation="relu", bias_initializer="ones", **options)
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 4)).astype(np.float32)
    y = layer(x)
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 3, 4 // groups, 8)
    # the whole convolution, with zeros where a filter does not look
    whole = np.zeros((3, 3, 4, 8), np.float32)
    for group in range(groups):
        seen, own = (
            slice(group * 4 // groups, (group + 1) * 4 // groups),
            slice(group * 8 // groups, (group + 1) * 8 // groups),
        )
        whole[:, :, seen, own] = kernel[..., own]
    reference = layers.Conv2D(8, 3, activation="relu", **options)
    reference.build(x.shape)
    reference.set_weights([whole, bias])
    np.testing.assert_allclose(y, reference(x), atol=1e-6)  # the same sums, with zeros among them
    keras_layer = layers.Conv2D(8, 3, groups=groups, activation="relu", **options)
    keras_layer.build(x.shape)
    assert [weight.shape for weight in keras_layer.weights] == [weight.shape for weight in layer.weights]


def test_the_maps_have_the_sizes_of_the_paper():
    rows = {row.name: row for row in summarize(builder("alexnet")())}
    assert {name: row.output_shape for name, row in rows.items() if len(row.output_shape) == 3} == {
        "input": (227, 227, 3),
        "conv1": (55, 55, 96),
        "norm1": (55, 55, 96),
        "pool1": (27, 27, 96),
        "conv2": (27, 27, 256),
        "norm2": (27, 27, 256),
        "pool2": (13, 13, 256),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 384),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
    }
    # a filter of conv2 sees 48 of the 96 maps
    assert rows["conv2"].multiply_adds == 27 * 27 * 256 * (5 * 5 * 48)
    # pool1 11 + 2 x 4; then a step is 8: conv2 19 + 4 x 8, pool2 51 + 2 x 8; then it is 16: 2 x 16 for each layer
    assert [rows[name].receptive_field for name in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [
        (11, 11), (19, 19), (51, 51), (67, 67), (163, 163), (195, 195)
    ]  # fmt: skip


def test_the_initialisation_of_the_paper():
    model = builder("alexnet")((67, 67, 1), classes=3, initialization="paper")
    biases = {
        weight.path.split("/")[-2]: np.unique(weight).tolist() for weight in model.weights if weight.name == "bias"
    }
    ones = {"conv2", "conv4", "conv5", "dense1", "dense2"}
    assert biases == {name: [1.0 if name in ones else 0.0] for name in biases}
    assert len(biases) == 8
    for weight in model.weights:
        if weight.name == "kernel":
            # the standard error of the smallest, 11,616 numbers, is 0.7 %
            assert np.std(weight) == pytest.approx(0.01, rel=0.03)


def test_as_taught_every_convolution_sees_all_maps():
    model = builder("alexnet")((67, 67, 1), classes=3, groups=1)
    assert model.get_layer("conv2").kernel.shape == (5, 5, 96, 256)
    assert not any(isinstance(layer, GroupedConv2D) for layer in model.layers)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((66, 67, 3), {}, "at least 67 x 67: pool5 leaves nothing of 66 x 67"),
        ((32, 32, 3), {}, "at least 67 x 67: pool2 leaves nothing of 32 x 32"),
        ((67, 67, 3), {"groups": 5}, r"groups must be a power of two .*; got 5"),
        ((67, 67, 3), {"groups": 0}, r"groups must be .*; got 0"),
        ((67, 67, 3), {"groups": 3}, r"groups must be .*; got 3"),
        ((67, 67, 3), {"initialization": "glorot"}, "must be 'he' or 'paper'; got 'glorot'"),
        ((67, 67, 3), {"classes": 1}, "at least 2; got 1"),
        ((None, None, 3), {}, "one size for its dense layers"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        builder("alexnet")(shape, **options)


@pytest.mark.parametrize(("name", "least"), [("vgg11", 32), ("vgg19", 32)])
def test_vgg_halves_five_times(name, least):
    assert builder(name)((least, least, 1), include_top=False).output_shape == (None, 1, 1, 512)
    assert builder(name)((None, None, 1), include_top=False).output_shape == (None, None, None, 512)
    with pytest.raises(
        ValueError, match=f"{name} needs pictures of at least 32 x 32: block5_pool leaves nothing of 31 x 40"
    ):
        builder(name)((31, 40, 1))


def test_vgg16_has_the_weights_of_keras_applications():
    ours = builder("vgg16")((32, 32, 3), classes=5)
    theirs = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=5)
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
