"""A bundle gets its name when it is whole and proven; what was there before stays until then."""

import errno
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from dlapp.errors import AlreadyExists, ParityError
from dlapp.exporting import export, onnx_file
from dlapp.files import sha256
from dlapp.inference import Bundle
from dlapp.signature import PADDING, UNKNOWN, Preprocessing, Signature, Vocabulary


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def again(made, folder, **changes):
    """Exports what ``made`` is made of, ONNX alone."""
    values = {"labels": made.labels, "preprocessing": made.preprocessing, "samples": made.samples, "formats": ["onnx"]}
    return export(made.model, folder, **(values | changes))


def test_a_bundle_holds_its_files_and_their_hashes(exported):
    folder = exported("lenet5").folder
    files = {path.as_posix() for path in content(folder)}
    written = {
        "README.md",
        "model.onnx",
        "samples.npz",
        "saved_model/1/assets/signature.json",
        "saved_model/1/saved_model.pb",
        "saved_model/1/variables/variables.data-00000-of-00001",
        "saved_model/1/variables/variables.index",
    }
    assert files == written | {"signature.json", "parity.json"}
    signature = Signature.read(folder / "signature.json")
    assert dict(signature.files) == {name: sha256(folder / name) for name in written}
    assert signature.provenance["name"] == "lenet5"


def test_exporting_again_replaces_the_whole_bundle(copy):
    again(copy, copy.folder, provenance={"data": "npz:rows.npz"})
    assert {path.as_posix() for path in content(copy.folder)} == {
        "README.md",
        "model.onnx",
        "parity.json",
        "samples.npz",
        "signature.json",
    }
    assert Signature.read(copy.folder / "signature.json").provenance["data"] == "npz:rows.npz"
    assert [path.name for path in copy.folder.parent.iterdir()] == ["rows"]


def write_another_weight(original):
    def write(serve, signature, path, variables, **more):
        original(serve, signature, path, variables, **more)
        proto = onnx.load(path)
        kernel = next(t for t in proto.graph.initializer if list(t.dims) == [5, 3])
        changed = onnx.numpy_helper.to_array(kernel) + np.array([0, 1e-4, 0], np.float32)
        kernel.CopyFrom(onnx.numpy_helper.from_array(changed, kernel.name))
        onnx.save(proto, path)

    return write


def write_half(error):
    def write(serve, signature, path, *more, **options):
        Path(path).write_bytes(b"half")
        raise error

    return write


FAILURES = {
    "another answer": (write_another_weight(onnx_file.write), ParityError, "onnxruntime differs from Keras by .*1e-05"),
    "full disk": (write_half(OSError(errno.ENOSPC, "No space left on device")), OSError, "No space left"),
    "interruption": (write_half(KeyboardInterrupt("Ctrl-C")), KeyboardInterrupt, "Ctrl-C"),
}


@pytest.mark.parametrize(("write", "error", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failure_leaves_what_was_there(copy, monkeypatch, write, error, message):
    before = content(copy.folder)
    monkeypatch.setattr(onnx_file, "write", write)
    for name in ("rows", "new"):
        with pytest.raises(error, match=message):
            again(copy, copy.folder.with_name(name))
    assert [path.name for path in copy.folder.parent.iterdir()] == ["rows"]
    assert content(copy.folder) == before


def test_a_folder_that_is_no_bundle_is_refused(copy, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("words")
    with pytest.raises(AlreadyExists, match="thesis is not a bundle and is not overwritten"):
        again(copy, tmp_path / "thesis")
    assert content(tmp_path / "thesis") == {Path("chapter1.txt"): b"words"}


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("rows", {"labels": ["a", "b"]}, "labels must name the 3 classes of softmax_regression; got 2"),
        ("logistic_unit", {"labels": ["a"]}, "labels must name the 2 classes of logistic_unit; got 1"),
        ("rows", {"samples": np.zeros((4, 5))}, "features|samples"),
        ("rows", {"samples": np.zeros((4, 6), np.float32)}, "features|samples"),
        ("alpha", {"samples": np.zeros((4, 8, 8, 3), np.uint8)}, "image|samples"),
        ("rows", {"samples": np.zeros((0, 5), np.float32)}, "samples"),
    ],
    ids=["2 of 3 labels", "1 of 2 labels", "float64", "columns", "channels", "no samples"],
)
def test_arguments_that_do_not_fit_are_named(exported, tmp_path, kind, changes, message):
    with pytest.raises(ValueError, match=message):
        again(exported(kind), tmp_path / "bundle", **changes)
    assert not list(tmp_path.iterdir())


def test_a_sliding_bundle_agrees_with_keras_on_every_size(exported, tmp_path):
    kind = exported("lenet5")
    options = {"labels": kind.labels, "preprocessing": kind.preprocessing, "samples": kind.samples}
    found = export(kind.model, tmp_path / "sliding", sliding=True, **options)
    assert found.holds
    assert all(shape[1] >= 16 + 12 and shape[2] >= 16 + 12 for shape in found.input_shapes), "windows have room to move"
    signature = Signature.read(tmp_path / "sliding" / "signature.json")
    assert (signature.windows.size, signature.windows.stride) == ((16, 16), (4, 4))
    picture = kind.samples[:1, :17, :25]
    answers = Bundle(tmp_path / "sliding").run(picture)["probabilities"]
    crops = np.concatenate([picture[:, :16, 4 * step : 4 * step + 16] for step in range(3)])
    # pictures of 16 x 16 are not resized by the ordinary bundle
    expected = Bundle(kind.folder).run(crops)["probabilities"]
    np.testing.assert_allclose(answers[0, 0], expected, atol=1e-5)


def test_only_classifiers_of_pictures_slide(exported, tmp_path):
    kind = exported("rows")
    options = {"labels": kind.labels, "preprocessing": kind.preprocessing, "samples": kind.samples}
    with pytest.raises(ValueError, match=r"only a classifier of pictures can slide"):
        export(kind.model, tmp_path / "sliding", sliding=True, **options)


@pytest.mark.parametrize("kind", ["tokens", "pictures"])
def test_a_network_whose_input_has_another_type(kind, tmp_path):
    """Keras casts what ``predict`` is given."""
    vocabulary = Vocabulary((PADDING, UNKNOWN, "a", "b"), "character")
    if kind == "tokens":
        inputs = keras.Input((None,), dtype="int64")
        x = keras.layers.Embedding(4, 3)(inputs)
        samples, preprocessing = np.array([[2, 3, 1], [3, 2, 0]], np.int32), Preprocessing(0, vocabulary=vocabulary)
    else:
        inputs = keras.Input((8, 8, 1), dtype="float64")
        x = keras.layers.Conv2D(3, 3)(inputs)
        samples = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
        preprocessing = Preprocessing(1, (8, 8), scale="unit")
    pooling = keras.layers.GlobalAveragePooling1D if kind == "tokens" else keras.layers.GlobalAveragePooling2D
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooling()(x)), name="typed")
    made = export(model, tmp_path / "typed", labels=("a", "b"), preprocessing=preprocessing, samples=samples)
    assert made.holds
