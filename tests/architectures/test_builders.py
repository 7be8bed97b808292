"""Every builder: the table that lists it, its shapes, its counts, that it learns and that it can be kept."""

import importlib
import inspect
import itertools
import pkgutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp import architectures
from dlapp.architectures import ARCHITECTURES, builder
from dlapp.architectures.heads import with_probabilities
from dlapp.errors import UnknownName


def dense(widths):
    """Parameters of dense layers between values of these widths: a weight for each, and a bias."""
    return sum((before + 1) * after for before, after in itertools.pairwise(widths))


def vgg(channels, convolutions):
    """Parameters of five blocks of 3 x 3 convolutions, each with a bias."""
    filters = np.repeat((64, 128, 256, 512, 512), convolutions).tolist()
    return sum((9 * before + 1) * after for before, after in itertools.pairwise([channels, *filters]))


# builder: toy input shape, classes, shape of the output, parameters
TOYS = {
    "linear_unit": ((5,), 1, (1,), 5 + 1),  # a weight for each feature, and a bias
    "logistic_unit": ((4, 3, 2), 2, (1,), 4 * 3 * 2 + 1),  # a weight for each feature, and a bias
    "softmax_regression": ((5,), 3, (3,), (5 + 1) * 3),  # features and bias, for each class
    "shallow_network": ((8,), 2, (2,), (8 + 1) * 4 + (4 + 1) * 2),  # 4 hidden units, 2 classes
    "deep_network": ((4, 3, 2), 3, (3,), (24 + 1) * 64 + (64 + 1) * 32 + (32 + 1) * 3),  # 64 and 32 hidden units
    "lenet5": (
        (16, 16, 1),
        3,
        (3,),
        # 16 -> conv1 12 -> pool1 6 -> conv2 2 -> pool2 1: flatten gives 1 x 1 x 16
        (25 * 1 + 1) * 6 + (25 * 6 + 1) * 16 + (16 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 3,
    ),
    "alexnet": (
        (67, 67, 1),
        3,
        (3,),
        # 67 -> conv1 15 -> pool1 7 -> conv2 7 -> pool2 3 -> conv3 to 5 3 -> pool5 1: flatten gives 1 x 1 x 256;
        # filters of conv2, 4 and 5 see half of the maps
        (121 * 1 + 1) * 96
        + (25 * 48 + 1) * 256
        + (9 * 256 + 1) * 384
        + (9 * 192 + 1) * 384
        + (9 * 192 + 1) * 256
        + (256 + 1) * 4096
        + (4096 + 1) * 4096
        + (4096 + 1) * 3,
    ),
    # five poolings: 32 -> 1, flatten gives 1 x 1 x 512
    "vgg11": ((32, 32, 1), 3, (3,), vgg(1, [1, 1, 2, 2, 2]) + dense([512, 4096, 4096, 3])),
}


def resnet(blocks, channels, classes, *, filters, bottleneck=False, projection=True, kernel=3):
    """Weights of the convolutions, gamma and beta of each normalization with its two averages, the classifier."""

    def conv(size, before, after):
        return size**2 * before * after + 4 * after

    total, before = conv(kernel, channels, filters), filters
    for stage, count in enumerate(blocks):
        width = filters * 2**stage
        after = 4 * width if bottleneck else width
        for _ in range(count):
            if bottleneck:
                total += conv(1, before, width) + conv(3, width, width) + conv(1, width, after)
            else:
                total += conv(3, before, width) + conv(3, width, width)
            if projection and before != after:
                total += conv(1, before, after)
            before = after
    return total + (before + 1) * classes


def imagenet(blocks, *, bottleneck=False):
    return resnet(blocks, 2, 3, filters=64, bottleneck=bottleneck, kernel=7)


def cifar(blocks):
    return resnet([blocks] * 3, 2, 3, filters=16, projection=False)


def inception(channels, classes):
    """Of each module four branches, of which two go through a reduction and one through a pooling."""
    total = (49 * channels + 1) * 64 + (64 + 1) * 64 + (9 * 64 + 1) * 192
    before = 192
    for single, reduce3, filters3, reduce5, filters5, projection in GOOGLENET:
        total += (before + 1) * (single + reduce3 + reduce5 + projection)
        total += (9 * reduce3 + 1) * filters3 + (25 * reduce5 + 1) * filters5
        before = single + filters3 + filters5 + projection
    # behind 4a and 4d, here with maps of 1 x 1: 1 x 1 convolution to 128, 1024 units, classes
    auxiliary = sum((maps + 1) * 128 + (128 + 1) * 1024 + (1024 + 1) * classes for maps in (512, 528))
    return total + (1024 + 1) * classes + auxiliary


# Szegedy et al. 2014, table 1
GOOGLENET = [
    *[(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)],
    *[(192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64)],
    *[(112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128)],
    *[(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)],
]
TOYS |= {
    "inception_v1": ((65, 80, 1), 3, (3,), inception(1, 3)),
    "resnet18": ((32, 16, 2), 3, (3,), imagenet((2, 2, 2, 2))),
    "resnet50": ((32, 16, 2), 3, (3,), imagenet((3, 4, 6, 3), bottleneck=True)),
    "resnet20": ((8, 12, 2), 3, (3,), cifar(3)),
}
# deeper networks of the same code: shape and count alone
DEEPER = {
    "vgg13": ((32, 32, 1), 3, (3,), vgg(1, [2, 2, 2, 2, 2]) + dense([512, 4096, 4096, 3])),
    "vgg16": ((32, 32, 1), 3, (3,), vgg(1, [2, 2, 3, 3, 3]) + dense([512, 4096, 4096, 3])),
    "vgg19": ((32, 32, 1), 3, (3,), vgg(1, [2, 2, 4, 4, 4]) + dense([512, 4096, 4096, 3])),
    "resnet34": ((32, 16, 2), 3, (3,), imagenet((3, 4, 6, 3))),
    "resnet101": ((32, 16, 2), 3, (3,), imagenet((3, 4, 23, 3), bottleneck=True)),
    "resnet152": ((32, 16, 2), 3, (3,), imagenet((3, 8, 36, 3), bottleneck=True)),
    "resnet32": ((8, 12, 2), 3, (3,), cifar(5)),
    "resnet44": ((8, 12, 2), 3, (3,), cifar(7)),
    "resnet56": ((8, 12, 2), 3, (3,), cifar(9)),
    "resnet110": ((8, 12, 2), 3, (3,), cifar(18)),
}


def darknet(channels, classes):
    """Kernels without biases, gamma and beta of each normalization with its two averages, the classifier."""
    filters = [32, 64, *(128, 64, 128), *(256, 128, 256), *(512, 256, 512, 256, 512), *(1024, 512, 1024, 512, 1024)]
    sizes = [3, 3, *(3, 1, 3), *(3, 1, 3), *(3, 1, 3, 1, 3), *(3, 1, 3, 1, 3)]  # Redmon and Farhadi 2016, table 6
    pairs = zip(itertools.pairwise([channels, *filters]), sizes, strict=True)
    return sum(size**2 * before * after + 4 * after for (before, after), size in pairs) + (1024 + 1) * classes


TOYS |= {
    "darknet19": ((32, 64, 2), 3, (3,), darknet(2, 3)),
    # 4 rows of 6 numbers are the steps: each of the four gates of 128 units sees them, 128 states and a bias
    "recurrent": ((4, 3, 2), 3, (3,), 4 * 128 * (6 + 128 + 1) + (128 + 1) * 3),
}
DETECTORS = [name for name, entry in ARCHITECTURES.items() if entry.task is not None]  # test_detectors.py
RESNETS = [name for name in TOYS | DEEPER if name.startswith("resnet")]
# learning rate and steps in which Adam learns a batch by heart
RATES = {
    "lenet5": (0.005, 150),
    "alexnet": (1e-4, 25),
    "vgg11": (3e-4, 15),
    "resnet20": (0.005, 40),
    "resnet18": (1e-3, 15),
    "recurrent": (0.01, 60),
}
SLOW = ("darknet19", "inception_v1", "resnet50")  # to learn a batch takes them more than 20 s
CLASSIFIERS = [name for name in TOYS if name != "linear_unit"]


def toy(name, **options):
    shape, classes, _, _ = (TOYS | DEEPER)[name]
    return builder(name)(shape, classes=classes, **options)


def without_dropout(name):
    """Options with which a network computes the same in training."""
    return {"dropout": 0.0} if "dropout" in inspect.signature(builder(name)).parameters else {}


def batch(name, examples=6):
    """Random inputs, and targets in which every class occurs."""
    shape, classes, _, _ = TOYS[name]
    x = np.random.default_rng(0).normal(size=(examples, *shape)).astype(np.float32)
    return x, np.arange(examples) % classes


def cross_entropy(model, targets, x):
    """Of all outputs: auxiliary classifiers learn the same targets."""
    answers = [with_probabilities(keras.Model(model.input, output))(x, training=True) for output in model.outputs]
    return keras.ops.mean([keras.losses.sparse_categorical_crossentropy(targets, answer) for answer in answers])


def first_line(function):
    return inspect.getdoc(function).splitlines()[0]


def test_the_table_lists_every_builder_and_nothing_else():
    found = {}
    for module in pkgutil.iter_modules(architectures.__path__):
        family = importlib.import_module(f"dlapp.architectures.{module.name}")
        for name, function in inspect.getmembers(family, inspect.isfunction):
            signature = inspect.signature(function)
            if function.__module__ == family.__name__ and "input_shape" in signature.parameters and name[0] != "_":
                found[name] = module.name
    assert found == {name: entry.family for name, entry in ARCHITECTURES.items()}
    assert {*TOYS, *DEEPER, *DETECTORS} == ARCHITECTURES.keys(), "a builder without a toy is not tested below"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_table_says_what_the_builder_says(name):
    entry, make = ARCHITECTURES[name], builder(name)
    default = inspect.signature(make).parameters["input_shape"].default
    assert entry.what == first_line(make)
    assert entry.size in (None, default[:2])
    author, year = entry.source.split()[0], entry.source.split()[-1]
    paper = sys.modules[make.__module__].__doc__
    assert author in paper
    assert f"({year})" in paper


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_arguments_have_the_words_of_keras_applications(name):
    input_shape, *others = inspect.signature(builder(name)).parameters.values()
    assert input_shape.name == "input_shape"
    assert all(argument.kind is argument.KEYWORD_ONLY for argument in others)
    words = {argument.name for argument in others}
    assert "classes" in words
    if name in DETECTORS:
        assert "backbone" in words
        return
    assert ("activation" if name == "linear_unit" else "classifier_activation") in words  # it classifies nothing
    assert getattr(architectures, name) is builder(name)


def test_an_unknown_builder_is_refused():
    with pytest.raises(UnknownName, match=r"unknown architecture 'lenet'\. Did you mean lenet5"):
        builder("lenet")
    with pytest.raises(AttributeError, match="has no attribute 'lenet6'"):
        _ = architectures.lenet6


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("logistic_unit", {}, 12_289),  # 64 x 64 x 3 + 1
        ("softmax_regression", {}, 7_850),  # (28 x 28 + 1) x 10
        # 156 + 2,416 + (400 + 1) x 120 + (120 + 1) x 84 + (84 + 1) x 10
        ("lenet5", {}, 61_706),
        ("lenet5", {"include_top": False}, 156 + 2_416),
        # 227 -> conv1 55 -> pool1 27 -> conv2 27 -> pool2 13 -> conv3 to 5 13 -> pool5 6: flatten gives 6 x 6 x 256
        # 34,944 + 307,456 + 885,120 + 663,936 + 442,624 and dense 37,752,832 + 16,781,312 + 4,097,000
        ("alexnet", {}, 60_965_224),
        # conv2, 4 and 5 see all the maps: twice their kernels, 307,200 + 663,552 + 442,368 more
        ("alexnet", {"groups": 1}, 60_965_224 + 307_200 + 663_552 + 442_368),
        # configurations A, B, D and E: 224 / 32 = 7, flatten gives 7 x 7 x 512 = 25,088
        ("vgg11", {}, vgg(3, [1, 1, 2, 2, 2]) + dense([25_088, 4096, 4096, 1000])),
        ("vgg13", {}, vgg(3, [2, 2, 2, 2, 2]) + dense([25_088, 4096, 4096, 1000])),
        ("vgg16", {}, 138_357_544),
        ("vgg19", {}, vgg(3, [2, 2, 4, 4, 4]) + dense([25_088, 4096, 4096, 1000])),
        ("vgg16", {"include_top": False}, 14_714_688),
        ("inception_v1", {}, 13_378_280),
        ("inception_v1", {"auxiliary": False}, 6_998_552),
    ],
)
def test_published_counts_at_the_defaults(name, options, parameters):
    assert builder(name)(**options).count_params() == parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("resnet20", 269_722),
        ("darknet19", 20_842_376),
    ],
)
def test_published_counts_of_what_is_trained(name, parameters):
    trainable = builder(name)().trainable_weights
    assert sum(weight.shape.num_elements() for weight in trainable) == parameters


