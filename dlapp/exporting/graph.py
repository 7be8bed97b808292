"""The function that every format is made of: raw values in, final values out, under the signature's names."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from dlapp.architectures.custom_layers import GroupedConv2D, LocalResponseNormalization
from dlapp.architectures.heads import with_final_output
from dlapp.architectures.stepping import encoder
from dlapp.data.detections import detect
from dlapp.data.preprocessing import preprocess, scale
from dlapp.exporting import recurrent
from dlapp.signature import THRESHOLDS, Signature, Tensor

_LARGE = 2**20  # weights


def prepare(inputs: tf.Tensor, signature: Signature) -> tf.Tensor:
    """Raw values as the network takes them; windows slide over the picture in its own size."""
    vocabulary = signature.preprocessing.vocabulary
    if vocabulary is not None:
        return _padded_behind(inputs, len(vocabulary))
    if signature.windows is None:
        return preprocess(inputs, signature.preprocessing)
    return scale(tf.cast(inputs, tf.float32), signature.preprocessing)


def _padded_behind(tokens: tf.Tensor, size: int) -> tf.Tensor:
    """Tokens with zeros nowhere but behind each sequence, which has at least one; all that is unknown is 1.

    In whole numbers: of conditions tf2onnx makes four operators each, which would take as long as a small network.
    """
    ones = tf.cast(tf.cast(tokens[:, 1:], tf.bool), tf.int32)
    ones = tf.pad(ones, [[0, 0], [1, 0]], constant_values=1)  # the first always counts
    return _known(tokens, size) * tf.minimum(tf.cumsum(ones, axis=1, reverse=True), 1)


def _known(tokens: tf.Tensor, size: int) -> tf.Tensor:
    """1 for all that is no token of a vocabulary of that size, padding among them."""
    table = np.arange(size + 1, dtype=np.int32)
    table[[0, size]] = 1
    return tf.gather(table, tf.clip_by_value(tokens, 0, size))


def network_of(model: keras.Model, signature: Signature) -> keras.Model:
    """What a bundle computes between :func:`prepare` and :func:`finish`, of a model as it was trained."""
    if signature.detection is not None:
        return model
    if signature.task == "sequence_to_sequence":
        return encoder(model)
    return with_final_output(model, signature.target)


def serving_function(
    model: keras.Model, signature: Signature, variables: Sequence[keras.Variable] = (), *, thresholds: bool = False
) -> Any:
    """A ``tf.function`` with one input and a dict of outputs, traced once for all sizes.

    Args:
        model: of the signature; of an encoder-decoder, its encoder.
        signature: what goes in and what comes out.
        variables: of the model, whose values the function takes as further inputs.
        thresholds: of a detector: take ``min_score`` and ``max_overlap`` as the last inputs.
    """
    final = signature.detection is not None or signature.task in ("sequence_to_sequence", "tensors")
    network = model if final else with_final_output(model, signature.target)
    count = len(signature.inputs)

    def serve(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        values, limits = given[count : count + len(variables)], given[count + len(variables) :]
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))), _for_any_machine(network):
            if signature.task == "tensors":
                return name_outputs(network(as_structure(network, given[:count]), training=False), signature)
            outputs = network(prepare(given[0], signature), training=False)
        return finish(outputs, given[0], signature, *limits)

    return tf.function(serve, input_signature=function_inputs(signature, variables, thresholds=thresholds))


def as_structure(network: keras.Model, given: Sequence[Any]) -> Any:
    """Inputs in the order of the signature, as a network takes them: alone, in a list or a dict."""
    structure = getattr(network, "_inputs_struct", None)
    if structure is None:  # of a class of its own
        return given[0] if len(given) == 1 else list(given)
    return keras.tree.pack_sequence_as(structure, list(given))


def name_outputs(outputs: Any, signature: Signature) -> dict[str, Any]:
    """What a network gives, alone, in a list or a dict, under the signature's names."""
    return {wanted.name: one for wanted, one in zip(signature.outputs, keras.tree.flatten(outputs), strict=True)}


@contextlib.contextmanager
def _for_any_machine(network: keras.Model) -> Iterator[None]:
    """Recurrent layers without cuDNN, which Keras takes where there is a GPU: its operators run nowhere else."""
    found = [layer for layer in network._flatten_layers() if hasattr(layer, "use_cudnn")]
    before = [layer.use_cudnn for layer in found]
    for layer in found:
        layer.use_cudnn = False
    try:
        yield
    finally:
        for layer, value in zip(found, before, strict=True):
            layer.use_cudnn = value


