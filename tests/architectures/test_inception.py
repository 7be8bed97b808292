"""An Inception module against NumPy, and auxiliary classifiers that only training knows."""

import keras
import numpy as np
import pytest

from dlapp.architectures import inception_v1
from dlapp.architectures.auxiliary import WithAuxiliaryClassifiers
from dlapp.architectures.heads import for_inference, with_probabilities
from dlapp.architectures.summary import reductions

CLASSES = 3


@pytest.fixture(scope="module")
def model():
    """At the least size that auxiliary classifiers take, compiled as anyone would."""
    keras.utils.set_random_seed(0)
    model = inception_v1((65, 65, 1), classes=CLASSES, kernel_regularizer=keras.regularizers.L2(1e-3))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    return random.normal(size=(6, 65, 65, 1)).astype(np.float32), np.arange(6) % CLASSES


def convolve(x, layer):
    kernel, bias = layer.get_weights()
    size = kernel.shape[0]
    padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias, 0)


def test_a_module_is_its_four_branches_side_by_side(model):
    def layer(name):
        return model.get_layer(f"module3a_{name}")

    module = keras.Model(model.get_layer("pool2").output, model.get_layer("module3a").output)
    x = np.random.default_rng(0).normal(size=(1, 9, 9, 192)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).max(axis=(-1, -2))
    expected = np.concatenate(
        [
            convolve(x, layer("1x1")),
            convolve(convolve(x, layer("3x3_reduce")), layer("3x3")),
            convolve(convolve(x, layer("5x5_reduce")), layer("5x5")),
            convolve(pooled, layer("pool_projection")),
        ],
        axis=-1,
    )
    assert expected.shape[-1] == 64 + 128 + 32 + 32
    # sums of up to 9 x 96 products in another order
    np.testing.assert_allclose(module(x), expected, atol=1e-4)


def cross_entropy(probabilities, targets):
    return -np.log(np.array(probabilities)[np.arange(len(targets)), targets])


def test_the_loss_of_training_has_three_tenths_of_each_auxiliary_loss(model, batch):
    x, y = batch
    weights = np.array([1.0, 2.0, 0.5])[y]
    keras.utils.set_random_seed(3)
    outputs = model(x, training=True)
    assert [output.shape for output in outputs] == [(6, CLASSES)] * 3
    penalty = sum(1e-3 * float((layer.kernel.numpy() ** 2).sum()) for layer in model.layers if hasattr(layer, "kernel"))
    losses = [(cross_entropy(output, y) * weights).mean() for output in outputs]
    found = float(model.compute_loss(x, y, outputs, sample_weight=weights))
    assert found == pytest.approx(losses[0] + 0.3 * losses[1] + 0.3 * losses[2] + penalty, rel=1e-5)


def test_only_the_first_output_is_used_and_measured(model, batch):
    x, y = batch
    answers = model.predict(x, verbose=0)
    assert answers.shape == (6, CLASSES)
    np.testing.assert_allclose(for_inference(model).predict(x, verbose=0), answers, atol=1e-6)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    penalty = float(keras.ops.sum(for_inference(model).losses))
    auxiliary = float(keras.ops.sum(model.losses)) - penalty
    assert found["loss"] == pytest.approx(cross_entropy(answers, y).mean() + penalty + auxiliary, rel=1e-5)
    assert found["accuracy"] == pytest.approx((answers.argmax(axis=1) == y).mean())


def test_fitting_trains_every_classifier(model, batch, tmp_path):
    x, y = batch
    names = ["classifier", "auxiliary4a_classifier", "auxiliary4d_classifier"]
    before = [model.get_layer(name).kernel.numpy() for name in names]
    model.fit(x, y, batch_size=3, epochs=1, verbose=0, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    for name, kernel in zip(names, before, strict=True):
        assert np.abs(model.get_layer(name).kernel.numpy() - kernel).max() > 0, name
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, WithAuxiliaryClassifiers)
    assert loaded.optimizer.iterations == 2
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_called_symbolically_it_has_one_output(model):
    assert model(keras.Input((65, 65, 1))).shape == (None, CLASSES)
    assert model.compute_output_shape((None, 65, 65, 1)) == (None, CLASSES)


def test_a_copy_has_them_still(model, batch):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    assert isinstance(copy, WithAuxiliaryClassifiers)
    np.testing.assert_array_equal(copy.predict(batch[0], verbose=0), model.predict(batch[0], verbose=0))


@pytest.mark.slow
def test_it_begins_to_learn_at_once():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(6, 17, 17, 1)).astype(np.float32)
    y = np.arange(6) % CLASSES
    model = inception_v1((17, 17, 1), classes=CLASSES, auxiliary=False, dropout=0.0)
    model.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, batch_size=6, epochs=30, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(np.log(CLASSES), abs=1.0)
    assert losses[-1] < 0.1
    np.testing.assert_array_equal(model.predict(x, verbose=0).argmax(axis=1), y)


def test_what_is_exported_has_no_auxiliary_weights(model):
    exported = with_probabilities(model)
    # 13,378,280 - 6,998,552 at the defaults; here the maps behind 4a and 4d are 1 x 1
    gone = sum((maps + 1) * 128 + (128 + 1) * 1024 + (1024 + 1) * CLASSES for maps in (512, 528))
    assert model.count_params() - exported.count_params() == gone
    assert not [layer.name for layer in exported.layers if "auxiliary" in layer.name]


def test_the_reductions_save_what_the_course_says():
    found = {one.name: one for one in reductions(inception_v1((None, None, 3), auxiliary=False))}
    assert len(found) == 18, "two in each of nine modules"
    first = found["module3a_3x3"]
    assert (first.channels, first.reduced, first.filters) == (192, 96, 128)
    assert (first.direct, first.through) == (221_184, 129_024)
    assert (found["module3a_5x5"].direct, found["module3a_5x5"].through) == (153_600, 15_872)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((64, 64, 3), {}, r"at least 65 x 65: auxiliary4a_pool leaves nothing of 64 x 64.*auxiliary=False"),
        ((None, None, 3), {}, r"needs pictures of one size"),
        ((96, 96, 3), {"classes": 1}, r"at least 2; got 1"),
    ],
)
def test_what_cannot_be_built_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        inception_v1(shape, **options)


def test_without_auxiliary_classifiers_any_size_will_do():
    assert inception_v1((1, 1, 1), classes=2, auxiliary=False).output_shape == (None, 2)
    assert inception_v1((None, None, 3), include_top=False).output_shape == (None, None, None, 1024)
