"""``gradient-check`` as a person calls it."""

import json

import keras
import pytest
import tensorflow as tf

from dlapp.architectures import ARCHITECTURES, Architecture, linear


class Crooked(keras.layers.Dense):
    """A dense layer whose gradients are 1.5 times what they should be."""

    def call(self, inputs, training=None):
        @tf.custom_gradient
        def same(x):
            return x, lambda upstream: 1.5 * upstream

        return same(super().call(inputs))


@pytest.fixture
def crooked(monkeypatch):
    """An architecture with an error in one layer, that predicts a number."""

    def build(input_shape=(3,), *, classes=1, units=4, kernel_regularizer=None):
        inputs = keras.Input(tuple(input_shape))
        x = Crooked(units, activation="tanh", kernel_regularizer=kernel_regularizer, name="hidden")(inputs)
        return keras.Model(inputs, keras.layers.Dense(classes, name="value")(x), name="crooked")

    monkeypatch.setattr(linear, "crooked", build, raising=False)
    monkeypatch.setitem(ARCHITECTURES, "crooked", Architecture("linear", "One wrong layer.", "Nobody 2000", None))


def test_an_architecture_is_correct(dlapp):
    status, out, err = dlapp("gradient-check", "lenet5", "--input", "16,16,1", "--classes", 3, "--samples", 4)
    assert (status, err) == (0, "")
    for layer in ("conv1", "conv2", "dense1", "dense2", "classifier"):
        assert f"{layer}/kernel" in out
        assert f"{layer}/bias" in out
    assert "sparse_categorical_crossentropy of 8 examples" in out
    assert "wrong:" not in out
    *_, worst, following = out.splitlines()
    assert worst.startswith("worst: ")
    assert following == "Next: dlapp train lenet5 --data digits"


def test_settings_are_those_of_train(dlapp):
    arguments = ("gradient-check", "lenet5", "--input", "16,16,1", "--samples", 2, "--json")
    settings = ("activation=relu", "architecture_options.pooling=max", "training.l2=1e-2", "training.dropout=0.5")
    status, out, _ = dlapp(*arguments, *(part for setting in settings for part in ("--set", setting)))
    changed = json.loads(out)
    plain = json.loads(dlapp(*arguments)[1])
    assert status == 0
    assert changed["correct"]
    assert (changed["checked"], changed["examples"]) == ("lenet5", 8)
    assert {tensor["verdict"] for tensor in changed["tensors"]} <= {"correct", "no gradient"}
    assert changed["tensors"] != plain["tensors"]
    assert plain == json.loads(dlapp(*arguments)[1]), "the same seed gives the same numbers"
    assert plain != json.loads(dlapp(*arguments, "--seed", 1)[1])


@pytest.mark.parametrize(
    ("name", "loss", "data"),
    [("logistic_unit", "binary_crossentropy", "breast_cancer"), ("softmax_regression", "sparse_", "digits")],
)
def test_the_loss_is_that_of_training(dlapp, name, loss, data):
    status, out, _ = dlapp("gradient-check", name, "--input", "5")
    assert status == 0
    assert loss in out
    assert out.splitlines()[-1] == f"Next: dlapp train {name} --data {data}"


def test_a_wrong_layer_is_named(dlapp, crooked):
    status, out, _ = dlapp("gradient-check", "crooked", "--set", "units=5")
    assert status == 1
    assert "mean_squared_error of 8 examples" in out
    *_, verdict, following = out.splitlines()
    assert verdict.startswith("wrong: hidden/")
    assert "value/" not in verdict
    assert following == "Next: look at how hidden computes its gradient"
    status, out, _ = dlapp("gradient-check", "crooked", "--json")
    assert status == 1
    found = json.loads(out)
    assert not found["correct"]
    errors = {tensor["name"]: tensor["relative_error"] for tensor in found["tensors"]}
    assert [tensor["verdict"] for tensor in found["tensors"]] == ["correct", "correct", "wrong", "wrong"]
    assert errors["hidden/kernel"] == pytest.approx(0.5 / 2.5)  # |1.5 g - g| / (|1.5 g| + |g|)


def test_a_model_is_checked_with_its_own_samples(dlapp, copy_of_trained):
    status, out, err = dlapp("gradient-check", "stripes")
    assert (status, err) == (0, "")
    assert "models/stripes: binary_crossentropy of 8 examples" in out
    assert out.splitlines()[-1] == "Next: dlapp evaluate stripes"
    found = json.loads(dlapp("gradient-check", "models/stripes", "--json")[1])
    assert {tensor["name"]: tensor["verdict"] for tensor in found["tensors"]} == {
        "classifier/kernel": "correct",
        "classifier/bias": "correct",
    }


def test_a_regression_on_a_table_is_checked_on_encoded_rows(dlapp, workplace):
    rows = (f"{size},{'red' if size % 3 else 'blue'},{size * 2.5}" for size in range(60))
    (workplace / "houses.csv").write_text("\n".join(["size,colour,price", *rows]))
    assert (
        dlapp("train", "linear_unit", "--data", "csv:houses.csv?target=price", "--epochs", 1, "--name", "price")[0] == 0
    )
    status, out, _ = dlapp("gradient-check", "price", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["loss"] == "mean_squared_error"
    shapes = {tensor["name"]: tensor["shape"] for tensor in found["tensors"]}
    assert shapes["value/kernel"][0] > 2, "the colour takes more than one of the values that the network sees"


def test_kinks_are_told(dlapp, crooked, monkeypatch):
    def build(input_shape=(3,), *, classes=1):
        inputs = keras.Input(tuple(input_shape))
        x = keras.layers.Dense(2, activation="relu", kernel_initializer="zeros", name="hidden")(inputs)
        return keras.Model(inputs, keras.layers.Dense(classes, name="value")(x))

    monkeypatch.setattr(linear, "crooked", build)
    status, out, _ = dlapp("gradient-check", "crooked")
    assert status == 0
    assert "8 of 11 entries left out: the cost has a kink there" in out
    assert "kinks only: hidden/kernel, hidden/bias: not checked" in out
    assert "no gradient: value/kernel: dead" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet"], "unknown architecture or model 'lenet'. Did you mean lenet5"),
        (["stripe"], "Did you mean stripes?"),
        (["stripes", "--input", "3"], "stripes is a model"),
        (["stripes", "--set", "activation=relu"], "stripes is a model"),
        (["lenet5", "--set", "poolin=max"], "Did you mean pooling?"),
        (["lenet5", "--set", "pooling=sum"], "pooling must be 'average' or 'max'"),
        (["lenet5", "--set", "training.epochs=3"], "training.epochs changes no gradient"),
        (["lenet5", "--set", "training.dropout=2"], "training.dropout must be"),
        (["lenet5", "--input", "8,8,1"], "at least 16 x 16"),
        (["lenet5", "--classes", "1"], "linear_unit"),
        (["lenet5", "--samples", "0"], "samples"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_refused(dlapp, copy_of_trained, arguments, message):
    status, out, err = dlapp("gradient-check", *arguments)
    assert status == 2
    assert message in err
    assert out == ""


def test_what_finds_boxes_is_refused(dlapp):
    status, _, error = dlapp("gradient-check", "yolo_grid")
    assert status == 2
    assert "yolo_grid finds boxes, whose loss is computed in float32" in error
