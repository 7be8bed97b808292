"""The columns of a table as its training split has them; rows of other splits are written in the same code."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dlapp.data.examples import Examples
from dlapp.errors import SourceError
from dlapp.signature import Column

_LEAST = 2  # a category seen once teaches nothing of its own: it shares the slot of those never seen


def observed(train: Examples) -> tuple[Column, ...]:
    """The columns with the categories that ``train`` has at least twice, and whether it lacks cells."""
    found = []
    for place, column in enumerate(train.columns):
        cells = train.inputs[:, place]
        missing = np.isnan(cells)
        categories = column.categories
        if categories is not None:
            counts = np.bincount(cells[~missing & (cells >= 0)].astype(np.int64), minlength=len(categories))
            categories = tuple(name for name, count in zip(categories, counts, strict=True) if count >= _LEAST)
        found.append(Column(column.name, categories, bool(missing.any())))
    return tuple(found)


def recode(examples: Examples, columns: Sequence[Column]) -> Examples:
    """The same rows in the code of ``columns``: their order, and the index of each category.

    Args:
        examples: rows whose ``columns`` have at least the names wanted.
        columns: as another table has them. A category that is not among theirs becomes -1.

    Raises:
        SourceError: a column is not there, or holds categories in one and numbers in the other.
    """
    places = {column.name: place for place, column in enumerate(examples.columns)}
    inputs = np.empty((len(examples), len(columns)), np.float32)
    for place, column in enumerate(columns):
        if column.name not in places:
            raise SourceError(f"the column {column.name!r} is missing; there are {', '.join(places)}.")
        there = examples.columns[places[column.name]]
        if (there.categories is None) != (column.categories is None):
            kind = "numbers" if column.categories is None else "categories"
            raise SourceError(f"the column {column.name!r} must hold {kind}, as the table that was trained on.")
        cells = examples.inputs[:, places[column.name]]
        if there.categories is not None and column.categories is not None:
            known = {name: index for index, name in enumerate(column.categories)}
            index = np.array([*(known.get(name, -1) for name in there.categories), -1], np.float32)
            absent = np.isnan(cells)
            cells = np.where(absent, np.nan, index[np.where(absent, -1, cells).astype(np.int64)])
        inputs[:, place] = cells
    return dataclasses.replace(examples, inputs=inputs, columns=tuple(columns))
