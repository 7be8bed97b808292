"""The README of a bundle: its code runs as it stands."""

import re

import numpy as np
import pytest
from PIL import Image

from dlapp.exporting.readme import render
from dlapp.signature import Signature


# an open file that the ten lines leave to the interpreter
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_runs_and_gives_the_answer(bundle, monkeypatch, tmp_path, capsys):
    for path in bundle.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    sample = bundle.samples[0]
    if sample.ndim == 1:
        np.save("rows.npy", bundle.samples.astype(np.float64))
    else:
        Image.fromarray(sample[..., 0] if sample.shape[2] == 1 else sample).save("picture.png")
    blocks = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {})
    with np.load("samples.npz") as archive:
        expected = archive["probabilities"][0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for line in lines:
        label, probability = line.rsplit(" ", 1)
        assert label == bundle.labels[expected.argmax()]
        assert float(probability) == pytest.approx(expected.max(), abs=1e-5)  # as parity allows


def test_names_only_what_the_bundle_has(exported):
    signature = Signature.read(exported("rows").folder / "signature.json")
    onnx, saved = (render(signature, "rows", [format]) for format in ("onnx", "savedmodel"))
    assert "onnxruntime" in onnx
    assert "tensorflow" not in onnx
    assert "onnxruntime" not in saved
    assert "| input | `features` | float32 | (batch, 5) |" in onnx
    assert "Classes: class 0, class 1, class 2." in onnx
