"""The end of a network: whatever its last layer gives becomes a probability for each class, or a number with a unit."""

import keras
from keras import layers

from dlapp.errors import DlappError
from dlapp.signature import Target


def for_inference(model: keras.Model) -> keras.Model:
    """The same network with its first output alone: others help to train it. Layers and weights are shared."""
    return keras.Model(model.input, model.outputs[0], name=model.name)


def gives_logits(model: keras.Model) -> bool:
    """Whether the last layer is linear.

    Raises:
        DlappError: its activation gives neither logits nor probabilities that sum to 1.
    """
    last = model.outputs[0]._keras_history.operation
    units = model.outputs[0].shape[-1]
    activation = getattr(last, "activation", keras.activations.softmax if isinstance(last, layers.Softmax) else None)
    if activation == keras.activations.linear:
        return True
    fitting = keras.activations.sigmoid if units == 1 else keras.activations.softmax
    if activation == fitting:
        return False
    raise DlappError(
        f"a classifier of {units} outputs must end with {fitting.__name__} or None (logits); "
        f"{model.name} ends with {getattr(activation, '__name__', type(last).__name__)}."
    )


def with_probabilities(model: keras.Model) -> keras.Model:
    """The same network, its output (batch, classes) float32 that sums to 1.

    One sigmoid unit gives the probability p of the second class; two columns come out, 1 - p and p.
    Layers and weights are shared with ``model``.
    """
    outputs = model.outputs[0]
    one_unit = outputs.shape[-1] == 1
    if gives_logits(model):
        outputs = keras.ops.sigmoid(outputs) if one_unit else keras.ops.softmax(outputs)
    if one_unit:
        outputs = keras.ops.concatenate([1 - outputs, outputs], axis=-1)
    return keras.Model(model.input, outputs, name=model.name)


def with_final_output(model: keras.Model, target: Target | None) -> keras.Model:
    """The same network, giving what a bundle gives: probabilities, or with a ``target`` its value.

    The value is (batch, 1) float32 in the unit of the target. Layers and weights are shared with ``model``.
    """
    if target is None:
        return with_probabilities(model)
    values = model.output * target.deviation + target.mean
    return keras.Model(model.input, values, name=model.name)
