"""Which layer of an ONNX file is the first to depart, where a runtime gives other answers."""

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dlapp.exporting import comparing, recording
from dlapp.exporting.comparing import INCOMPARABLE, Comparison
from dlapp.exporting.onnx_layers import LayeredGraph
from dlapp.exporting.parity import Located, RuntimeResult, in_a_process, run_module
from dlapp.exporting.recording import Case, StepCase
from dlapp.exporting.replaying import Replay, replay
from dlapp.exporting.runtimes import RUNTIMES, Graph, Place, of_graphs
from dlapp.files import write_json
from dlapp.inference.bundle import ONNX, STEP
from dlapp.signature import Tensor

_SMALL = 1e-6  # what a tensor of smaller numbers still counts as
_PERMUTED = 2**20  # numbers, above which not every order of the axes is tried

Inputs = Mapping[str, np.ndarray]
Measure = Callable[[Sequence[str]], dict[str, float] | None]  # how far each tensor departs; None where it does not run


class Locator:
    """Looks into graphs, for :func:`verify`; of what is true of a file it remembers one answer."""

    def __init__(self, timeout_s: float = 600.0) -> None:
        """Begins without any.

        Args:
            timeout_s: seconds after which a process is ended.
        """
        self._timeout_s = timeout_s
        self._plain: tuple[Path, Replay] | None = None
        self._of_file: dict[tuple[Path, str, int, int], Located] = {}

    def __call__(
        self, name: str, place: Place, cases: Sequence[Case], steps: StepCase | None, found: Replay
    ) -> Located:
        """The first layer whose output departs.

        Where ONNX Runtime without optimizations gives Keras's answers, the file is right and its tensors are what
        those of the runtime are compared with; where not, its tensors are compared with the layers of the model.

        Args:
            name: of the runtime.
            place: what it ran.
            cases: of ``samples.npz``.
            steps: likewise.
            found: what it answered.
        """
        if RUNTIMES[name].reads != ONNX:
            return Located(f"its layers are not known: only ONNX files can be looked into, not what {name} runs")
        compared = comparing.compare(place.signature, cases, steps, found)
        try:
            plain = self._replay(place, cases, steps)
        except Exception as error:  # ONNX Runtime's own classes share no base but this
            return Located(f"ONNX Runtime, which its layers would be compared with, cannot run the file: {error}")
        own = comparing.compare(place.signature, cases, steps, plain)
        if comparing.equal(place.signature, own):
            return self._in_runtime(name, place, cases, steps, compared)
        file = place.folder / (place.onnx if own.case else STEP)
        key = (file, own.output, own.case, own.sample)
        if key not in self._of_file:
            self._of_file[key] = self._in_file(place, cases, steps, own)
        return self._of_file[key]

    def _replay(self, place: Place, cases: Sequence[Case], steps: StepCase | None) -> Replay:
        """What the files give without any optimization."""
        if self._plain is None or self._plain[0] != place.folder / place.onnx:
            step = None if place.signature.step is None else _open(place.folder / STEP)
            runtime = of_graphs(place.signature, _open(place.folder / place.onnx), step)
            answers = replay(runtime, "", 0.0, cases, steps, budget_s=self._timeout_s, timed=False)
            self._plain = place.folder / place.onnx, answers
        return self._plain[1]

    def _in_runtime(
        self, name: str, place: Place, cases: Sequence[Case], steps: StepCase | None, compared: Comparison
    ) -> Located:
        """The file is right: against its own tensors."""
        file = place.onnx if compared.case else STEP
        graph = LayeredGraph(place.folder / file)
        for fed in _feeds(place, cases, steps, compared):
            measure = self._measure_runtime(name, place, graph, fed, steps=not compared.case)
            tolerance = comparing.tolerance(place.signature)
            first = _search(graph, list(graph.ends.values()), compared.output, tolerance, measure)
            if first is None:
                continue
            tensor, by, agreeing = first
            after = _layers(graph, graph.nearest(tensor, agreeing))
            inside = [one for one in graph.between(tensor, agreeing) if one in graph.tensors]
            finer = _search(graph, inside, tensor, tolerance, measure)
            if finer is not None:
                tensor, by, _ = finer
            node, operator = graph.node(tensor)
            layers = graph.name(tensor)
            told = (
                f"departs at {_describe(layers, after)}: node {node} ({operator}) of {file} gives numbers that are "
                f"{_far(by)}; ONNX Runtime without optimizations computes there what Keras does"
            )
            return Located(told, layers, node, operator, by, after, "onnxruntime")
        return Located(
            f"no layer of {file} departs once it has to give the outputs of its layers: something that it does with "
            "several operators at a time differs"
        )

    def _measure_runtime(
        self, name: str, place: Place, graph: LayeredGraph, fed: Sequence[Inputs], *, steps: bool
    ) -> Measure:
        def measure(tensors: Sequence[str]) -> dict[str, float] | None:
            with tempfile.TemporaryDirectory() as scratch:
                copy = graph.write(Path(scratch), tensors, place.signature, _inputs(place, steps=steps))
                nothing = {output.name: np.zeros(1, np.float32) for output in copy.signature.outputs}
                cases = [Case(one, nothing) for one in fed]
                recording.write(copy.folder / recording.SAMPLES, copy.signature, cases)
                there = dataclasses.replace(
                    place, folder=copy.folder, signature=copy.signature, onnx=ONNX, model=None, foreign=True
                )
                found = in_a_process(name, there, self._timeout_s, timed=False)
                if isinstance(found, RuntimeResult):
                    return None
                plain = _open(copy.folder / ONNX)
                apart = dict.fromkeys(tensors, 0.0)
                for one, given in zip(fed, found.outputs, strict=False):
                    wanted = plain(one)
                    for tensor in tensors:
                        new = copy.names[tensor]
                        apart[tensor] = max(apart[tensor], _departure(given.get(new), wanted[new]))
            return apart

        return measure

    def _in_file(self, place: Place, cases: Sequence[Case], steps: StepCase | None, compared: Comparison) -> Located:
        """The file is wrong: against the model it was made of."""
        file = place.onnx if compared.case else STEP
        if place.model is None:
            return Located(
                f"{file} itself gives other answers than Keras; its layers have nothing to be compared with, since the "
                "model is not below models/ any more"
            )
        graph = LayeredGraph(place.folder / file)
        for fed in _recorded(place, cases, steps, compared):
            answers = self._ask_keras(place, fed, steps=not compared.case)
            if isinstance(answers, str):
                return Located(f"{file} itself gives other answers than Keras, whose layers cannot be asked: {answers}")
            measured = _measure_file(place, graph, answers, steps=not compared.case)
            tolerance = comparing.tolerance(place.signature)
            tensor = next((name for name, by in measured.items() if by > tolerance), None)
            if tensor is None:
                continue
            agreeing = [name for name, by in measured.items() if by <= tolerance]
            after = _layers(graph, graph.nearest(tensor, agreeing))
            layers = graph.name(tensor)
            inside = graph.between(tensor, agreeing)
            own = [one for one in inside if set(graph.layers(one)) & set(layers) and graph.weighted(one)] or inside
            operator = ", ".join(dict.fromkeys(graph.node(one)[1] for one in own))
            node, by = graph.node(tensor)[0], measured[tensor]
            told = (
                f"{file} itself departs from Keras at {_describe(layers, after)}: behind {operator}, node {node} gives "
                f"numbers that are {_far(by)}"
            )
            return Located(told, layers, node, operator, by, after, "keras")
        return Located(
            f"every layer of {file} gives what that of the model does: what comes behind them differs, or samples.npz "
            "holds answers of another model"
        )

    def _ask_keras(self, place: Place, fed: Inputs, *, steps: bool) -> "list[tuple[Inputs, _Layers]] | str":
        assert place.model is not None
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            model = str(place.model.resolve())
            write_json(folder / "request.json", {"folder": str(place.folder.resolve()), "model": model, "steps": steps})
            np.savez(folder / "inputs.npz", **fed)  # pyright: ignore[reportArgumentType]
            ended, said = run_module("dlapp.exporting.keras_layers", [folder / "request.json"], self._timeout_s)
            if not (folder / "layers.npz").is_file():
                return f"{ended}: {said}"
            with np.load(folder / "layers.npz", allow_pickle=False) as archive:
                arrays = dict(archive)
        answers: list[tuple[dict[str, np.ndarray], _Layers]] = []
        for key, values in arrays.items():
            number, kind, name = key.split("/", 2)
            if int(number) == len(answers):
                answers.append(({}, {}))
            if kind == "input":
                answers[-1][0][name] = values
            else:
                answers[-1][1].setdefault(name.rpartition("/")[0], []).append(values)
        return list(answers)


