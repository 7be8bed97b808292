"""The sheet of augmented examples: what the pipeline gives, told with its labels."""

import numpy as np
import pytest

from dlapp.data import load
from dlapp.recipe import Recipe
from dlapp.signature import Preprocessing
from dlapp.training.augmented import augmented_examples


def sheet(augment, *, smoothing=0.0):
    values = {"preprocessing": {"augment": augment}, "training": {"label_smoothing": smoothing}}
    recipe = Recipe.from_values({"architecture": "lenet5", "data": "digits", **values})
    data = load("digits")
    preprocessing = Preprocessing(1, (16, 16), False, "standardize", (100.0,), (50.0,))
    return data, augmented_examples(recipe, data.train, preprocessing, data.labels)


def test_a_row_is_a_picture_as_it_is_and_then_as_epochs_see_it():
    data, rows = sheet({"shift": 0.3})
    assert [len(row) for row in rows] == [6] * 4
    for label, row in enumerate(rows):
        index = np.flatnonzero(data.train.targets == label)[0]
        raw = data.train.inputs[index].repeat(2, axis=0).repeat(2, axis=1)
        assert row[0].picture.shape == (16, 16, 1)
        assert np.abs(row[0].picture.astype(int) - raw).mean() < 40, "resized, not scaled"
        assert len({version.picture.tobytes() for version in row}) == 6
        assert {version.label for version in row} == {data.labels[label]}


@pytest.mark.parametrize("augment", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_mixed_labels_are_told_with_their_shares(augment):
    data, rows = sheet(augment)
    labels = [version.label for row in rows for version in row[1:]]
    assert [row[0].label for row in rows] == [f"{label} 1.00" for label in data.labels[:4]]
    assert any(", " in label for label in labels)
    shares = [[float(part.split()[-1]) for part in label.split(", ")] for label in labels]
    assert all(abs(sum(share) - 1) < 0.05 for share in shares)
