"""A bundle that is not whole is refused; one that is answers what its signature says, and nothing else."""

import json

import numpy as np
import onnx
import pytest

from dlapp.errors import BundleError, UnknownName
from dlapp.files import sha256
from dlapp.inference import Bundle
from dlapp.signature import FORMAT


def edit(folder, change):
    """Lets ``change`` edit the fields of signature.json."""
    path = folder / "signature.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def flip_a_bit(folder):
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)


def sign_what_is_no_graph(folder):
    (folder / "model.onnx").write_bytes(b"no graph")
    edit(folder, lambda fields: fields["files"].update({"model.onnx": sha256(folder / "model.onnx")}))


def sign_a_graph_without_metadata(folder):
    proto = onnx.load(folder / "model.onnx")
    del proto.metadata_props[:]
    onnx.save(proto, folder / "model.onnx")
    edit(folder, lambda fields: fields["files"].update({"model.onnx": sha256(folder / "model.onnx")}))


DAMAGES = {
    "altered": (flip_a_bit, r"model\.onnx was altered: its SHA-256"),
    "missing": (lambda folder: (folder / "model.onnx").unlink(), r"model\.onnx is missing: the bundle is not"),
    "no graph": (sign_what_is_no_graph, r"model\.onnx cannot be loaded by ONNX Runtime"),
    "no metadata": (sign_a_graph_without_metadata, r"disagree on format, task, inputs"),
    "no ONNX": (lambda folder: edit(folder, lambda f: f["files"].pop("model.onnx")), r"exported without.*--to onnx"),
    "other labels": (lambda folder: edit(folder, lambda f: f["labels"].reverse()), r"disagree on labels\. Export"),
    "other scale": (
        lambda folder: edit(folder, lambda f: f["preprocessing"].update(scale="unit")),
        "disagree on preprocessing",
    ),
    "newer format": (lambda folder: edit(folder, lambda f: f.update(format=FORMAT + 1)), "Install a newer dlapp"),
    "no signature": (lambda folder: (folder / "signature.json").unlink(), r"signature\.json is missing"),
    "half a signature": (lambda folder: (folder / "signature.json").write_text('{"format": 1'), "is not JSON"),
    "no field": (lambda folder: edit(folder, lambda f: f.pop("labels")), "is not a signature .*labels"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_bundle_that_is_not_whole_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(BundleError, match=message):
        Bundle(copy)


def test_is_found_by_its_name(bundles, monkeypatch, tmp_path):
    (tmp_path / "export").symlink_to(bundles)
    monkeypatch.chdir(tmp_path)
    assert Bundle.find("rows").signature.labels == ("red", "green", "blue")
    with pytest.raises(UnknownName, match=r"unknown bundle 'row'\. Did you mean rows"):
        Bundle.find("row")


@pytest.mark.parametrize("size", [(4, 4), (9, 7)], ids=["own size", "another size"])
def test_runs_what_was_exported(colours, size):
    inputs = np.random.default_rng(0).integers(0, 256, (6, *size, 3), np.uint8)
    inputs[:] = inputs[:, :1, :1]  # of one colour, whatever the size
    logits = inputs[:, 0, 0].astype(np.float64) / 255 * 16  # the sum over 4 x 4 pixels
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outputs = colours.run(inputs)
    assert list(outputs) == ["probabilities"]
    assert outputs["probabilities"].dtype == np.float32
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5, rtol=0)  # as parity allows


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((1, 1, 8, 8, 3), np.uint8),
    ],
    ids=["float32", "no batch", "grey", "five axes"],
)
def test_other_dtypes_and_shapes_are_refused(colours, inputs):
    with pytest.raises(ValueError, match=rf"image must be uint8 of .*; got {inputs.dtype} of \({inputs.shape[0]}, "):
        colours.run(inputs)
