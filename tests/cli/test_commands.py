"""``list``, ``show``, ``export``, ``verify`` and ``predict`` as a person calls them."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

import dlapp as package
from dlapp.architectures import ARCHITECTURES
from dlapp.files import sha256
from dlapp.signature import Signature


def test_help_names_every_verb(dlapp):
    status, out, _ = dlapp("--help")
    assert status == 0
    for verb in ("demo", "list", "show", "train", "evaluate", "export", "verify", "explain", "predict"):
        assert f"\n  {verb} " in out
    assert dlapp("--version")[1] == f"dlapp {package.__version__}\n"


def test_list_names_architectures_and_sources(dlapp):
    out = dlapp("list")[1]
    assert all(name in out for name in (*ARCHITECTURES, "digits", "h5:FILE", "folder:DIR"))
    assert set(json.loads(dlapp("list", "sources", "--json")[1])) == {"sources"}


def test_show_counts_and_draws(dlapp, workplace):
    status, out, _ = dlapp("show", "lenet5", "--plot", "lenet5.png")
    assert status == 0
    for expected in ("conv2", "2,416", "240,000", "14 x 14", "61,706", "Wrote lenet5.png"):
        assert expected in out
    with Image.open(workplace / "lenet5.png") as picture:
        assert picture.format == "PNG"
    # in 80 columns no number is cut: 7 x 7 positions of 256 filters, 5 x 5 on 48 of 96 maps
    assert "15,052,800" in dlapp("show", "alexnet", "--input", "67,67,1")[1]
    shown = json.loads(dlapp("show", "softmax_regression", "--input", "8,8,1", "--classes", 3, "--json")[1])
    assert (shown["parameters"], shown["multiply_adds"]) == (65 * 3, 64 * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "lenet"], "Did you mean lenet5"),
        (["show", "lenet5", "--input", "8,8,1"], "at least 16 x 16"),
        (["show", "lenet5", "--input", "a,b"], "positive numbers"),
        (["show", "lenet5", "--classes", "1"], "classes must be at least 2; got 1"),
        (["show", "lenet5", "--plot", "absent/lenet5.png"], "absent does not exist"),
    ],
)
def test_show_refuses(dlapp, workplace, arguments, message):
    status, _, err = dlapp(*arguments)
    assert status == 2
    assert message in err


def test_export_verify_predict(dlapp, copy_of_trained):
    status, out, _ = dlapp("export", "stripes", "--name", "again", "--to", "onnx")
    assert status == 0
    assert out.splitlines()[-2:] == ["Wrote export/again", "Next: dlapp predict again PICTURE..."]
    assert not (copy_of_trained / "export/again/saved_model").exists()
    verified = json.loads(dlapp("verify", "stripes", "--json")[1])
    assert [row["runtime"] for row in verified["results"]] == ["keras", "savedmodel", "onnxruntime"]
    status, out, err = dlapp("predict", "stripes", "pictures", "--json")
    assert (status, err) == (0, "")
    predictions = json.loads(out)["predictions"]
    right = [answer["label"] in answer["input"] for answer in predictions]
    assert len(right) == 80
    assert np.mean(right) > 0.95, "the stripes are linearly separable"


def test_verify_names_the_layer_that_was_changed(dlapp, copy_of_trained):
    """With Keras in a process of its own, as a person calls it."""
    folder = copy_of_trained / "export/stripes"
    proto = onnx.load(folder / "model.onnx")
    (weight,) = (one for one in proto.graph.initializer if one.name.endswith("Cast/ReadVariableOp:0"))
    weight.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(proto, folder / "model.onnx")
    signature = Signature.read(folder / "signature.json")
    files = {**signature.files, "model.onnx": sha256(folder / "model.onnx")}
    dataclasses.replace(signature, files=files).write(folder / "signature.json")
    status, out, err = dlapp("verify", "stripes", "--runtime", "onnxruntime", "--locate")
    assert (status, err) == (1, "")
    assert "model.onnx itself departs from Keras at classifier, after flatten" in out
    assert "Wrote export/stripes/parity.json and export/stripes/parity.html" in out
    (row,) = json.loads((folder / "parity.json").read_text())["results"]
    assert (row["located"]["layers"], row["located"]["reference"]) == (["classifier"], "keras")
    assert "departs at" in (folder / "parity.html").read_text(encoding="utf-8")


def test_predict_goes_on_after_a_damaged_picture(dlapp, copy_of_trained):
    (copy_of_trained / "broken.png").write_bytes((copy_of_trained / "pictures/above/00.png").read_bytes()[:-30])
    status, out, err = dlapp(
        "predict", "stripes", "pictures/above/00.png", "broken.png", "pictures/below/*1.png", "--top", 2
    )
    assert status == 1
    assert [line.split()[0] for line in out.splitlines()] == [
        "pictures/above/00.png",
        *(f"pictures/below/{number}1.png" for number in range(4)),
    ]
    assert out.splitlines()[0].split()[1] == "above"
    assert "broken.png is damaged" in err
    assert "1 input could not be read" in err


@pytest.mark.parametrize(
    ("file", "change", "verb", "status"),
    [
        ("model.onnx", "altered", "predict", 2),
        ("model.onnx", "missing", "predict", 2),
        ("signature.json", "altered", "predict", 2),
        ("signature.json", "missing", "predict", 2),
        ("saved_model/1/saved_model.pb", "altered", "verify", 2),
        ("samples.npz", "missing", "verify", 2),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused(dlapp, copy_of_trained, file, change, verb, status):
    path = copy_of_trained / "export/stripes" / file
    if change == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    more = ["pictures/above/00.png"] if verb == "predict" else []
    found, out, err = dlapp(verb, "stripes", *more)
    assert found == status
    assert err.startswith("Error: ")
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "stripe", "a.png"], "Did you mean stripes?"),
        (["predict", "stripes", "absent*.png"], "nothing matches absent*.png"),
        (["predict", "stripes", "models"], "holds no pictures"),
        (["export", "stripes", "--to", "onxn"], "Did you mean onnx?"),
        (["verify", "stripes", "--runtime", "onnxruntim"], "Did you mean onnxruntime or onnxruntime-web"),
    ],
)
def test_a_wrong_call_is_one_error(dlapp, copy_of_trained, arguments, message):
    status, out, err = dlapp(*arguments)
    assert status == 2
    assert message in err
    assert out == ""


@pytest.mark.parametrize("verb", ["predict", "verify"])
def test_a_model_that_is_no_bundle_yet_is_exported_first(dlapp, copy_of_trained, verb):
    (copy_of_trained / "export/stripes").rename(copy_of_trained / "export/other")
    more = ["pictures"] if verb == "predict" else []
    for name in ("stripes", "models/stripes"):
        status, _, err = dlapp(verb, name, *more)
        assert status == 2
        assert err == f"Error: models/stripes is a model, not a bundle: export it first: dlapp export {name}\n"
    (copy_of_trained / "models/stripes").rename(copy_of_trained / "models/two words")
    assert dlapp(verb, "two words", *more)[2].endswith("dlapp export 'two words'\n")
    assert "Did you mean other?" in dlapp(verb, "othe", *more)[2]


@pytest.mark.parametrize(
    ("call", "following"),
    [
        (["evaluate", "two words"], "dlapp export 'two words'"),
        (["gradient-check", "two words"], "dlapp evaluate 'two words'"),
        (["export", "two words", "--to", "onnx"], "dlapp predict 'two words' PICTURE..."),
        (["verify", "a b", "--runtime", "onnxruntime"], "dlapp predict 'a b' PICTURE..."),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_names_in_the_next_command_are_quoted(dlapp, copy_of_trained, call, following):
    (copy_of_trained / "models/stripes").rename(copy_of_trained / "models/two words")
    (copy_of_trained / "export/stripes").rename(copy_of_trained / "export/a b")
    assert dlapp(*call)[1].splitlines()[-1] == f"Next: {following}"


def test_help_list_and_verify_load_no_tensorflow_and_predict_nothing_but_its_three(trained, tmp_path):
    """One child process for all of it; where nothing but three packages is installed, importing others fails.

    That of the runtime which is verified finds no TensorFlow either.
    """
    for name in ("tensorflow", "keras", "tf2onnx"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not there')")
    code = """
