"""Bundles that find boxes: both formats, any batch and size, thresholds with defaults, and when they agree."""

import dataclasses

import numpy as np
import onnx
import pytest
import tensorflow as tf

from dlapp import signature as signatures
from dlapp.architectures import builder
from dlapp.exporting import export, recording
from dlapp.exporting.comparing import _compare_boxes
from dlapp.exporting.parity import verify
from dlapp.exporting.replaying import replay
from dlapp.exporting.runtimes import keras_model
from dlapp.inference.bundle import Bundle
from dlapp.signature import Detection, Preprocessing, Signature

LABELS = ("disc", "square", "triangle")
ANCHORS = ((0.2, 0.2), (0.5, 0.3))
NAMES = ("boxes", "scores", "classes", "count")
CASES = {
    "stretched": ("yolo_grid", Preprocessing(3, (48, 32), scale="unit"), Detection((12, 8), ANCHORS, 0.02, 0.4, 20)),
    "letterboxed": (
        "yolo_grid",
        Preprocessing(3, (48, 48), True, "unit", letterbox=True),
        Detection((12, 12), ANCHORS, 0.02, 0.4, 20),
    ),
    "localizer": ("localizer", Preprocessing(1, (32, 32), scale="unit"), Detection((1, 1), min_score=0.1, most=1)),
}


def network(case):
    """With random weights, of which many say something."""
    name, preprocessing, detection = CASES[case]
    options = {"boxes": detection.boxes} if name == "yolo_grid" else {}
    model = builder(name)((*preprocessing.size, preprocessing.channels), classes=3, **options)
    random = np.random.default_rng(0)
    model.layers[-1].set_weights([random.normal(0, 0.3, w.shape) for w in model.layers[-1].get_weights()])
    return model


@pytest.fixture(scope="module", params=CASES)
def bundle(request, tmp_path_factory):
    """Its folder, its model and what it was made of."""
    _, preprocessing, detection = CASES[request.param]
    model = network(request.param)
    folder = tmp_path_factory.mktemp("export") / request.param
    samples = np.random.default_rng(1).integers(0, 256, (3, 40, 60, preprocessing.channels), np.uint8)
    export(
        model, folder, labels=LABELS, preprocessing=preprocessing, detection=detection, samples=samples,
        provenance={"name": request.param},
    )  # fmt: skip
    return folder, model, detection


def test_both_formats_agree_with_keras(bundle):
    folder, model, _ = bundle
    signature = Signature.read(folder / "signature.json")
    again = replay(keras_model.of(model, signature), "3", 0.0, recording.read(folder, signature), None, budget_s=60)
    found = verify(folder, answered={"keras": again})
    assert found.holds
    assert [result.runtime for result in found.results] == ["keras", "savedmodel", "onnxruntime"]
    assert found.tolerance == 1e-4


def test_what_comes_out_has_the_shapes_of_the_signature(bundle):
    folder, _, detection = bundle
    opened = Bundle(folder)
    channels = opened.signature.preprocessing.channels
    for batch, height, width in ((1, 30, 90), (4, 200, 50)):
        images = np.random.default_rng(batch).integers(0, 256, (batch, height, width, channels), np.uint8)
        outputs = opened.run(images)
        assert tuple(outputs) == NAMES
        for tensor in opened.signature.outputs:
            assert outputs[tensor.name].dtype == tensor.dtype
            assert outputs[tensor.name].shape == tuple(batch if size == "batch" else size for size in tensor.shape)
        for row, count in enumerate(outputs["count"]):
            boxes, scores = outputs["boxes"][row, :count], outputs["scores"][row, :count]
            assert (boxes >= 0).all()
            assert (boxes <= [height, width, height, width]).all()
            assert (scores > detection.min_score).all()
            assert (np.diff(scores) <= 0).all(), "surest first"
            assert not outputs["boxes"][row, count:].any()
        alone = opened.run(images[-1:])
        assert alone["count"][0] == outputs["count"][-1], "neighbours in a batch change nothing"
        np.testing.assert_allclose(alone["scores"][0], outputs["scores"][-1], atol=1e-5)


def test_thresholds_have_defaults_and_may_be_given(bundle):
    folder, _, detection = bundle
    opened = Bundle(folder)
    images = np.random.default_rng(5).integers(0, 256, (2, 64, 64, opened.signature.preprocessing.channels), np.uint8)
    default = opened.run(images)
    said = opened.run(images, min_score=detection.min_score, max_overlap=detection.max_overlap)
    for name in NAMES:
        np.testing.assert_array_equal(default[name], said[name])
    assert not opened.run(images, min_score=1.0)["count"].any()
    everything = opened.run(images, min_score=0.0, max_overlap=1.0)
    assert (everything["count"] >= default["count"]).all()
    loaded = tf.saved_model.load(str(folder / "saved_model" / "1"))
    adjusted = loaded.signatures["with_thresholds"](
        image=tf.constant(images), min_score=tf.constant(0.0), max_overlap=tf.constant(1.0)
    )
    np.testing.assert_array_equal(adjusted["count"], everything["count"])


