"""Speeds as ratios within one run: ``make benchmark``, or ``python -m tests.benchmarks NAME...``.

Nothing here is a test: machines are noisy, and a ratio is read by a person. What is compared is run in
turns, and the best of each is taken.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import (
    architectures,
    checking,
    commands,
    detection,
    exporting,
    latency,
    memory,
    reading,
    recurrent,
    sliding,
    tables,
    text_training,
    training,
    transfer,
    variants,
)

BENCHMARKS: dict[str, Callable[[Path], None]] = {
    "commands": commands.run,
    "reading": reading.run,
    "training": training.run,
    "tables": tables.run,
    "checking": checking.run,
    "transfer": transfer.run,
    "sliding": sliding.run,
    "detection": detection.run,
    "architectures": architectures.run,
    "latency": latency.run,
    "exporting": exporting.run,
    "recurrent": recurrent.run,
    "text_training": text_training.run,
    "memory": memory.run,
    "variants": variants.run,
}


def main(names: list[str]) -> None:
    """Runs the benchmarks of those names, or all of them, each in an empty folder."""
    for name in names or BENCHMARKS:
        print(f"{name}:")
        with tempfile.TemporaryDirectory() as folder:
            BENCHMARKS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
