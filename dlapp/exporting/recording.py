"""``samples.npz``: raw inputs of a bundle, and the outputs that Keras gave."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlapp.exporting.runtimes import Outputs
from dlapp.signature import Signature

SAMPLES = "samples.npz"
_UNSURE = "unsure_"  # in front of the arrays of a case that has a threshold of its own
_STEP = "step_"  # in front of those of steps


class Case(NamedTuple):
    """Inputs and the outputs that Keras gave.

    Attributes:
        min_score: of a detector, instead of the threshold of the bundle: where that lets nothing through, nothing
            would be proven.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Outputs
    min_score: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first input."""
        return next(iter(self.inputs.values())).shape


class StepCase(NamedTuple):
    """Some steps one after another, each with the states that the one before left.

    Attributes:
        tokens: (batch, steps) int32.
        states: that the first step begins with.
        probabilities: (batch, steps, classes) float32 that Keras gave.
        after: the states that Keras's last step left.
    """

    tokens: np.ndarray
    states: tuple[np.ndarray, ...]
    probabilities: np.ndarray
    after: tuple[np.ndarray, ...]


def write(path: Path, signature: Signature, cases: Sequence[Case], steps: StepCase | None = None) -> None:
    """Writes inputs and outputs under the signature's names, from the second case on with its number; those of steps
    behind ``step_``, where ``token`` and ``probabilities`` have a second axis, of time."""
    arrays: dict[str, np.ndarray] = {}
    for number, case in enumerate(cases, start=1):
        form = _form(signature, number)
        if case.min_score is not None:
            form = _UNSURE + "{}"
            arrays[f"{_UNSURE}min_score"] = np.array(case.min_score, np.float32)
        arrays |= {form.format(name): values for name, values in (*case.inputs.items(), *case.outputs.items())}
    if steps is not None and signature.step is not None:
        told = zip(signature.step.inputs, (steps.tokens, *steps.states), strict=True)
        given = zip(signature.step.outputs, (steps.probabilities, *steps.after), strict=True)
        arrays |= {_STEP + tensor.name: values for tensor, values in (*told, *given)}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]


def _form(signature: Signature, number: int) -> str:
    """What the names of a case are: those of the signature, then ``image_2``; of a model whose names are anything
    ``2/x``, which is no name."""
    if number == 1:
        return "{}"
    return f"{number}/{{}}" if signature.task == "tensors" else f"{{}}_{number}"


def read(folder: Path, signature: Signature) -> list[Case]:
    """The cases among what :func:`write` wrote into a bundle."""
    cases: list[Case] = []
    names = [given.name for given in signature.inputs], [output.name for output in signature.outputs]
    with np.load(folder / SAMPLES, allow_pickle=False) as archive:

        def take(form: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
            inputs, outputs = ({name: archive[form.format(name)] for name in some} for some in names)
            return inputs, outputs

        while (form := _form(signature, len(cases) + 1)).format(names[0][0]) in archive.files:
            cases.append(Case(*take(form)))
        if f"{_UNSURE}min_score" in archive.files:
            cases.append(Case(*take(_UNSURE + "{}"), float(archive[f"{_UNSURE}min_score"])))
    return cases


def read_steps(folder: Path, signature: Signature) -> StepCase | None:
    """The steps among what :func:`write` wrote; None where the bundle has none."""
    if signature.step is None:
        return None
    with np.load(folder / SAMPLES, allow_pickle=False) as archive:
        tokens, *states = (archive[_STEP + tensor.name] for tensor in signature.step.inputs)
        probabilities, *after = (archive[_STEP + tensor.name] for tensor in signature.step.outputs)
    return StepCase(tokens, tuple(states), probabilities, tuple(after))
