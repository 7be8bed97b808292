"""What array sources have in common: checks, classes and a hash."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dlapp.data.examples import Examples, Loaded
from dlapp.errors import SourceError
from dlapp.signature import Column

_LARGEST_WHOLE = 2**53  # beyond it a float64 skips whole numbers


def from_arrays(
    where: str,
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]],
    names: Sequence[object] | None = None,
    *,
    task: str = "",
    target: str = "target",
    columns: Sequence[Column] = (),
) -> Loaded:
    """Examples from inputs and targets by split.

    Args:
        where: the file, for errors.
        arrays: split: (inputs, targets). Inputs are (n, height, width[, channels]) pictures or
            (n, columns) rows; targets are (n,), (n, 1), (1, n) or one-hot (n, classes).
        names: of the classes 0, 1, ...; where it is None the values of the targets are the names.
        task: ``classification`` or ``regression``; where it is empty, targets with fractions are a regression.
        target: the name of what is predicted.
        columns: of rows; NaN then means that a cell is missing.

    Raises:
        SourceError: shapes, numbers or values do not fit.
    """
    flat = {name: _flatten_targets(where, name, *pair) for name, pair in arrays.items()}
    if not task:
        quantity = names is None and any(_has_fractions(values) for values in flat.values())
        task = "regression" if quantity else "classification"
    if task == "regression":
        return _numbers(where, arrays, flat, target, columns)
    flat = {name: _as_classes(where, values) for name, values in flat.items()}
    values = np.unique(np.concatenate(list(flat.values())))
    if names is None:
        labels = tuple(_decode(where, value) for value in values.tolist())
    else:
        labels = _check_names(where, names, values)
        values = np.arange(len(labels))
    for name in flat.keys() - {"train"} if "train" in flat else ():
        unknown = np.setdiff1d(flat[name], flat["train"])
        if len(unknown):
            label = labels[int(np.searchsorted(values, unknown[0]))]
            raise SourceError(f"class {label!r} is in the {name} split of {where} but not in its train split.")
    targets = {name: np.searchsorted(values, flat[name]).astype(np.int32) for name in flat}
    return _assemble(where, arrays, targets, labels, "classification", target, columns)


def _numbers(
    where: str,
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]],
    flat: Mapping[str, np.ndarray],
    target: str,
    columns: Sequence[Column],
) -> Loaded:
    for name, values in flat.items():
        with np.errstate(over="ignore", invalid="ignore"):
            if values.dtype.kind not in "fiu" or not np.isfinite(values.astype(np.float32)).all():
                raise SourceError(f"the targets of {where} must be finite numbers; {name} has others.")
    if np.ptp(flat.get("train", next(iter(flat.values())))) == 0:
        raise SourceError(f"the target {target} of {where} is the same in every row: there is nothing to learn.")
    targets = {name: values.astype(np.float32) for name, values in flat.items()}
    return _assemble(where, arrays, targets, (), "regression", target, columns)


def _assemble(
    where: str,
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]],
    targets: Mapping[str, np.ndarray],
    labels: tuple[str, ...],
    task: str,
    target: str,
    columns: Sequence[Column],
) -> Loaded:
    digest = hashlib.sha256()
    parts: dict[str, Examples] = {}
    for name in sorted(arrays):
        inputs = _check_inputs(where, name, arrays[name][0], may_miss=bool(columns))
        digest.update(np.ascontiguousarray(inputs).data)
        digest.update(targets[name].data)
        channels = inputs.shape[3] if inputs.ndim == 4 else 0
        parts[name] = Examples(inputs, targets[name], channels=channels, columns=tuple(columns))
    if len({part.inputs.shape[1:] for part in parts.values()}) > 1:
        shapes = ", ".join(f"{name} {part.inputs.shape[1:]}" for name, part in parts.items())
        raise SourceError(f"the splits of {where} must hold examples of one shape; got {shapes}.")
    return Loaded(parts, labels, digest.hexdigest(), task, target)


def _check_names(where: str, names: Sequence[object], values: np.ndarray) -> tuple[str, ...]:
    if not isinstance(names, list | tuple):
        raise SourceError(f"the class names of {where} must be a list of names; got {names!r}.")
    labels = tuple(_decode(where, name) for name in names)
    times = Counter(labels)
    twice = next((label for label in labels if times[label] > 1), None)
    if twice is not None:
        raise SourceError(f"the class names of {where} must differ; {twice!r} stands there twice.")
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= len(labels):
        got = f"{values[0]} to {values[-1]}"
        raise SourceError(
            f"the labels of {where} must be 0 to {len(labels) - 1}, one for each of its {len(labels)} class names; "
            f"got {got}."
        )
    return labels


def _flatten_targets(where: str, split: str, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    count = len(inputs) if inputs.ndim else 0
    if targets.ndim == 2 and 1 in targets.shape:
        targets = targets.reshape(-1)
    elif targets.ndim == 2 and len(targets) == count and _is_one_hot(targets):
        targets = targets.argmax(axis=1)
    if targets.ndim != 1 or len(targets) != count:
        raise SourceError(
            f"{where} must have one label for each example; {split} has {count} examples "
            f"and labels of shape {targets.shape}."
        )
    if not len(targets):
        raise SourceError(f"the {split} split of {where} is empty. Give it examples or remove it.")
    return targets.astype(np.int64) if targets.dtype == bool else targets


def _has_fractions(targets: np.ndarray) -> bool:
    return targets.dtype.kind == "f" and bool(np.isfinite(targets).all() and (targets != np.rint(targets)).any())


def _as_classes(where: str, targets: np.ndarray) -> np.ndarray:
    if targets.dtype.kind != "f":
        return targets
    if not (targets == np.rint(targets)).all() or np.abs(targets).max() > _LARGEST_WHOLE:
        raise SourceError(f"the labels of {where} must be whole numbers, one for each class; got fractions or NaN.")
    return targets.astype(np.int64)


def _is_one_hot(targets: np.ndarray) -> bool:
    return bool(((targets == 0) | (targets == 1)).all() and (targets.sum(axis=1) == 1).all())


def _check_inputs(where: str, split: str, inputs: np.ndarray, *, may_miss: bool) -> np.ndarray:
    if inputs.dtype.kind not in "fiub":
        raise SourceError(f"the examples of {where} must be numbers; {split} has {inputs.dtype}.")
    if inputs.ndim == 2:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named
            inputs = inputs.astype(np.float32)
    usable = np.isfinite(inputs) | (np.isnan(inputs) & may_miss) if inputs.dtype.kind == "f" else np.ones(1, bool)
    if not usable.all():
        bad = int(np.argwhere(~usable.reshape(len(inputs), -1).all(axis=1))[0, 0])
        raise SourceError(f"{where} holds NaN or infinity, first in example {bad} of {split}. Repair or remove it.")
    if inputs.ndim == 2 and inputs.shape[1]:
        return inputs
    if inputs.ndim == 3:
        inputs = inputs[..., np.newaxis]
    if inputs.ndim != 4 or inputs.shape[3] not in (1, 3, 4) or 0 in inputs.shape:
        raise SourceError(
            f"pictures must be (n, height, width) or (n, height, width, 1, 3 or 4 channels) and rows (n, columns); "
            f"{split} of {where} has {inputs.shape}."
        )
    if inputs.dtype == np.uint8:
        return inputs
    return _to_uint8(where, split, inputs)


def _to_uint8(where: str, split: str, inputs: np.ndarray) -> np.ndarray:
    low, high = inputs.min(), inputs.max()
    fractions = inputs.dtype.kind in "fb"
    if fractions and low >= 0 and high <= 1:
        return np.rint(inputs * np.float64(255)).astype(np.uint8)
    if low >= 0 and high <= 255 and not (fractions and high < 2):  # a little more than 1 is neither
        return np.rint(inputs).astype(np.uint8)
    raise SourceError(
        f"pictures must hold 0 to 255 (or 0 to 1 as fractions): a bundle takes uint8; {split} of {where} holds "
        f"{low} to {high}. Undo the normalization, dlapp does its own."
    )


def _decode(where: str, name: object) -> str:
    try:
        return name.decode() if isinstance(name, bytes) else str(name)
    except UnicodeDecodeError as error:
        raise SourceError(f"the class names of {where} must be UTF-8; got {name!r}.") from error
