"""LeNet-5 over a 256 x 256 picture in one pass, against cropping every window and classifying it."""

from pathlib import Path

import numpy as np

from dlapp.architectures import fully_convolutional, lenet5
from dlapp.exporting import export
from dlapp.inference import Bundle
from dlapp.signature import Preprocessing
from tests.benchmarks.timing import interleave, tell

_SIDE, _WINDOW, _STRIDE, _BATCH, _TURNS = 256, 32, 4, 256, 20


def run(folder: Path) -> None:
    """By the bundles in ONNX Runtime, and in Keras."""
    model = lenet5()
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (_SIDE, _SIDE, 1), np.uint8)
    samples = random.integers(0, 256, (2, _WINDOW, _WINDOW, 1), np.uint8)
    options = {"labels": list("0123456789"), "preprocessing": Preprocessing(1, (_WINDOW, _WINDOW), scale="unit")}
    bundles = {}
    for sliding in (False, True):
        export(model, folder / str(sliding), samples=samples, formats=["onnx"], sliding=sliding, **options)
        bundles[sliding] = Bundle(folder / str(sliding))
    places = range(0, _SIDE - _WINDOW + 1, _STRIDE)

    def crops() -> np.ndarray:
        return np.stack([picture[top : top + _WINDOW, left : left + _WINDOW] for top in places for left in places])

    def by_crops() -> None:
        every = crops()
        for start in range(0, len(every), _BATCH):
            bundles[False].run(every[start : start + _BATCH])

    convolutional = fully_convolutional(model)
    scaled = picture[np.newaxis].astype("float32") / 255
    candidates = {
        "crops": by_crops,
        "one pass": lambda: bundles[True].run(picture[np.newaxis]),
        "Keras, crops": lambda: model.predict(crops() / np.float32(255), batch_size=_BATCH, verbose=0),
        "Keras, one pass": lambda: convolutional.predict_on_batch(scaled),
    }
    for candidate in candidates.values():
        candidate()
    best = interleave(candidates, turns=_TURNS)
    told = f"{len(places) ** 2:,} windows"
    tell(f"crops / one pass, ONNX Runtime ({told})", best["crops"] / best["one pass"], "at least 10")
    tell("crops / one pass, Keras", best["Keras, crops"] / best["Keras, one pass"], "at least 10")
