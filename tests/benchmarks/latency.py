"""Pictures through ONNX Runtime: our file against the one that torch.onnx writes for the same network."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from dlapp import signature as signatures
from dlapp.architectures import builder
from dlapp.exporting import onnx_file
from dlapp.exporting.graph import serving_function, with_onnx_operators
from dlapp.signature import Preprocessing
from tests.benchmarks.timing import interleave, tell

THREADS = 2  # ONNX Runtime's own choice can be twice as slow on a busy machine
_CLASSES = 1000
_TURNS = {1: 40, 32: 5}  # by the size of the batch
NETWORKS = {"resnet50": (224, 224), "inception_v1": (224, 224), "resnet20": (32, 32)}


def run(folder: Path) -> None:
    """Random weights; ours takes uint8 and resizes and scales inside, the other takes floats as it needs them."""
    if importlib.util.find_spec("torch") is None:
        print("  PyTorch is not installed: pip install '.[benchmark]' compares with it")
        return
    random = np.random.default_rng(0)
    for name, size in NETWORKS.items():
        _write_ours(name, size, folder / f"{name}.onnx")
        write_torch(name, size, folder / f"{name}-torch.onnx", _CLASSES)
        ours, theirs = open_session(folder / f"{name}.onnx"), open_session(folder / f"{name}-torch.onnx")
        for batch, turns in _TURNS.items():
            pictures = random.integers(0, 256, (batch, *size, 3), np.uint8)
            scaled = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / 255
            best = interleave(
                {
                    "ours": lambda session=ours, given=pictures: session.run(None, {"image": given}),
                    "torch": lambda session=theirs, given=scaled: session.run(None, {"image": given}),
                },
                turns=turns,
            )
            what = f"{name}, batch {batch}, {THREADS} threads ({best['ours'] * 1000:.1f} ms): torch.onnx / ours"
            tell(what, best["torch"] / best["ours"], "at least 1.0")


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A file in ONNX Runtime as every comparison has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    # threads of one session that wait for work would take the processors from the next session
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # inputs with defaults are no mistake
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _write_ours(name: str, size: tuple[int, int], path: Path) -> None:
    preprocessing = Preprocessing(3, size, scale="unit")
    labels = tuple(f"class {number}" for number in range(_CLASSES))
    signature = signatures.classification(labels, preprocessing, {"architecture": name})
    network = with_onnx_operators(builder(name)((*size, 3), classes=_CLASSES))
    onnx_file.write(serving_function(network, signature), signature, path)


def write_torch(name: str, size: tuple[int, int], path: Path, classes: int, **options: Any) -> None:
    """Writes the ONNX file of one of ``torch_networks`` for pictures of ``size``."""
    import torch

    from tests.benchmarks import torch_networks

    network = getattr(torch_networks, name)(classes, **options).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is called old
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, *size),),
            str(path),
            input_names=["image"],
            output_names=["outputs"],
            dynamic_axes={"image": {0: "batch"}, "outputs": {0: "batch"}},
            dynamo=False,
        )
