"""The README of a bundle: its code runs as it stands."""

import dataclasses
import re

import numpy as np
import pytest
from PIL import Image

from dlapp.exporting.readme import render
from dlapp.signature import Signature
from tests.inference.tiny_detector import write_bundle as write_detector


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


# an open file that the ten lines leave to the interpreter
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_prints_the_objects_of_a_picture(tmp_path, monkeypatch, capsys):
    import tensorflow as tf

    folder = write_detector(tmp_path / "tiny")
    monkeypatch.chdir(folder)
    signature = Signature.read(folder / "signature.json")

    class Constant(tf.Module):
        """What the ONNX file gives for the picture below, whatever the picture."""

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="image")])
        def serve(self, image):
            boxes = [[[0.0, 0.0, 40.0, 80.0], [40.0, 80.0, 80.0, 160.0], *[[0.0] * 4] * 4]]
            scores = [[0.9, 0.6, 0.0, 0.0, 0.0, 0.0]]
            outputs = {"boxes": boxes, "scores": scores, "classes": [[0] * 6], "count": [2]}
            return {name: tf.constant(value) for name, value in outputs.items()}

    model = Constant()
    tf.saved_model.save(model, "saved_model/1", signatures=model.serve)
    (folder / "saved_model/1/assets/signature.json").write_text((folder / "signature.json").read_text())
    Image.fromarray(np.full((80, 160, 3), (255, 0, 0), np.uint8)).save("picture.png")
    text = render(signature, "tiny", ["onnx", "savedmodel"])
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {})
    words = re.findall(r"[a-z]+|[\d.]+", capsys.readouterr().out)
    printed = [word if word.isalpha() else pytest.approx(float(word)) for word in words]
    assert printed == ["circle", 0.9, 0, 0, 40, 80, "circle", 0.6, 40, 80, 80, 160] * 2
    more = [words.replace("0.5", "0.7").replace("0.3", "0.8") for words in re.findall(r'`("m.*?)`', text)]
    exec(compile(blocks[0].replace('"image": image', ", ".join(['"image": image', *more])), "README.md", "exec"), {})
    assert re.findall(r"0\.[89]", capsys.readouterr().out) == ["0.9", "0.8"], "C is not sure enough, B may overlap"
    assert "below a score of 0.3 are left out; of two objects\nof a class whose boxes overlap by more than 0.5" in text
    assert "| output | `boxes` | float32 | (batch, 6, 4) |" in text
    alone = render(dataclasses.replace(signature, task="localization"), "tiny", ["onnx"])
    assert "are left out.\n" in alone
    assert "overlap" not in alone