_Layers = dict[str, list[np.ndarray]]


def _open(path: Path) -> Graph:
    """A file in ONNX Runtime, one operator after another as they stand there."""
    from dlapp.exporting.runtimes.onnx_runtime import open_session

    return open_session(path, optimized=False)


def _inputs(place: Place, *, steps: bool) -> Sequence[Tensor]:
    if not steps:
        return place.signature.inputs
    assert place.signature.step is not None
    return place.signature.step.inputs


def _recorded(
    place: Place, cases: Sequence[Case], steps: StepCase | None, compared: Comparison
) -> Iterator[dict[str, np.ndarray]]:
    """The inputs for which answers differ: the sample that is furthest off, then all of its case; or the steps."""
    if not compared.case:
        assert steps is not None
        names = [one.name for one in _inputs(place, steps=True)]
        yield dict(zip(names, (steps.tokens, *steps.states), strict=True))
        return
    given = cases[compared.case - 1].inputs
    yield {name: values[compared.sample : compared.sample + 1] for name, values in given.items()}
    yield dict(given)


def _feeds(
    place: Place, cases: Sequence[Case], steps: StepCase | None, compared: Comparison
) -> Iterator[list[dict[str, np.ndarray]]]:
    """The same as a graph takes them: of steps, each with the states that the file gives in the one before."""
    for given in _recorded(place, cases, steps, compared):
        if compared.case:
            yield [given]
            continue
        assert place.signature.step is not None
        plain, (token, *names) = _open(place.folder / STEP), given
        left, fed = {name: given[name] for name in names}, []
        for tokens in given[token].T:
            fed.append({token: np.ascontiguousarray(tokens), **left})
            outputs = plain(fed[-1])
            after = [outputs[one.name] for one in place.signature.step.outputs[1:]]
            left = dict(zip(names, after, strict=True))
        yield fed


