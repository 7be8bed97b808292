"""Where a classifier looks: Grad-CAM, the filters of its first layer, and what a layer makes of a picture.

Selvaraju, R. R., Cogswell, M., Das, A., Vedantam, R., Parikh, D. and Batra, D. (2017), Grad-CAM: visual
explanations from deep networks via gradient-based localization, ICCV. https://arxiv.org/abs/1610.02391
"""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlapp.errors import BundleError, DlappError, UnknownName
from dlapp.exporting.graph import serving_function
from dlapp.inference.bundle import SAVED_MODEL, SIGNATURE, check_files
from dlapp.signature import Signature

_NUMBER = re.compile(r"_\d+$")
_POOLINGS = {"AvgPool", "MaxPool", "Mean", "Max"}
_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}


@dataclasses.dataclass(frozen=True, eq=False)
class GradCam:
    """What speaks for a class, and where.

    Attributes:
        probabilities: (batch, classes) float32.
        classes: (batch,) the index of the class that was explained.
        maps: (batch, rows, columns) float32, not negative, in units of the class's score: what speaks for the
            class at each position of the last feature map, which covers the whole picture.
    """

    probabilities: np.ndarray
    classes: np.ndarray
    maps: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Filters:
    """The weights of the first layer.

    Attributes:
        layer: its name.
        weights: (filters, height, width, channels) float32.
        dense: whether they cover the whole picture, as those of a dense layer do.
    """

    layer: str
    weights: np.ndarray
    dense: bool


