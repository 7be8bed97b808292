"""What scikit-learn ships: its numbers, its names, in units of their own."""

import numpy as np
import pytest
from sklearn import datasets

from dlapp.data import load
from dlapp.data.sources import read
from dlapp.errors import SourceError

SETS = {
    "breast_cancer": (datasets.load_breast_cancer, ("malignant", "benign")),
    "iris": (datasets.load_iris, ("setosa", "versicolor", "virginica")),
    "wine": (datasets.load_wine, ("class_0", "class_1", "class_2")),
}


@pytest.mark.parametrize(("name", "original", "labels"), [(k, *v) for k, v in SETS.items()], ids=SETS)
def test_classes_are_those_of_scikit_learn(name, original, labels):
    loaded, table = read(name), original()
    train = loaded.parts["train"]
    assert (loaded.task, loaded.labels) == ("classification", labels)
    assert [column.name for column in train.columns] == list(table.feature_names)
    assert all(column.categories is None and not column.missing for column in train.columns)
    np.testing.assert_array_equal(train.inputs, table.data.astype(np.float32))
    np.testing.assert_array_equal(train.targets, table.target)


def test_diabetes_is_a_regression_in_its_own_units():
    loaded = read("diabetes")
    train = loaded.parts["train"]
    assert (loaded.task, loaded.labels, loaded.target) == ("regression", (), "progression")
    assert [column.name for column in train.columns] == ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
    assert (train.inputs.shape, train.inputs[0, 0]) == ((442, 10), 59), "the first patient is 59 years old"
    np.testing.assert_array_equal(train.targets, datasets.load_diabetes().target)


@pytest.mark.parametrize("name", ["digits", "diabetes", *SETS])
def test_every_split_has_some(name):
    data = load(name)
    counts = [len(part) for part in data.splits().values()]
    assert min(counts) > 0.1 * sum(counts)
    assert load(name).hash == data.hash
    with pytest.raises(SourceError, match=f"{name} takes nothing after its name"):
        load(f"{name}:x")


def test_no_two_sets_have_one_hash():
    assert len({read(name).digest for name in ("digits", "diabetes", *SETS)}) == 5


def test_some_of_the_digits_are_those_of_their_classes():
    some, every = read("digits?classes=7,5"), datasets.load_digits()
    train, chosen = some.parts["train"], np.isin(every.target, (5, 7))
    assert some.labels == ("5", "7")
    assert len(train) == chosen.sum() == 361
    np.testing.assert_array_equal(np.array([5, 7])[train.targets], every.target[chosen])
    np.testing.assert_allclose(train.inputs[..., 0], every.images[chosen] * (255 / 16), atol=0.5)


@pytest.mark.parametrize("classes", ["3", "3,3", "3,x", "3,10", "3,,4"])
def test_classes_that_are_no_digits_are_refused(classes):
    with pytest.raises(SourceError, match=f"classes of digits are two or more of 0 to 9, .*; got '{classes}'"):
        read(f"digits?classes={classes}")
