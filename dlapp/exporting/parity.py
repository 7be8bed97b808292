"""Does a bundle compute the same wherever it runs?"""

import dataclasses
import importlib.metadata
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment

from dlapp.architectures.stepping import step_model
from dlapp.boxes import intersection_over_union
from dlapp.errors import BundleError, UnknownName
from dlapp.exporting import saved_model
from dlapp.exporting.graph import finish, network_of, prepare, prepare_step
from dlapp.files import write_json
from dlapp.inference.bundle import ONNX, SIGNATURE, Bundle, check_files
from dlapp.signature import Signature

SAMPLES = "samples.npz"
PARITY = "parity.json"
_INCOMPARABLE = float(np.finfo(np.float32).max)  # another shape, or NaN; JSON has no infinity
TOLERANCE = 1e-5  # of a probability; float32 sums in another order differ by about 1e-7
_SCORE_TOLERANCE = 1e-4  # of a box, whose place and size vary with it
_SAME_BOX = 0.99  # intersection over union

# runtime: what it runs
RUNTIMES = {"keras": "the exported model", "savedmodel": saved_model.FOLDER, "onnxruntime": ONNX}
_PACKAGES = {"savedmodel": "tensorflow"}

Outputs = dict[str, np.ndarray]
_UNSURE = "unsure_"  # in front of the arrays of a case that has a threshold of its own
_STEP = "step_"  # in front of those of steps


class Run(Protocol):
    """A loaded runtime: raw values in, final values out; of a detector, with a threshold of the caller's."""

    def __call__(self, inputs: np.ndarray, *, min_score: float | None = None) -> Outputs: ...


class Case(NamedTuple):
    """An input and the outputs that Keras gave.

    Attributes:
        min_score: of a detector, instead of the threshold of the bundle: where that lets nothing through, nothing
            would be proven.
    """

    inputs: np.ndarray
    outputs: Outputs
    min_score: float | None = None


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


