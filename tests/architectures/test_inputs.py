"""Pictures that are too small are refused by the name of the layer that has nothing left of them."""

import keras
import pytest
from keras import layers

from dlapp.architectures.inputs import feature_maps


def branches(x):
    """A tall branch and a wide one; they leave the same size, but not of everything."""
    a = layers.Conv2D(2, (7, 1), name="tall")(x)
    a = layers.MaxPooling2D((1, 3), strides=(1, 1), name="wide")(a)
    b = layers.AveragePooling2D((7, 3), strides=1, name="both")(x)
    x = layers.Concatenate(name="join")([a, b])
    x = layers.Conv2D(2, 3, strides=2, padding="same", name="half")(x)
    return layers.MaxPooling2D(2, name="last")(x)


def built(shape):
    return feature_maps("twig", shape, branches, any_size=True)[1].shape[1:3]


def test_the_least_size_is_what_the_builder_accepts():
    # 7 rows less 6, 3 columns less 2; half of 3 is 2, of which the last pooling leaves 1
    assert built((9, 5, 3)) == (1, 1)
    for shape in ((8, 5, 3), (9, 4, 3)):
        with pytest.raises(ValueError, match="twig needs pictures of at least 9 x 5: last leaves nothing"):
            built(shape)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 50, 3), r"at least 9 x 5: tall leaves nothing of 6 x 50\. Resize them \(preprocessing\.size\)"),
        ((50, 2, 3), "at least 9 x 5: wide leaves nothing of 50 x 2"),
        ((None, 4, 3), "at least 9 x 5: last leaves nothing of any x 4"),
        ((5, 1, 3), "at least 9 x 5: tall leaves nothing of 5 x 1"),
        ((0, 20, 3), r"of at least 1; got \(0, 20, 3\)"),
        ((20, 20, None), r"of at least 1; got \(20, 20, None\)"),
        ((20, 20), r"twig needs pictures, \(height, width, channels\); got \(20, 20\)"),
    ],
    ids=str,
)
def test_a_shape_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        built(shape)


def test_pictures_of_any_size_are_taken_where_they_may_be():
    assert built((None, None, 3)) == (None, None)
    with pytest.raises(ValueError, match=r"one size for its dense layers; got \(None, 20, 3\).*include_top=False"):
        feature_maps("twig", (None, 20, 3), branches, any_size=False)


def test_another_mistake_is_told_as_it_is():
    with pytest.raises(ValueError, match="spin"):
        feature_maps("twig", (2, 2, 3), lambda x: layers.Conv2D(2, 3, activation="spin")(x), any_size=True)

    def refuses_odd_sizes(x):
        if x.shape[1] == 5:
            raise ValueError("five is right out")
        return layers.Conv2D(2, 3, name="conv")(x)

    with pytest.raises(ValueError, match="five is right out"):
        feature_maps("twig", (5, 5, 3), refuses_odd_sizes, any_size=True)


def test_several_feature_maps_may_be_given():
    inputs, outputs = feature_maps(
        "twig", (9, 9, 3), lambda x: [layers.MaxPooling2D(3, name="a")(x), layers.MaxPooling2D(2, name="b")(x)],
        any_size=True,
    )  # fmt: skip
    assert [shape[1:] for shape in keras.Model(inputs, outputs).output_shape] == [(3, 3, 3), (4, 4, 3)]
    with pytest.raises(ValueError, match="at least 3 x 3: a leaves nothing of 2 x 2"):
        feature_maps(
            "twig", (2, 2, 3), lambda x: [layers.MaxPooling2D(3, name="a")(x), layers.MaxPooling2D(2, name="b")(x)],
            any_size=True,
        )  # fmt: skip
