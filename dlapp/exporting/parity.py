"""Does a bundle compute the same wherever it runs?"""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import dlapp
from dlapp.errors import BundleError, UnknownName
from dlapp.exporting import comparing, recording
from dlapp.exporting.recording import Case, StepCase
from dlapp.exporting.replaying import Replay, replay
from dlapp.exporting.runtimes import RUNTIMES, Place, load, version_of
from dlapp.files import write_json
from dlapp.inference.bundle import SAVED_MODEL, SIGNATURE, check_files
from dlapp.signature import Signature

PARITY = "parity.json"
OWN = ("keras", "savedmodel", "onnxruntime")  # those that dlapp itself needs
_BUDGET_S = 120.0  # of a runtime, after which no further case begins
_TIMEOUT_S = 600.0  # after which its process is ended
_MESSAGE = 300  # letters of what a runtime says

Verdict = Literal["equal", "differs", "not supported", "not installed", "crashed"]


@dataclasses.dataclass(frozen=True)
class Located:
    """Where in a graph the answers of a runtime begin to differ.

    Attributes:
        told: in words; also why nothing was found.
        layers: that the first operator to depart computes; none where nothing departs or it belongs to no layer.
        node, operator: its name and kind in the ONNX file; several kinds where only the end of a layer is known.
        difference: the largest in that tensor, as a share of its largest number.
        after: the layers before it, which agree.
        reference: ``onnxruntime`` without optimizations where the file is right, ``keras`` where it is not.
    """

    told: str
    layers: tuple[str, ...] = ()
    node: str = ""
    operator: str = ""
    difference: float | None = None
    after: tuple[str, ...] = ()
    reference: str = ""


@dataclasses.dataclass(frozen=True)
class RuntimeResult:
    """What one runtime answered, against what Keras gave.

    Attributes:
        runtime: its name.
        verdict: ``equal``; ``differs``; ``not supported``, where it says itself that it cannot run the bundle;
            ``not installed``; ``crashed``, where its process ended or had to be ended.
        version: of the library that ran the bundle; empty where none did.
        largest_difference: absolute, over all outputs of all samples; of values, as a share of the
            target's deviation or mean, whichever is larger; of boxes, of their scores; of states, as a share of the
            largest number in them if that is above 1. None where nothing was run, as all figures are.
        largest_relative_difference: as a share of the largest number of the output.
        agreement: the share of samples with the same answer: class (a tie within the tolerance counts), tags, tokens,
            value, or as many boxes, each with one of its class that covers it (intersection over union above 0.99).
        where: of what differs, which output of which sample, and by how much.
        reason: of what did not run, in the words of the runtime; of what did, which of its graphs it cannot run.
        operator: that it does not support, where its words name one.
        remedy: another runtime that runs the bundle, or the line that installs this one.
        cases: of the samples that were run, and of how many; a slow runtime does not get to all of them.
        load_s, latency_s: seconds to load, and the median for one sample alone.
        located: of what differs, the first layer that departs; None where nobody asked.
    """

    runtime: str
    verdict: Verdict
    version: str = ""
    largest_difference: float | None = None
    largest_relative_difference: float | None = None
    agreement: float | None = None
    where: str = ""
    reason: str = ""
    operator: str = ""
    remedy: str = ""
    cases: tuple[int, int] = (0, 0)
    load_s: float | None = None
    latency_s: float | None = None
    located: Located | None = None

    @property
    def equal(self) -> bool:
        """Whether it gives the same answers."""
        return self.verdict == "equal"

    @property
    def same_answer(self) -> bool:
        """Whether every sample has the same class, tags, value or boxes."""
        return self.agreement == 1.0


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
    tolerance: float = comparing.TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether some runtime agrees, none gives another answer or breaks down, and those that dlapp needs do run."""
        verdicts = {result.verdict for result in self.results}
        refused = any(result.verdict == "not supported" and result.runtime in OWN for result in self.results)
        return "equal" in verdicts and not verdicts & {"differs", "crashed"} and not refused

    @property
    def absent(self) -> tuple[str, ...]:
        """Runtimes that are not installed."""
        return tuple(result.runtime for result in self.results if result.verdict == "not installed")

    def passes(self, *, strict: bool) -> bool:
        """Whether it holds, and of a strict one also whether every runtime is installed."""
        return self.holds and not (strict and self.absent)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON has it."""
        fields = dataclasses.asdict(self)
        for row, result in zip(fields["results"], self.results, strict=True):
            row |= {"equal": result.equal, "same_answer": result.same_answer}
        return {"holds": self.holds, **fields}