Step = Callable[[np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]


class Runtime(NamedTuple):
    """What was loaded; ``step`` is None where a bundle has none."""

    run: Run
    step: Step | None = None


@dataclasses.dataclass(frozen=True)
class RuntimeResult:
    """What one runtime answered, against what Keras gave.

    Attributes:
        runtime: its name.
        version: of the library that ran the bundle.
        largest_difference: absolute, over all outputs of all samples; of values, as a share of the
            target's deviation or mean, whichever is larger; of boxes, of their scores; of states, as a share of the
            largest number in them if that is above 1.
        same_answer: whether every sample, or token, has the same class (a tie within the tolerance counts) or value, or
            as many boxes, each with one of its class that covers it (intersection over union above 0.99).
        load_s, latency_s: seconds to load, and the median for one sample alone.
        equal: the verdict.
    """

    runtime: str
    version: str
    largest_difference: float
    same_answer: bool
    load_s: float
    latency_s: float
    equal: bool


@dataclasses.dataclass(frozen=True)
class Parity:
    """The verdict on a bundle: every runtime, on every sample, against what Keras gave at export.

    Attributes:
        reference: Keras and its version, whose answers are recorded in ``samples.npz``.
        results: one for each runtime.
        input_shapes: of the samples: several together, one alone, and pictures or sequences of other sizes.
        tolerance: the largest absolute difference that counts as equal.
    """

    reference: str
    results: tuple[RuntimeResult, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether all the runtimes agree."""
        return all(result.equal for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON has it."""
        return {"holds": self.holds, **dataclasses.asdict(self)}


def verify(
    folder: str | Path,
    runtimes: Iterable[str] | None = None,
    *,
    model: keras.Model | None = None,
    loaded: Runtime | None = None,
) -> Parity:
    """Replays the samples of a bundle in every runtime and writes ``parity.json``.

    Args:
        folder: the bundle.
        runtimes: some of ``RUNTIMES``; all that can run where it is None.
        model: what was exported, for the runtime ``keras``; a bundle does not hold it.
        loaded: the same, where :func:`keras_runtime` has traced it already.

    Raises:
        BundleError: a file is missing or was altered, or cannot be loaded, or a runtime has no file.
        UnknownName: there is no such runtime.
    """
    folder = Path(folder)
    signature = Signature.read(folder / SIGNATURE)
    check_files(folder, signature)
    loaders = _loaders(folder, signature, model)
    if loaded is not None:
        loaders = {"keras": lambda: loaded, **loaders}
    chosen = list(loaders) if runtimes is None else list(runtimes)
    if not chosen:
        raise BundleError(f"{folder} was to be run by nothing: name a runtime ({', '.join(loaders)}).")
    for name in chosen:
        if name not in RUNTIMES:
            raise UnknownName("runtime", name, RUNTIMES)
        if name not in loaders:
            raise BundleError(f"{folder} cannot be run by {name}: it needs {RUNTIMES[name]}, which is not there.")
    cases, steps = read_samples(folder, signature), read_steps(folder, signature)
    results = tuple(_replay(name, loaders[name], signature, cases, steps) for name in chosen)
    reference = f"keras {signature.provenance['exported_with']['keras']}"
    parity = Parity(reference, results, tuple(case.inputs.shape for case in cases), _tolerance(signature))
    write_json(folder / PARITY, parity.to_dict())
    return parity


def _loaders(folder: Path, signature: Signature, model: keras.Model | None) -> dict[str, Callable[[], Runtime]]:
    """How each runtime that has what it needs is loaded."""
    loaders: dict[str, Callable[[], Runtime]] = {}
    if model is not None:
        loaders["keras"] = lambda: keras_runtime(model, signature)
    if f"{saved_model.FOLDER}/saved_model.pb" in signature.files:
        loaders["savedmodel"] = lambda: _load_saved_model(folder, signature)
    if ONNX in signature.files:
        loaders["onnxruntime"] = lambda: _load_onnx(folder)
    return loaders


def keras_runtime(model: keras.Model, signature: Signature) -> Runtime:
    """A model as it was trained, behind its preprocessing."""
    return Runtime(_keras_run(model, signature), None if signature.step is None else _keras_step(model, signature))


def _keras_run(model: keras.Model, signature: Signature) -> Run:
    """By ``predict``: an eager call would run another graph."""
    network = network_of(model, signature)

    def run(inputs: np.ndarray, *, min_score: float | None = None) -> Outputs:
        outputs = network.predict(prepare(tf.constant(inputs), signature), verbose=0)
        found = finish(outputs, tf.constant(inputs), signature, min_score)
        return {name: np.asarray(values) for name, values in found.items()}

    return run


def _keras_step(model: keras.Model, signature: Signature) -> Step:
    network = step_model(model)

    def step(tokens: np.ndarray, states: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        given = prepare_step([tf.constant(values) for values in (tokens, *states)], signature)
        probabilities, *after = network.predict_on_batch(given)
        return probabilities, after

    return step


def _load_saved_model(folder: Path, signature: Signature) -> Runtime:
    # the functions live only as long as the object that was loaded
    loaded = tf.saved_model.load(str(folder / saved_model.FOLDER))

    def run(inputs: np.ndarray, *, min_score: float | None = None) -> Outputs:
        given = {signature.inputs[0].name: tf.constant(inputs)}
        if min_score is None or signature.detection is None:
            outputs = loaded.signatures["serving_default"](**given)
        else:
            thresholds = {"min_score": min_score, "max_overlap": signature.detection.max_overlap}
            given |= {name: tf.constant(value) for name, value in thresholds.items()}
            outputs = loaded.signatures["with_thresholds"](**given)
        return {name: value.numpy() for name, value in outputs.items()}

    one = signature.step
    if one is None:
        return Runtime(run)

    def step(tokens: np.ndarray, states: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        given = {wanted.name: tf.constant(value) for wanted, value in zip(one.inputs, (tokens, *states), strict=True)}
        outputs = loaded.signatures["step"](**given)
        probabilities, *after = (outputs[output.name].numpy() for output in one.outputs)
        return probabilities, after

    return Runtime(run, step)


def _load_onnx(folder: Path) -> Runtime:
    bundle = Bundle(folder)
    return Runtime(bundle.run, bundle.step)


def write_samples(path: Path, signature: Signature, cases: Sequence[Case], steps: StepCase | None = None) -> None:
    """Writes inputs and outputs under the signature's names, from the second case on with its number; those of steps
    behind ``step_``, where ``token`` and ``probabilities`` have a second axis, of time."""
    arrays: dict[str, np.ndarray] = {}
    for number, case in enumerate(cases, start=1):
        prefix, suffix = "", "" if number == 1 else f"_{number}"
        if case.min_score is not None:
            prefix, suffix = _UNSURE, ""
            arrays[f"{_UNSURE}min_score"] = np.array(case.min_score, np.float32)
        arrays[prefix + signature.inputs[0].name + suffix] = case.inputs
        arrays |= {prefix + name + suffix: value for name, value in case.outputs.items()}
    if steps is not None and signature.step is not None:
        told = zip(signature.step.inputs, (steps.tokens, *steps.states), strict=True)
        given = zip(signature.step.outputs, (steps.probabilities, *steps.after), strict=True)
        arrays |= {_STEP + tensor.name: values for tensor, values in (*told, *given)}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]


def read_samples(folder: Path, signature: Signature) -> list[Case]:
    """The inverse of :func:`write_samples`."""
    cases: list[Case] = []
    with np.load(folder / SAMPLES, allow_pickle=False) as archive:
        while True:
            suffix = "" if not cases else f"_{len(cases) + 1}"
            if signature.inputs[0].name + suffix not in archive.files:
                break
            outputs = {output.name: archive[output.name + suffix] for output in signature.outputs}
            cases.append(Case(archive[signature.inputs[0].name + suffix], outputs))
        if f"{_UNSURE}min_score" in archive.files:
            outputs = {output.name: archive[_UNSURE + output.name] for output in signature.outputs}
            inputs, least = archive[_UNSURE + signature.inputs[0].name], archive[f"{_UNSURE}min_score"]
            cases.append(Case(inputs, outputs, float(least)))
    return cases


def read_steps(folder: Path, signature: Signature) -> StepCase | None:
    """The steps among what :func:`write_samples` wrote; None where the bundle has none."""
    if signature.step is None:
        return None
    with np.load(folder / SAMPLES, allow_pickle=False) as archive:
        tokens, *states = (archive[_STEP + tensor.name] for tensor in signature.step.inputs)
        probabilities, *after = (archive[_STEP + tensor.name] for tensor in signature.step.outputs)
    return StepCase(tokens, tuple(states), probabilities, tuple(after))


def _replay(
    name: str, load: Callable[[], Runtime], signature: Signature, cases: Sequence[Case], steps: StepCase | None
) -> RuntimeResult:
    started = time.perf_counter()
    run, step = load()
    load_s = time.perf_counter() - started
    largest, same = 0.0, True
    unit = _unit(signature)
    tolerance = _tolerance(signature)
    for inputs, expected, min_score in cases:
        outputs = run(inputs) if min_score is None else run(inputs, min_score=min_score)
        if signature.detection is not None:
            difference = _difference_of_boxes(outputs, expected)
            largest, same = max(largest, difference), same and difference < _INCOMPARABLE
            continue
        for output in signature.outputs:
            share = _size(expected[output.name]) if signature.task == "sequence_to_sequence" else unit
            largest = max(largest, _largest_difference(outputs[output.name], expected[output.name]) / share)
        if "probabilities" in expected:
            same = same and _same_classes(outputs["probabilities"], expected["probabilities"])
    if steps is not None and step is not None:
        difference, alike = _replay_steps(step, steps)
        largest, same = max(largest, difference), same and alike
    return RuntimeResult(
        runtime=name,
        version=importlib.metadata.version(_PACKAGES.get(name, name)),
        largest_difference=largest,
        same_answer=same and (signature.task != "regression" or largest <= tolerance),
        load_s=round(load_s, 4),
        latency_s=round(_median_latency(run, cases[0].inputs[:1]), 6),
        equal=same and largest <= tolerance,
    )


def _replay_steps(step: Step, case: StepCase) -> tuple[float, bool]:
    """The largest difference of some steps, and whether the likeliest tokens are the same."""
    states, answers = list(case.states), []
    for tokens in case.tokens.T:
        probabilities, states = step(np.ascontiguousarray(tokens), states)
        answers.append(probabilities)
    found = np.stack(answers, axis=1)
    differences = [_largest_difference(found, case.probabilities)]
    differences += [
        _largest_difference(given, expected) / _size(expected)
        for given, expected in zip(states, case.after, strict=True)
    ]
    return max(differences), _same_classes(found, case.probabilities)


def _tolerance(signature: Signature) -> float:
    return TOLERANCE if signature.detection is None else _SCORE_TOLERANCE


def _difference_of_boxes(given: Outputs, expected: Outputs) -> float:
    """The largest difference between the scores of boxes that are the same; incomparable where there are others."""
    if any(given[name].shape != values.shape or given[name].dtype != values.dtype for name, values in expected.items()):
        return _INCOMPARABLE
    if (given["count"] != expected["count"]).any():
        return _INCOMPARABLE
    largest = 0.0
    for row, count in enumerate(expected["count"].tolist()):
        overlap = intersection_over_union(given["boxes"][row, :count], expected["boxes"][row, :count])
        other = given["classes"][row, :count, np.newaxis] != expected["classes"][row, :count]
        apart = np.abs(given["scores"][row, :count, np.newaxis] - expected["scores"][row, :count])
        cost = np.where((overlap > _SAME_BOX) & ~other, apart, _INCOMPARABLE)  # ties come in another order
        largest = max(largest, float(cost[linear_sum_assignment(np.minimum(cost, 2.0))].max(initial=0.0)))
    return largest


def _unit(signature: Signature) -> float:
    """What differences are measured in: 1 for probabilities; values have a unit of their own."""
    target = signature.target
    return 1.0 if target is None else max(target.deviation, abs(target.mean))


def _size(states: np.ndarray) -> float:
    """What differences between states are measured in: a cell of an LSTM counts without bound."""
    return max(1.0, float(np.abs(states).max()))


def _largest_difference(given: np.ndarray, expected: np.ndarray) -> float:
    if given.shape != expected.shape or given.dtype != expected.dtype:
        return _INCOMPARABLE
    difference = np.abs(given.astype(np.float64) - expected)
    return float(np.nan_to_num(difference, nan=_INCOMPARABLE).max())


def _same_classes(given: np.ndarray, expected: np.ndarray) -> bool:
    if given.shape != expected.shape:
        return False
    best = np.take_along_axis(given, expected.argmax(axis=-1)[..., np.newaxis], axis=-1)[..., 0]
    return bool((best >= given.max(axis=-1) - TOLERANCE).all())


def _median_latency(run: Run, inputs: np.ndarray, repeats: int = 20) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(inputs)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
