"""Every runtime on small bundles of each kind: who gives the same answers, who says that it cannot, and who breaks."""

import dataclasses
import functools
import json
import re
import runpy
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from dlapp.architectures import builder, recurrent
from dlapp.architectures.resnet import residual_block
from dlapp.errors import BundleError
from dlapp.exporting import export, replaying, runtimes, verify
from dlapp.signature import END, PADDING, START, UNKNOWN, Column, Detection, Preprocessing, Target, Vocabulary

WORDS = Vocabulary((PADDING, UNKNOWN, "a", "sunny", "day", "rainy"), "word", length=6)
LETTERS = Vocabulary((PADDING, UNKNOWN, START, END, "a", "b"), "character", marked=True)
READS = Preprocessing(0, vocabulary=WORDS)
TOKENS = np.array([[2, 3, 4, 2, 5], [5, 4, 0, 0, 0], [3, 0, 0, 0, 0]], np.int32)
TEXTS = {"units": 4, "vocabulary": 6, "embedding_size": 3}
COLUMNS = (Column("size", missing=True), Column("colour", ("blue", "red"), missing=True), Column("age"))
CELLS = np.array([[10, 0, 1], [np.nan, 1, 2], [30, -1, np.nan], [25, np.nan, 4]], np.float32)
TABLE = Preprocessing(0, scale="standardize", mean=(20.0, 0.0, 2.0), variance=(25.0, 1.0, 4.0), columns=COLUMNS)
BOXES = Preprocessing(3, (48, 48), True, "unit", letterbox=True)
FOUND = Detection((12, 12), ((0.2, 0.2), (0.5, 0.3)), 0.02, 0.4, 20)


def pictures(channels):
    return np.random.default_rng(1).integers(0, 256, (3, 40, 53, channels), np.uint8)


def cnn():
    model = builder("lenet5")((16, 16, 1), classes=4)
    scale(model.layers[-1], 1.0)
    return model, {
        "labels": tuple("abcd"),
        "samples": pictures(1),
        "preprocessing": Preprocessing(1, (16, 16), True, "unit"),
    }


def detector(least=FOUND.min_score):
    model = builder("yolo_grid")((48, 48, 3), classes=3, boxes=2)
    scale(model.layers[-1], 0.3)
    detection = dataclasses.replace(FOUND, min_score=least)
    return model, {
        "labels": tuple("abc"),
        "samples": pictures(3),
        "preprocessing": BOXES,
        "detection": detection,
    }


def shortcuts():
    """Pictures that are resized without an average."""
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(residual_block(inputs, 4, strides=2, name="block"))
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x), name="shortcuts")
    scale(model.layers[-1], 1.0)
    return model, {"labels": tuple("abcd"), "samples": pictures(3), "preprocessing": Preprocessing(3, (16, 16))}


def unmasked():
    inputs = keras.Input((7, 4), name="steps")
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="answer")(x), name="unmasked"), {}


def table():
    model = builder("linear_unit")((TABLE.width,))
    scale(model, 1.0)
    return model, {"samples": CELLS, "preprocessing": TABLE, "target": Target("price", mean=1000.0, deviation=50.0)}


def reader():
    model = recurrent(classes=2, cell="lstm", **TEXTS)
    scale(model, 0.9)
    return model, {"labels": ("bad", "good"), "samples": TOKENS, "preprocessing": READS}


def writer():
    model = recurrent(form="one_to_many", classes=6, cell="gru", **TEXTS)
    scale(model, 0.9)
    return model, {"samples": TOKENS, "preprocessing": READS}


def translator():
    model = recurrent(form="encoder_decoder", classes=6, cell="simple", **TEXTS)
    scale(model, 0.9)
    how = dataclasses.replace(READS, target_vocabulary=LETTERS)
    return model, {"samples": TOKENS, "preprocessing": how}


def scale(layer, deviation):
    """Random weights, of which all say something."""
    random = np.random.default_rng(3)
    layer.set_weights([random.normal(0, deviation, weight.shape) for weight in layer.get_weights()])


