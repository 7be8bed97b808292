"""Best of several turns."""

import time
from collections.abc import Callable, Hashable, Mapping


def interleave(candidates: Mapping[Hashable, Callable[[], object]], *, turns: int) -> dict[Hashable, float]:
    """The least seconds that each candidate took, over ``turns`` rounds of all of them in turn."""
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(turns):
        for name, candidate in candidates.items():
            started = time.perf_counter()
            candidate()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def tell(what: str, ratio: float, limit: str) -> None:
    """One line of the result."""
    print(f"  {what}: {ratio:.2f} ({limit})")