# a runtime that differs, what it was given and what it answered
Locate = Callable[[str, Place, Sequence[Case], StepCase | None, Replay], Located]


def verify(
    folder: str | Path,
    runtimes: Iterable[str] | None = None,
    *,
    answered: Mapping[str, Replay] | None = None,
    model: Path | None = None,
    isolated: bool = False,
    foreign: bool = False,
    timeout_s: float = _TIMEOUT_S,
    locate: Locate | None = None,
) -> Parity:
    """Replays the samples of a bundle in every runtime and writes ``parity.json``.

    Args:
        folder: the bundle.
        runtimes: some of ``RUNTIMES``; Keras, SavedModel and ONNX Runtime, as far as the bundle has what they
            run, where it is None.
        answered: what runtimes gave that have run the samples already.
        model: the ``.keras`` file that was exported, for the runtime ``keras``; a bundle does not hold it.
        isolated: run each of them in a process of its own; those that dlapp does not need always are.
        foreign: whether the ONNX file was written by somebody else, and knows nothing of the signature.
        timeout_s: seconds after which a process is ended.
        locate: looks into the graph where a runtime gives other answers.

    Raises:
        BundleError: a file is missing or was altered, or cannot be loaded, or a runtime has no file.
        UnknownName: there is no such runtime.
    """
    folder = Path(folder)
    signature = Signature.read(folder / SIGNATURE)
    check_files(folder, signature)
    answered = answered or {}
    place = Place(folder, signature, model=model, foreign=foreign)
    there = [name for name in RUNTIMES if name in answered or _has_file(place, name)]
    chosen = [name for name in OWN if name in there] if runtimes is None else list(dict.fromkeys(runtimes))
    if not chosen:
        raise BundleError(f"{folder} was to be run by nothing: name a runtime ({', '.join(there)}).")
    for name in chosen:
        if name not in RUNTIMES:
            raise UnknownName("runtime", name, RUNTIMES)
        if name not in there:
            needs = RUNTIMES[name].reads or "the exported model"
            raise BundleError(f"{folder} cannot be run by {name}: it needs {needs}, which is not there.")
    cases, steps = recording.read(folder, signature), recording.read_steps(folder, signature)
    results = []
    for name in chosen:
        if name in answered:
            found: Replay | RuntimeResult = answered[name]
        elif isolated or name not in OWN:
            found = in_a_process(name, place, timeout_s)
        else:
            found = _here(name, place, cases, steps)
        if isinstance(found, RuntimeResult):
            results.append(found)
            continue
        result = _judge(name, signature, cases, steps, found)
        if locate is not None and result.verdict == "differs":
            result = dataclasses.replace(result, located=locate(name, place, cases, steps, found))
        results.append(result)
    reference = f"keras {signature.provenance['exported_with']['keras']}"
    parity = Parity(
        reference,
        tuple(_with_remedy(result, results) for result in results),
        tuple(case.shape for case in cases),
        comparing.tolerance(signature),
    )
    write_json(folder / PARITY, parity.to_dict())
    return parity


def runnable(folder: Path, signature: Signature, model: Path | None) -> list[str]:
    """The runtimes for which a bundle, or the model it was made of, has the files."""
    return [name for name in RUNTIMES if _has_file(Place(folder, signature, model=model), name)]


def _has_file(place: Place, name: str) -> bool:
    reads = RUNTIMES[name].reads
    if not reads:
        return place.model is not None
    if reads == SAVED_MODEL:
        return f"{SAVED_MODEL}/saved_model.pb" in place.signature.files
    return place.onnx in place.signature.files


def _here(name: str, place: Place, cases: Sequence[Case], steps: StepCase | None) -> Replay:
    version = version_of(name)
    started = time.perf_counter()
    runtime = load(name, place)
    return replay(runtime, version, time.perf_counter() - started, cases, steps, budget_s=_BUDGET_S)


