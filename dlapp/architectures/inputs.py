"""What networks for pictures ask of their input: three dimensions, and a size that outlasts the layers."""

import bisect
from collections.abc import Callable, Sequence
from typing import Any

import keras

_LARGEST = 2**14  # pixels a side; no network here needs as many


def feature_maps(
    network: str, shape: Sequence[int | None], features: Callable[[Any], Any], *, any_size: bool, remedy: str = ""
) -> tuple[Any, Any]:
    """The input of a network, named ``input``, and what its convolutions and poolings make of it.

    Args:
        network: its name, for errors.
        shape: (height, width, channels).
        features: from the input tensor to one tensor or several; it must build on any height and width.
        any_size: whether height and width may be None; where dense layers follow, they may not.
        remedy: a sentence on what else helps where pictures are too small or of no one size.

    Returns:
        The input tensor, and what ``features`` returned.

    Raises:
        ValueError: these are no pictures, or they are too small; the layer that has nothing left is
            named, and the least size that works.
    """
    shape = tuple(shape)
    if len(shape) != 3:
        raise ValueError(f"{network} needs pictures, (height, width, channels); got {shape}.")
    if shape[2] is None or any(size is not None and size < 1 for size in shape):
        raise ValueError(f"{network} needs a height, a width and a number of channels of at least 1; got {shape}.")
    if not any_size and None in shape:
        raise ValueError(
            f"{network} needs pictures of one size for its dense layers; got {shape}. Say which, or leave these layers "
            f"out (include_top=False).{remedy and f' {remedy}'}"
        )
    inputs = keras.Input(shape, name="input")
    try:
        return inputs, features(inputs)
    except ValueError as error:
        # on any size the same layers can be built, and then asked
        open_inputs = keras.Input((None, None, shape[2]), name="input")
        model = keras.Model(open_inputs, features(open_inputs))
        if _fits(model, shape):
            raise
        exhausted = next(
            layer.name for layer in model.layers if not _fits(keras.Model(open_inputs, layer.output), shape)
        )
        height, width = (
            bisect.bisect_left(
                range(_LARGEST), True, key=lambda size, axis=axis: _fits(model, _side(size, axis, shape))
            )
            for axis in (0, 1)
        )
        given = " x ".join("any" if size is None else str(size) for size in shape[:2])
        raise ValueError(
            f"{network} needs pictures of at least {height} x {width}: {exhausted} leaves nothing of {given}. "
            f"Resize them (preprocessing.size).{remedy and f' {remedy}'}"
        ) from error


def check_classes(classes: int) -> None:
    """Refuses fewer than two classes.

    Raises:
        ValueError: ``classes`` is less than 2.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}. For a yes/no output use logistic_unit().")


def _fits(model: keras.Model, shape: Sequence[int | None]) -> bool:
    try:
        model.compute_output_shape((None, *shape))
    except ValueError:  # "Computed output size would be zero or negative"
        return False
    return True


def _side(size: int, axis: int, shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Of that height or width, whatever the other is."""
    return (size, None, shape[2]) if axis == 0 else (None, size, shape[2])
