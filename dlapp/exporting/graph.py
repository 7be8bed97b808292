"""The function that every format is made of: raw values in, final values out, under the signature's names."""

from typing import Any

import keras
import tensorflow as tf

from dlapp.architectures.heads import with_final_output
from dlapp.data.preprocessing import preprocess
from dlapp.signature import Signature


def input_spec(signature: Signature) -> tf.TensorSpec:
    """The input as TensorFlow has it; dimensions that vary are None."""
    given = signature.inputs[0]
    shape = [None if isinstance(size, str) else size for size in given.shape]
    return tf.TensorSpec(shape, given.dtype, name=given.name)


def serving_function(model: keras.Model, signature: Signature) -> Any:
    """A ``tf.function`` with one input and a dict of outputs, traced once for all sizes."""
    network = with_final_output(model, signature.target)
    name = signature.outputs[0].name

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: network(preprocess(inputs, signature.preprocessing), training=False)}

    return tf.function(serve, input_signature=[input_spec(signature)])
