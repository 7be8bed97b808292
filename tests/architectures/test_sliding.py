"""One pass over a large picture against cropping every window and classifying it."""

import keras
import numpy as np
import pytest
from keras import layers

from dlapp import architectures
from dlapp.architectures import deep_network, lenet5, logistic_unit, resnet20
from dlapp.architectures.heads import with_probabilities
from dlapp.architectures.sliding import fully_convolutional, windows


def strided():
    """Strides, dilation, dropout, normalization of maps and a global mean."""
    x = inputs = keras.Input((21, 17, 3), name="input")
    x = layers.Conv2D(5, 3, strides=2, activation="relu", name="conv1")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, name="conv2")(x)
    x = layers.MaxPooling2D(2, strides=1, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(4, name="classifier")(x)
    return keras.Model(inputs, layers.Softmax(name="probabilities")(x), name="strided")


def flattened():
    """Layers without weights between the maps and the first dense layer."""
    x = inputs = keras.Input((12, 10, 1), name="input")
    x = layers.Conv2D(3, 5, name="conv")(x)
    x = layers.MaxPooling2D(3, name="pool")(x)  # 8 x 6: a remainder of 2 rows is dropped
    x = layers.Flatten(name="flatten")(x)
    x = layers.Activation("tanh", name="tanh")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(6, activation="relu", use_bias=False, name="dense")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="classifier")(x), name="flattened")


NETWORKS = {
    "lenet5, grey": (lambda: lenet5((32, 32, 1), classes=4), (4, 4)),
    "lenet5, not square, RGB": (lambda: lenet5((20, 26, 3), classes=3, pooling="max", dropout=0.3), (4, 4)),
    "strided": (strided, (2, 2)),
    "flattened": (flattened, (3, 3)),
    "one sigmoid unit": (lambda: logistic_unit((5, 4, 1)), (1, 1)),
    "dense layers alone": (lambda: deep_network((6, 7, 2), classes=3, units=(8, 5)), (1, 1)),
}


@pytest.mark.parametrize(("make", "stride"), NETWORKS.values(), ids=NETWORKS)
def test_one_pass_gives_what_cropping_every_window_gives(make, stride):
    model = make()
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.1, 0.5, weight.shape) * random.choice([-1, 1], weight.shape)
                       if "variance" not in weight.path else random.uniform(0.5, 1.5, weight.shape)
                       for weight in model.weights])  # fmt: skip
    found = windows(model)
    height, width, channels = model.input_shape[1:]
    assert (found.size, found.stride) == ((height, width), stride)
    network = with_probabilities(model)
    sliding = with_probabilities(fully_convolutional(model))
    for rows, columns, extra in ((0, 0, 0), (3, 5, 0), (2, 1, 1)):
        down, right = height + rows * stride[0] + extra % stride[0], width + columns * stride[1] + extra % stride[1]
        pictures = random.normal(size=(2, down, right, channels)).astype(np.float32)
        answers = sliding.predict(pictures, verbose=0)
        boxes = [found.box(row, column) for row in range(rows + 1) for column in range(columns + 1)]
        crops = np.concatenate([pictures[:, top:bottom, left:end] for top, left, bottom, end in boxes])
        expected = network.predict(crops, verbose=0).reshape(rows + 1, columns + 1, 2, -1).transpose(2, 0, 1, 3)
        np.testing.assert_allclose(answers[:, : rows + 1, : columns + 1], expected, atol=1e-5)
        assert answers.std() > 1e-3, "the comparison would prove nothing"


def test_a_network_that_pads_is_refused_or_approximate():
    model = resnet20((16, 16, 1), classes=3)
    with pytest.raises(ValueError, match=r"stage1_conv of resnet20 pads: .* approximate=True \(--approximate\)"):
        fully_convolutional(model)
    sliding = fully_convolutional(model, approximate=True)
    assert windows(model).stride == (4, 4)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    # one window as large as the picture has the same border as it
    np.testing.assert_allclose(sliding(x)[:, 0, 0], model(x), atol=1e-5)
    assert sliding.compute_output_shape((1, 32, 48, 1)) == (1, 5, 9, 3)


def test_the_model_stays_as_it_was():
    model = lenet5((16, 16, 1), classes=2)
    before, names = model.get_weights(), [layer.name for layer in model.layers]
    sliding = fully_convolutional(model)
    for weight in sliding.weights:
        weight.assign(keras.ops.zeros_like(weight))
    for weight, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert [layer.name for layer in sliding.layers] == [name for name in names if name != "flatten"]


def normalized():
    x = inputs = keras.Input((4, 4, 1), name="input")
    x = layers.BatchNormalization(name="norm")(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, layers.Dense(2, name="classifier")(x), name="normalized")


def two_branches():
    """What is flattened side by side is no window's vector in the order of a convolution's kernel."""
    inputs = keras.Input((6, 6, 1), name="input")
    maps = [layers.Flatten()(layers.Conv2D(2, 3, name=f"conv{number}")(inputs)) for number in (1, 2)]
    x = layers.Concatenate(name="both")(maps)
    return keras.Model(inputs, layers.Dense(2, name="classifier")(x), name="branched")


def behind_convolution(layer):
    x = inputs = keras.Input((6, 6, 1), name="input")
    x = layers.Flatten(name="flatten")(layer(layers.Conv2D(2, 3, name="conv")(x)))
    return keras.Model(inputs, layers.Dense(2, name="classifier")(x), name="network")


def behind_flatten(layer):
    x = inputs = keras.Input((6, 6, 1), name="input")
    x = layer(layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, layers.Dense(2, name="classifier")(x), name="network")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: deep_network((6,), classes=3), r"must take pictures of one size .* takes \(6,\)"),
        (lambda: resnet20((None, None, 3), classes=2), r"must take pictures of one size"),
        (lambda: lenet5((20, 20, 1), include_top=False), r"lenet5 has no dense layer"),
        (normalized, r"norm \(BatchNormalization\) behind the flattened maps of normalized has no convolutional form"),
        (two_branches, r"both \(Concatenate\) behind the flattened maps of branched has no convolutional form"),
        (lambda: behind_flatten(layers.Softmax(name="all")), r"all \(Softmax\) behind the flattened maps"),
        (lambda: behind_flatten(layers.Activation("softmax", name="all")), r"all \(Activation\) behind the flattened"),
        (lambda: behind_convolution(layers.UpSampling2D(name="up")), r"up \(UpSampling2D\) of network has no conv"),
        (lambda: behind_convolution(layers.SeparableConv2D(2, 3, padding="same", name="own")), r"own \(SeparableConv"),
    ],
    ids=lambda value: "" if callable(value) else value[:20],
)
def test_what_cannot_slide_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        fully_convolutional(make())


def test_it_is_found_where_the_builders_are():
    assert architectures.fully_convolutional is fully_convolutional
