"""Localizer and YOLO grid: what they give on any backbone, that they learn, and what they take over."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp.architectures import builder
from dlapp.architectures.transfer import frozen_layers, take_backbone

SHAPE = (32, 48, 3)


def small(channels, poolings):
    """Kernels of 3 x 3 convolutions without biases, gamma and beta of each normalization with two averages."""
    filters = [channels, 16, 32, 64, 128, 256][: poolings + 2]
    return sum(9 * before * after + 4 * after for before, after in itertools.pairwise(filters))


CASES = {
    # at most 8 positions a side: three poolings, 32 x 48 -> 4 x 6; 3,072 values to 256 units, with 128 maxima to 5 + 2
    "localizer": ("localizer", {"classes": 2}, (7,), small(3, 3) + (4 * 6 * 128 + 1) * 256 + (256 + 128 + 1) * 7),
    # at most 13: two poolings, 8 x 12; 3 x 3 convolution to as many filters, 1 x 1 to 4 boxes of 5 + 2
    "yolo_grid": (
        "yolo_grid",
        {"classes": 2, "boxes": 4},
        (8, 12, 4 * 7),
        small(3, 2) + 9 * 64**2 + 4 * 64 + (64 + 1) * 28,
    ),
    "course": (
        "yolo_grid",
        {"classes": 3, "boxes": 1, "grid": 1},
        (1, 1, 8),
        small(3, 2) + 9 * 64**2 + 4 * 64 + (64 + 1) * 8,
    ),
    # stages of 4 x 4 pixels: 32 x 48 -> 8 x 12, pooled to 4 x 4 (by 2 x 3)
    "resnet20": ("yolo_grid", {"classes": 2, "boxes": 1, "grid": 4, "backbone": "resnet20"}, (4, 4, 7), None),
    "lenet5": ("localizer", {"classes": 2, "backbone": "lenet5"}, (7,), None),
}


@pytest.mark.parametrize("case", CASES)
def test_shape_count_and_names(case):
    name, options, output, parameters = CASES[case]
    model, again = builder(name)(SHAPE, **options), builder(name)(SHAPE, **options)
    assert model.name == name
    assert model.output_shape == (None, *output)
    assert parameters in (None, model.count_params())
    assert [layer.name for layer in model.layers] == [layer.name for layer in again.layers]
    assert model.layers[-1].name == "detector"


@pytest.mark.parametrize("backbone", ["alexnet", "vgg11", "resnet18", "inception_v1", "darknet19"])
def test_any_network_of_pictures_is_a_backbone(backbone):
    model = builder("yolo_grid")((128, 128, 3), classes=2, boxes=2, backbone=backbone)
    rows, columns = model.output_shape[1:3]
    assert (rows, columns) == ((2, 2) if backbone == "alexnet" else (4, 4)), "a stride of 32"


@pytest.mark.parametrize("case", CASES)
def test_every_weight_has_a_gradient_and_every_kernel_a_penalty(case):
    name, options, _, _ = CASES[case]
    model = builder(name)(SHAPE, kernel_regularizer=keras.regularizers.L2(1.0), **options)
    x = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = keras.ops.mean(model(x, training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_weights)
    flat = [w.path for w, gradient in zip(model.trainable_weights, gradients, strict=True) if not np.any(gradient)]
    assert not flat
    for weight in model.trainable_weights:
        weight.assign(keras.ops.ones_like(weight))
    kernels = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights if weight.name == "kernel")
    assert float(keras.ops.sum(model.losses)) == kernels


def test_a_saved_model_loads_and_gives_the_same(tmp_path):
    model = builder("yolo_grid")(SHAPE, classes=2)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(model(x), keras.models.load_model(tmp_path / "model.keras")(x))


def test_hardly_any_box_has_an_object_to_begin_with():
    model = builder("yolo_grid")(SHAPE, classes=2, boxes=3)
    bias = model.layers[-1].bias.numpy().reshape(3, 7)
    np.testing.assert_allclose(1 / (1 + np.exp(-bias[:, 0])), 0.01, rtol=1e-5)
    assert not bias[:, 1:].any()


def test_a_trained_classifier_becomes_the_backbone():
    base = builder("resnet20")((16, 16, 3), classes=5)
    model = builder("yolo_grid")(SHAPE, classes=2, backbone="resnet20")
    take_backbone(model, base)
    np.testing.assert_array_equal(
        model.get_layer("stage2_block1_conv1").kernel, base.get_layer("stage2_block1_conv1").kernel
    )
    trainable = {layer.name for layer in model.layers if layer.trainable and layer.weights}
    assert trainable == {"detector_conv", "detector_conv_norm", "detector"}
    assert len(frozen_layers(model)) == 19, "convolutions: those of ResNet-20 without its classifier"


@pytest.mark.parametrize(
    ("base", "backbone"), [(("resnet20", (16, 16, 1)), "resnet20"), (("resnet20", (16, 16, 3)), "resnet32")]
)
def test_a_network_of_another_shape_is_refused(base, backbone):
    model = builder("yolo_grid")(SHAPE, classes=2, backbone=backbone)
    with pytest.raises(ValueError, match=r"has no layer stage\S+ of .* Start from a network of the same architecture"):
        take_backbone(model, builder(base[0])(base[1], classes=2))


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("yolo_grid", SHAPE, {"boxes": 0}, r"boxes must be at least 1, those of each cell; got 0"),
        ("yolo_grid", SHAPE, {"classes": 0}, r"classes must be at least 1; got 0"),
        ("yolo_grid", (96, 96, 3), {"grid": 5}, r"12 x 12 feature maps .* of 96 x 96: 1, 2, 3, 4, 6, 12; got 5"),
        (
            "yolo_grid",
            SHAPE,
            {"backbone": "deep_network"},
            r"backbone must be .* feature maps \(.*\); deep_network has none",
        ),
        ("localizer", (None, None, 3), {}, r"pictures of one size"),
        ("localizer", (None, None, 3), {"backbone": "resnet20"}, r"localizer needs pictures of one size"),
        ("localizer", (8, 8, 3), {"backbone": "vgg11"}, r"at least 32 x 32"),
    ],
)
def test_what_cannot_be_built_is_refused(name, shape, options, message):
    with pytest.raises(ValueError, match=message):
        builder(name)(shape, **options)
