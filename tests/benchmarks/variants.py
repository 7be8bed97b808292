"""A convolutional network in 8 bits against its float32 file, in ONNX Runtime at batch 32."""

from pathlib import Path

import numpy as np

from dlapp import signature as signatures
from dlapp.architectures import builder
from dlapp.exporting import onnx_file, variants
from dlapp.exporting.graph import serving_function, with_onnx_operators
from dlapp.exporting.variants import Measured, Wanted
from dlapp.inference.bundle import ONNX, file_of
from dlapp.inference.timing import processor
from dlapp.signature import Preprocessing
from tests.benchmarks.latency import open_session
from tests.benchmarks.timing import interleave, tell

NETWORKS = {"resnet20": 32, "resnet18": 96, "vgg11": 96}  # and the side of the picture
_BATCH, _CLASSES, _TURNS = 32, 10, 15


def run(folder: Path) -> None:
    """Random weights: how good it is, is what ``dlapp export`` measures."""
    told = processor()
    print(f"  {told['name']}, VNNI: {told['vnni']}")
    for name, side in NETWORKS.items():
        place = folder / name
        place.mkdir()
        signature = signatures.classification(
            tuple(map(str, range(_CLASSES))), Preprocessing(3, (side, side), scale="unit"), {"architecture": name}
        )
        network = with_onnx_operators(builder(name)((side, side, 3), classes=_CLASSES))
        onnx_file.write(serving_function(network, signature), signature, place / ONNX)
        given = np.random.default_rng(0).integers(0, 256, (_BATCH, side, side, 3), np.uint8)
        smaller = ("int8", "float16")
        variants.write(place, signature, Wanted(smaller, lambda given=given: [given], lambda _: Measured("", None, 0)))
        files = {variant: place / file_of(ONNX, variant) for variant in ("float32", *smaller)}
        sessions = {variant: open_session(file) for variant, file in files.items()}
        best = interleave(
            {
                variant: lambda session=session, given=given: session.run(None, {"image": given})
                for variant, session in sessions.items()
            },
            turns=_TURNS,
        )
        for variant, speed, size in (
            ("int8", "at least 1.8 with VNNI", "about 0.25"),
            ("float16", "below 1: for GPUs", "about 0.5"),
        ):
            tell(f"{name} of {side} x {side}, float32 / {variant}, time", best["float32"] / best[variant], speed)
            sizes = files[variant].stat().st_size / files["float32"].stat().st_size
            tell(f"{name}, {variant} / float32, bytes", sizes, size)