def test_the_onnx_file_names_what_may_be_given(bundle):
    folder, _, detection = bundle
    graph = onnx.load(folder / "model.onnx").graph
    assert [tensor.name for tensor in graph.input] == ["image", "min_score", "max_overlap"]
    assert [tensor.name for tensor in graph.output] == list(NAMES)
    defaults = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert defaults["min_score"] == np.float32(detection.min_score)
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("NonMaxSuppression") == 1
    assert not {"Loop", "If", "Scan"} & set(kinds)


def outputs(*rows, most=4):
    """Outputs for one picture of (class, score, corners)."""
    found = {
        "boxes": np.zeros((1, most, 4), np.float32),
        "scores": np.zeros((1, most), np.float32),
        "classes": np.zeros((1, most), np.int32),
        "count": np.array([len(rows)], np.int32),
    }
    for place, (kind, score, corners) in enumerate(rows):
        found["classes"][0, place], found["scores"][0, place], found["boxes"][0, place] = kind, score, corners
    return found


ONE, OTHER = (0, 0.9, (0, 0, 100, 100)), (1, 0.8, (50, 50, 90, 90))


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ((ONE, OTHER), True),
        ((OTHER, ONE), True),  # ties may come in another order
        (((0, 0.90005, (0, 0, 100, 99.9)), OTHER), True),
        ((ONE,), False),
        ((ONE, (0, 0.8, (50, 50, 90, 90))), False),  # another class
        ((ONE, (1, 0.8, (50, 50, 90, 85))), False),  # another place
        (((0, 0.9002, (0, 0, 100, 100)), OTHER), False),  # another score
        ((ONE, ONE), False),
    ],
)
def test_boxes_are_matched_whatever_their_order(given, same, tmp_path):
    difference = _compare_boxes(outputs(*given), outputs(ONE, OTHER), 1).absolute
    assert (difference <= 1e-4) is same


def test_another_answer_of_one_runtime_is_found(bundle, tmp_path, monkeypatch):
    folder, _, _ = bundle
    run = Bundle.run

    def shifted(self, inputs, **more):
        found = run(self, inputs, **more)
        return {**found, "boxes": found["boxes"] + np.float32(3)}

    monkeypatch.setattr(Bundle, "run", shifted)
    assert not verify(folder, ["onnxruntime"]).holds
    monkeypatch.undo()
    assert verify(folder).holds, "the file says so again"


def test_what_is_not_sure_enough_to_be_told_is_compared_too(tmp_path, monkeypatch):
    _, preprocessing, detection = CASES["stretched"]
    detection = dataclasses.replace(detection, min_score=1.0)
    samples = np.random.default_rng(1).integers(0, 256, (2, 40, 60, 3), np.uint8)
    folder, model = tmp_path / "silent", network("stretched")
    export(model, folder, labels=LABELS, preprocessing=preprocessing, detection=detection, samples=samples)
    with np.load(folder / "samples.npz") as archive:
        assert not archive["count"].any()
        assert archive["unsure_count"][0] == 10
    run = Bundle.run

    def shifted(self, inputs, **more):
        found = run(self, inputs, **more)
        return {**found, "boxes": found["boxes"] + np.float32(3)}

    monkeypatch.setattr(Bundle, "run", shifted)
    assert not verify(folder, ["onnxruntime"]).holds


def test_a_network_of_other_outputs_is_refused(tmp_path):
    _, preprocessing, _ = CASES["stretched"]
    samples = np.zeros((1, 9, 9, 3), np.uint8)
    with pytest.raises(ValueError, match=r"2 labels and 2 boxes in each of 12 x 8 cells must have .* outputs"):
        export(
            builder("yolo_grid")((48, 32, 3), classes=3, boxes=2),
            tmp_path / "a",
            labels=("a", "b"),
            preprocessing=preprocessing,
            detection=Detection((12, 8), ANCHORS),
            samples=samples,
        )
    assert not (tmp_path / "a").exists()


def test_thresholds_are_refused_where_there_are_no_boxes(exported):
    opened = Bundle(exported("rows").folder)
    with pytest.raises(ValueError, match=r"finds no boxes: leave min_score out"):
        opened.run(np.zeros((1, 5), np.float32), min_score=0.5)


def test_a_signature_with_boxes_is_of_a_new_format(tmp_path):
    detection = Detection((3, 2), ANCHORS)
    made = signatures.boxes(LABELS, Preprocessing(3, (48, 32), letterbox=True), detection)
    made.write(tmp_path / "signature.json")
    assert signatures.Signature.read(tmp_path / "signature.json") == made
    assert made.to_dict()["format"] == 3
    assert signatures.classification(LABELS, Preprocessing(3, (48, 32))).to_dict()["format"] == 1
