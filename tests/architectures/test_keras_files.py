"""Files of Keras's: damaged ones, and those that run code."""

import keras
import numpy as np
import pytest
from keras import layers

from dlapp.architectures import lenet5
from dlapp.architectures.loading import load_model
from dlapp.errors import ModelError


def test_a_model_is_read_as_it_was(tmp_path):
    model = lenet5((16, 16, 1), classes=3)
    model.save(tmp_path / "a.keras")
    pictures = np.random.default_rng(0).normal(size=(2, 16, 16, 1))
    np.testing.assert_array_equal(load_model(tmp_path / "a.keras")(pictures), model(pictures))


def test_a_lambda_layer_is_refused_unless_it_is_trusted(tmp_path):
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2, name="doubled")])
    keras.Model(inputs, inner(inputs)).save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match=r"a\.keras has a Lambda layer \(doubled\), which runs code.*--unsafe"):
        load_model(tmp_path / "a.keras")
    loaded = load_model(tmp_path / "a.keras", unsafe=True)
    np.testing.assert_array_equal(loaded(np.ones((1, 4))), np.full((1, 4), 2.0))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"], ids=["empty", "damaged"])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.keras cannot be read as a Keras model"):
        load_model(tmp_path / "a.keras")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.keras cannot be read as a Keras model"):
        load_model(tmp_path / "absent.keras")
