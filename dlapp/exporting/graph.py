"""The function that every format is made of: raw values in, final values out, under the signature's names."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from dlapp.architectures.custom_layers import GroupedConv2D, LocalResponseNormalization
from dlapp.architectures.heads import with_final_output
from dlapp.data.detections import detect
from dlapp.data.preprocessing import preprocess, scale
from dlapp.exporting import recurrent
from dlapp.signature import THRESHOLDS, Signature

_LARGE = 2**20  # weights


def input_spec(signature: Signature) -> tf.TensorSpec:
    """The input as TensorFlow has it; dimensions that vary are None."""
    given = signature.inputs[0]
    shape = [None if isinstance(size, str) else size for size in given.shape]
    return tf.TensorSpec(shape, given.dtype, name=given.name)


def prepare(inputs: tf.Tensor, signature: Signature) -> tf.Tensor:
    """Raw values as the network takes them; windows slide over the picture in its own size."""
    if signature.windows is None:
        return preprocess(inputs, signature.preprocessing)
    return scale(tf.cast(inputs, tf.float32), signature.preprocessing)


def serving_function(
    model: keras.Model, signature: Signature, variables: Sequence[keras.Variable] = (), *, thresholds: bool = False
) -> Any:
    """A ``tf.function`` with one input and a dict of outputs, traced once for all sizes.

    Args:
        model: of the signature.
        signature: what goes in and what comes out.
        variables: of the model, whose values the function takes as further inputs.
        thresholds: of a detector: take ``min_score`` and ``max_overlap`` as the last inputs.
    """
    network = model if signature.detection is not None else with_final_output(model, signature.target)

    def serve(inputs: tf.Tensor, *more: tf.Tensor) -> dict[str, tf.Tensor]:
        values = more[: len(variables)]
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            outputs = network(prepare(inputs, signature), training=False)
        return finish(outputs, inputs, signature, *more[len(variables) :])

    return tf.function(serve, input_signature=function_inputs(signature, variables, thresholds=thresholds))


def finish(
    outputs: tf.Tensor,
    inputs: tf.Tensor,
    signature: Signature,
    min_score: tf.Tensor | float | None = None,
    max_overlap: tf.Tensor | float | None = None,
) -> dict[str, tf.Tensor]:
    """What a bundle gives, by name: the outputs of the network, or the boxes that they mean in the raw inputs."""
    if signature.detection is None:
        return {signature.outputs[0].name: outputs}
    return detect(
        outputs,
        tf.shape(inputs)[tf.newaxis, 1:3],
        preprocessing=signature.preprocessing,
        detection=signature.detection,
        count=len(signature.labels),
        min_score=min_score,
        max_overlap=max_overlap,
    )


def function_inputs(
    signature: Signature, variables: Sequence[keras.Variable] = (), *, thresholds: bool = False
) -> list[tf.TensorSpec]:
    """What :func:`serving_function` takes; a value of a variable under the path of that."""
    values = [tf.TensorSpec(variable.shape, variable.dtype, name=variable.path) for variable in variables]
    return [
        input_spec(signature),
        *values,
        *(tf.TensorSpec((), tf.float32, name=name) for name in (THRESHOLDS if thresholds else ())),
    ]


def large_kernels(model: keras.Model) -> list[keras.Variable]:
    """Kernels of dense layers, of which a few can hold nearly all the weights of a network.

    Those of convolutions are left out: normalization behind them is folded into constants alone.
    """
    dense = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [kernel for kernel in dense if math.prod(kernel.shape) >= _LARGE]


def with_onnx_operators(model: keras.Model, *, right_padded: bool = False) -> keras.Model:
    """The same network for ONNX, where one operator does what Keras computes in several steps.

    tf2onnx knows TensorFlow's operator and writes ONNX's; recurrent layers become signs for theirs, which only
    :mod:`dlapp.exporting.onnx_file` can read. Layers without such an operator are shared with ``model``; a network of
    these alone is ``model`` itself.

    Args:
        model: any.
        right_padded: whether zeros among its inputs are known to stand behind all other tokens.

    Raises:
        BundleError: a recurrent layer, or what it is masked by, has no such form.
    """
    if any(recurrent.has_operator(layer) for layer in model.layers):
        recurrent.check_masks(model, right_padded=right_padded)
    elif not any(isinstance(layer, tuple(_OPERATORS)) for layer in model.layers):
        return model
    return keras.models.clone_model(model, clone_function=_with_operator)


def _with_operator(layer: keras.Layer) -> keras.Layer:
    if recurrent.has_operator(layer):
        return recurrent.with_operator(layer)
    if type(layer) not in _OPERATORS:
        return layer
    other = _OPERATORS[type(layer)].from_config(layer.get_config())
    other.build(layer.input.shape)
    other.set_weights(layer.get_weights())
    return other


class _LocalResponseNormalization(LocalResponseNormalization):
    """ONNX: ``LRN``."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.local_response_normalization(inputs, self.size // 2, self.bias, self.alpha, self.beta)


class _GroupedConv2D(GroupedConv2D):
    """ONNX: ``Conv`` with its attribute ``group``."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)


_OPERATORS: dict[type[keras.Layer], type[keras.Layer]] = {
    LocalResponseNormalization: _LocalResponseNormalization,
    GroupedConv2D: _GroupedConv2D,
}
