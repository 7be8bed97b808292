"""Peak memory of training from a folder larger than the cache limit, against a folder of a tenth."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.timing import tell

_PICTURES, _SIDE = 10_000, 64
_LIMIT = _PICTURES // 10 * _SIDE * _SIDE * 3 * 4  # bytes: what a tenth takes as float32

# A process of its own: the peak of a process never falls. The limit replaces an eighth of the machine's memory.
_CHILD = """
import io, resource, sys
from rich.console import Console
from dlapp.data import pipelines
pipelines.cache_limit.__code__ = (lambda: {limit}).__code__
from dlapp.recipe import Recipe
from dlapp.training import preparing, run
from dlapp.training.model_folder import ModelFolder
from pathlib import Path
recipe = Recipe.from_values({{
    "architecture": "softmax_regression", "data": f"folder:{{sys.argv[1]}}",
    "training": {{"epochs": 2, "batch_size": 32}},
}})
run.train(preparing.prepare(recipe), ModelFolder(Path(sys.argv[2])), Console(file=io.StringIO()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run(folder: Path) -> None:
    """Pictures that would take ten times the limit once resized, and a tenth of them, each trained on twice."""
    random = np.random.default_rng(0)
    for name, count in (("tenth", _PICTURES // 10), ("whole", _PICTURES)):
        for number in range(count):
            path = folder / name / str(number % 2) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
            coarse.resize((_SIDE, _SIDE)).save(path)
    peaks = {}
    for name in ("tenth", "whole"):
        command = [sys.executable, "-c", _CHILD.format(limit=_LIMIT), str(folder / name), str(folder / f"run-{name}")]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks[name] = int(printed.split()[-1]) * 1024  # Linux counts in kilobytes
    unread = _PICTURES * _SIDE * _SIDE * 3 * 4
    megabytes = ", ".join(f"{name} {peak / 1e6:.0f} MB" for name, peak in peaks.items())
    tell(
        f"peak memory of ten times the cache limit ({unread / 1e6:.0f} MB of pictures) / of a tenth ({megabytes})",
        peaks["whole"] / peaks["tenth"],
        "at most 1.1",
    )
