"""Residual blocks against NumPy, where their strides stand, and how they begin."""

import keras
import numpy as np
import pytest

from dlapp.architectures import resnet18, resnet20, resnet50
from dlapp.architectures.resnet import bottleneck_block, residual_block

SHAPE = (6, 8, 4)


def network(block, **options):
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, block(inputs, name="block", **options))
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, w.shape) if w.path.endswith("variance") else
                       random.normal(size=w.shape) for w in model.weights])  # fmt: skip
    return model, random.normal(size=(2, *SHAPE)).astype(np.float32)


def convolve(x, layer):
    kernel = layer.get_weights()[0].astype(np.float64)
    size, stride = kernel.shape[0], layer.strides[0]
    padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel)


def normalize(x, layer):
    gamma, beta, mean, variance = layer.get_weights()
    return gamma * (x - mean) / np.sqrt(variance + 1.001e-5) + beta


def by_hand(model, x, convolutions):
    y = x.astype(np.float64)
    for number in range(1, convolutions + 1):
        y = normalize(convolve(y, model.get_layer(f"block_conv{number}")), model.get_layer(f"block_norm{number}"))
        y = np.maximum(y, 0) if number < convolutions else y
    return y


CASES = {
    "identity": (residual_block, {"filters": 4}, 2),
    "projection": (residual_block, {"filters": 5, "strides": 2}, 2),
    "zero padding": (residual_block, {"filters": 7, "strides": 2, "projection": False}, 2),
    "bottleneck": (bottleneck_block, {"filters": 3, "strides": 2}, 3),
    "bottleneck, 3 x 3 strided": (bottleneck_block, {"filters": 3, "strides": 2, "strided": 2}, 3),
    "bottleneck, identity": (bottleneck_block, {"filters": 1}, 3),
}


@pytest.mark.parametrize(("block", "options", "convolutions"), CASES.values(), ids=CASES)
def test_a_block_adds_its_input_to_what_it_computes(block, options, convolutions):
    model, x = network(block, **options)
    shortcut = x.astype(np.float64)
    if any(layer.name == "block_shortcut_conv" for layer in model.layers):
        projected = convolve(shortcut, model.get_layer("block_shortcut_conv"))
        shortcut = normalize(projected, model.get_layer("block_shortcut_norm"))
    elif options.get("projection") is False:
        shortcut = np.concatenate([shortcut[:, ::2, ::2], np.zeros((2, 3, 4, 3))], axis=-1)
    expected = np.maximum(by_hand(model, x, convolutions) + shortcut, 0)
    # float32 against float64, sums of up to 45 products of normal numbers
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("strided", "strides"), [(1, [(2, 2), (1, 1)]), (2, [(1, 1), (2, 2)])])
def test_the_stride_of_a_bottleneck_stands_where_it_is_asked_for(strided, strides):
    model = resnet50((32, 32, 3), classes=2, strided=strided)
    assert [model.get_layer(f"stage3_block1_conv{number}").strides for number in (1, 2)] == strides
    assert model.get_layer("stage2_block1_conv1").strides == (1, 1), "the first stage keeps its size"


@pytest.mark.parametrize(("build", "last"), [(resnet20, "norm2"), (resnet18, "norm2"), (resnet50, "norm3")])
def test_the_last_normalization_of_each_block_may_begin_at_zero(build, last):
    model = build((8, 8, 1), classes=2, zero_init_residual=True)
    gammas = {layer.name: layer.gamma.numpy() for layer in model.layers if "norm" in layer.name}
    zero = {name for name, gamma in gammas.items() if not gamma.any()}
    assert zero == {name for name in gammas if name.endswith(f"_{last}")}
    assert all((gamma == 1).all() for name, gamma in gammas.items() if name not in zero)


def test_any_size_will_do_and_another_stride_will_not():
    assert resnet20((1, 1, 1), classes=2).output_shape == (None, 2)
    assert resnet18((None, None, 3), include_top=False).output_shape == (None, None, None, 512)
    assert resnet50((33, 65, 3), include_top=False).output_shape == (None, 2, 3, 2048)
    with pytest.raises(ValueError, match=r"strided must be 1 .* or 2 .*; got 3"):
        resnet50(strided=3)
    with pytest.raises(ValueError, match=r"classes must be at least 2; got 1"):
        resnet20(classes=1)
    with pytest.raises(ValueError, match=r"resnet18 needs pictures"):
        resnet18((30,))
