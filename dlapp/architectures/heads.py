"""The end of a classifier: whatever its last layer gives becomes a probability for each class."""

import keras

from dlapp.errors import DlappError


def gives_logits(model: keras.Model) -> bool:
    """Whether the last layer is linear.

    Raises:
        DlappError: its activation gives neither logits nor probabilities.
    """
    activation = getattr(model.layers[-1], "activation", None)
    if activation in (keras.activations.softmax, keras.activations.sigmoid):
        return False
    if activation is None and isinstance(model.layers[-1], keras.layers.Softmax):
        return False
    if activation == keras.activations.linear:
        return True
    name = getattr(activation, "__name__", type(model.layers[-1]).__name__)
    raise DlappError(f"a classifier must end with softmax, sigmoid or None (logits); {model.name} ends with {name}.")


def with_probabilities(model: keras.Model) -> keras.Model:
    """The same network, its output (batch, classes) float32 that sums to 1.

    One sigmoid unit gives the probability p of the second class; two columns come out, 1 - p and p.
    Layers and weights are shared with ``model``.
    """
    outputs = model.output
    one_unit = outputs.shape[-1] == 1
    if gives_logits(model):
        outputs = keras.ops.sigmoid(outputs) if one_unit else keras.ops.softmax(outputs)
    if one_unit:
        outputs = keras.ops.concatenate([1 - outputs, outputs], axis=-1)
    return model if outputs is model.output else keras.Model(model.input, outputs, name=model.name)
