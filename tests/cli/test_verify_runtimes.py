"""``dlapp verify``: exit statuses, and what is said of runtimes that are not there or break."""

import json
import shutil

import pytest


@pytest.fixture
def tract(tmp_path, monkeypatch):
    """Puts a module of that code in the place of tract, for child processes alone."""

    def write(code):
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "tract.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))

    return write


BOTH = ("verify", "stripes", "--runtime", "onnxruntime", "--runtime", "tract")


def test_a_runtime_that_is_not_installed(dlapp, copy_of_trained, tract):
    tract("raise ModuleNotFoundError(\"No module named 'tract'\", name='tract')")
    status, out, err = dlapp(*BOTH)
    assert (status, err) == (0, "")
    assert "tract: not installed: tract is missing. Install it: pip install tract\n" in out
    status, out, _ = dlapp(*BOTH, "--strict", "--json")
    assert status == 1
    told = json.loads(out)
    assert (told["holds"], told["results"][1]["verdict"]) == (True, "not installed")
    assert told == {"bundle": "export/stripes"} | json.loads(
        (copy_of_trained / "export/stripes/parity.json").read_text()
    )


def test_a_runtime_that_crashes(dlapp, copy_of_trained, tract):
    tract("import os; os.abort()")
    status, out, _ = dlapp(*BOTH)
    assert status == 1
    assert "tract: crashed: it was ended by SIGABRT. Instead: onnxruntime runs it.\n" in out
    assert "Next:" not in out


def test_a_runtime_that_hangs(dlapp, copy_of_trained, tract):
    tract("import time; time.sleep(600)")
    status, out, _ = dlapp("verify", "stripes", "--runtime", "tract", "--timeout", 3)
    assert status == 1
    assert "tract: crashed: it was not done after 3 s. Instead: try onnxruntime.\n" in out


def test_a_runtime_that_the_bundle_has_no_file_for(dlapp, copy_of_trained):
    shutil.rmtree("models/stripes")
    status, _, err = dlapp("verify", "stripes", "--runtime", "keras")
    assert status == 2
    assert "export/stripes cannot be run by keras: it needs the exported model, which is not there." in err
    status, _, err = dlapp("verify", "stripes", "--runtime", "onnxrutime")
    assert status == 2
    assert "unknown runtime 'onnxrutime'. Did you mean onnxruntime" in err
    status, _, err = dlapp("verify", "stripes", "--runtime", "keras", "--all")
    assert status == 2
    assert "--all runs every runtime, --runtime some: give one of them." in err


def test_every_runtime_that_a_bundle_has_files_for(dlapp, copy_of_trained, monkeypatch):
    from dlapp.exporting import parity

    dlapp("export", "stripes", "--to", "onnx")
    asked = []

    def only_ask(name, place, timeout_s):
        asked.append(name)
        return parity.RuntimeResult(name, "not installed")

    monkeypatch.setattr(parity, "in_a_process", only_ask)
    status, out, _ = dlapp("verify", "stripes", "--all")
    assert status == 1, "nothing is proven"
    absent = "savedmodel, tensorflow-c, openvino-savedmodel"
    assert f"Left out, as what they run is not there: {absent}\n" in out
    assert asked == [
        *("keras", "onnxruntime", "onnxruntime-node", "onnxruntime-web"),
        *("openvino", "opencv", "tract", "onnx-reference"),
    ]
