"""What stands in the ONNX graph of a convolutional network, node by node, and what it gives."""

from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from dlapp import signature as signatures
from dlapp.architectures import builder, lenet5
from dlapp.architectures.custom_layers import GroupedConv2D, LocalResponseNormalization
from dlapp.architectures.resnet import bottleneck_block, residual_block
from dlapp.exporting import export, graph, onnx_file
from dlapp.exporting.graph import prepare, serving_function, with_onnx_operators
from dlapp.exporting.onnx_operators import normalizes_responses
from dlapp.signature import Preprocessing

SIZE = (32, 31)


def response_normalized(x):
    """AlexNet's order of layers, small."""
    x = layers.Conv2D(6, 5, strides=2, activation="relu", name="conv1")(x)
    x = LocalResponseNormalization(alpha=0.5, name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = GroupedConv2D(8, 3, padding="same", groups=2, activation="relu", bias_initializer="ones", name="conv2")(x)
    x = LocalResponseNormalization(size=3, bias=1.0, beta=0.5, name="norm2")(x)
    return GroupedConv2D(4, 3, strides=2, groups=4, use_bias=False, name="conv3")(x)


def residual(x):
    """Each kind of shortcut, each with a stride."""
    x = residual_block(x, 4, name="basic")
    x = residual_block(x, 8, strides=2, projection=False, name="zeros")
    return bottleneck_block(x, 3, strides=2, name="bottleneck")


def branches(x):
    """An Inception module, small."""
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(x)
    one = layers.Conv2D(3, 1, activation="relu", name="one")(x)
    three = layers.Conv2D(4, 3, padding="same", activation="relu", name="three")(one)
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", name="pool")(x)
    pooled = layers.Conv2D(2, 1, activation="relu", name="pooled")(pooled)
    x = layers.Concatenate(name="join")([one, three, pooled])
    x = layers.AveragePooling2D(5, strides=3, name="mean")(x)
    return layers.Conv2D(4, 1, activation="relu", name="last")(x)


# features: how many operators of a kind there are
FEATURES = {
    response_normalized: {"Conv": 3, "MaxPool": 1},
    residual: {"Conv": 9, "Add": 3 + 1},  # and the bias of the classifier
    branches: {"Conv": 5, "Concat": 1 + 1, "MaxPool": 1, "AveragePool": 1},  # and the sizes to resize to
}


@pytest.fixture(scope="module", params=FEATURES, ids=lambda features: features.__name__)
def written(request, tmp_path_factory):
    """The features of a network, the network with random weights, the graph and a session."""
    inputs = keras.Input((*SIZE, 3), name="input")
    x = layers.GlobalAveragePooling2D(name="global_mean")(request.param(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="classifier")(x), name="toy")
    random = np.random.default_rng(0)
    # of either sign but for variances; as large as keeps the probabilities apart
    weights = [
        random.uniform(0.5, 1.5, w.shape) * np.where(random.uniform(size=w.shape) < 0.7, 1, -1)
        for w in model.get_weights()
    ]
    weights = [w / np.sqrt(max(1, np.prod(w.shape[:-1]) / 4)) for w in weights]
    for weight, value in zip(model.weights, weights, strict=True):
        weight.assign(np.abs(value) if weight.name == "moving_variance" else value)
    signature = signatures.classification(("a", "b", "c"), Preprocessing(3, SIZE, scale="unit"), {})
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx_file.write(serving_function(with_onnx_operators(model), signature), signature, path)
    return request.param, model, onnx.load(path).graph, onnxruntime.InferenceSession(path)


def test_the_graph_gives_what_keras_gives(written):
    _, model, _, session = written
    for batch in (1, 4):
        images = np.random.default_rng(batch).integers(0, 256, (batch, *SIZE, 3), np.uint8)
        expected = model.predict(images / np.float32(255), verbose=0)
        assert expected.std() > 0.02, "probabilities that say nothing would prove nothing"
        # float32 sums in another order
        np.testing.assert_allclose(session.run(None, {"image": images})[0], expected, atol=1e-5)


def test_layers_become_their_operators(written):
    features, _, graph, _ = written
    count = Counter(node.op_type for node in graph.node if not normalizes_responses(node))
    assert {name: count[name] for name in FEATURES[features]} == FEATURES[features]
    # folded into the convolutions before them, or never needed
    assert not count.keys() & {"BatchNormalization", "Sub", "Div", "Pow", "Exp", "Log", "LRN", "Split", "Slice", "Sqrt"}


def test_nothing_is_transposed_between_convolutions(written):
    _, _, graph, _ = written
    convolved = set()
    for node in graph.node:  # in topological order
        after_a_convolution = any(name in convolved for name in node.input)
        if after_a_convolution and node.op_type == "Transpose":
            assert not leads_to_a_convolution(graph, node), f"{node.name} stands between convolutions"
        if after_a_convolution or node.op_type == "Conv":
            convolved.update(node.output)
    assert convolved


def leads_to_a_convolution(graph, start):
    reached = set(start.output)
    for node in graph.node:
        if any(name in reached for name in node.input):
            if node.op_type == "Conv":
                return True
            reached.update(node.output)
    return False


def test_response_normalization_and_groups_keep_their_numbers():
    inputs = keras.Input((*SIZE, 3), name="input")
    model = keras.Model(inputs, response_normalized(inputs))
    marked = with_onnx_operators(model)
    assert [layer.name for layer in marked.layers] == [layer.name for layer in model.layers]
    assert marked.get_layer("conv1") is model.get_layer("conv1"), "what needs no other form is shared"
    x = np.random.default_rng(0).normal(size=(2, *SIZE, 3)).astype(np.float32)
    # TensorFlow's own operators; float32
    np.testing.assert_allclose(marked(x), model(x), atol=1e-5)


def test_a_network_without_such_layers_is_left_as_it_is():
    model = builder("resnet20")()
    assert with_onnx_operators(model) is model


@pytest.mark.parametrize("written", [response_normalized], indirect=True, ids=["response_normalized"])
def test_attributes_of_the_operators(written):
    _, _, graph, _ = written
    convolutions = [node for node in graph.node if node.op_type == "Conv" and not normalizes_responses(node)]
    attributes = [{one.name: onnx.helper.get_attribute_value(one) for one in node.attribute} for node in convolutions]
    assert [given["group"] for given in attributes] == [1, 2, 4]
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    (first, bias), (second, other_bias) = (
        (weights[node.input[1]][:, :, 0, 0], weights[node.input[2]])
        for node in graph.node
        if node.op_type == "Conv" and normalizes_responses(node)
    )
    np.testing.assert_allclose(first, 0.5 * np.tri(6, k=2) * np.tri(6, k=2).T)
    np.testing.assert_allclose(second, 1e-4 * np.tri(8, k=1) * np.tri(8, k=1).T, rtol=1e-6)
    assert (bias.tolist(), other_bias.tolist()) == ([2.0] * 6, [1.0] * 8)


@pytest.mark.parametrize(
    ("channels", "options", "told"),
    [
        (3, {}, True),
        (1, {}, True),
        (3, {"antialias": True}, True),
        (1, {"antialias": True}, True),
        (3, {"letterbox": True}, True),
        (3, {"layer": layers.Resizing(9, 9, name="larger")}, False),
        (3, {"layer": layers.UpSampling2D(2, interpolation="bilinear", name="larger")}, False),
        (3, {"layer": layers.ZeroPadding2D(1, name="padded")}, True),  # which becomes part of the convolution
    ],
    ids=lambda given: "-".join(map(str, given)) if isinstance(given, dict) else str(given),
)
def test_the_size_in_front_of_a_network_with_shortcuts(channels, options, told, tmp_path):
    options = dict(options)
    layer = options.pop("layer", None)
    inputs = keras.Input((8, 8, channels))
    x = layers.Conv2D(4, 3, name="conv")(inputs if layer is None else layer(inputs))
    x = layers.GlobalAveragePooling2D()(residual_block(x, 4, name="basic"))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="classifier")(x), name="toy")
    preprocessing = Preprocessing(channels, (8, 8), scale="unit", **options)
    signature = signatures.classification(("a", "b", "c"), preprocessing, {})
    onnx_file.write(serving_function(model, signature), signature, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    shapes = [tensor.type.tensor_type.shape.dim for tensor in proto.graph.value_info]
    assert [[one.dim_param or one.dim_value for one in shape] for shape in shapes] == (
        [["batch", channels, 8, 8]] if told else []
    )
    onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)  # which a false size contradicts
    images = np.random.default_rng(0).integers(0, 256, (2, 11, 10, channels), np.uint8)
    given = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"image": images})[0]
    wanted = model.predict(prepare(tf.constant(images), signature), verbose=0)
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_large_kernels_are_constants_that_tf2onnx_did_not_see(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "_LARGE", 84 * 120)
    model = lenet5((16, 16, 1), classes=3)
    kernels = graph.large_kernels(model)
    assert [kernel.path for kernel in kernels] == ["dense2/kernel"]
    samples = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
    folder = tmp_path / "bundle"
    options = {"preprocessing": Preprocessing(1, (16, 16), scale="unit"), "samples": samples}
    assert export(model, folder, labels=("a", "b", "c"), formats=["onnx"], **options).holds
    proto = onnx.load(folder / "model.onnx")
    assert [given.name for given in proto.graph.input] == ["image"]
    (found,) = [tensor for tensor in proto.graph.initializer if tuple(tensor.dims) == (120, 84)]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found), kernels[0].numpy())
