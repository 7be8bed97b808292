"""A bundle's answers on examples are those of the network that it was exported from, whatever the task."""

import keras
import numpy as np
import pytest
from PIL import Image

from dlapp import exporting
from dlapp.architectures import builder, recurrent
from dlapp.boxes import Boxes
from dlapp.data import Examples
from dlapp.data.examples import as_objects
from dlapp.errors import DlappError, SourceError
from dlapp.exporting import replaying
from dlapp.inference import Bundle
from dlapp.signature import Detection, Preprocessing, Signature, Target, Vocabulary
from dlapp.training import answering
from dlapp.training.answering_bundles import answer, raw_batches

LETTERS = Vocabulary(("", "[UNK]", *"abcd"), "character")
MARKED = Vocabulary(("", "[UNK]", "[START]", "[END]", *"abcd"), "character", marked=True, length=8)
WORDS = Vocabulary(("", "[UNK]", "rain", "falls", "on"), "word")
TEXTS = as_objects(["ab", "dcba", "a", "bbbbbbb", "cx"])
UNITS = {"units": 5, "embedding_size": 4, "cell": "gru"}


def rows(columns, **targets):
    return Examples(np.random.default_rng(0).normal(size=(9, columns)).astype(np.float32), channels=0, **targets)


def texts(inputs=TEXTS, **targets):
    return Examples(inputs, channels=0, **{"targets": np.zeros(len(inputs), np.int32), **targets})


def objects(count):
    counts = np.arange(count) % 3
    corners = np.random.default_rng(0).uniform(0, 10, (counts.sum(), 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2] + 4
    return Boxes(counts.astype(np.int64), corners, np.arange(len(corners), dtype=np.int32) % 2)


def found_boxes():
    pictures = np.random.default_rng(0).integers(0, 256, (5, 24, 30, 3), np.uint8)
    return Examples(pictures, np.arange(5, dtype=np.int32) % 3, channels=3, boxes=objects(5))


@pytest.fixture(scope="module", autouse=True)
def _without_latencies():
    """Of Keras they take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)
        yield


# name: network, examples, labels, and what else it is exported with
CASES = {
    "values": lambda: (
        builder("linear_unit")((3,)),
        rows(3, targets=np.arange(9, dtype=np.float32)),
        (),
        {"preprocessing": Preprocessing(0, mean=(0.0,) * 3, variance=(1.0,) * 3), "target": Target("price", 4.0, 2.5)},
    ),
    "boxes": lambda: (
        builder("yolo_grid")((16, 16, 3), classes=2, boxes=1, grid=8),
        found_boxes(),
        ("disc", "square"),
        {"preprocessing": Preprocessing(3, (16, 16), scale="unit"), "detection": Detection((8, 8), (), 0.3, 0.5, 20)},
    ),
    "moods": lambda: (
        recurrent(classes=2, vocabulary=6, **UNITS),
        texts(targets=np.array([0, 1, 1, 0, 1], np.int32)),
        ("sad", "glad"),
        {"preprocessing": Preprocessing(0, vocabulary=LETTERS)},
    ),
    "tags": lambda: (
        recurrent(classes=3, form="many_to_many", vocabulary=5, **UNITS),
        texts(
            as_objects([("rain", "falls"), ("on", "rain", "on"), ("snow",)]),
            wanted=as_objects([np.array(tags, np.int32) for tags in ([0, 1], [2, 0, 2], [1])]),
        ),
        ("N", "V", "P"),
        {"preprocessing": Preprocessing(0, vocabulary=WORDS)},
    ),
    "running text": lambda: (
        recurrent(classes=6, form="many_to_many", vocabulary=6, **UNITS),
        texts(as_objects(["abcd" * 150])),
        (),
        {"preprocessing": Preprocessing(0, vocabulary=LETTERS)},
    ),
    "replies": lambda: (
        recurrent(classes=8, form="encoder_decoder", vocabulary=6, **UNITS),
        texts(wanted=as_objects(["b", "ab", "cd", "a", "dddd"])),
        (),
        {"preprocessing": Preprocessing(0, vocabulary=LETTERS, target_vocabulary=MARKED)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_is_what_the_network_answers(case, tmp_path):
    model, examples, labels, options = CASES[case]()
    random = np.random.default_rng(2)
    model.set_weights([random.normal(0, 0.6, weight.shape) for weight in model.get_weights()])
    preprocessing = options["preprocessing"]
    samples = next(raw_batches(examples, Signature("", (), (), labels, preprocessing), range(1)))
    exporting.export(model, tmp_path / "bundle", labels=labels, samples=samples, formats=["onnx"], **options)
    bundle = Bundle(tmp_path / "bundle")
    signature = bundle.signature
    expected, found = answering.answer(model, examples, signature), answer(bundle, examples)
    if isinstance(expected, np.ndarray):
        assert expected.std() > 1e-3, "answers that are all equal would prove nothing"
        np.testing.assert_allclose(found, expected, atol=1e-5)
    scores, wanted = (answering.score_answers(examples, answers, signature) for answers in (found, expected))
    assert flat(scores) == pytest.approx(flat(wanted), abs=1e-4)
    assert answering.JUDGED_BY[signature.task] in scores
    if case == "replies":
        assert found.replies == expected.replies


def flat(scores):
    """The numbers among scores."""
    return {key: value for key, value in scores.items() if isinstance(value, int | float)}


def test_pictures_of_one_size_go_together_in_their_order(tmp_path):
    sizes = [(8, 9), (8, 9), (7, 7), (8, 9), (8, 9), (8, 9)]
    paths = []
    for number, size in enumerate(sizes):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full(size, number, np.uint8)).save(paths[-1])
    examples = Examples(
        np.array(paths), np.zeros(6, np.int32), channels=1, plain=np.ones(6, bool), sizes=np.array(sizes, np.int32)
    )
    signature = Signature("classification", (), (), ("a", "b"), Preprocessing(1, (4, 4)))
    found = [batch[:, 0, 0, 0].tolist() for batch in raw_batches(examples, signature, size=2)]
    assert found == [[0, 1], [2], [3, 4], [5]]
    assert [batch.shape[1:3] for batch in raw_batches(examples, signature, [2, 5])] == [(7, 7), (8, 9)]
    (tmp_path / "5.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"5\.png"):
        list(raw_batches(examples, signature))


def test_a_map_is_compared_with_nothing(tmp_path):
    keras.utils.set_random_seed(0)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
    exporting.export(
        builder("lenet5")((16, 16, 1), classes=2),
        tmp_path / "slides",
        labels=("a", "b"),
        preprocessing=Preprocessing(1, (16, 16), scale="unit"),
        samples=pictures,
        formats=["onnx"],
        sliding=True,
    )
    with pytest.raises(DlappError, match="slides over pictures: no target of an example is a map"):
        answer(Bundle(tmp_path / "slides"), Examples(pictures, np.zeros(2, np.int32), channels=1))