@pytest.mark.parametrize("name", [*TOYS, *DEEPER])
def test_shape_and_count_at_a_toy_size(name):
    shape, _, output, parameters = (TOYS | DEEPER)[name]
    model = toy(name)
    assert model.name == name
    assert model.input_shape == (None, *shape)
    assert model.outputs[0].shape == (None, *output)
    assert model.count_params() == parameters


@pytest.mark.parametrize("name", TOYS)
def test_layers_are_named_by_their_place(name):
    # names that Keras counts up differ from one build to the next, and with them checkpoints and exports
    model, again = (toy(name, kernel_regularizer="l2") for _ in range(2))
    assert [layer.name for layer in model.layers] == [layer.name for layer in again.layers]
    assert model.layers[0].name == "input"
    last = model.outputs[0]._keras_history.operation
    assert last.name == ("value" if name == "linear_unit" else "classifier")
    assert isinstance(last, keras.layers.Dense), "replace_head takes it off"


@pytest.mark.parametrize("name", TOYS)
def test_every_weight_has_a_gradient(name):
    model = toy(name)
    x, targets = batch(name, examples=7)  # with as many of each class, zero weights give the bias no gradient
    with tf.GradientTape() as tape:
        loss = cross_entropy(model, targets, x)
    gradients = tape.gradient(loss, model.trainable_weights)
    flat = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.isfinite(gradient).all() or not np.any(gradient)
    ]
    assert not flat
    averages = ("moving_mean", "moving_variance")
    assert [weight.path for weight in model.non_trainable_weights if not weight.path.endswith(averages)] == []