class Explainer:
    """A classifier of pictures, opened up.

    A model and a bundle take one path: the graph that is exported, in which every layer's operations stand under
    the layer's name.

    Attributes:
        name: of the network.
        signature: what goes in and what comes out.
        feature_layer: the name of the layer whose output is the last feature map: the last one before the
            classifier's pooling or flattening that has more than one position. In a residual network that is what
            follows the last addition, in Inception the last concatenation. None without any convolution.
        first_convolution: the name of the first layer with a convolution; None if there is none.
    """

    def __init__(self, function: Any, signature: Signature) -> None:
        """Opens a function.

        Args:
            function: from raw pictures to probabilities, traced.
            signature: of the function.

        Raises:
            DlappError: it does something else than classify pictures.
        """
        if signature.preprocessing.size is None:
            given = "rows of a table" if signature.preprocessing.vocabulary is None else "texts"
            raise DlappError(f"explain shows where a network looks in a picture; this one takes {given}.")
        if signature.task != "classification":
            raise DlappError(f"explain needs a classifier of pictures; this one does {signature.task}.")
        if signature.windows is not None:
            raise DlappError(
                "explain needs one answer a picture; this bundle slides. Explain the model that it was exported from."
            )
        self.signature = signature
        self._function = function
        self._owner: Any = None
        self._probabilities = function.outputs[0]
        self._logits = _find_logits(self._probabilities)
        operations = function.graph.get_operations()  # each after those that it needs
        weighted = [op for op in operations if op.type in _CONVOLUTIONS | {"MatMul"}]
        convolutions = [op for op in weighted if op.type in _CONVOLUTIONS]
        self.name = _NUMBER.sub("", _scope(weighted[0])[0])
        self._layers = _find_outputs(operations, _scope(weighted[0])[0])
        self._first = weighted[0]
        self.first_convolution = _layer(convolutions[0]) if convolutions else None
        self.feature_layer = self._find_feature_layer() if convolutions else None

    @classmethod
    def of_model(cls, model: keras.Model, signature: Signature) -> "Explainer":
        """A model as a builder or ``keras.models.load_model`` gives it, behind its preprocessing.

        Raises:
            DlappError: it does something else than classify pictures.
        """
        return cls(serving_function(model, signature).get_concrete_function(), signature)

    @classmethod
    def of_bundle(cls, folder: Path) -> "Explainer":
        """What was exported, from the SavedModel of a bundle.

        Raises:
            BundleError: there is no SavedModel, or a file was altered.
            DlappError: it does something else than classify pictures.
        """
        signature = Signature.read(folder / SIGNATURE)
        files = [name for name in signature.files if name.startswith(f"{SAVED_MODEL}/")]
        if not files:
            raise BundleError(
                f"{folder} has no SavedModel, and an ONNX file gives no gradients: export it again with --to "
                "savedmodel,onnx, or explain the model itself (models/NAME)."
            )
        check_files(folder, signature, only=files)
        loaded = tf.saved_model.load(str(folder / SAVED_MODEL))
        # the endpoint itself: what stands among the signatures is a call of it, whose graph has no layers
        explainer = cls(loaded.serving_default.concrete_functions[0], signature)
        explainer._owner = loaded  # the weights live only as long as the object that was loaded
        return explainer

    def grad_cam(self, pictures: np.ndarray, classes: np.ndarray | None = None) -> GradCam:
        """Grad-CAM (equations 1 and 2): the ReLU of the last feature maps, summed with weights.

        The weight of a map is the mean over its positions of the gradient of the class's score. As in the paper
        the score is the one before the softmax: the gradient of the probability would vanish where the network is
        sure, and would mix in what speaks against the other classes. Behind one sigmoid unit the score of
        the second class is its input, and that of the first its negative.

        Args:
            pictures: (batch, height, width, channels) uint8, of any size.
            classes: (batch,) indices of the classes to explain; those that are predicted where it is None.

        Raises:
            DlappError: the network has no convolution.
            ValueError: ``classes`` are not one for each picture, or none of the network's.
        """
        self._require_feature_layer()
        self.signature.inputs[0].check(pictures)
        wanted = np.full(len(pictures), -1)
        if classes is not None:
            wanted, count = np.asarray(classes), len(self.signature.labels)
            if wanted.shape != (len(pictures),) or not ((wanted >= 0) & (wanted < count)).all():
                raise ValueError(
                    f"classes must be {len(pictures)} numbers from 0 to {count - 1}, one a picture; got {classes}."
                )
        found = self._gradients(tf.constant(pictures), tf.constant(wanted, tf.int32))
        return GradCam(**{name: value.numpy() for name, value in found.items()})

    def activations(self, pictures: np.ndarray, layer: str) -> np.ndarray:
        """What a layer gives: (batch, rows, columns, channels) float32.

        Args:
            pictures: (batch, height, width, channels) uint8, of any size.
            layer: its name, as ``dlapp show`` prints it.

        Raises:
            UnknownName: there is no such layer, or it does nothing after training, as dropout.
            DlappError: its output has no height and width.
        """
        if layer not in self._layers:
            raise UnknownName("layer", layer, self._layers)
        output = self._layers[layer]
        if len(output.shape) != 4:
            spatial = [name for name, tensor in self._layers.items() if len(tensor.shape) == 4]
            have = f"Those that have are {', '.join(spatial)}." if spatial else f"No layer of {self.name} has."
            raise DlappError(f"{layer} gives {output.shape[-1]} numbers without height and width, no maps. {have}")
        self.signature.inputs[0].check(pictures)
        return self._evaluate(pictures, output)

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """What the network answers: (batch, classes) float32."""
        self.signature.inputs[0].check(pictures)
        return self._evaluate(pictures, self._probabilities)

    def filters(self) -> Filters | None:
        """The weights of the first layer, as far as they are pictures."""
        channels = self.signature.preprocessing.channels
        kernel = self._evaluate(np.zeros((1, 1, 1, channels), np.uint8), self._first.inputs[1])
        layer = _layer(self._first)
        if self._first.type == "Conv2D":
            return Filters(layer, kernel.transpose(3, 0, 1, 2), dense=False)
        shape = (*(self.signature.preprocessing.size or ()), channels)
        if self._first.type != "MatMul" or len(kernel) != np.prod(shape):
            return None
        return Filters(layer, kernel.T.reshape(-1, *shape), dense=True)

    def _require_feature_layer(self) -> str:
        if self.feature_layer is None:
            raise DlappError(f"Grad-CAM needs a convolution; {self.name} has none.")
        return self.feature_layer

    def _find_feature_layer(self) -> str:
        maps = [
            name
            for name, tensor in self._layers.items()
            if len(tensor.shape) == 4 and tensor.op.type not in _POOLINGS and tensor.op.type != "Pad"
        ]
        # of a picture much smaller than the network was made for, one position may be left: it tells no places apart
        return next((name for name in reversed(maps) if tuple(self._layers[name].shape[1:3]) != (1, 1)), maps[-1])

    @functools.cached_property
    def _gradients(self) -> Any:
        """From pictures and wanted classes (-1: the predicted) to the fields of a :class:`GradCam`."""
        layer = self._layers[self._require_feature_layer()]

        def explain(pictures: tf.Tensor, wanted: tf.Tensor) -> dict[str, tf.Tensor]:
            features, logits, probabilities = self._import(pictures, layer, self._logits, self._probabilities)
            classes = tf.where(wanted < 0, tf.argmax(probabilities, axis=-1, output_type=tf.int32), wanted)
            # examples of a batch do not touch each other: the gradient of the sum holds that of each
            score = tf.reduce_sum(logits * _chosen(classes, logits.shape[-1]))
            (gradient,) = tf.gradients(score, features)
            weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)  # (batch, 1, 1, channels)
            maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
            return {"probabilities": probabilities, "classes": classes, "maps": maps}

        return tf.function(explain, reduce_retracing=True)

    def _evaluate(self, pictures: np.ndarray, tensor: Any) -> np.ndarray:
        return tf.function(lambda given: self._import(given, tensor)[0])(tf.constant(pictures)).numpy()

    def _import(self, pictures: tf.Tensor, *tensors: Any) -> list[Any]:
        """The graph with these pictures as its input, as part of the function that is being traced."""
        graph = pictures.graph
        weights = [graph.capture(weight) for weight in self._function.captured_inputs]
        given = dict(zip((tensor.name for tensor in self._function.inputs), [pictures, *weights], strict=True))
        names = [tensor.name for tensor in tensors]
        return tf.graph_util.import_graph_def(self._graph_def, input_map=given, return_elements=names)

    @functools.cached_property
    def _graph_def(self) -> Any:
        return self._function.graph.as_graph_def()


