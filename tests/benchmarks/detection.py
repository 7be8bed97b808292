"""A grid of cells: what boxes cost beside the network, encoding labels beside decoding, ours beside torch.onnx."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from PIL import Image

from dlapp import signature as signatures
from dlapp.architectures import builder
from dlapp.data import load
from dlapp.data.measuring import measure
from dlapp.data.pipelines import Pipeline
from dlapp.exporting import onnx_file
from dlapp.exporting.graph import serving_function
from dlapp.signature import Detection, Preprocessing
from tests.benchmarks.latency import THREADS, open_session, write_torch
from tests.benchmarks.timing import drain, interleave, tell

_SIZE, _CLASSES, _TURNS = (256, 256), 20, 150
_ANCHORS = ((0.1, 0.1), (0.2, 0.15), (0.3, 0.4), (0.5, 0.4), (0.8, 0.8))
_BACKBONES = ("small", "darknet19")
_FOUND = 20  # boxes that are as sure as they must be, before those that overlap are left out
_PICTURES = 1500


def run(folder: Path) -> None:
    """Random weights and pictures of noise; each network at 256 x 256."""
    picture = np.random.default_rng(0).integers(0, 256, (1, *_SIZE, 3), np.uint8)
    for backbone in _BACKBONES:
        whole, alone = folder / f"{backbone}.onnx", folder / f"{backbone}-network.onnx"
        _write_ours(backbone, whole)
        _cut(whole, alone)
        detector, network = open_session(whole), open_session(alone)
        few, every = (np.array(score, np.float32) for score in (_nth_score(detector, picture), 0.0))
        candidates = {
            "network": lambda session=network: session.run(None, {"image": picture}),
            "nothing": lambda session=detector: session.run(None, {"image": picture}),
            "few": lambda session=detector, least=few: session.run(None, {"image": picture, "min_score": least}),
            "every": lambda session=detector, least=every: session.run(None, {"image": picture, "min_score": least}),
        }
        if importlib.util.find_spec("torch") is not None:
            write_torch("yolo_grid", _SIZE, folder / "torch.onnx", _CLASSES, boxes=len(_ANCHORS), backbone=backbone)
            scaled = np.ascontiguousarray(picture.transpose(0, 3, 1, 2), np.float32) / 255
            theirs = open_session(folder / "torch.onnx")
            candidates["torch"] = lambda session=theirs, x=scaled: session.run(None, {"image": x})
        best = interleave(candidates, turns=_TURNS)
        told = f"{backbone}, {THREADS} threads ({best['network'] * 1000:.1f} ms)"
        tell(f"{told}: boxes too / network alone, nothing found", best["nothing"] / best["network"], "at most 1.15")
        tell(f"{told}: the same, {_FOUND} sure enough", best["few"] / best["network"], "at most 1.15")
        tell(f"{told}: the same, every box of every class", best["every"] / best["network"], "the worst case")
        if "torch" in best:
            tell(f"{told}: torch.onnx / ours, which resizes too", best["torch"] / best["network"], "at least 1.0")
            tell(f"{told}: torch.onnx without boxes / ours with them", best["torch"] / best["few"], "for information")
        else:
            print("  PyTorch is not installed: pip install '.[benchmark]' compares with it")
    _compare_labels(folder / "pictures")


def _write_ours(backbone: str, path: Path) -> None:
    labels = tuple(f"class {number}" for number in range(_CLASSES))
    network = builder("yolo_grid")((*_SIZE, 3), classes=_CLASSES, boxes=len(_ANCHORS), backbone=backbone)
    detection = Detection(grid=network.output_shape[1:3], anchors=_ANCHORS)
    signature = signatures.boxes(labels, Preprocessing(3, _SIZE, scale="unit"), detection)
    onnx_file.write(serving_function(network, signature, thresholds=True), signature, path)


def _cut(whole: Path, alone: Path) -> None:
    """The same file as far as its last convolution."""
    last = [node for node in onnx.load(whole).graph.node if node.op_type == "Conv"][-1]
    onnx.utils.extract_model(whole, alone, ["image"], list(last.output))


def _nth_score(detector: onnxruntime.InferenceSession, picture: np.ndarray) -> float:
    """A score that so many boxes have."""
    everything = {"image": picture, "min_score": np.array(0, np.float32), "max_overlap": np.array(1, np.float32)}
    (scores,) = detector.run(["scores"], everything)
    return float(scores[0, _FOUND])


def _compare_labels(folder: Path) -> None:
    """JPEG files of 500 x 375 with five boxes each."""
    random = np.random.default_rng(0)
    for number in range(_PICTURES):
        coarse = Image.fromarray(random.integers(0, 256, (47, 62, 3), np.uint8))
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            path = folder / kind / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "images":
                coarse.resize((500, 375)).save(path)
                continue
            rows = np.concatenate([random.uniform(0.3, 0.7, (5, 2)), random.uniform(0.1, 0.5, (5, 2))], axis=1)
            lines = [f"{random.integers(3)} " + " ".join(f"{value:.4f}" for value in row) for row in rows]
            path.write_text("\n".join(lines))
    data = load(f"yolo:{folder}")

    def decoded(path: tf.Tensor) -> tf.Tensor:
        return tf.shape(tf.io.decode_jpeg(tf.io.read_file(path), dct_method="INTEGER_ACCURATE"))

    alone = tf.data.Dataset.from_tensor_slices(data.train.inputs).map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    alone = alone.batch(32)
    preprocessing = measure(data.train, size=_SIZE, scale="unit")
    detection = Detection(grid=(16, 16), anchors=_ANCHORS)
    pipelines = {
        "labelled": Pipeline(data.train, preprocessing, cache_bytes=0, detection=detection, classes=3),
        "counted": Pipeline(dataclasses.replace(data.train, boxes=None), preprocessing, cache_bytes=0),
    }
    datasets = {"alone": alone} | {name: one.batches(32, shuffle_seed=0) for name, one in pipelines.items()}
    best = interleave({name: lambda d=dataset: drain(d) for name, dataset in datasets.items()}, turns=7)
    what = f"photographs with labels of {detection.grid[0]} x {detection.grid[1]} cells, pictures a second"
    tell(f"{what} / decoding alone", best["alone"] / best["labelled"], "at least 0.9")
    tell(f"{what} / without the labels", best["counted"] / best["labelled"], "at least 0.95")
