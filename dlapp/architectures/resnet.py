"""Residual networks, for pictures of ImageNet's size and of CIFAR's.

He, K., Zhang, X., Ren, S. and Sun, J. (2015), Deep residual learning for image recognition.
https://arxiv.org/abs/1512.03385
Initial weights: He et al. (2015), https://arxiv.org/abs/1502.01852
Zero-initialised last normalization: Goyal et al. (2017), section 5.1, https://arxiv.org/abs/1706.02677
Stride in the 3 x 3 convolution: Gross and Wilber (2016), http://torch.ch/blog/2016/02/04/resnets.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures.inputs import check_classes, feature_maps

_EPSILON = 1.001e-5  # of the normalization: as in keras.applications, whose weights can be loaded
_MOMENTUM = 0.9  # of its averages: as in the authors' code; Keras's 0.99 is too slow for some hundred steps


def convolution(
    x: Any, filters: int, kernel_size: int, *, strides: int = 1, name: str, kernel_regularizer: Any = None
) -> Any:
    """A convolution without bias: (batch, h, w, c) -> (batch, h / strides, w / strides, filters).

    Its padding is the same on both sides. Keras's own ``"same"`` pads only behind the picture where the stride is 2.
    """
    padding = "same"
    if strides > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=kernel_regularizer,
        name=name,
    )(x)


def normalization(x: Any, *, name: str, gamma: str = "ones") -> Any:
    """Batch normalization, whose gamma begins at ones or zeros."""
    return layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, gamma_initializer=gamma, name=name)(x)


def residual_block(
    x: Any,
    filters: int,
    *,
    strides: int = 1,
    name: str,
    projection: bool = True,
    zero_init_residual: bool = False,
    kernel_regularizer: Any = None,
) -> Any:
    """Two 3 x 3 convolutions, added to their input: (batch, h, w, c) -> (batch, h / strides, w / strides, filters)."""
    y = convolution(x, filters, 3, strides=strides, name=f"{name}_conv1", kernel_regularizer=kernel_regularizer)
    y = layers.Activation("relu", name=f"{name}_relu1")(normalization(y, name=f"{name}_norm1"))
    y = convolution(y, filters, 3, name=f"{name}_conv2", kernel_regularizer=kernel_regularizer)
    y = normalization(y, name=f"{name}_norm2", gamma="zeros" if zero_init_residual else "ones")
    shortcut = _shortcut(x, filters, strides, name, projection, kernel_regularizer)
    return layers.Activation("relu", name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, y]))


def bottleneck_block(
    x: Any,
    filters: int,
    *,
    strides: int = 1,
    name: str,
    strided: int = 1,
    zero_init_residual: bool = False,
    kernel_regularizer: Any = None,
) -> Any:
    """1 x 1, 3 x 3 and 1 x 1 convolutions, added to their input.

    The result is (batch, h / strides, w / strides, 4 filters).

    Args:
        strided: the number of the convolution that has the stride: 1 or 2.
    """
    y = x
    for number, kernel_size in ((1, 1), (2, 3)):
        step = strides if number == strided else 1
        conv = f"{name}_conv{number}"
        y = convolution(y, filters, kernel_size, strides=step, name=conv, kernel_regularizer=kernel_regularizer)
        y = layers.Activation("relu", name=f"{name}_relu{number}")(normalization(y, name=f"{name}_norm{number}"))
    y = convolution(y, 4 * filters, 1, name=f"{name}_conv3", kernel_regularizer=kernel_regularizer)
    y = normalization(y, name=f"{name}_norm3", gamma="zeros" if zero_init_residual else "ones")
    shortcut = _shortcut(x, 4 * filters, strides, name, True, kernel_regularizer)
    return layers.Activation("relu", name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, y]))


def _shortcut(x: Any, filters: int, strides: int, name: str, projection: bool, kernel_regularizer: Any) -> Any:
    """The input where the shape stays; else a projection (option B), or every second pixel and zeros (option A)."""
    if x.shape[-1] == filters and strides == 1:
        return x
    if projection:
        x = convolution(
            x, filters, 1, strides=strides, name=f"{name}_shortcut_conv", kernel_regularizer=kernel_regularizer
        )
        return normalization(x, name=f"{name}_shortcut_norm")
    if strides > 1:
        x = layers.MaxPooling2D(1, strides=strides, name=f"{name}_shortcut_subsample")(x)
    # "channels_first" makes the last axis of (batch, h, w, c) the one whose end is padded
    widths = ((0, 0), (0, filters - x.shape[-1]))
    return layers.ZeroPadding2D(widths, data_format="channels_first", name=f"{name}_shortcut_zeros")(x)


def _basic(name: str, depth: int, blocks: Sequence[int]) -> Callable[..., keras.Model]:
    def build(
        input_shape: Sequence[int | None] = (224, 224, 3),
        *,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        include_top: bool = True,
        zero_init_residual: bool = False,
        kernel_regularizer: Any = None,
    ) -> keras.Model:
        def features(inputs: Any) -> Any:
            options = {"zero_init_residual": zero_init_residual, "kernel_regularizer": kernel_regularizer}
            return _stages(_stem(inputs, kernel_regularizer), residual_block, blocks, 64, options)

        return _resnet(name, input_shape, features, classes, classifier_activation, include_top, kernel_regularizer)

    what = f"{depth} layers with shortcuts, in blocks of two convolutions."
    return _named(build, name, what, _IMAGENET.replace(_STRIDE, "\n"))


def _bottleneck(name: str, depth: int, blocks: Sequence[int]) -> Callable[..., keras.Model]:
    def build(
        input_shape: Sequence[int | None] = (224, 224, 3),
        *,
        classes: int = 1000,
        classifier_activation: str | None = "softmax",
        include_top: bool = True,
        strided: int = 1,
        zero_init_residual: bool = False,
        kernel_regularizer: Any = None,
    ) -> keras.Model:
        if strided not in (1, 2):
            raise ValueError(f"strided must be 1 (the first 1 x 1, as published) or 2 (the 3 x 3); got {strided}.")

        def features(inputs: Any) -> Any:
            options = {
                "strided": strided,
                "zero_init_residual": zero_init_residual,
                "kernel_regularizer": kernel_regularizer,
            }
            return _stages(_stem(inputs, kernel_regularizer), bottleneck_block, blocks, 64, options)

        return _resnet(name, input_shape, features, classes, classifier_activation, include_top, kernel_regularizer)

    return _named(build, name, f"{depth} layers with shortcuts, in bottlenecks of three convolutions.", _IMAGENET)


def _cifar(name: str, depth: int) -> Callable[..., keras.Model]:
    def build(
        input_shape: Sequence[int | None] = (32, 32, 3),
        *,
        classes: int = 10,
        classifier_activation: str | None = "softmax",
        include_top: bool = True,
        zero_init_residual: bool = False,
        kernel_regularizer: Any = None,
    ) -> keras.Model:
        def features(inputs: Any) -> Any:
            x = convolution(inputs, 16, 3, name="stage1_conv", kernel_regularizer=kernel_regularizer)
            x = layers.Activation("relu", name="stage1_relu")(normalization(x, name="stage1_norm"))
            options = {
                "projection": False,
                "zero_init_residual": zero_init_residual,
                "kernel_regularizer": kernel_regularizer,
            }
            return _stages(x, residual_block, [(depth - 2) // 6] * 3, 16, options)

        return _resnet(name, input_shape, features, classes, classifier_activation, include_top, kernel_regularizer)

    return _named(build, name, f"{depth} layers with shortcuts, for pictures of 32 x 32.", _SMALL)


def _stem(x: Any, kernel_regularizer: Any) -> Any:
    """(batch, 224, 224, 3) -> (batch, 56, 56, 64)."""
    x = convolution(x, 64, 7, strides=2, name="stage1_conv", kernel_regularizer=kernel_regularizer)
    x = layers.Activation("relu", name="stage1_relu")(normalization(x, name="stage1_norm"))
    x = layers.ZeroPadding2D(1, name="stage1_pool_pad")(x)  # zeros are no maximum of what ReLU gives
    return layers.MaxPooling2D(3, strides=2, name="stage1_pool")(x)


def _stages(x: Any, block: Callable[..., Any], counts: Sequence[int], filters: int, options: Mapping[str, Any]) -> Any:
    """Stages of blocks: from the second on, each halves height and width and doubles the filters."""
    for stage, count in enumerate(counts, start=2):
        for number in range(1, count + 1):
            strides = 2 if number == 1 and stage > 2 else 1
            name = f"stage{stage}_block{number}"
            x = block(x, filters * 2 ** (stage - 2), strides=strides, name=name, **options)
    return x


def _resnet(
    name: str,
    input_shape: Sequence[int | None],
    features: Callable[[Any], Any],
    classes: int,
    classifier_activation: str | None,
    include_top: bool,
    kernel_regularizer: Any,
) -> keras.Model:
    check_classes(classes)
    inputs, x = feature_maps(name, input_shape, features, any_size=True)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dense(
            classes, activation=classifier_activation, kernel_regularizer=kernel_regularizer, name="classifier"
        )(x)
    return keras.Model(inputs, x, name=name)


def _named(build: Callable[..., keras.Model], name: str, what: str, details: str) -> Callable[..., keras.Model]:
    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{what}\n\n{details}"
    return build


_ARGUMENTS = """
    Args:
        input_shape: (height, width, channels); height and width may be None.
        classes: at least 2.
        classifier_activation: ``None`` gives logits.
        include_top: False ends with the feature maps of the last stage.
        zero_init_residual: gamma of the last normalization of each block begins at zero, and so each block as the
            identity.
        kernel_regularizer: of every kernel; the paper has ``keras.regularizers.L2(5e-5)``, its weight decay of 1e-4."""
_STRIDE = """
        strided: the number of the convolution in a block that has the stride of a stage: 1, the first 1 x 1, as
            published and in keras.applications; or 2, the 3 x 3, which skips no pixel and is known as version 1.5.