def _scope(operation: Any) -> list[str]:
    """The parts of an operation's name: network, layer, and what it is there."""
    return operation.name.split("/")


def _layer(operation: Any) -> str:
    """The layer that an operation belongs to.

    Keras opens the scope of a network and of each layer twice, to build and to call it, so that TensorFlow numbers
    the second: ``lenet5_1/conv1_1/Tanh``.
    """
    network, *inside = _scope(operation)
    if len(inside) < 2:
        return ""
    return _NUMBER.sub("", inside[0]) if _NUMBER.search(network) else inside[0]


def _find_outputs(operations: list[Any], network: str) -> dict[str, Any]:
    """The output of every layer that does anything, by name, in the order of the graph."""
    found: dict[str, Any] = {}
    for operation in operations:
        for tensor in operation.inputs:
            layer = _layer(tensor.op) if _scope(tensor.op)[0] == network else ""
            here = _layer(operation) if _scope(operation)[0] == network else ""
            if layer and layer != here and operation.type != "Shape" and tensor.dtype.is_floating:
                found.pop(layer, None)
                found[layer] = tensor
    order = {operation.name: place for place, operation in enumerate(operations)}
    return dict(sorted(found.items(), key=lambda item: order[item[1].op.name]))


def _find_logits(probabilities: Any) -> Any:
    """What the final softmax is given, (batch, classes), or the final sigmoid, (batch, 1)."""
    operation = probabilities.op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    if operation.type == "Softmax":
        return operation.inputs[0]
    if operation.type == "ConcatV2" and operation.inputs[1].op.type == "Sigmoid":  # 1 - p and p
        return operation.inputs[1].op.inputs[0]
    raise DlappError("explain needs a network that ends with a softmax or a sigmoid. Train one with dlapp.")


def _chosen(classes: tf.Tensor, logits: int) -> tf.Tensor:
    """How much each logit counts for the score of a class: (batch, logits)."""
    if logits == 1:
        return tf.cast(2 * classes - 1, tf.float32)[:, tf.newaxis]
    return tf.one_hot(classes, logits)