MADE = {
    "pictures": cnn,
    "shortcuts": shortcuts,
    "boxes": detector,
    "no boxes": functools.partial(detector, 1.0),
    "rows": table,
    "texts": reader,
    "steps": writer,
    "pairs": translator,
    "unmasked": unmasked,
}
# what does not give Keras's answers, with the operator that it lacks. A change here is news: of a runtime that learned
# it, or of a graph that lost it
OTHERWISE = {
    ("pictures", "openvino-savedmodel"): "not supported (ScaleAndTranslate)",
    ("boxes", "openvino-savedmodel"): "not supported (CombinedNonMaxSuppression, ScaleAndTranslate)",
    ("no boxes", "openvino-savedmodel"): "not supported (CombinedNonMaxSuppression, ScaleAndTranslate)",
    ("no boxes", "opencv"): "crashed",  # a division by the number of boxes
    ("no boxes", "onnx-reference"): "not supported",  # a reshape of nothing
    # the lengths of sequences are ignored
    ("texts", "openvino"): "differs",
    ("texts", "onnx-reference"): "differs",
    ("pairs", "openvino"): "differs",
    ("pairs", "onnx-reference"): "differs",
    # the lengths must be constants
    ("texts", "tract"): "not supported (LSTM)",
    ("steps", "tract"): "not supported (GRU)",
    ("pairs", "tract"): "not supported (RNN)",
    ("texts", "opencv"): "not supported (LSTM)",
    ("steps", "opencv"): "not supported",
    ("pairs", "opencv"): "not supported (RNN)",
}
SLOW = ("tensorflow-c", "onnxruntime-node", "onnxruntime-web")  # which need not run the same graphs again
PROVEN = ("keras", "savedmodel")  # by every export
QUICK = [name for name in runtimes.RUNTIMES if name not in (*SLOW, *PROVEN)]
PAIRS = [(name, runtime) for name in MADE for runtime in QUICK]
PAIRS += [(name, runtime) for name in ("pictures", "boxes", "texts", "steps") for runtime in SLOW]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """The bundle of that name, exported when it is first asked for, and its model."""
    root = tmp_path_factory.mktemp("export")

    @functools.cache
    def make(name):
        model, options = MADE[name]()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replaying, "_median_latency", lambda *_: 0.0)  # of Keras it takes seconds
            export(model, root / name, **options)
        return root / name, model

    return make


@pytest.mark.parametrize(("name", "runtime"), sorted(PAIRS, key=lambda pair: list(MADE).index(pair[0])))
def test_what_each_runtime_makes_of_it(name, runtime, bundles):
    folder, _ = bundles(name)
    found = verify(folder, [runtime])
    (result,) = found.results
    if result.verdict == "not installed":
        pytest.skip(f"{runtime} is not installed: {result.remedy}")
    told = f"{result.verdict} ({result.operator})" if result.operator else result.verdict
    assert told == OTHERWISE.get((name, runtime), "equal"), result
    assert found.holds == (told == "equal")
    if told == "equal":
        assert result.version
        assert result.largest_difference <= found.tolerance
        assert (result.agreement, result.remedy, result.where) == (1.0, "", "")
        of_steps = "token" in result.reason
        assert of_steps == (name in ("steps", "pairs") and runtime == "openvino-savedmodel"), result.reason
        assert result.cases == (len(found.input_shapes),) * 2
        assert 0 <= result.latency_s < result.load_s + 60
    elif told == "differs":
        assert re.fullmatch(r"(probabilities|state1) of sample [12] of case [1-4]: [\d.]+", result.where), (
            "a short text"
        )
        assert result.remedy.startswith("try ")
    else:
        assert result.reason
        assert str(folder) not in (folder / "parity.json").read_text()
        assert result.largest_difference is result.agreement is result.load_s is None