@pytest.mark.parametrize("name", TOYS)
def test_a_saved_model_loads_and_gives_the_same(name, tmp_path):
    model = toy(name)
    x, _ = batch(name)
    for weight in model.trainable_weights:  # zeros would load as zeros from anywhere
        weight.assign(keras.random.normal(weight.shape, stddev=0.1))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [w.path for w in loaded.weights] == [w.path for w in model.weights]
    for weight, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    np.testing.assert_array_equal(model(x), loaded(x))


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in SLOW])
def test_one_small_batch_is_learnt_by_heart(name):
    model = toy(name, **without_dropout(name))
    x, targets = batch(name)
    rate, steps = RATES.get(name, (0.05, 150))
    optimizer = keras.optimizers.Adam(rate)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = cross_entropy(model, targets, x)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )
        return loss

    optimizer.build(model.trainable_weights)
    losses = [float(step()) for _ in range(steps)]
    # the outputs of residual blocks add up, so that such a network begins by exaggerating
    slack = 2.0 if name in RESNETS else 0.7
    assert losses[0] == pytest.approx(np.log(TOYS[name][1]), abs=slack), "to begin with, about as good as guessing"
    assert losses[-1] < 0.1
    np.testing.assert_array_equal(with_probabilities(model)(x).numpy().argmax(axis=1), targets)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_logits_are_what_the_activation_is_applied_to(name):
    model, logits = toy(name), toy(name, classifier_activation=None)
    for weight in model.trainable_weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.1))
    logits.set_weights(model.get_weights())
    x, _ = batch(name)
    activation = keras.ops.sigmoid if TOYS[name][2] == (1,) else keras.ops.softmax
    # the same operations in float32, fused or not
    np.testing.assert_allclose(model(x), activation(logits(x)), atol=1e-6)


