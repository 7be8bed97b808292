"""Mixed precision: layers that compute in float16 while their weights stay in float32, and the way back.

Micikevicius, P. et al. (2018), Mixed precision training, ICLR. https://arxiv.org/abs/1710.03740
"""

import keras

_MIXED = "mixed_float16"


def in_mixed_precision(model: keras.Model) -> keras.Model:
    """A copy that computes in float16, with the same weights; layers that give an output stay in float32.

    Keras scales the loss of such a model when it is compiled, so that small gradients do not become 0.
    """
    last = {tensor._keras_history.operation.name for tensor in model.outputs}
    return _copy(model, {layer.name: _MIXED for layer in model.layers if layer.name not in last})


def in_float32(model: keras.Model) -> keras.Model:
    """A copy that computes in float32, with the same weights; ``model`` itself where it does so already."""
    if not any(layer.compute_dtype == "float16" for layer in model.layers):
        return model
    return _copy(model, {})


def _copy(model: keras.Model, policies: dict[str, str]) -> keras.Model:
    def with_policy(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": policies.get(layer.name, "float32")})

    copy = keras.models.clone_model(model, clone_function=with_policy)
    copy.set_weights(model.get_weights())
    return copy
