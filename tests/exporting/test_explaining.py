"""Grad-CAM, filters and activations, against Keras's own gradients and against closed forms."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from dlapp import signature as signatures
from dlapp.architectures import fully_convolutional, linear_unit, logistic_unit, resnet20
from dlapp.architectures.heads import gives_logits
from dlapp.data.preprocessing import preprocess
from dlapp.errors import BundleError, DlappError, UnknownName
from dlapp.exporting import export
from dlapp.exporting.explaining import Explainer
from dlapp.signature import Preprocessing, Signature, Target, Windows

TOLERANCE = 1e-5  # of the largest value of a map; float32 sums in another order


def open_model(model, size=None, channels=None):
    """A model behind a resize to its own input."""
    height, width, depth = model.input_shape[1:]
    preprocessing = Preprocessing(channels or depth, size or (height, width), scale="unit")
    labels = tuple(f"class {number}" for number in range(max(2, model.outputs[0].shape[-1])))
    return Explainer.of_model(model, signatures.classification(labels, preprocessing))


def randomize(model):
    """Weights that tell everything apart; variances stay positive."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(random.uniform(0.5, 2, weight.shape))
        else:
            weight.assign(random.normal(0, np.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    return model


def by_tape(model, layer, inputs, classes):
    """Equations 1 and 2 of the paper on the Keras model itself, cut at ``layer`` and before the classifier."""
    features = keras.Model(model.input, model.get_layer(layer).output)(inputs, training=False)
    rest = keras.Model(model.get_layer(layer).output, model.layers[-1].input)
    kernel, bias = model.layers[-1].get_weights()
    with tf.GradientTape() as tape:
        tape.watch(features)
        scores = rest(features, training=False) @ kernel + bias
        score = tf.reduce_sum(tf.gather(scores, classes, axis=1, batch_dims=1))
    gradient = tape.gradient(score, features).numpy()
    weights = gradient.mean(axis=(1, 2))
    return np.maximum(0, np.einsum("nk,nijk->nij", weights, features.numpy()))


@pytest.mark.parametrize("classes", [None, [0, 3, 1, 2, 0]], ids=["predicted", "given"])
def test_grad_cam_is_that_of_keras_for_model_and_bundle(exported, classes):
    bundle = exported("lenet5")
    signature = Signature.read(bundle.folder / "signature.json")
    inputs = preprocess(tf.constant(bundle.samples), bundle.preprocessing)
    probabilities = bundle.model.predict(inputs, verbose=0)
    wanted = probabilities.argmax(axis=1) if classes is None else np.array(classes)
    expected = by_tape(bundle.model, "conv2", inputs, wanted)
    assert expected.any()
    for explainer in (Explainer.of_model(bundle.model, signature), Explainer.of_bundle(bundle.folder)):
        assert (explainer.name, explainer.first_convolution, explainer.feature_layer) == ("lenet5", "conv1", "conv2")
        found = explainer.grad_cam(bundle.samples, None if classes is None else wanted)
        np.testing.assert_array_equal(found.classes, wanted)
        np.testing.assert_allclose(found.probabilities, probabilities, atol=TOLERANCE)
        np.testing.assert_allclose(found.maps, expected, atol=TOLERANCE * expected.max())
        np.testing.assert_allclose(explainer.probabilities(bundle.samples), probabilities, atol=TOLERANCE)


def test_activations_are_those_of_keras(exported):
    bundle = exported("lenet5")
    explainer = Explainer.of_bundle(bundle.folder)
    inputs = preprocess(tf.constant(bundle.samples), bundle.preprocessing)
    for name in ("conv1", "pool1", "conv2", "pool2"):
        expected = keras.Model(bundle.model.input, bundle.model.get_layer(name).output).predict(inputs, verbose=0)
        np.testing.assert_allclose(explainer.activations(bundle.samples, name), expected, atol=TOLERANCE)


def test_grad_cam_before_a_mean_has_a_closed_form():
    """A mean over positions, then one dense layer: the gradient is weight / positions everywhere."""
    inputs = keras.Input((6, 5, 3))
    left = layers.Conv2D(3, 3, padding="same", activation="relu", name="left")(inputs)
    right = layers.Conv2D(4, 1, activation="relu", name="right")(inputs)
    joined = layers.Concatenate(name="joined")([left, right])
    pooled = layers.GlobalAveragePooling2D(name="pool")(joined)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="classifier")(pooled), name="branches")
    explainer = open_model(randomize(model))
    assert explainer.feature_layer == "joined"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)
    features = explainer.activations(pictures, "joined")
    left_weights, left_bias, *_ = model.get_layer("left").get_weights()
    by_hand = np.zeros((3, 6, 5, 3))
    padded = np.pad(pictures / 255, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(3):
        for column in range(3):
            by_hand += padded[:, row : row + 6, column : column + 5] @ left_weights[row, column]
    np.testing.assert_allclose(features[..., :3], np.maximum(0, by_hand + left_bias), atol=TOLERANCE)
    classes = np.array([0, 1, 2])
    weights = model.get_layer("classifier").get_weights()[0][:, classes] / 30
    expected = np.maximum(0, np.einsum("kn,nijk->nij", weights, features))
    np.testing.assert_allclose(explainer.grad_cam(pictures, classes).maps, expected, atol=TOLERANCE * expected.max())


def test_the_last_map_of_a_residual_network_follows_the_last_addition():
    model = randomize(resnet20((16, 16, 3), classes=3))
    explainer = open_model(model)
    assert explainer.feature_layer == "stage4_block3_relu"
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 31, 3), np.uint8)
    inputs = preprocess(tf.constant(pictures), explainer.signature.preprocessing)
    classes = np.array([2, 1])
    expected = by_tape(model, "stage4_block3_relu", inputs, classes)
    np.testing.assert_allclose(explainer.grad_cam(pictures, classes).maps, expected, atol=TOLERANCE * expected.max())
    explainer = open_model(resnet20((4, 4, 3), classes=3))
    assert explainer.feature_layer == "stage3_block3_relu", "stage 4 has one position, which tells no places apart"


