"""Samples through one runtime: its answers, and how long it took."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from dlapp.exporting.recording import Case, StepCase
from dlapp.exporting.runtimes import Outputs, Runtime

_REPEATS = 20  # of the latency
_LATENCY_S = 0.2  # that they may take together, once there are three


@dataclasses.dataclass(frozen=True)
class Replay:
    """What a runtime answered.

    Attributes:
        version: of the library.
        outputs: of each case that there was time for.
        steps: of the steps: (batch, steps, classes) probabilities and the states after the last; None without.
        load_s, latency_s: seconds to load, and the median for the first sample alone.
    """

    version: str
    outputs: list[Outputs]
    steps: tuple[np.ndarray, list[np.ndarray]] | None
    load_s: float
    latency_s: float


def replay(
    runtime: Runtime,
    version: str,
    load_s: float,
    cases: Sequence[Case],
    steps: StepCase | None,
    *,
    budget_s: float,
    timed: bool = True,
) -> Replay:
    """Runs every case, or as many as begin within ``budget_s``; the first one always.

    The latency takes further runs, and is 0 where it is not ``timed``.
    """
    started, outputs = time.perf_counter(), []
    for case in cases:
        if outputs and time.perf_counter() - started > budget_s:
            break
        given = {} if case.min_score is None else {"min_score": case.min_score}
        outputs.append(runtime.run(case.inputs, **given))
    found = None
    if steps is not None and runtime.step is not None:
        states, answers = list(steps.states), []
        for tokens in steps.tokens.T:
            probabilities, states = runtime.step(np.ascontiguousarray(tokens), states)
            answers.append(probabilities)
        found = np.stack(answers, axis=1), states
    return Replay(version, outputs, found, load_s, _median_latency(runtime, cases[0]) if timed else 0.0)


def as_recorded(runtime: Runtime, version: str, cases: Sequence[Case], steps: StepCase | None) -> Replay:
    """What the runtime gave whose answers the cases are, which proves only that they are recorded well.

    Its latency takes further runs.
    """
    after = None if steps is None else (steps.probabilities, list(steps.after))
    return Replay(version, [case.outputs for case in cases], after, 0.0, _median_latency(runtime, cases[0]))


def _median_latency(runtime: Runtime, case: Case) -> float:
    alone = {name: values[:1] for name, values in case.inputs.items()}
    seconds: list[float] = []
    while len(seconds) < _REPEATS and (len(seconds) < 3 or sum(seconds) < _LATENCY_S):
        started = time.perf_counter()
        runtime.run(alone)
        elapsed = time.perf_counter() - started
        seconds.append(elapsed if runtime.last_s is None else runtime.last_s())
    return float(np.median(seconds))