def _search(
    graph: LayeredGraph, tensors: Sequence[str], last: str, tolerance: float, measure: Measure
) -> tuple[str, float, list[str]] | None:
    """The first that departs, by how much, and those before it that agree; None where none does.

    All at once; where that cannot be run, or asking for so many makes the difference vanish, one after another.

    Args:
        graph: that they belong to.
        tensors: in the order of the graph.
        last: that is known to depart.
        tolerance: of the relative difference.
        measure: one or several of them.
    """
    measured = measure(list(dict.fromkeys([*tensors, last])))
    if measured is not None:
        for number, name in enumerate(measured):
            if measured[name] > tolerance:
                return name, measured[name], list(measured)[:number]
    departs, by, agreeing = None, 0.0, []
    left = [name for name in tensors if name in graph.before(last)]
    while left:
        middle = left[len(left) // 2]
        measured = measure([middle])
        if measured is None:
            left.remove(middle)
        elif measured[middle] > tolerance:
            departs, by = middle, measured[middle]
            left = [name for name in left if name in graph.before(middle)]
        else:
            agreeing.append(middle)
            left = [name for name in left if name != middle and name not in graph.before(middle)]
    if departs is None:
        measured = measure([last])
        if measured is None or measured[last] <= tolerance:
            return None
        departs, by = last, measured[last]
    return departs, by, agreeing


def _measure_file(
    place: Place, graph: LayeredGraph, answers: "Sequence[tuple[Inputs, _Layers]]", *, steps: bool
) -> dict[str, float]:
    """How far the last tensor of each layer is from what the layer gives in Keras, for those that can be compared."""
    order = list(answers[0][1])
    apart: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        copy = graph.write(Path(scratch), graph.ends.values(), place.signature, _inputs(place, steps=steps))
        plain = _open(copy.folder / ONNX)
        for fed, wanted in answers:
            outputs = plain(fed)
            for layer, tensor in graph.ends.items():
                stands_for = _stands_for(layer, order, graph.ends)
                given = outputs[copy.names[tensor]]
                found = [_apart(given, values) for one in stands_for for values in wanted[one]]
                sure = [one for one in found if one is not None]
                if sure:
                    apart[tensor] = max(apart.get(tensor, 0.0), min(sure))
    return {tensor: apart[tensor] for tensor in graph.ends.values() if tensor in apart}


def _stands_for(layer: str, order: Sequence[str], ends: Collection[str]) -> list[str]:
    """The layers whose output a tensor may be: its own, and those behind it that have none in the file."""
    if layer not in order:
        return []
    behind = itertools.takewhile(lambda one: one not in ends, order[order.index(layer) + 1 :])
    return [layer, *behind]


def _apart(given: np.ndarray, wanted: np.ndarray) -> float | None:
    """How far a tensor of ONNX departs from one of Keras, whose axes have another order; None where it is another."""
    if given.size != wanted.size:
        return None
    best = INCOMPARABLE
    for axes in _orders(given):
        best = min(best, _departure(given.transpose(axes).reshape(wanted.shape), wanted))
        if best < comparing.TOLERANCE:
            break
    return best


def _orders(values: np.ndarray) -> list[tuple[int, ...]]:
    """Orders of axes, the likeliest first."""
    same = tuple(range(values.ndim))
    usual = [same, (0, *same[2:], 1)] if values.ndim > 2 else [same]
    every = itertools.permutations(same) if values.size < _PERMUTED else ()
    return list(dict.fromkeys([*usual, *every]))


def _departure(given: np.ndarray | None, wanted: np.ndarray) -> float:
    """The largest difference as a share of the largest number; where ``wanted`` is not a number, anything goes."""
    if given is None or given.size != wanted.size:
        return INCOMPARABLE
    there = ~np.isnan(wanted)
    difference = np.abs(given.reshape(wanted.shape).astype(np.float64) - wanted)[there]
    size = max(float(np.abs(wanted[there]).max(initial=0.0)), _SMALL)
    return min(float(np.nan_to_num(difference, nan=INCOMPARABLE).max(initial=0.0)) / size, INCOMPARABLE)


def _layers(graph: LayeredGraph, tensors: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for tensor in tensors for name in graph.name(tensor)[-1:]))


def _describe(layers: Sequence[str], after: Sequence[str]) -> str:
    at = " + ".join(layers) or "no layer"
    return f"{at}, after {' and '.join(after) if after else 'the input'}"


def _far(by: float) -> str:
    return "of another shape, or no numbers" if by == INCOMPARABLE else f"off by {by:.2g} of the largest"
