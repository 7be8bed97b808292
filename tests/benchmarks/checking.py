"""``dlapp check`` on a folder of 60,000 pictures, near duplicates included, against decoding them alone."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from dlapp import pictures
from dlapp.data.auditing import audit
from tests.benchmarks.timing import tell

_PICTURES, _SIDE, _MOTIFS = 60_000, 64, 10


def run(folder: Path) -> None:
    """Small JPEG files with structure of their own; each is opened by both as ``pictures.read`` does."""
    random = np.random.default_rng(0)
    motifs = random.integers(0, 256, (_MOTIFS, 8, 8, 3))
    files = []
    for number in range(_PICTURES):
        path = folder / "pictures" / str(number % _MOTIFS) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = np.clip(motifs[number % _MOTIFS] + random.integers(-60, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(small).resize((_SIDE, _SIDE)).save(path, quality=85)
        files.append(path)

    def decode() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for _ in threads.map(lambda path: pictures.read(path, 3).shape, files):
                pass

    seconds = []
    for work in (decode, lambda: audit(f"folder:{folder / 'pictures'}")):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    tell(
        f"check of {_PICTURES:,} pictures / decoding them ({seconds[1]:.0f} s)", seconds[1] / seconds[0], "at most 2.0"
    )
