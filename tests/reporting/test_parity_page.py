"""``parity.html``: one valid page with nothing from outside, whatever the verdicts."""

import pytest

from dlapp.reporting.parity_page import write_parity
from dlapp.signature import Preprocessing, Signature, Tensor
from tests.reporting.test_report import Page

SIGNATURE = Signature(
    "classification",
    (Tensor("image", "uint8", ("batch", "height", "width", 3)),),
    (Tensor("probabilities", "float32", ("batch", 2)),),
    ("a", "b"),
    Preprocessing(3, (8, 8)),
    provenance={"name": "a & b", "architecture": "lenet5"},
)
LOCATED = {
    "told": "departs at conv2",
    "layers": ("conv2", "norm2"),
    "node": "Conv_2",
    "operator": "Conv",
    "difference": 0.25,
    "after": ("pool1",),
    "reference": "keras",
}


def row(runtime, verdict="equal", **more):
    """As ``parity.json`` has it."""
    ran = verdict in ("equal", "differs")
    figures = {"largest_difference": 1e-7, "largest_relative_difference": 2e-7, "agreement": 1.0}
    figures |= {"load_s": 0.5, "latency_s": 0.00123}
    told = {"version": "1.2" if ran else "", "where": "", "reason": "", "operator": "", "remedy": "", "located": None}
    figures = figures if ran else dict.fromkeys(figures)
    return {"runtime": runtime, "verdict": verdict, "cases": (3, 3) if ran else (0, 0), **told, **figures, **more}


def write(path, *rows, strict=False):
    verdicts = {one["verdict"] for one in rows}
    parity = {"holds": "equal" in verdicts and not verdicts & {"differs", "crashed"}, "reference": "keras 3.15"}
    parity |= {"results": rows, "input_shapes": ((5, 8, 8, 3), (1, 8, 8, 3)), "tolerance": 1e-5}
    write_parity(path / "parity.html", "a & b", parity, SIGNATURE, strict=strict)
    text = (path / "parity.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not [name for name, given in page.elements if name in ("script", "link", "img") or "src" in given]
    return page.text, text


def test_a_bundle_that_agrees_everywhere(tmp_path):
    told, text = write(tmp_path, row("onnxruntime"), row("savedmodel", largest_difference=0.0, latency_s=0.01))
    assert "All 2 runtimes give the answers of Keras." in told
    assert "1.0e-07" in told
    assert "1.23 ms" in told
    assert "5 x 8 x 8 x 3" in told
    assert "dlapp verify 'a & b' --all" in told
    assert "does not agree" not in told
    assert text.count("<svg") == 1
    assert write(tmp_path, row("keras"))[0].count("keras gives the answers of Keras.") == 1


def test_what_one_that_agrees_cannot_run(tmp_path):
    told, _ = write(tmp_path, row("openvino-savedmodel", reason="it cannot run the graph that goes on by one token"))
    assert "it cannot run the graph that goes on by one token" in told


def test_every_verdict_has_its_reason(tmp_path):
    told, text = write(
        tmp_path,
        row("onnxruntime"),
        row("openvino", "differs", largest_difference=0.1, agreement=0.5, where="probabilities of sample 1: 0.1"),
        row("onnxruntime-web", "differs", largest_difference=3.4e38, agreement=0.0, cases=(1, 3), located=LOCATED),
        row("opencv", "crashed", reason="it was ended by <SIGSEGV> $x^"),
        row("tract", "not supported", operator="LSTM", remedy="onnxruntime runs it"),
        row("onnxruntime-node", "not installed", remedy="npm install"),
    )
    assert (
        "1 of 6 runtimes give the answers of Keras; openvino and onnxruntime-web give others; opencv crashed; tract "
        "cannot run the bundle; onnxruntime-node is not installed." in told
    )
    assert "ends with status 1" in told
    for expected in ("probabilities of sample 1", "it was ended by <SIGSEGV> $x^", "LSTM", "npm install", "0 % of 1/3"):
        assert expected in told
    assert "conv2 + norm2 (Conv), after pool1: off by 0.25 of the largest number" in told
    assert "the file: it departs from the layers of the model in Keras" in told
    assert "3.4e+38" not in text


@pytest.mark.parametrize(
    ("strict", "expected"), [(False, "may be shipped"), (True, "all runtimes were to be installed")]
)
def test_what_is_not_installed_is_a_fault_where_that_is_asked(tmp_path, strict, expected):
    told, _ = write(tmp_path, row("onnxruntime"), row("tract", "not installed"), strict=strict)
    assert expected in told


def test_without_any_that_ran_there_is_no_plot(tmp_path):
    told, text = write(tmp_path, row("tract", "crashed"), row("opencv", "not installed"))
    assert "0 of 2 runtimes give the answers of Keras" in told
    assert "<svg" not in text


def test_how_to_look_further_is_told_where_nobody_has(tmp_path):
    assert "--locate" in write(tmp_path, row("openvino", "differs"))[0]
    assert "--locate" not in write(tmp_path, row("openvino", "differs", located=LOCATED))[0]
