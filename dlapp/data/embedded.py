"""Real data that scikit-learn ships: no network, no file."""

from dlapp.data.arrays import from_arrays
from dlapp.data.examples import Loaded
from dlapp.signature import Column


def load(name: str) -> Loaded:
    """``breast_cancer``, ``diabetes``, ``iris`` or ``wine``: tables in units of their own."""
    from sklearn import datasets

    if name == "diabetes":
        table = datasets.load_diabetes(scaled=False)
        names, task, target = None, "regression", "progression"
    else:
        table = getattr(datasets, f"load_{name}")()
        names, task, target = [str(label) for label in table.target_names], "classification", "target"
    columns = [Column(str(column)) for column in table.feature_names]
    return from_arrays(name, {"train": (table.data, table.target)}, names, task=task, target=target, columns=columns)
