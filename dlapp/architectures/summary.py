"""What a network is made of: a row a layer, with parameters, multiply-adds and receptive field."""

import dataclasses
import math
from typing import Any

import keras
from keras import layers

_WINDOWED = (layers.Conv2D, layers.DepthwiseConv2D, layers.MaxPooling2D, layers.AveragePooling2D)


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes:
        output_shape: without the batch; None where a dimension varies.
        parameters: trained or not.
        multiply_adds: for one example; None where the size of the picture is open.
        receptive_field: height and width, in pixels of the input, of what one output value sees;
            None for layers without a window.
        inputs: names of the layers whose outputs it takes.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int | None
    receptive_field: tuple[int, int] | None
    inputs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reduction:
    """What a 1 x 1 convolution saves the larger one behind it, in weights without biases.

    Attributes:
        name: of the larger convolution.
        kernel_size: of it.
        channels, reduced, filters: before the 1 x 1 convolution, behind it, and behind the larger one.
        direct: weights of the larger convolution on all the channels.
        through: weights of both.
    """

    name: str
    kernel_size: tuple[int, int]
    channels: int
    reduced: int
    filters: int
    direct: int
    through: int


def reductions(model: keras.Model) -> list[Reduction]:
    """Every larger convolution that directly follows a 1 x 1 convolution with fewer filters than channels."""
    found = []
    for layer in model.layers:
        before = _parents(layer)
        if not (isinstance(layer, layers.Conv2D) and len(before) == 1 and isinstance(before[0], layers.Conv2D)):
            continue
        channels, reduced = before[0].kernel.shape[2:]
        if before[0].kernel_size == (1, 1) and math.prod(layer.kernel_size) > 1 and reduced < channels:
            area = math.prod(layer.kernel_size)
            direct = area * channels * layer.filters
            through = channels * reduced + area * reduced * layer.filters
            found.append(Reduction(layer.name, layer.kernel_size, channels, reduced, layer.filters, direct, through))
    return found


def summarize(model: keras.Model) -> list[LayerSummary]:
    """A row for every layer of a functional model, in order.

    The receptive field grows by (kernel - 1) x dilation x the product of the strides before it;
    where branches join, the widest counts.
    """
    rows: list[LayerSummary] = []
    fields: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}  # layer: (field, pixels a step)
    for layer in model.layers:
        before = [fields[parent.name] for parent in _parents(layer) if parent.name in fields]
        field = tuple(max((f[axis] for f, _ in before), default=1) for axis in (0, 1))
        step = tuple(max((s[axis] for _, s in before), default=1) for axis in (0, 1))
        if isinstance(layer, _WINDOWED):
            kernel, strides, dilation = _window(layer)
            field = tuple(f + (k - 1) * d * s for f, k, d, s in zip(field, kernel, dilation, step, strict=True))
            step = tuple(s * stride for s, stride in zip(step, strides, strict=True))
        fields[layer.name] = ((field[0], field[1]), (step[0], step[1]))
        rows.append(
            LayerSummary(
                name=layer.name,
                kind=type(layer).__name__,
                output_shape=tuple(_first(layer.output).shape[1:]),
                parameters=layer.count_params(),
                multiply_adds=multiply_adds(layer),
                receptive_field=(field[0], field[1]) if isinstance(layer, _WINDOWED) else None,
                inputs=tuple(parent.name for parent in _parents(layer)),
            )
        )
    return rows


def _first(outputs: Any) -> Any:
    """What a layer gives; of one that returns its states too, what it gives beside them."""
    return outputs[0] if isinstance(outputs, list | tuple) else outputs


def multiply_adds(layer: keras.Layer) -> int | None:
    """Multiplications with a following addition that one example costs, biases left out.

    Returns:
        0 for layers that multiply no weights; None where the size of the picture or the number of steps is open.
    """
    if isinstance(layer, layers.Bidirectional):
        one_way = _multiply_adds_of_steps(layer.forward_layer, layer.input)
        return one_way and 2 * one_way
    if isinstance(layer, layers.RNN):
        return _multiply_adds_of_steps(layer, layer.input)
    if isinstance(layer, layers.Dense | layers.Conv2D | layers.DepthwiseConv2D):
        kernel: int = math.prod(layer.kernel.shape)
        if isinstance(layer, layers.Dense):
            positions = layer.output.shape[1:-1]
        elif layer.data_format == "channels_last":
            positions = layer.output.shape[1:3]
        else:
            positions = layer.output.shape[2:4]
        return None if None in positions else kernel * math.prod(positions)
    return 0


def _multiply_adds_of_steps(layer: keras.Layer, given: Any) -> int | None:
    """Of every step the kernels of a cell, that of what comes in and that of the state."""
    steps = (given[0] if isinstance(given, list) else given).shape[1]
    kernels = math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape)
    return None if steps is None else steps * kernels


def _parents(layer: keras.Layer) -> list[keras.Layer]:
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation for tensor in tensors if tensor._keras_history.operation is not layer]


def _window(layer: keras.Layer) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    size = layer.pool_size if hasattr(layer, "pool_size") else layer.kernel_size
    return size, layer.strides, getattr(layer, "dilation_rate", (1, 1))
