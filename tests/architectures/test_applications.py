"""The networks of keras.applications and ours are the same functions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dlapp import architectures
from dlapp.architectures import builder, replace_head
from dlapp.architectures.applications import APPLICATIONS, imagenet_labels, load_applications_weights, pretrained
from dlapp.data.preprocessing import preprocess
from dlapp.errors import DlappError

pytestmark = pytest.mark.slow
SHAPE = (48, 40, 3)


def randomize(model):
    """Every weight away from where it begins; deep sums stay small."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            if weight.path.endswith(("variance", "gamma")):
                value = random.uniform(0.5, 1.5, weight.shape)
            elif weight.path.endswith("kernel"):
                value = random.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
            else:
                value = random.normal(size=weight.shape)
            weight.assign(value.astype(np.float32))


def application(name, **options):
    model = getattr(keras.applications, APPLICATIONS[name])(weights=None, input_shape=SHAPE, **options)
    randomize(model)
    return model


@pytest.mark.parametrize(
    ("name", "top"), [("vgg16", True), ("vgg19", False), ("resnet50", True), ("resnet101", False), ("resnet152", False)]
)
def test_the_weights_of_keras_give_the_outputs_of_keras(name, top):
    options = {"include_top": top, **({"classes": 4} if top else {})}
    theirs, ours = application(name, **options), builder(name)(SHAPE, **options)
    load_applications_weights(ours, theirs)
    x = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype(np.float32)
    expected = theirs(x).numpy()
    assert expected.std() > 1e-3, "the comparison would prove nothing"
    # the residual networks fold a bias into a mean, and round differently by that
    np.testing.assert_allclose(ours(x), expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_raw_pictures_give_what_keras_makes_of_them(name, monkeypatch):
    theirs = application(name, include_top=False)
    monkeypatch.setattr(keras.applications, APPLICATIONS[name], lambda **_: theirs)
    model, preprocessing = pretrained(name, include_top=False, size=SHAPE[:2])
    raw = np.random.default_rng(1).integers(0, 256, (2, *SHAPE), np.uint8)
    module = getattr(keras.applications, name.rstrip("0123456789") if name.startswith("resnet") else name)
    expected = theirs(module.preprocess_input(raw.astype(np.float32))).numpy()
    found = model(preprocess(tf.constant(raw), preprocessing)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert replace_head(model, 5).output_shape == (None, 5)


def test_the_function_is_not_hidden_by_the_file_that_it_stands_in():
    assert architectures.pretrained is pretrained
    assert architectures.replace_head is replace_head


def test_networks_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"resnet101 and resnet50 are not the same network"):
        load_applications_weights(builder("resnet101")(SHAPE, include_top=False), application("resnet50"))
    with pytest.raises(ValueError, match=r"not of the same size"):
        load_applications_weights(builder("resnet50")((48, 40, 1)), application("resnet50"))


def test_other_classes_than_those_of_the_weights_are_refused():
    with pytest.raises(ValueError, match=r"know 1000 classes; got classes=5\. .* replace_head\(model, classes\)"):
        pretrained("resnet50", classes=5)


@pytest.mark.parametrize(
    ("size", "top", "message"),
    [
        ((20, 40), False, r"at least 32 x 32 .*; got 20 x 40"),
        ((256, 256), True, r"ImageNet's 224 x 224; got 256 x 256"),
    ],
)
def test_sizes_that_keras_does_not_take_are_refused(size, top, message):
    with pytest.raises(ValueError, match=message):
        pretrained("resnet50", include_top=top, size=size)


def test_classes_of_one_name_are_told_apart(monkeypatch):
    ranked = [[("n02012849", "crane", 1.0)], [("n03126707", "crane", 1.0)], [("n02085620", "Chihuahua", 1.0)]]
    monkeypatch.setattr(keras.applications.imagenet_utils, "decode_predictions", lambda *_, **__: ranked)
    assert imagenet_labels() == ("crane (n02012849)", "crane (n03126707)", "Chihuahua")


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "lenet5"])
def test_networks_without_such_weights_are_told(name):
    with pytest.raises(DlappError, match=rf"no weights of {name}; it has those of vgg16, vgg19, resnet50"):
        pretrained(name)


def fail(message):
    def raising(*_, **__):
        print("Downloading data from https://example.org/file.h5")
        raise Exception(message)

    return raising


def test_without_a_network_the_file_and_its_place_are_told(monkeypatch, capsys):
    message = "URL fetch failure on https://example.org/a/file.h5: None -- [Errno -2] Name or service not known"
    monkeypatch.setattr(keras.applications, "ResNet50", fail(message))
    place = r"put the file of https://example\.org/a/file\.h5 into ~/\.keras/models"
    with pytest.raises(DlappError, match=rf"^file\.h5 could not be downloaded \(\[Errno -2\] .*{place}"):
        pretrained("resnet50")
    monkeypatch.setattr(keras.applications.imagenet_utils, "decode_predictions", fail(message))
    with pytest.raises(DlappError, match=r"could not be downloaded"):
        imagenet_labels()
    assert capsys.readouterr().out == "", "standard output is for results"


def test_another_failure_is_not_taken_for_a_missing_network(monkeypatch):
    monkeypatch.setattr(keras.applications, "ResNet50", fail("something else"))
    with pytest.raises(Exception, match="something else"):
        pretrained("resnet50")