"""
_IMAGENET = f"""    A convolution (7 x 7, stride 2) and pooling; four stages of residual blocks, from the second
    on each with half the height and width and twice the filters; the mean over all positions, and one dense
    layer. A shortcut is the identity, or a 1 x 1 convolution where the shape changes (option B of the paper).
{_ARGUMENTS}{_STRIDE}
    Returns:
        A model from (batch, height, width, channels) to (batch, classes); without the top to (batch, height / 32,
        width / 32, filters).

    Raises:
        ValueError: these are no pictures, or an argument does not fit.

    Departures:
        The paper subtracts the mean of the training pictures at every pixel; here the preprocessing scales. The
        weights of keras.applications' ResNet50, 101 and 152 give the same outputs here (their convolutions have
        biases, which the averages of the normalization take in); it has no other depth.
    """
_SMALL = f"""    A convolution (3 x 3); three stages of residual blocks with 16, 32 and 64 filters, each but
    the first with half the height and width; the mean over all positions, and one dense layer (section 4.2).
    A shortcut is the identity; where the shape changes it takes every second pixel and adds channels of zeros
    (option A).
{_ARGUMENTS}

    Returns:
        A model from (batch, height, width, channels) to (batch, classes); without the top to (batch, height / 4,
        width / 4, 64).

    Raises:
        ValueError: these are no pictures, or ``classes`` is less than 2.

    Departures:
        The paper subtracts the mean of the training pictures at every pixel; here the preprocessing scales. It does
        not say where the zeros stand: here they come last.
    """

resnet18 = _basic("resnet18", 18, (2, 2, 2, 2))
resnet34 = _basic("resnet34", 34, (3, 4, 6, 3))
resnet50 = _bottleneck("resnet50", 50, (3, 4, 6, 3))
resnet101 = _bottleneck("resnet101", 101, (3, 4, 23, 3))
resnet152 = _bottleneck("resnet152", 152, (3, 8, 36, 3))
resnet20 = _cifar("resnet20", 20)
resnet32 = _cifar("resnet32", 32)
resnet44 = _cifar("resnet44", 44)
resnet56 = _cifar("resnet56", 56)
resnet110 = _cifar("resnet110", 110)