@pytest.mark.parametrize("name", TOYS)
def test_a_regularizer_reaches_every_kernel_and_no_bias(name):
    model = toy(name, kernel_regularizer=keras.regularizers.L2(1.0))
    for weight in model.trainable_weights:
        weight.assign(keras.ops.ones_like(weight))
    kernels = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights if weight.name == "kernel")
    assert float(keras.ops.sum(model.losses)) == kernels  # exact: sums of ones below 2^24


def _convolve(x, kernel, bias):
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))  # (n, h, w, c, 5, 5)
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias


@pytest.mark.parametrize(("pooling", "reduce"), [("average", np.mean), ("max", np.max)])
@pytest.mark.parametrize(("activation", "function"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_lenet5_computes_what_the_paper_draws(pooling, reduce, activation, function):
    model = builder("lenet5")((20, 18, 2), classes=3, pooling=pooling, activation=activation)
    x = np.random.default_rng(0).normal(size=(2, 20, 18, 2))
    weights = [weight.astype(np.float64) for weight in model.get_weights()]
    y = x
    for kernel, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
        y = function(_convolve(y, kernel, bias))
        n, h, w, c = y.shape
        y = reduce(y[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c), axis=(2, 4))
    y = y.reshape(len(y), -1)
    for kernel, bias in zip(weights[4:8:2], weights[5:8:2], strict=True):
        y = function(y @ kernel + bias)
    y = np.exp(y @ weights[8] + weights[9])
    # float32 against float64 through five layers with sums of up to 150 products
    np.testing.assert_allclose(model(x), y / y.sum(axis=1, keepdims=True), atol=1e-5)


def test_lenet5_without_top_ends_with_the_second_pooling():
    assert builder("lenet5")(include_top=False).output_shape == (None, 5, 5, 16)


def test_lenet5_drops_units_in_training_only():
    model = toy("lenet5", dropout=0.5)
    x, _ = batch("lenet5")
    np.testing.assert_array_equal(model(x), model(x))
    assert np.abs(model(x, training=True) - model(x)).max() > 0.01
    assert model.count_params() == TOYS["lenet5"][3]


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("logistic_unit", (5,), {"classes": 3}, r"exactly 2 classes; got 3\. Use softmax_regression\(\)"),
        ("softmax_regression", (5,), {"classes": 1}, r"at least 2; got 1\. For a yes/no output use logistic_unit\(\)"),
        ("lenet5", (16, 16, 1), {"classes": 1}, r"at least 2; got 1\. For a yes/no output use logistic_unit\(\)"),
        ("lenet5", (16, 16, 1), {"pooling": "sum"}, r"pooling must be 'average' or 'max'; got 'sum'"),
        ("lenet5", (15, 16, 1), {}, r"at least 16 x 16: .* nothing of 15 x 16\. Resize them \(preprocessing\.size\)"),
        ("lenet5", (28, 12, 1), {}, r"at least 16 x 16: .* nothing of 28 x 12"),
        # rows of a table
        ("lenet5", (4,), {}, r"lenet5 needs pictures"),
        ("lenet5", (30,), {}, r"lenet5 needs pictures"),
    ],
    ids=lambda value: str(value) if not isinstance(value, str) or " " not in value else "",
)
def test_what_cannot_be_built_is_refused(name, shape, options, message):
    with pytest.raises(ValueError, match=message):
        builder(name)(shape, **options)
