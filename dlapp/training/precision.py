"""Mixed precision: layers that compute in float16 while their weights stay in float32, and the way back.

Micikevicius, P. et al. (2018), Mixed precision training, ICLR. https://arxiv.org/abs/1710.03740
"""

from typing import Any

import keras

_MIXED = "mixed_float16"


def in_mixed_precision(model: keras.Model) -> keras.Model:
    """A copy that computes in float16, with the same weights; layers that give an output stay in float32.

    Its loss must be scaled, or small gradients become 0: :class:`LossScaling`. Keras does so by itself only for
    models whose own policy is mixed.
    """
    last = {tensor._keras_history.operation.name for tensor in model.outputs}
    return _copy(model, {layer.name: _MIXED for layer in model.layers if layer.name not in last})


def in_float32(model: keras.Model) -> keras.Model:
    """A copy that computes in float32, with the same weights; ``model`` itself where it does so already."""
    return _copy(model, {}) if computes_in_float16(model) else model


def computes_in_float16(model: keras.Model) -> bool:
    """Whether any of its layers does."""
    return any(layer.compute_dtype == "float16" for layer in model.layers)


@keras.saving.register_keras_serializable("dlapp")
class LossScaling(keras.optimizers.LossScaleOptimizer):
    """``LossScaleOptimizer`` whose ``iterations`` count the skipped steps too, so that they tell the epoch.

    The learning-rate schedule follows the steps that were taken.
    """

    def build(self, var_list: list[Any]) -> None:
        self._steps = self.add_variable((), dtype="int", aggregation="only_first_replica", name="steps")
        super().build(var_list)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        super().apply(grads, trainable_variables)
        self._steps.assign_add(1)

    @property
    def iterations(self) -> Any:
        return self._steps


def _copy(model: keras.Model, policies: dict[str, str]) -> keras.Model:
    def with_policy(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": policies.get(layer.name, "float32")})

    copy = keras.models.clone_model(model, clone_function=with_policy)
    copy.set_weights(model.get_weights())
    return copy