def step_function(network: keras.Model, signature: Signature, variables: Sequence[keras.Variable] = ()) -> Any:
    """The same for one step.

    Args:
        network: as :func:`step_model` gives it.
        signature: that has a step.
        variables: of the network, whose values the function takes as further inputs.
    """
    specs = step_inputs(signature, variables)
    count = len(specs) - len(variables)

    def go_on(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        with keras.StatelessScope(state_mapping=list(zip(variables, given[count:], strict=True))):
            outputs = network(prepare_step(given[:count], signature), training=False)
        return name_step(outputs, signature)

    return tf.function(go_on, input_signature=specs)


def prepare_step(given: Sequence[tf.Tensor], signature: Signature) -> list[tf.Tensor]:
    """The inputs of a step as its network takes them; a token that is none, or padding, counts as unknown."""
    vocabulary = signature.preprocessing.target_vocabulary or signature.preprocessing.vocabulary
    assert vocabulary is not None
    token, *states = given
    return [_known(token, len(vocabulary)), *states]


def name_step(outputs: Sequence[tf.Tensor], signature: Signature) -> dict[str, tf.Tensor]:
    """What the network of a step gives, by name."""
    assert signature.step is not None
    return {wanted.name: values for wanted, values in zip(signature.step.outputs, outputs, strict=True)}


def finish(
    outputs: tf.Tensor,
    inputs: tf.Tensor,
    signature: Signature,
    min_score: tf.Tensor | float | None = None,
    max_overlap: tf.Tensor | float | None = None,
) -> dict[str, tf.Tensor]:
    """What a bundle gives, by name: the outputs of the network, or the boxes that they mean in the raw inputs."""
    if signature.task in ("tagging", "language_model"):
        inside = tf.cast(tf.cast(prepare(inputs, signature), tf.bool), tf.float32)
        outputs = outputs * tf.expand_dims(inside, -1)
    if signature.detection is None:
        return name_outputs(outputs, signature)
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
    limits = [tf.TensorSpec((), tf.float32, name=name) for name in (THRESHOLDS if thresholds else ())]
    return [*_specs(signature.inputs, variables), *limits]


def step_inputs(signature: Signature, variables: Sequence[keras.Variable] = ()) -> list[tf.TensorSpec]:
    """What :func:`step_function` takes."""
    assert signature.step is not None
    return _specs(signature.step.inputs, variables)


def _specs(tensors: Sequence[Tensor], variables: Sequence[keras.Variable]) -> list[tf.TensorSpec]:
    """The inputs as TensorFlow has them; dimensions that vary are None."""
    given = [
        tf.TensorSpec([None if isinstance(size, str) else size for size in one.shape], one.dtype, name=one.name)
        for one in tensors
    ]
    return given + [tf.TensorSpec(variable.shape, variable.dtype, name=variable.path) for variable in variables]


def large_kernels(model: keras.Model) -> list[keras.Variable]:
    """Kernels of dense layers, of which a few can hold nearly all the weights of a network.

    Those of convolutions are left out: normalization behind them is folded into constants alone.
    """
    dense = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [kernel for kernel in dense if math.prod(kernel.shape) >= _LARGE]


def with_onnx_operators(model: keras.Model, *, tokens: bool = False, loops: bool = True) -> keras.Model:
    """The same network for ONNX, where one operator of TensorFlow's does what Keras computes in several steps.

    tf2onnx or :mod:`dlapp.exporting.onnx_operators` has a form for it; recurrent layers become signs for theirs, which
    only the latter can read. Layers without such an operator are shared with ``model``; a network of
    these alone is ``model`` itself.

    Args:
        model: any.
        tokens: whether it reads what :func:`prepare` makes of tokens: zeros behind all others, nothing negative.
        loops: whether recurrent layers take more than one step; of one, Keras's own operations take no longer.

    Raises:
        BundleError: a recurrent layer, or what it is masked by, has no such form.
    """
    known = _OPERATORS | ({layers.Embedding: _Embedding} if tokens else {})

    def fits(layer: keras.Layer) -> bool:
        if isinstance(layer, layers.Flatten):
            return layer.data_format == "channels_last" and None not in layer.get_build_config()["input_shape"][1:]
        return type(layer) in known

    def with_operator(layer: keras.Layer) -> keras.Layer:
        if loops and recurrent.has_operator(layer):
            return recurrent.with_operator(layer)
        if not fits(layer):
            return layer
        other = known[type(layer)].from_config(layer.get_config())
        other.build_from_config(layer.get_build_config())
        other.set_weights(layer.get_weights())
        return other

    if loops and any(recurrent.has_operator(layer) for layer in model.layers):
        recurrent.check_masks(model, right_padded=tokens)
    elif not any(map(fits, model.layers)):
        return model
    return keras.models.clone_model(model, clone_function=with_operator, call_function=recurrent.call)


class _Embedding(layers.Embedding):
    """ONNX: ``Gather``. Of negative numbers, which no token is, Keras counts from the end: six operators more."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.embeddings, inputs)


class _Flatten(layers.Flatten):
    """ONNX: one ``Reshape``. Keras asks for the size of the batch first, in six operators."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.reshape(inputs, (-1, inputs.shape[1:].num_elements()))


class _LocalResponseNormalization(LocalResponseNormalization):
    """One operator of TensorFlow's, for which :mod:`dlapp.exporting.onnx_operators` has a form."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.nn.local_response_normalization(inputs, self.size // 2, self.bias, self.alpha, self.beta)


class _GroupedConv2D(GroupedConv2D):
    """ONNX: ``Conv`` with its attribute ``group``."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper(), dilations=self.dilation_rate)


_OPERATORS: dict[type[keras.Layer], type[keras.Layer]] = {
    layers.Flatten: _Flatten,
    LocalResponseNormalization: _LocalResponseNormalization,
    GroupedConv2D: _GroupedConv2D,
}
