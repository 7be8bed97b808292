"""Best of several turns."""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping

import keras


class EpochClock(keras.callbacks.Callback):
    """Seconds of every epoch."""

    def on_train_begin(self, logs=None):
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._started)


def interleave(candidates: Mapping[Hashable, Callable[[], object]], *, turns: int) -> dict[Hashable, float]:
    """The least seconds that each candidate took, over ``turns`` rounds of all of them in turn."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(turns):
        for name, candidate in candidates.items():
            started = time.perf_counter()
            candidate()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def drain(dataset: Iterable[object]) -> None:
    """Reads all of a pipeline."""
    for _ in dataset:
        pass


def tell(what: str, ratio: float, limit: str) -> None:
    """One line of the result."""
    print(f"  {what}: {ratio:.2f} ({limit})")