def test_tensorflow_runs_in_processes_of_its_own(bundles, tmp_path):
    folder, model = bundles("rows")
    model.save(tmp_path / "model.keras")
    found = verify(folder, ["savedmodel", "keras", "savedmodel"], model=tmp_path / "model.keras", isolated=True)
    assert [(one.runtime, one.verdict) for one in found.results] == [("savedmodel", "equal"), ("keras", "equal")]
    assert found.results[1].version == keras.__version__
    written = json.loads((folder / "parity.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    assert [row["runtime"] for row in written["results"]] == ["savedmodel", "keras"], "in the order that was asked for"
    with pytest.raises(BundleError, match="cannot be run by keras: it needs the exported model"):
        verify(folder, ["keras"])


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Puts a module of that code in the place of tract, for child processes alone."""

    def write(code):
        (tmp_path / "tract.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", r"it was ended by SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"it was ended by SIGSEGV"),
        ("import os; os.write(2, b'one\\nno memory\\n'); os._exit(3)", r"it ended with status 3: no memory"),
        ("raise SystemExit(0)", r"it ended with status 0"),
    ],
    ids=["abort", "segmentation", "status", "silence"],
)
def test_what_crashes_takes_nothing_with_it(code, reason, bundles, broken):
    folder, _ = bundles("rows")
    broken(code)
    found = verify(folder, ["tract", "onnxruntime"])
    crashed, other = found.results
    assert (crashed.verdict, other.verdict) == ("crashed", "equal")
    assert re.fullmatch(reason, crashed.reason), crashed.reason
    assert crashed.remedy == "onnxruntime runs it"
    assert not found.holds


def test_what_hangs_is_ended_with_all_that_it_started(bundles, broken):
    folder, _ = bundles("rows")
    place = broken(
        "import pathlib, subprocess\n"
        "started = subprocess.Popen(['sleep', '600'])\n"
        "pathlib.Path(__file__).with_name('pid').write_text(str(started.pid))\n"
        "started.wait()\n"
    )
    started = time.perf_counter()
    (result,) = verify(folder, ["tract"], timeout_s=6).results
    assert time.perf_counter() - started < 60
    assert (result.verdict, result.reason) == ("crashed", "it was not done after 6 s")
    assert _is_gone(int((place / "pid").read_text()))


def _is_gone(pid):
    """Whether a process ended; it may still wait to be counted by whoever takes over orphans."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(50):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_what_a_library_refuses_is_told_in_its_words(bundles, broken):
    folder, _ = bundles("rows")
    broken("raise RuntimeError('first line\\n\\nsecond line: no MatMul here\\nStack backtrace:\\n' + 'x' * 400)")
    (result,) = verify(folder, ["tract"]).results
    assert (result.verdict, result.operator) == ("not supported", "MatMul")
    assert result.reason.startswith("first line second line: no MatMul here xxx")
    assert len(result.reason) == 300


def test_what_is_not_installed_names_the_line_that_installs_it(bundles, broken):
    folder, _ = bundles("rows")
    broken("raise ModuleNotFoundError(\"No module named 'tract'\", name='tract')")
    found = verify(folder, ["onnxruntime", "tract"])
    absent = found.results[1]
    assert (absent.verdict, absent.reason, absent.remedy) == ("not installed", "tract is missing", "pip install tract")
    assert found.holds, "what is not there says nothing against the bundle"
    assert found.absent == ("tract",)


@pytest.mark.parametrize(("name", "line"), [("x y", "'{}/dlapp'"), ("", "~/.cache/dlapp")])
def test_packages_of_node_are_where_the_line_puts_them(name, line, tmp_path, monkeypatch):
    place = tmp_path / name if name else ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    fresh = runpy.run_path(runtimes.__file__)
    assert f"--prefix {line.format(place)} onnxruntime-node" in fresh["RUNTIMES"]["onnxruntime-node"].install
    assert fresh["NODE_MODULES"] == (place or Path.home() / ".cache") / "dlapp" / "node_modules"
