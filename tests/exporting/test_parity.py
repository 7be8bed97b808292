"""``verify``: hashes, runtimes and answers of a bundle."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from dlapp.errors import BundleError, UnknownName
from dlapp.exporting import recording, verify
from dlapp.exporting.parity import Parity, RuntimeResult
from dlapp.exporting.replaying import replay
from dlapp.exporting.runtimes import keras_model
from dlapp.files import sha256
from dlapp.signature import Signature


def record(folder, change):
    """Lets ``change`` edit the recorded arrays and signs them anew."""
    with np.load(folder / "samples.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(folder / "samples.npz", **arrays)
    signature = Signature.read(folder / "signature.json")
    files = {**signature.files, "samples.npz": sha256(folder / "samples.npz")}
    dataclasses.replace(signature, files=files).write(folder / "signature.json")


def test_writes_what_it_measured(copy):
    (copy.folder / "parity.json").unlink()
    signature = Signature.read(copy.folder / "signature.json")
    again = replay(
        keras_model.of(copy.model, signature), "3", 0.0, recording.read(copy.folder, signature), None, budget_s=60
    )
    parity = verify(copy.folder, answered={"keras": again})
    assert json.loads((copy.folder / "parity.json").read_text()) == json.loads(json.dumps(parity.to_dict()))
    assert parity.holds
    assert [result.runtime for result in parity.results] == ["keras", "savedmodel", "onnxruntime"]
    assert all(result.largest_difference < 1e-6 for result in parity.results)  # float32 sums of 5
    assert parity.input_shapes == ((5, 5), (1, 5))
    assert [result.runtime for result in verify(copy.folder).results] == ["savedmodel", "onnxruntime"]
    assert [result.runtime for result in verify(copy.folder, ["onnxruntime"]).results] == ["onnxruntime"]


def test_pictures_are_replayed_in_a_second_size(exported):
    parity = json.loads((exported("lenet5").folder / "parity.json").read_text())
    assert parity["input_shapes"] == [[5, 20, 25, 1], [1, 20, 25, 1], [5, 31, 34, 1]]


def test_recorded_outputs_are_those_of_keras(exported):
    made = exported("logits")
    with np.load(made.folder / "samples.npz") as archive:
        np.testing.assert_array_equal(archive["image"], made.samples)
        np.testing.assert_array_equal(archive["image_2"], made.samples[:1])
        assert archive["image_3"].shape == (5, 10, 13, 1)
        assert {name: archive[name].shape for name in archive.files if "prob" in name} == {
            "probabilities": (5, 3),
            "probabilities_2": (1, 3),
            "probabilities_3": (5, 3),
        }


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda outputs: outputs + np.float32(2e-5), 2e-5),
        (lambda outputs: outputs[:, ::-1], None),
        (lambda outputs: outputs[:, :2], 3.4e38),
        (lambda outputs: outputs * np.float32(np.nan), 3.4e38),
        (lambda outputs: outputs.astype(np.float64), 3.4e38),
    ],
    ids=["off by 2e-5", "other classes", "a class less", "NaN", "float64"],
)
def test_any_other_answer_is_found(copy, change, difference):
    record(copy.folder, lambda arrays: arrays.update(probabilities_2=change(arrays["probabilities_2"])))
    assert not verify(copy.folder, ["onnxruntime"]).holds
    written = json.loads((copy.folder / "parity.json").read_text(), parse_constant=pytest.fail)  # no NaN, no Infinity
    assert (written["holds"], written["results"][0]["equal"]) == (False, False)
    if difference is not None:
        # 2e-5 beside probabilities of about 1 in float32
        assert written["results"][0]["largest_difference"] == pytest.approx(difference, rel=0.02)


def test_every_file_that_is_altered_or_missing_is_named(copy):
    files = Signature.read(copy.folder / "signature.json").files
    assert len(files) == 7
    for name in files:
        path = copy.folder / name
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"{name} was altered"):
            verify(copy.folder)
        path.unlink()
        with pytest.raises(BundleError, match=f"{name} is missing"):
            verify(copy.folder)
        path.write_bytes(before)
    assert verify(copy.folder).holds


@pytest.mark.parametrize(
    ("runtime", "error", "message"),
    [
        ("onnxruntim", UnknownName, "unknown runtime 'onnxruntim'. Did you mean onnxruntime"),
        ("keras", BundleError, "cannot be run by keras: it needs the exported model"),
    ],
)
def test_a_runtime_that_cannot_run_is_named(copy, runtime, error, message):
    with pytest.raises(error, match=message):
        verify(copy.folder, ["savedmodel", runtime])


def test_a_bundle_without_signature_is_refused(copy):
    (copy.folder / "signature.json").unlink()
    with pytest.raises(BundleError, match=r"signature\.json is missing"):
        verify(copy.folder)


@pytest.mark.parametrize(
    ("verdicts", "holds"),
    [
        (["equal"], True),
        (["equal", "not supported", "not installed"], True),
        (["equal", "differs"], False),
        (["equal", "crashed"], False),
        (["not supported", "not installed"], False),  # nothing is proven
        ([], False),
    ],
)
def test_what_holds(verdicts, holds):
    results = tuple(RuntimeResult(f"runtime {number}", verdict) for number, verdict in enumerate(verdicts))
    parity = Parity("keras 3", results, ((1, 5),))
    assert parity.holds is parity.to_dict()["holds"] is holds
    assert len(parity.absent) == verdicts.count("not installed")


def test_what_is_written_of_each_runtime(copy):
    parity = verify(copy.folder, ["onnxruntime", "savedmodel", "onnxruntime"])
    written = json.loads((copy.folder / "parity.json").read_text())
    assert list(written) == ["holds", "reference", "results", "input_shapes", "tolerance"]
    assert [row["runtime"] for row in written["results"]] == ["onnxruntime", "savedmodel"], "once, as asked for"
    fields = [field.name for field in dataclasses.fields(RuntimeResult)]
    for row, result in zip(written["results"], parity.results, strict=True):
        assert list(row) == [*fields, "equal", "same_answer"]
        assert (row["verdict"], row["equal"], row["same_answer"], row["cases"]) == ("equal", True, True, [2, 2])
        assert (row["load_s"], row["latency_s"]) == (result.load_s, result.latency_s)
    assert written["reference"] == f"keras {keras.__version__}"


def test_a_signature_that_disagrees_with_the_file_is_refused_in_a_process_too(copy):
    signature = Signature.read(copy.folder / "signature.json")
    dataclasses.replace(signature, labels=("a", "b", "c")).write(copy.folder / "signature.json")
    with pytest.raises(BundleError, match="disagree on labels"):
        verify(copy.folder, ["onnxruntime"], isolated=True)
    fewer = dataclasses.replace(signature.inputs[0], shape=("batch", 4))
    dataclasses.replace(signature, inputs=(fewer,)).write(copy.folder / "signature.json")
    with pytest.raises(BundleError, match="disagree on inputs"):
        verify(copy.folder, ["onnxruntime"])