def in_a_process(name: str, place: Place, timeout_s: float, *, timed: bool = True) -> Replay | RuntimeResult:
    """A runtime that may crash, and takes nothing but its own process with it.

    Returns:
        What it answered, or why it did not; its latency only where it is ``timed``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        request = {
            "runtime": name,
            "folder": str(place.folder.resolve()),
            "onnx": place.onnx,
            "model": None if place.model is None else str(place.model.resolve()),
            "threads": place.threads,
            "foreign": place.foreign,
            "budget_s": min(_BUDGET_S, timeout_s / 2),
            "timed": timed,
        }
        folder = Path(scratch)
        write_json(folder / "request.json", request)
        ended, told = run_module("dlapp.exporting.runtimes", [folder / "request.json"], timeout_s)
        if not (folder / "answer.json").is_file():
            return RuntimeResult(name, "crashed", reason=shorten(f"{ended}: {told}" if told else ended))
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if answer["status"] == "refused":
            raise BundleError(answer["message"])
        if answer["status"] != "run":
            reason = shorten(answer["message"])
            operator = _operator(answer["message"], place)
            return RuntimeResult(name, answer["status"], reason=reason, operator=operator)
        with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
    outputs: list[dict[str, np.ndarray]] = []
    after, probabilities = [], None
    for key, values in arrays.items():
        number, _, output = key.partition("/")
        if number != "steps":
            outputs += [{} for _ in range(int(number) + 1 - len(outputs))]
            outputs[int(number)][output] = values
        elif output == "probabilities":
            probabilities = values
        else:
            after.append(values)
    found = None if probabilities is None else (probabilities, after)
    return Replay(answer["version"], outputs, found, answer["load_s"], answer["latency_s"])


def run_module(module: str, arguments: Sequence[str | Path], timeout_s: float) -> tuple[str, str]:
    """Runs ``python -m module`` to its end, or ends it and all that it has started.

    Returns:
        How it ended, in words, and the last line of its standard error.
    """
    path = os.pathsep.join([str(Path(dlapp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        environment["TMPDIR"] = scratch  # what a process that is ended leaves goes too
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # a group, which can be ended as a whole
        )
        try:
            status = process.wait(timeout_s)
            ended = (
                f"it ended with status {status}" if status >= 0 else f"it was ended by {signal.Signals(-status).name}"
            )
        except subprocess.TimeoutExpired:
            return f"it was not done after {timeout_s:.0f} s", ""  # what it last remarked is not why
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return ended, lines[-1] if lines else ""


def _judge(
    name: str, signature: Signature, cases: Sequence[Case], steps: StepCase | None, found: Replay
) -> RuntimeResult:
    compared = comparing.compare(signature, cases, steps, found)
    equal = comparing.equal(signature, compared)
    where = ""
    if not equal:
        which = f"sample {compared.sample} of case {compared.case}" if compared.case else "the steps"
        apart = (
            "another shape, type, count or place, or NaN"
            if compared.absolute == comparing.INCOMPARABLE
            else f"{compared.absolute:.2g}"
        )
        where = f"{compared.output} of {which}: {apart}"
    reason = "" if steps is None or found.steps is not None else "it cannot run the graph that goes on by one token"
    return RuntimeResult(
        runtime=name,
        verdict="equal" if equal else "differs",
        version=found.version,
        largest_difference=compared.absolute,
        largest_relative_difference=compared.relative,
        agreement=compared.agreement,
        where=where,
        reason=reason,
        cases=(len(found.outputs), len(cases)),
        load_s=round(found.load_s, 4),
        latency_s=round(found.latency_s, 6),
    )


def _with_remedy(result: RuntimeResult, results: Sequence[RuntimeResult]) -> RuntimeResult:
    """Says what to do instead: what was found to work here comes first."""
    if result.verdict == "equal":
        return result
    kind = RUNTIMES[result.runtime]
    if result.verdict == "not installed":
        return dataclasses.replace(result, remedy=kind.install)
    works = [other for other in kind.instead if any(one.runtime == other and one.equal for one in results)]
    untried = [other for other in kind.instead if all(one.runtime != other for one in results)]
    remedy = f"{works[0]} runs it" if works else f"try {untried[0]}" if untried else ""
    return dataclasses.replace(result, remedy=remedy)


def _operator(message: str, place: Place) -> str:
    """The operator that a runtime complains of, if its words name one of the graph."""
    if place.onnx not in place.signature.files:
        names: set[str] = set()
    else:
        import onnx

        graph = onnx.load(place.folder / place.onnx, load_external_data=False).graph
        names = {node.op_type for node in graph.node}
    told = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", message)
    missing = re.search(r"operations?: ([A-Za-z0-9_, ]+)", message)  # OpenVINO of a SavedModel
    return missing[1].strip() if missing else next((word for word in told if word in names), "")


def shorten(message: str) -> str:
    """The first lines of what a library says, without its traces."""
    lines = [line.strip() for line in message.strip().splitlines()]
    kept = [line for line in lines[:6] if line and not line.startswith(("Stack backtrace", "Caused by"))]
    text = " ".join(kept)
    return text if len(text) <= _MESSAGE else text[: _MESSAGE - 3] + "..."
