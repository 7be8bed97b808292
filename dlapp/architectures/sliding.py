"""A classifier that looks at every place of a larger picture in one pass.

LeCun, Y. et al. (1998), section VII: space displacement neural networks. https://doi.org/10.1109/5.726791
Sermanet, P. et al. (2013), OverFeat, section 3.5. https://arxiv.org/abs/1312.6229
"""

import math

import keras
from keras import layers

from dlapp.architectures.custom_layers import LocalResponseNormalization
from dlapp.architectures.heads import for_inference
from dlapp.signature import Windows

_STRIDED = (layers.Conv2D, layers.DepthwiseConv2D, layers.MaxPooling2D, layers.AveragePooling2D)
_ELEMENTWISE = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.Dropout)
_OVER_ALL = (keras.activations.softmax, keras.activations.log_softmax)
# what does the same at every position of its maps, besides dense layers and global means, which are replaced
_LOCAL = (
    *(*_STRIDED, *_ELEMENTWISE, layers.ZeroPadding2D, layers.Add, layers.Concatenate),
    *(layers.BatchNormalization, layers.Rescaling, layers.Softmax, LocalResponseNormalization),
)


def fully_convolutional(model: keras.Model, *, approximate: bool = False) -> keras.Model:
    """The same classifier for pictures of any size, which gives a map of answers instead of one.

    The first dense layer becomes a convolution as large as the feature maps it flattens, the others 1 x 1
    convolutions, and a global mean a mean over as large a window. The answer in row i and column j is what
    ``model`` gives for the window of its own size whose corner is i x stride rows down and j x stride
    columns to the right (:func:`windows`), computed once where windows overlap.

    Args:
        model: a functional classifier of pictures of one size. Its weights are copied.
        approximate: take networks with padding too. They see zeros outside of a picture: at the border of a
            window that was cut out, but not at the border of the same window inside the picture, so that answers
            differ somewhat from those of windows that were cut out.

    Returns:
        A model from (batch, height, width, channels), height and width at least those of the window, to
        (batch, rows, columns, classes).

    Raises:
        ValueError: the network pads and ``approximate`` is not asked for, takes pictures of no fixed size or
            no pictures, or has a layer that is not known to do the same at every position.
    """
    network = for_inference(model)
    shape = network.input.shape[1:]
    if len(shape) != 3 or None in shape:
        raise ValueError(f"{model.name} must take pictures of one size to have a window; it takes {tuple(shape)}.")
    padded = next((layer.name for layer in network.layers if _pads(layer)), None)
    if padded is not None and not approximate:
        raise ValueError(
            f"{padded} of {model.name} pads: at the border of a window it sees zeros, inside the picture its "
            "neighbours, so the answers are not those of windows that are cut out. approximate=True (--approximate) "
            "accepts that."
        )
    sizes = _kernel_sizes(network)
    copy = keras.models.clone_model(
        network,
        input_tensors=keras.Input((None, None, shape[2]), name="input"),
        clone_function=lambda layer: _convolutional(layer, sizes),
        call_function=lambda layer, *args, **kwargs: (
            args[0] if isinstance(layer, layers.Flatten) else layer(*args, **kwargs)
        ),
    )
    for layer in copy.layers:
        weights = network.get_layer(layer.name).get_weights() if layer.weights else []
        layer.set_weights([weight.reshape(to.shape) for weight, to in zip(weights, layer.weights, strict=True)])
    return copy


def windows(model: keras.Model) -> Windows:
    """The size of the window that a classifier looks at, and the steps in which :func:`fully_convolutional` moves it.

    Args:
        model: a classifier of pictures of one size.
    """
    network = for_inference(model)
    strides = [1, 1]
    tensor = network.output
    while (layer := tensor._keras_history.operation) is not network.input._keras_history.operation:
        if isinstance(layer, _STRIDED):
            strides = [step * own for step, own in zip(strides, layer.strides, strict=True)]
        tensor = layer._inbound_nodes[tensor._keras_history.node_index].input_tensors[0]
    height, width = network.input.shape[1:3]
    return Windows((height, width), (strides[0], strides[1]))


def _pads(layer: keras.Layer) -> bool:
    if isinstance(layer, layers.ZeroPadding2D):
        return layer.data_format == "channels_last"  # else it pads the channels
    if isinstance(layer, _STRIDED) and layer.padding == "same":
        size = layer.pool_size if hasattr(layer, "pool_size") else layer.kernel_size
        return math.prod(size) > 1 or math.prod(layer.strides) > 1
    return False


def _kernel_sizes(network: keras.Model) -> dict[str, tuple[int, int]]:
    """Of every dense layer and global mean: how many positions it takes in.

    Raises:
        ValueError: a layer has no convolutional form, or the network has no dense layer.
    """
    flattened: dict[str, tuple[int, int]] = {}  # by the layer: the maps that its vectors were made of
    found = {}
    for layer in network.layers[1:]:
        given = keras.tree.flatten(layer.input)
        before = [tensor._keras_history.operation.name for tensor in given]
        positions = given[0].shape[1:3]
        if isinstance(layer, layers.Flatten):
            flattened[layer.name] = positions
        elif isinstance(layer, layers.GlobalAveragePooling2D):
            found[layer.name] = positions
        elif isinstance(layer, layers.Dense):
            found[layer.name] = flattened.get(before[0], (1, 1))
        elif before[0] in flattened and _is_elementwise(layer):
            flattened[layer.name] = flattened[before[0]]
        elif any(name in flattened for name in before) or not isinstance(layer, _LOCAL):
            where = " behind the flattened maps" if any(name in flattened for name in before) else ""
            raise ValueError(
                f"{layer.name} ({type(layer).__name__}){where} of {network.name} has no convolutional form here. Cut "
                "the windows out and classify each."
            )
    if not found:
        raise ValueError(f"{network.name} has no dense layer: it is a map already, or no classifier.")
    return found


def _is_elementwise(layer: keras.Layer) -> bool:
    return isinstance(layer, _ELEMENTWISE) and getattr(layer, "activation", None) not in _OVER_ALL


def _convolutional(layer: keras.Layer, sizes: dict[str, tuple[int, int]]) -> keras.Layer:
    config = layer.get_config()
    if isinstance(layer, layers.Dense):
        kept = ("name", "activation", "use_bias", "dtype")
        return layers.Conv2D(layer.units, sizes[layer.name], **{key: config[key] for key in kept})
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return layers.AveragePooling2D(sizes[layer.name], strides=1, name=layer.name)
    return type(layer).from_config(config)
