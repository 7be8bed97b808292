"""The signature survives JSON and ONNX metadata, and says what is wrong with a file that is none."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlapp.errors import BundleError
from dlapp.signature import (
    Column,
    Layout,
    Preprocessing,
    Signature,
    Target,
    Tensor,
    Vocabulary,
    Windows,
    classification,
    language_model,
    sequence_to_sequence,
    sliding_classification,
    tagging,
)

PICTURES = Preprocessing(channels=3, size=(32, 24), antialias=True)
ROWS = Preprocessing(channels=0, scale="standardize", mean=(0.1, -2.0), variance=(1e-9, 4.0))
LETTERS = Vocabulary(("", "[UNK]", "a"), "character")
TEXTS = Preprocessing(channels=0, vocabulary=LETTERS)

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.lists(st.text()).map(tuple)
signatures = st.builds(
    Signature,
    task=st.text(),
    inputs=st.tuples(st.builds(Tensor, st.text(), st.text(), st.tuples(st.text(), st.integers()))),
    outputs=st.tuples(st.builds(Tensor, st.text(), st.text(), st.tuples(st.text(), st.text()))),
    labels=texts,
    preprocessing=st.builds(
        Preprocessing,
        channels=st.integers(0, 4),
        size=st.none() | st.tuples(st.integers(1), st.integers(1)),
        antialias=st.booleans(),
        scale=st.sampled_from(["unit", "standardize", "none"]),
        mean=st.lists(numbers).map(tuple),
        variance=st.lists(numbers).map(tuple),
        columns=st.lists(st.builds(Column, st.text(), st.none() | texts, st.booleans())).map(tuple),
        layout=st.none() | st.builds(Layout, st.text(), st.booleans(), texts, st.text()),
    ),
    target=st.none() | st.builds(Target, st.text(), numbers, numbers),
    provenance=st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.lists(numbers)),
    files=st.dictionaries(st.text(), st.text()),
)


@given(signatures)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_json_and_metadata_keep_every_field(signature):
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict())), where="here") == signature
    metadata = {key: json.loads(value) for key, value in signature.metadata().items()}
    assert Signature.from_dict({**metadata, "files": signature.files}, where="here") == signature


@pytest.mark.parametrize("preprocessing", [PICTURES, ROWS], ids=["pictures", "rows"])
def test_a_written_signature_reads_back(tmp_path, preprocessing):
    signature = classification(("naïve", "猫"), preprocessing, {"model": "x"})
    signature.write(tmp_path / "signature.json")
    assert Signature.read(tmp_path / "signature.json") == signature


@pytest.mark.parametrize(
    ("preprocessing", "given"),
    [
        (PICTURES, Tensor("image", "uint8", ("batch", "height", "width", 3))),
        (ROWS, Tensor("features", "float32", ("batch", 2))),
    ],
    ids=["pictures", "rows"],
)
def test_classification_names_tensors_as_promised(preprocessing, given):
    signature = classification(("a", "b", "c"), preprocessing)
    assert signature.inputs == (given,)
    assert signature.outputs == (Tensor("probabilities", "float32", ("batch", 3)),)


def test_metadata_leaves_out_the_hashes_of_files():
    # the ONNX file that carries the metadata is one of the files that are hashed
    assert "files" not in classification(("a", "b"), PICTURES).metadata()


def _without(key):
    return lambda fields: fields.pop(key)


DAMAGES = {
    "newer format": (
        lambda fields: fields.update(format=6),
        r"has format 6; this dlapp reads up to 5\. Install a newer",
    ),
    "format is text": (lambda fields: fields.update(format="1"), "is not a signature"),
    "no labels": (_without("labels"), r"is not a signature \(KeyError\('labels'\)\)\. Export the model again\."),
    "no format": (_without("format"), r"is not a signature \(KeyError\('format'\)\)"),
    "labels are null": (lambda fields: fields.update(labels=None), "is not a signature"),
    "one number as size": (lambda fields: fields["preprocessing"].update(size=[32]), "is not a signature"),
    "preprocessing is text": (lambda fields: fields.update(preprocessing="unit"), "is not a signature"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_signature_is_refused(tmp_path, damage, message):
    fields = classification(("a", "b"), PICTURES).to_dict()
    damage(fields)
    path = tmp_path / "signature.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(BundleError, match=f"signature.json {message}"):
        Signature.read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing: .* is not complete. Export the model again."),
        (b'{"format": 1, "task": "class', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[]", "is not a signature"),
        (b"null", "is not a signature"),
    ],
    ids=["missing", "cut off", "binary", "a list", "null"],
)
def test_a_file_that_is_no_signature_is_refused(tmp_path, content, message):
    path = tmp_path / "signature.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        Signature.read(path)


def test_windows_come_back_and_are_told_only_where_there_are_some(tmp_path):
    plain = classification(("a", "b"), Preprocessing(1, (8, 6), False, "unit"))
    sliding = sliding_classification(plain.labels, plain.preprocessing, Windows((8, 6), (4, 2)))
    assert plain.to_dict()["format"] == 1, "bundles that are older stay as they are"
    assert "windows" not in plain.to_dict()
    sliding.write(tmp_path / "signature.json")
    read = Signature.read(tmp_path / "signature.json")
    assert read == sliding
    assert read.outputs[0].shape == ("batch", "rows", "columns", 2)
    assert read.windows.box(3, 5) == (12, 10, 20, 16)


@pytest.mark.parametrize("size", [(7, 6), (8, 5)])
def test_a_picture_smaller_than_the_window_is_refused(size):
    with pytest.raises(ValueError, match=rf"at least as large as the window, 8 x 6; got {size[0]} x {size[1]}"):
        Windows((8, 6), (4, 2)).check(*size)


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs"),
    [
        (tagging(("DET", "NOUN"), TEXTS), [("tokens", ("batch", "time"))], [("probabilities", ("batch", "time", 2))]),
        (language_model(TEXTS, [8]), [("tokens", ("batch", "time"))], [("probabilities", ("batch", "time", 3))]),
        (
            sequence_to_sequence(dataclasses.replace(TEXTS, target_vocabulary=LETTERS), [8, 6]),
            [("tokens", ("batch", "time"))],
            [("state1", ("batch", 8)), ("state2", ("batch", 6))],
        ),
    ],
    ids=lambda value: getattr(value, "task", None),
)
def test_signatures_of_texts_survive_a_file(tmp_path, signature, inputs, outputs):
    assert [(tensor.name, tensor.shape) for tensor in signature.inputs] == inputs
    assert [(tensor.name, tensor.shape) for tensor in signature.outputs] == outputs
    signature.write(tmp_path / "signature.json")
    assert Signature.read(tmp_path / "signature.json") == signature
    assert json.loads((tmp_path / "signature.json").read_text())["format"] == 4


def test_a_step_goes_on_from_the_states_that_it_leaves():
    step = language_model(TEXTS, [8, 6]).step
    assert step is not None
    assert [tensor.name for tensor in step.inputs] == ["token", "state1", "state2"]
    assert [tensor.name for tensor in step.outputs] == ["probabilities", "next_state1", "next_state2"]
    assert [tensor.shape for tensor in step.inputs[1:]] == [tensor.shape for tensor in step.outputs[1:]]
    assert language_model(TEXTS, []).step is None
