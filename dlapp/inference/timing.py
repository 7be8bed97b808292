"""How long a network takes: each way to run it in a process of its own, in turn."""

import dataclasses
import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlapp.errors import DlappError

ROUNDS = 5  # a machine that others use is faster at one time than at another: each candidate sees all of them
_LEAST = 2  # calls in a round
_WARM_UP = 3  # calls
_WAIT_S = 600  # for a process to answer

Run = Callable[[Any], object]


class Timed(NamedTuple):
    """What is run where a clock around it may tell too much.

    Attributes:
        run: the network.
        last_s: seconds that the last run took where it ran, if that is another process; None for a clock here.
    """

    run: Run
    last_s: Callable[[], float] | None = None

    def __call__(self, inputs: Any) -> object:
        return self.run(inputs)


class Candidate(NamedTuple):
    """A way to run a network.

    Attributes:
        load: gives what is run; it can be pickled, as a function of a module and a ``functools.partial`` of one can.
        package: or module that it imports, which counts as no time of loading.
    """

    load: Callable[[], Run]
    package: str


@dataclasses.dataclass(frozen=True)
class Latency:
    """Seconds of a call.

    Attributes:
        median_s, p95_s: half of the calls take no longer, and 95 of 100.
        calls: how many there were.
    """

    median_s: float
    p95_s: float
    calls: int


@dataclasses.dataclass(frozen=True)
class Timing:
    """What was measured of a candidate.

    Attributes:
        load_s: seconds until it can be run.
        latencies: by the number of inputs in a batch.
        peak_memory: bytes of its process at most, libraries and inputs among them; None where the system does not say.
        error: why there is nothing else.
        answer: to the largest batch, in front of all that is timed.
    """

    load_s: float = 0.0
    latencies: Mapping[int, Latency] = dataclasses.field(default_factory=dict[int, Latency])
    peak_memory: int | None = None
    error: str = ""
    answer: Any = None


def measure(
    candidates: Mapping[Any, Candidate],
    batches: Mapping[int, Any],
    *,
    seconds: float = 2.0,
    tell: Callable[[int], None] = lambda _: None,
) -> dict[Any, Timing]:
    """Times of every candidate, each in a process of its own.

    They are loaded one after another, then run in turn for ``ROUNDS`` rounds while the others wait.

    Args:
        candidates: by any name.
        batches: inputs by their number.
        seconds: that each runs with each batch, at least.
        tell: is called after each round, with its number from 1.
    """
    context = multiprocessing.get_context("spawn")  # a process that knows nothing of this one's threads and libraries
    running: dict[Any, tuple[Any, Connection]] = {}
    found: dict[Any, Timing] = {}
    seen: dict[Any, dict[int, list[float]]] = {name: {size: [] for size in batches} for name in candidates}
    try:
        for name, candidate in candidates.items():
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, candidate, batches), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is seen
            running[name] = process, ours
            found[name] = _receive(ours)
        for number in range(1, ROUNDS + 1):
            for size in batches:
                for name, (process, connection) in running.items():
                    if found[name].error:
                        continue
                    told = _ask(connection, (size, seconds / ROUNDS))
                    if isinstance(told, Timing):
                        found[name] = told
                        process.terminate()  # so that it takes no time from the others
                    else:
                        seen[name][size] += told
            tell(number)
        for name, (_, connection) in running.items():
            if found[name].error:
                continue
            memory = _ask(connection, None)
            latencies = {size: _latency(times) for size, times in seen[name].items()}
            peak = memory if isinstance(memory, int) else None
            found[name] = dataclasses.replace(found[name], latencies=latencies, peak_memory=peak)
    finally:
        for process, connection in running.values():
            connection.close()
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()
    return found


def _ask(connection: Connection, what: object) -> Any:
    try:
        connection.send(what)
    except OSError:
        return Timing(error="its process ended")
    return _receive(connection)


def _receive(connection: Connection) -> Any:
    if not connection.poll(_WAIT_S):
        return Timing(error=f"no answer within {_WAIT_S} s")
    try:
        return connection.recv()
    except EOFError:
        return Timing(error="its process ended")


def _serve(connection: Connection, candidate: Candidate, batches: Mapping[int, Any]) -> None:
    """Loads and runs, as the other end asks for it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started beside ends with it
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)  # what libraries remark; errors go to the other end
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.environ["TMPDIR"], tempfile.tempdir = scratch, None  # what a browser leaves goes with its process
        _load_and_run(connection, candidate, batches)


def _load_and_run(connection: Connection, candidate: Candidate, batches: Mapping[int, Any]) -> None:
    try:
        importlib.import_module(candidate.package)
        started = time.perf_counter()
        run = candidate.load()
        load_s = time.perf_counter() - started
        answer = None
        for size in sorted(batches):
            for _ in range(_WARM_UP):
                answer = run(batches[size])
        connection.send(Timing(load_s, answer=answer))
        while (asked := connection.recv()) is not None:
            size, seconds = asked
            connection.send(_times(run, batches[size], seconds))
        connection.send(_peak_memory())
    except EOFError:  # nobody asks any more
        pass
    except DlappError as error:
        connection.send(Timing(error=str(error)))
    except Exception as error:  # of a library, whose classes are not known here
        connection.send(Timing(error=f"{type(error).__name__}: {error}"))


def _times(run: Run, batch: Any, seconds: float) -> list[float]:
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < _LEAST or time.perf_counter() < end:
        started = time.perf_counter()
        run(batch)
        elapsed = time.perf_counter() - started
        found.append(run.last_s() if isinstance(run, Timed) and run.last_s is not None else elapsed)
    return found


def _latency(times: list[float]) -> Latency:
    median, high = np.quantile(times, (0.5, 0.95)).tolist()
    return Latency(median, high, len(times))


def _peak_memory() -> int | None:
    """Of this process alone: what getrusage() says begins with the size of the process that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(sizes[0]) if sizes else None


def processor() -> dict[str, Any]:
    """What the numbers were measured on: its name, and whether it multiplies 8-bit numbers four at a time (VNNI)."""
    import platform

    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {"name": platform.processor() or platform.machine(), "vnni": None}
    pairs = (line.partition(":") for line in told.splitlines())
    fields = {key.strip(): value.strip() for key, _, value in reversed(list(pairs))}
    flags = fields.get("flags", "").split()
    name = fields.get("model name", platform.machine())
    return {"name": name, "vnni": "avx512_vnni" in flags or "avx_vnni" in flags if flags else None}
