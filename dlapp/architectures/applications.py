"""Networks with the weights of ``keras.applications``, as they were trained on ImageNet.

Keras has such weights of VGG-16, VGG-19 and ResNet-50, 101 and 152. It has none of the other networks here.
"""

import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from dlapp.architectures import builder
from dlapp.errors import DlappError
from dlapp.signature import Preprocessing

# builder: the function of keras.applications
APPLICATIONS = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "resnet50": "ResNet50",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
}
_MEAN = (123.68, 116.779, 103.939)  # red, green and blue of ImageNet, which these networks subtract
IMAGENET_SIZE = (224, 224)
_CLASSES = 1000
_LEAST_SIDE = 32  # pixels; Keras builds nothing smaller


class Pretrained(NamedTuple):
    """A trained network, and what its input goes through before.

    Attributes:
        model: takes (batch, height, width, 3), red, green and blue.
        preprocessing: of raw pictures, for the graph of a bundle.
    """

    model: keras.Model
    preprocessing: Preprocessing


def pretrained(
    name: str,
    *,
    weights: str | None = "imagenet",
    include_top: bool = True,
    classes: int = _CLASSES,
    classifier_activation: str | None = "softmax",
    size: tuple[int, int] = IMAGENET_SIZE,
) -> Pretrained:
    """A network with the weights of ImageNet, downloaded by Keras where they are not in its cache.

    Args:
        name: one of ``APPLICATIONS``.
        weights: ``"imagenet"``, a file that Keras reads, or None for the application's random weights.
        include_top: False ends with feature maps, for :func:`replace_head`.
        classes: of the top: those of the weights.
        classifier_activation: of the top.
        size: height and width of the pictures, at least 32; with the top of ImageNet's weights 224 x 224.

    Raises:
        DlappError: Keras has no such weights, or they could not be downloaded.
        ValueError: ``classes`` or ``size`` are not those of ``weights``, or ``size`` is too small.
    """
    if name not in APPLICATIONS:
        raise DlappError(
            f"keras.applications has no weights of {name}; it has those of {', '.join(APPLICATIONS)}. "
            "Train it, or start from another."
        )
    if weights == "imagenet" and include_top and classes != _CLASSES:
        raise ValueError(
            f"the weights of ImageNet know {_CLASSES} classes; got classes={classes}. Leave classes out, or take "
            "include_top=False and replace_head(model, classes)."
        )
    if min(size) < _LEAST_SIDE:
        raise ValueError(
            f"size must be at least {_LEAST_SIDE} x {_LEAST_SIDE} for {name}; got {size[0]} x {size[1]}. Resize the "
            "pictures (preprocessing.size)."
        )
    if weights == "imagenet" and include_top and size != IMAGENET_SIZE:
        raise ValueError(
            f"with its top, {name} takes ImageNet's 224 x 224; got {size[0]} x {size[1]}. Leave size out, or take "
            "include_top=False."
        )
    shape = (*size, 3)
    top: dict[str, Any] = {}
    if include_top:
        top = {"classes": classes, "classifier_activation": classifier_activation}
    with _downloading():
        application = getattr(keras.applications, APPLICATIONS[name])(
            weights=weights, include_top=include_top, input_shape=shape, **top
        )
    model = builder(name)(shape, include_top=include_top, **top)
    load_applications_weights(model, application)
    first = next(layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    first.kernel.assign(keras.ops.flip(first.kernel, axis=2))  # Keras trained it on blue, green and red
    return Pretrained(model, Preprocessing(3, size, False, "standardize", _MEAN, (1.0, 1.0, 1.0)))


def load_applications_weights(model: keras.Model, application: keras.Model) -> None:
    """Copies the weights of a ``keras.applications`` network into ours, which then computes the same.

    The convolutions of Keras's ResNets have a bias in front of a normalization, which subtracts it from what
    it subtracts anyway: here it goes into the moving mean.

    Args:
        model: of a builder in ``APPLICATIONS``.
        application: the same network of keras.applications, with the same input and top; its first layer takes
            blue, green and red.

    Raises:
        ValueError: they are not the same network.
    """
    ours = [layer for layer in model.layers if layer.weights]
    theirs = [layer for layer in application.layers if layer.weights]
    pairs = list(zip(ours, theirs, strict=False))
    if len(ours) != len(theirs) or any(to.weights[0].shape != given.weights[0].shape for to, given in pairs):
        raise ValueError(f"{model.name} and {application.name} are not the same network, or not of the same size.")
    for to, given in pairs:
        weights = given.get_weights()
        if isinstance(given, layers.BatchNormalization):
            convolution = given.input._keras_history.operation
            if convolution.use_bias:
                gamma, beta, mean, variance = weights
                weights = [gamma, beta, mean - convolution.bias.numpy(), variance]
        to.set_weights(weights[: len(to.weights)])


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet in English, in the order of the outputs.

    Two pairs of classes have one name, such as "crane": theirs are followed by the number of WordNet.

    Raises:
        DlappError: Keras could not download them.
    """
    with _downloading():
        ranked = keras.applications.imagenet_utils.decode_predictions(np.eye(_CLASSES), top=1)
    names = Counter(name for [(_, name, _)] in ranked)
    return tuple(f"{name} ({synset})" if names[name] > 1 else name for [(synset, name, _)] in ranked)


@contextlib.contextmanager
def _downloading() -> Iterator[None]:
    """Keras's remarks go to the standard error, and its failure to reach a server is told in words of ours."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # Keras raises no class of its own
        found = re.search(r"URL fetch failure on (\S+/([^/\s]+)): (?:None -- )?(.*)", str(error))
        if found is None:
            raise
        raise DlappError(
            f"{found[2]} could not be downloaded ({found[3]}). Bring a network, or put the file of {found[1]} into "
            "~/.keras/models."
        ) from error
