"""Work on many files, on every core."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from joblib import Parallel, delayed

_MANY = 1000  # files: they pay for starting processes, which do not wait for Python's lock as threads do
_BATCH = 64  # files that a process is given at a time

File = TypeVar("File")
Result = TypeVar("Result")


def map_files(work: Callable[[File], Result], files: Iterable[File]) -> list[Result]:
    """``work(file)`` of each file, in their order; ``work`` is a function of a module, which can be pickled."""
    files = list(files)
    many = len(files) >= _MANY
    backend, batch = ("loky", _BATCH) if many else ("threading", 1)
    return list(Parallel(n_jobs=-1, backend=backend, batch_size=batch)(delayed(work)(file) for file in files))
