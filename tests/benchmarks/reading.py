"""Reading a folder of pictures, against decoding the same files with nothing else to do."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from dlapp.data import load
from dlapp.data.measuring import measure
from dlapp.data.pipelines import Pipeline
from tests.benchmarks.timing import interleave, tell


def run(folder: Path) -> None:
    """Photographs of 500 x 375 and small pictures of 32 x 32, JPEG, resized to 224 x 224 and 32 x 32."""
    random = np.random.default_rng(0)
    for name, (height, width), count, size in (("photographs", (375, 500), 300, 224), ("small", (32, 32), 6000, 32)):
        for number in range(count):
            path = folder / name / str(number % 2) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
            coarse.resize((width, height)).save(path)
        data = load(f"folder:{folder / name}")
        preprocessing = measure(data.train, size=(size, size))
        batches = Pipeline(data.train, preprocessing, cache_bytes=0).batches(32, shuffle_seed=0)
        decoding = tf.data.Dataset.from_tensor_slices(data.train.inputs).map(
            lambda path: tf.io.decode_jpeg(tf.io.read_file(path)), num_parallel_calls=tf.data.AUTOTUNE
        )
        best = interleave({"read": lambda b=batches: _drain(b), "decode": lambda d=decoding: _drain(d)}, turns=5)
        rate = len(data.train) / best["read"]
        tell(
            f"{name}, pictures a second / decoding alone ({rate:,.0f}/s)", best["decode"] / best["read"], "at least 0.9"
        )


def _drain(dataset: tf.data.Dataset) -> None:
    for _ in dataset:
        pass
