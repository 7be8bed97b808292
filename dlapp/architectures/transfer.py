"""A trained network with a new last layer, and the layers before it frozen.

Yosinski, J., Clune, J., Bengio, Y. and Lipson, H. (2014), How transferable are features in deep neural
networks?, NIPS. https://arxiv.org/abs/1411.1792
"""

from typing import Any, Literal

import keras
from keras import layers

_FINAL = (None, keras.activations.linear, keras.activations.softmax, keras.activations.sigmoid)  # of a last layer


def replace_head(
    model: keras.Model,
    classes: int,
    *,
    classifier_activation: str | None = "softmax",
    kernel_regularizer: Any = None,
    dropout: float = 0.0,
) -> keras.Model:
    """The network with a new last layer for other classes, everything before it frozen.

    The last dense layer goes, with the dropout before it, if it gives logits or probabilities; a network that ends
    in feature maps gets global average pooling. Frozen layers compute what they do in inference: batch
    normalization uses its moving averages and leaves them alone, and dropout layers are left out, so that features
    do not change while the new layer is trained. Regularizers of these layers are left out too: a penalty on
    weights that were trained before says nothing of the new task.

    Args:
        model: a trained functional classifier, or one built with ``include_top=False``. It is copied.
        classes: outputs of the new layer; 1 for a number, or with ``"sigmoid"`` for the probability of the second
            of two classes.
        classifier_activation: ``None`` gives logits, or the number.
        kernel_regularizer: of the new layer.
        dropout: fraction of the features dropped before the new layer, in training.

    Returns:
        A model from the input of ``model`` to (batch, classes) float32, of which the layer ``classifier`` alone is
        trainable. With d features it has (d + 1) x classes trainable parameters.

    Raises:
        ValueError: an argument does not fit, the network ends in neither features nor feature maps, or it has a
            layer that is random in training and no ``Dropout``.
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1, the outputs of the new layer; got {classes}.")
    if classes == 1 and classifier_activation == "softmax":
        raise ValueError(
            "a softmax needs at least 2 classes; got 1. For a yes/no output use classes=1 with 'sigmoid', "
            "for a number classifier_activation=None."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, the fraction that is dropped; got {dropout}.")
    before, _ = _find_head(model)
    trained = keras.Model(model.input, before, name=model.name)
    random = next((layer for layer in trained.layers if _is_random(layer)), None)
    if random is not None:
        raise ValueError(
            f"{random.name} ({type(random).__name__}) of {model.name} gives other features in every epoch of training. "
            "Start from a network without it."
        )
    features = keras.models.clone_model(trained, clone_function=_without_regularizer, call_function=_without_dropout)
    features.set_weights(
        [weight for layer in features.layers for weight in trained.get_layer(layer.name).get_weights()]
    )
    for layer in features.layers:
        layer.trainable = False
    x = features.output
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    if len(x.shape) != 2:
        raise ValueError(
            f"{model.name} gives {tuple(x.shape[1:])} before its last layer; a new one needs a vector or feature maps. "
            "Start from a network of pictures or rows."
        )
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    outputs = layers.Dense(
        classes, activation=classifier_activation, kernel_regularizer=kernel_regularizer, name="classifier"
    )(x)
    return keras.Model(features.input, outputs, name=model.name)


def take_backbone(model: keras.Model, base: keras.Model) -> None:
    """Gives a detector the trained layers of another network, by their names, and freezes them.

    Everything in front of the layers called ``detector`` is the backbone.

    Args:
        model: a detector.
        base: a trained classifier of the same architecture as the backbone, or a detector on the same.

    Raises:
        ValueError: ``base`` lacks a layer of the backbone, or has it in another shape.
    """
    trained = {layer.name: layer for layer in base.layers}
    backbone = [layer for layer in model.layers if not layer.name.startswith("detector")]
    for layer in backbone:
        shapes = [weight.shape for weight in layer.weights]
        if shapes and (layer.name not in trained or [weight.shape for weight in trained[layer.name].weights] != shapes):
            raise ValueError(
                f"{base.name} has no layer {layer.name} of {', '.join(map(str, shapes))}. Start from a network of the "
                "same architecture, channels and options."
            )
    for layer in backbone:
        if layer.weights:
            layer.set_weights(trained[layer.name].get_weights())
        layer.trainable = False


def frozen_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers that :func:`unfreeze` counts, in order: frozen, with weights of their own, no normalization."""
    return [
        layer
        for layer in model.layers
        if layer.weights and not layer.trainable and not isinstance(layer, layers.BatchNormalization)
    ]


def unfreeze(model: keras.Model, count: int | Literal["all"]) -> list[str]:
    """Makes the last layers before the head trainable again, for fine-tuning with a low learning rate.

    Batch normalization stays frozen, in inference mode: its averages are of the data it was trained on, and
    a few small batches would replace them. Compile the model afterwards.

    Args:
        model: as :func:`replace_head` gives it.
        count: layers with weights of their own, counted back from the head and without normalization.

    Returns:
        The names of the layers, the first of the network first.

    Raises:
        ValueError: ``count`` is not positive, or more than there are.
    """
    frozen = frozen_layers(model)
    if count != "all" and not 1 <= count <= len(frozen):
        raise ValueError(
            f"count must be from 1 to {len(frozen)}, the frozen layers of {model.name} that can be trained, or 'all'; "
            f"got {count}."
        )
    chosen = frozen if count == "all" else frozen[-count:]
    for layer in chosen:
        layer.trainable = True
    return [layer.name for layer in chosen]


def split_head(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The network before its head, and the head.

    Returns:
        A model from the input to the features (batch, d), and one from the features to the output. Layers and
        weights are those of ``model``.
    """
    before, head = _find_head(model)
    x = inputs = keras.Input(before.shape[1:], name="features")
    for layer in head:
        x = layer(x)
    return keras.Model(model.input, before, name=f"{model.name}_features"), keras.Model(inputs, x, name=model.name)


def _find_head(model: keras.Model) -> tuple[Any, list[Any]]:
    """What the head is given, and its layers in order: dropout, the last dense layer and its activation.

    A network that ends in something else has no head; a hidden layer, of another activation, is none.
    """
    tensor = model.outputs[0]
    head: list[Any] = []
    while isinstance(tensor._keras_history.operation, layers.Activation | layers.Softmax):
        tensor = _step_back(tensor, head)
    if not isinstance(tensor._keras_history.operation, layers.Dense):
        return model.outputs[0], []
    if any(getattr(layer, "activation", None) not in _FINAL for layer in (*head, tensor._keras_history.operation)):
        return model.outputs[0], []
    tensor = _step_back(tensor, head)
    while isinstance(tensor._keras_history.operation, layers.Dropout):
        tensor = _step_back(tensor, head)
    return tensor, head[::-1]


def _step_back(tensor: Any, passed: list[Any]) -> Any:
    layer, node, _ = tensor._keras_history
    passed.append(layer)
    return layer._inbound_nodes[node].input_tensors[0]


def _is_random(layer: keras.Layer) -> bool:
    """Whether it draws random numbers in training, and is not left out then."""
    # variables are the weights, and the state of random generators
    return len(layer.variables) > len(layer.weights) and not isinstance(layer, layers.Dropout)


def _without_regularizer(layer: Any) -> Any:
    config = layer.get_config()
    return type(layer).from_config({key: None if key.endswith("_regularizer") else config[key] for key in config})


def _without_dropout(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return args[0] if isinstance(layer, layers.Dropout) else layer(*args, **kwargs)