import sys
import dlapp.evaluation
from dlapp.cli import main

def run(*arguments):
    sys.argv = ["dlapp", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)

run("--help")
run("list")
run("verify", "stripes", "--runtime", "onnxruntime")
heavy = {name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras", "tf2onnx")}
assert not heavy, heavy
for name in list(sys.modules):
    if name.partition(".")[0] == "dlapp":
        del sys.modules[name]
for name in ("typer", "click", "rich", "pydantic", "tomlkit", "h5py", "sklearn", "scipy", "matplotlib", "jinja2",
             "onnx", "tf2onnx", "tensorflow", "keras"):
    sys.modules[name] = None
import dlapp.cli.generate, dlapp.inference.generating, dlapp.inference.reading
from dlapp.cli import main
run("generate", "--help")
run("predict", "stripes", "pictures/above/00.png", "--json")
"""
    place = shutil.copytree(trained, tmp_path / "copy")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"label": "above"' in done.stdout


def test_the_saved_model_needs_no_keras(trained):
    code = """
import sys
sys.modules["keras"] = None  # importing it fails
import tensorflow as tf

loaded = tf.saved_model.load("export/stripes/saved_model/1")
outputs = loaded.signatures["serving_default"](image=tf.zeros((2, 9, 7, 1), tf.uint8))
assert outputs["probabilities"].shape == (2, 2), outputs
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
