"""``dlapp export`` with smaller variants, and ``dlapp benchmark`` of what it leaves."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dlapp.cli import benchmark, variants
from dlapp.exporting import replaying
from dlapp.exporting.variants import Measured
from dlapp.inference import Bundle
from dlapp.inference.timing import Latency, Timing


@pytest.fixture(scope="module")
def smaller(trained, tmp_path_factory):
    """``trained`` with both variants in its bundle."""
    from dlapp.cli.export import export_folder
    from dlapp.training.model_folder import ModelFolder

    folder = shutil.copytree(trained, tmp_path_factory.mktemp("smaller") / "copy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)  # of Keras it takes seconds
        model = ModelFolder.find("stripes")
        export_folder(
            model, folder / "export/stripes", variants=variants.wanted_variants(model, ["int8", "float16"], None)
        )
    return folder


@pytest.fixture
def here(smaller, tmp_path, monkeypatch):
    """A copy of it, as the working directory."""
    folder = shutil.copytree(smaller, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def test_variants_are_measured_on_dev(here):
    found = json.loads((here / "export/stripes/variants.json").read_text())
    assert (found["metric"], found["split"], found["examples"]) == ("accuracy", "dev", 12)  # 15 % of 80
    assert list(found["variants"]) == ["int8", "float16"]
    assert all(-1 <= one["drop"] <= 0.01 for one in found["variants"].values())


def test_a_variant_is_told_refused_and_predicts(dlapp, copy_of_trained, monkeypatch):
    monkeypatch.setattr(replaying, "_median_latency", lambda *_: 0.0)
    before = (copy_of_trained / "export/stripes/signature.json").read_bytes()
    worse = {"float32": 0.9, "float16": 0.87}
    monkeypatch.setattr(variants, "measure", lambda bundle, _: Measured("accuracy", worse[bundle.variant], 12))
    status, out, err = dlapp("export", "stripes", "--to", "onnx", "--float16")
    assert (status, out) == (1, "")
    assert "worse by 0.0300, more than --max-drop 0.01; export/stripes was not written" in err
    assert (copy_of_trained / "export/stripes/signature.json").read_bytes() == before
    status, out, err = dlapp("export", "stripes", "--to", "onnx", "--float16", "--max-drop", 0.03)
    assert status == 0, err
    assert "% of the size, accuracy on dev 0.8700 (float32 0.9000)" in out
    assert out.endswith("Next: dlapp benchmark stripes\n")
    answers = [
        json.loads(dlapp("predict", "stripes", "pictures/above/00.png", "--json", "--variant", one)[1])["predictions"][
            0
        ]["top"][0]
        for one in ("float32", "float16")
    ]
    assert answers[0]["label"] == answers[1]["label"]
    assert 0 < abs(answers[0]["probability"] - answers[1]["probability"]) < 2e-3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--quantize", "int4"], "unknown --quantize 'int4'. Did you mean int8"),
        (["--max-drop", "0.1"], "--max-drop is for smaller variants"),
        (["--float16", "--sliding"], "--quantize and --float16 are proven on dev"),
        (["--float16", "--to", "savedmodel"], "float16 are variants of the ONNX file"),
    ],
    ids=["int4", "alone", "sliding", "no onnx"],
)
def test_calls_that_make_no_sense_are_refused(arguments, told, dlapp, here):
    status, out, err = dlapp("export", "stripes", "--name", "other", *arguments)
    assert (status, out) == (2, "")
    assert told in err.replace("float16 is a variant", "float16 are variants")
    assert not (here / "export/other").exists()


def test_every_variant_and_runtime_is_measured(dlapp, here):
    status, out, err = dlapp("benchmark", "stripes", "--seconds", 0.05)
    assert status == 0, out + err
    assert out.endswith("Wrote export/stripes/benchmark.json and export/stripes/benchmark.png\n"
                        "Next: dlapp predict stripes PICTURE...\n")  # fmt: skip
    assert "1 thread" in out
    found = json.loads((here / "export/stripes/benchmark.json").read_text())
    rows = {(row["variant"], row["runtime"]): row for row in found["results"]}
    assert {key for key in rows if key[1] in ("onnxruntime", "savedmodel")} == {
        *(("float32", "onnxruntime"), ("int8", "onnxruntime"), ("float16", "onnxruntime"), ("float32", "savedmodel"))
    }
    for row in rows.values():
        assert row["error"] == ""
        assert 0 < row["latency"]["1"]["median_s"] <= row["latency"]["1"]["p95_s"]
        assert row["latency"]["32"]["calls"] >= 10
        assert row["throughput"] == pytest.approx(32 / row["latency"]["32"]["median_s"])
        assert 2**24 < row["peak_memory"] < 2**32
        assert 0.5 <= row["accuracy"] <= 1
    assert rows["float16", "onnxruntime"]["bytes"] == (here / "export/stripes/model.float16.onnx").stat().st_size
    assert (
        rows["float32", "savedmodel"]["bytes"] > (here / "export/stripes/saved_model/1/saved_model.pb").stat().st_size
    )
    assert (found["threads"], found["inputs"]) == (1, "test")
    assert (found["metric"]["split"], found["metric"]["examples"]) == ("test", 12)
    with Image.open("export/stripes/benchmark.png") as picture:
        assert picture.size[0] > 500
    signature = json.loads((here / "export/stripes/signature.json").read_text())
    assert not {"benchmark.json", "benchmark.png"} & set(signature["files"])


def test_without_the_model_there_is_no_metric(dlapp, here):
    shutil.rmtree("models")
    arguments = ("--seconds", 0.05, "--runtime", "onnxruntime", "--threads", 2, "--json")
    status, out, _ = dlapp("benchmark", "stripes", *arguments)
    assert status == 0
    found = json.loads(out)
    assert found == json.loads((here / "export/stripes/benchmark.json").read_text())
    assert (found["threads"], found["inputs"], found["metric"]["values"]) == (2, "samples.npz", {})
    assert found["metric"]["reason"] == "models/stripes is not there any more, or was trained again since"
    assert [row["accuracy"] for row in found["results"]] == [None] * 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["strips"], "unknown bundle 'strips'. Did you mean stripes"),
        (["stripes", "--runtime", "onnx-runtime"], "unknown runtime 'onnx-runtime'. Did you mean onnxruntime"),
    ],
    ids=["bundle", "runtime"],
)
def test_what_is_not_known_is_named(arguments, told, dlapp, here):
    status, _, err = dlapp("benchmark", *arguments)
    assert status == 2
    assert told in err


def test_the_metric_is_that_of_runtimes_with_the_same_answers(dlapp, here, monkeypatch):
    """Of the others it would be another, which is not measured."""

    def time(folder, signature, rows, threads, seconds, batches):
        found = {}
        for variant, runtime in rows:
            answer = Bundle(folder, variant=variant).run(batches[32]["image"])
            if (variant, runtime) == ("float32", "openvino"):
                answer = {name: np.concatenate([1 - values[:8], values[8:]]) for name, values in answer.items()}
            latencies = dict.fromkeys((1, 32), Latency(0.001, 0.002, 10))
            found[variant, runtime] = Timing(0.1, latencies, answer=answer)
        return found

    monkeypatch.setattr(benchmark, "_time", time)
    status, out, _ = dlapp("benchmark", "stripes", "--runtime", "onnxruntime", "--runtime", "openvino")
    assert status == 0
    assert "float32 in openvino gives the answer of ONNX Runtime to 75% of 32 inputs" in out
    found = json.loads((here / "export/stripes/benchmark.json").read_text())
    rows = {(row["variant"], row["runtime"]): row for row in found["results"]}
    assert (rows["float32", "openvino"]["same_answers"], rows["float32", "openvino"]["accuracy"]) == (0.75, None)
    assert all(row["accuracy"] is not None for key, row in rows.items() if key != ("float32", "openvino"))


def test_where_nothing_runs_nothing_is_drawn(dlapp, here, monkeypatch):
    (here / "export/stripes/benchmark.png").unlink(missing_ok=True)
    why = "TractError: cannot\n\nStack backtrace:\n  0: one\n  1: two"
    monkeypatch.setattr(benchmark, "_time", lambda folder, _, rows, *__: dict.fromkeys(rows, Timing(error=why)))
    status, out, _ = dlapp("benchmark", "stripes", "--runtime", "tract")
    assert status == 1
    assert "int8 in tract failed: TractError: cannot" in out
    assert "backtrace" not in out
    assert "Wrote export/stripes/benchmark.json\n" in out
    assert not (here / "export/stripes/benchmark.png").exists()


@pytest.mark.parametrize("columns", [80])
def test_a_table_of_large_numbers_fits(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    latency = {"1": {"median_s": 1.2345, "p95_s": 12.345}, "32": {"median_s": 0.0000123, "p95_s": 0.0123}}
    row = {"variant": "float16", "runtime": "openvino-savedmodel", "bytes": 5.2e8, "load_s": 12.3, "error": ""}
    row |= {"latency": latency, "throughput": 1_052_123.0, "same_answers": 1.0, "bits_per_character": 2.0212}
    metric = {"name": "bits_per_character", "values": {"float16": 2.0}, "examples": 100}
    benchmark._print({"bundle": "b", "threads": 1, "processor": {"name": "P"}, "metric": metric, "results": [row]})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "openvino" in line]
    told = "float16 openvino-savedmodel 520 12.3 1234 (12345) 0.01 (12.3) 1.05M 2.0212"
    assert line.split() == told.split()


@pytest.mark.parametrize("told", ["0", "950", "12.3k", "999k", "1.00M", "105M"])
def test_numbers_a_second(told):
    value = float(told.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(told[-1], 1)
    assert benchmark._thousands(value + 0.4) == told


def test_numbers_that_round_to_the_next_unit():
    assert [benchmark._thousands(value) for value in (999.7, 999_999)] == ["1.00k", "1.00M"]