def test_of_a_sigmoid_both_classes_are_explained():
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 1, activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = randomize(keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="classifier")(x), name="unit"))
    assert not gives_logits(model)
    explainer = open_model(model)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 1), np.uint8)
    features = explainer.activations(pictures, "conv")
    signed = features @ model.get_layer("classifier").get_weights()[0][:, 0] / 16
    found = explainer.grad_cam(np.repeat(pictures, 2, axis=0), np.array([0, 1, 0, 1])).maps
    expected = np.stack([np.maximum(0, side * one) for one in signed for side in (-1, 1)])
    assert expected.any()
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["lenet5", "logistic_unit", "logits", "alpha"])
def test_filters_are_the_weights_of_the_first_layer(exported, kind):
    bundle = exported(kind)
    found = Explainer.of_bundle(bundle.folder).filters()
    kernel = next(layer for layer in bundle.model.layers if layer.weights).get_weights()[0]
    if kind == "lenet5":
        assert (found.layer, found.dense, found.weights.shape) == ("conv1", False, (6, 5, 5, 1))
        np.testing.assert_array_equal(found.weights[4, ..., 0], kernel[..., 0, 4])
    else:
        shape = (*bundle.preprocessing.size, bundle.preprocessing.channels)
        assert (found.layer, found.dense) == ("classifier", True)
        np.testing.assert_array_equal(found.weights[-1], kernel[:, -1].reshape(shape))


def test_what_cannot_be_explained_is_refused(exported, tmp_path):
    explainer = Explainer.of_bundle(exported("lenet5").folder)
    picture = exported("lenet5").samples[:1]
    with pytest.raises(UnknownName, match=r"unknown layer 'conv3'. Did you mean conv2 or conv1\?"):
        explainer.activations(picture, "conv3")
    with pytest.raises(DlappError, match="dense1 gives 120 numbers without height and width"):
        explainer.activations(picture, "dense1")
    with pytest.raises(DlappError, match="Grad-CAM needs a convolution; softmax_regression has none"):
        Explainer.of_bundle(exported("logits").folder).grad_cam(exported("logits").samples)
    with pytest.raises(DlappError, match="takes rows of a table"):
        Explainer.of_bundle(exported("rows").folder)
    unit = linear_unit((4, 4, 1))
    slides = signatures.sliding_classification(("a", "b"), Preprocessing(1, (4, 4)), Windows((4, 4), (1, 1)), {})
    with pytest.raises(DlappError, match="needs one answer a picture; this bundle slides"):
        Explainer.of_model(fully_convolutional(logistic_unit((4, 4, 1))), slides)
    for classes in ([10], [-1], [0, 1]):
        with pytest.raises(ValueError, match=rf"must be 1 numbers from 0 to 3, one a picture; got \[{classes[0]}"):
            explainer.grad_cam(picture, np.array(classes))
    with pytest.raises(DlappError, match="this one does regression"):
        Explainer.of_model(unit, signatures.regression(Target("price"), Preprocessing(1, (4, 4))))


def test_a_bundle_needs_its_saved_model(exported, tmp_path):
    bundle = exported("logits")
    export(
        bundle.model,
        tmp_path / "onnx",
        labels=bundle.labels,
        preprocessing=bundle.preprocessing,
        samples=bundle.samples,
        formats=["onnx"],
    )
    with pytest.raises(BundleError, match=r"has no SavedModel.*--to savedmodel,onnx"):
        Explainer.of_bundle(tmp_path / "onnx")
    altered = shutil.copytree(bundle.folder, tmp_path / "altered")
    (altered / "saved_model/1/saved_model.pb").write_bytes(b"")
    with pytest.raises(BundleError, match="was altered"):
        Explainer.of_bundle(altered)
