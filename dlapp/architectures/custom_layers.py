"""Layers that Keras lacks, or has in a form that cannot be trained everywhere.

A ``.keras`` file that holds one can be loaded once this file is imported.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("dlapp")
class LocalResponseNormalization(layers.Layer):
    """Each value divided by a power of the energy of its neighbours, the channels next to it.

    Of channel i: x_i / (bias + alpha x the sum of x_j^2 over the ``size`` channels around i) ^ beta,
    Krizhevsky et al. (2012), section 3.3. At the first and last channels there are fewer neighbours.
    ``alpha`` is the paper's, as in ``tf.nn.local_response_normalization``; ONNX, Caffe and PyTorch
    divide theirs by ``size``.

    Args:
        size: channels in the sum, an odd number; the paper's n.
        bias: the paper's k.
        alpha, beta: as in the formula.
    """

    def __init__(
        self, size: int = 5, bias: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **options: Any
    ) -> None:
        super().__init__(**options)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size must be an odd number of channels, the middle one among them; got {size}.")
        self.size, self.bias, self.alpha, self.beta = size, bias, alpha, beta

    def call(self, inputs: Any) -> Any:
        channel = np.arange(inputs.shape[-1])
        neighbours = np.abs(channel[:, np.newaxis] - channel) <= self.size // 2
        x = ops.cast(inputs, keras.backend.result_type(self.compute_dtype, "float32"))  # squares leave float16 soon
        # a product with a band of ones sums neighbours, four times as fast with its gradient as adding slices
        energy = ops.matmul(ops.square(x), ops.cast(self.alpha * neighbours, x.dtype))
        # exp and log are vectorized on a CPU, the power is not
        return ops.cast(x * ops.exp(-self.beta * ops.log(self.bias + energy)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"size": self.size, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("dlapp")
class GroupedConv2D(layers.Conv2D):
    """A ``Conv2D`` whose ``groups`` are convolved one by one: each filter sees the channels of its group alone.

    The weights are those of ``keras.layers.Conv2D``. That one computes groups through a function that XLA
    compiles, which neither a SavedModel elsewhere nor tf2onnx can be counted on to run; TensorFlow's own
    has no gradient on a CPU.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if self.groups == 1:
            return super().convolution_op(inputs, kernel)
        channels = ops.split(inputs, self.groups, axis=-1 if self.data_format == "channels_last" else 1)
        filters = ops.split(kernel, self.groups, axis=-1)
        maps = [super(GroupedConv2D, self).convolution_op(x, k) for x, k in zip(channels, filters, strict=True)]
        return ops.concatenate(maps, axis=-1 if self.data_format == "channels_last" else 1)
