"""Reading a folder of pictures, against decoding the same files with nothing else to do."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from dlapp.data import load
from dlapp.data.measuring import measure
from dlapp.data.pipelines import Pipeline
from tests.benchmarks.timing import drain, interleave, tell


def run(folder: Path) -> None:
    """JPEG files: photographs of 500 x 375, small ones of 32 x 32; each in its own size and made smaller."""
    random = np.random.default_rng(0)
    for name, own, count, other in (("photographs", (375, 500), 300, (224, 224)), ("small", (32, 32), 6000, (28, 28))):
        for number in range(count):
            path = folder / name / str(number % 2) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (own[0] // 8, own[1] // 8, 3), np.uint8))
            coarse.resize(own[::-1]).save(path)
        data = load(f"folder:{folder / name}")

        def decoded(path: tf.Tensor) -> tf.Tensor:
            # the shape alone, so that nothing is copied
            return tf.shape(tf.io.decode_jpeg(tf.io.read_file(path), dct_method="INTEGER_ACCURATE"))

        alone = tf.data.Dataset.from_tensor_slices(data.train.inputs).map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
        alone = alone.batch(32)
        pipelines = {}
        for size in (own, other):
            preprocessing = measure(data.train, size=size, scale="unit")
            pipelines[size] = Pipeline(data.train, preprocessing, cache_bytes=0).batches(32, shuffle_seed=0)
        best = interleave(
            {
                "alone": lambda d=alone: drain(d),
                own: lambda d=pipelines[own]: drain(d),
                other: lambda d=pipelines[other]: drain(d),
            },
            turns=5,
        )
        for size in (own, other):
            what = f"{name} of {own} read into {size}, pictures a second / decoding alone"
            tell(what, best["alone"] / best[size], "at least 0.9")
