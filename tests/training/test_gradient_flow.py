"""The gradient of a linear network is known at every step: its recurrent weight to the power of the steps back."""

import keras
import numpy as np
import pytest
from keras import layers

from dlapp.architectures import recurrent
from dlapp.data.examples import Examples
from dlapp.data.text_files import text_examples
from dlapp.signature import Preprocessing, Target, Vocabulary, classification, language_model, regression
from dlapp.signature import sequence_to_sequence as replies
from dlapp.training.gradient_flow import gradient_flow

LETTERS = Vocabulary(("", "[UNK]", *"abcdefgh"), "character")
MARKED = Vocabulary(("", "[UNK]", "[START]", "[END]", *"abcd"), "character", marked=True)


def linear(weight, steps=40):
    """One linear unit over the rows of a picture."""
    inputs = keras.Input((steps, 3, 1))
    rows = layers.Reshape((steps, 3))(inputs)
    x = layers.SimpleRNN(1, activation=None, use_bias=False, name="recurrent1")(rows)
    model = keras.Model(inputs, layers.Dense(1, use_bias=False)(x))
    model.layers[2].set_weights([np.ones((3, 1)), np.array([[weight]])])
    return model


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (0.5, "it vanishes: more than 9 steps back less than a thousandth"),
        (1.2, "it explodes: 39 steps back it is 1,225 times"),
        (0.95, "it reaches back all 39 steps, where it is 0.14 times"),
    ],
)
def test_the_gradient_is_a_power_of_the_recurrent_weight(weight, sentence):
    pictures = np.random.default_rng(0).integers(0, 255, (6, 40, 3, 1)).astype(np.uint8)
    examples = Examples(pictures, np.linspace(5, 9, 6).astype(np.float32), channels=1)
    flow = gradient_flow(linear(weight), examples, regression(Target("y"), Preprocessing(1, (40, 3), scale="unit")))
    assert len(flow.norms) == 40
    np.testing.assert_allclose(np.array(flow.norms) / flow.norms[0], weight ** np.arange(40), rtol=1e-4)
    assert flow.sentence.startswith(sentence)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_classifier_of_texts(bidirectional):
    model = recurrent(classes=2, units=(4, 3), vocabulary=10, bidirectional=bidirectional)
    some = ["abcdefgh" * count for count in (1, 2, 2, 3, 2, 2, 2, 2, 2, 2)]
    examples = text_examples(some, targets=[0, 1] * 5)
    flow = gradient_flow(model, examples, classification(("a", "b"), Preprocessing(0, vocabulary=LETTERS)))
    assert len(flow.norms) == 16, "as many steps as eight of them have"
    assert all(norm > 0 for norm in flow.norms)


def test_a_language_model_and_an_encoder_decoder():
    model = recurrent(classes=10, form="many_to_many", units=4, vocabulary=10)
    flow = gradient_flow(
        model, text_examples(["abcdefgh" * 113]), language_model(Preprocessing(0, vocabulary=LETTERS), [4, 4])
    )
    assert len(flow.norms) == 100
    both = Preprocessing(0, vocabulary=LETTERS, target_vocabulary=MARKED)
    model = recurrent(classes=8, form="encoder_decoder", units=4, vocabulary=10)
    pairs = text_examples(["abcdef", "abcde"], wanted=["ab", "cd"])
    assert len(gradient_flow(model, pairs, replies(both, [4, 4])).norms) == 5


def test_what_has_no_two_steps_has_no_flow():
    rows = Examples(np.zeros((4, 5), np.float32), np.zeros(4, np.int32), channels=0)
    signature = classification(("a", "b"), Preprocessing(0, mean=(0.0,) * 5, variance=(1.0,) * 5))
    assert gradient_flow(recurrent((5,), units=3), rows, signature) is None
    inputs = keras.Input((5,))
    assert gradient_flow(keras.Model(inputs, layers.Dense(2)(inputs)), rows, signature) is None
