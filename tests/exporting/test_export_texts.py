"""Bundles that read texts: what counts as a token, states that go on, and code that anyone can run."""

import dataclasses
import re
import shutil

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from dlapp.architectures import recurrent
from dlapp.errors import BundleError
from dlapp.exporting import export, parity, replaying
from dlapp.exporting.graph import prepare, serving_function
from dlapp.exporting.readme import render
from dlapp.files import sha256
from dlapp.inference.bundle import Bundle
from dlapp.signature import END, PADDING, START, UNKNOWN, Preprocessing, Signature, Vocabulary, classification

WORDS = Vocabulary((PADDING, UNKNOWN, "a", "sunny", "day", "rainy"), "word", "lower_and_strip_punctuation", length=4)
LETTERS = Vocabulary((PADDING, UNKNOWN, START, END, "a", "b", "c"), "character", marked=True)
SAMPLES = np.array([[2, 3, 4, 2, 5], [5, 4, 0, 0, 0], [3, 0, 0, 0, 0]], np.int32)
# name: options of the builder, labels, vocabularies of what is read and written
KINDS = {
    "classification": ({"form": "many_to_one", "cell": "lstm", "classes": 2}, ("bad", "good"), (WORDS, None)),
    "tagging": (
        {"form": "many_to_many", "cell": "simple", "classes": 3, "bidirectional": True},
        ("A", "N", "V"),
        (WORDS, None),
    ),
    "language_model": ({"form": "one_to_many", "cell": "gru", "classes": 7, "units": (4, 3)}, (), (LETTERS, None)),
    "sequence_to_sequence": ({"form": "encoder_decoder", "cell": "lstm", "classes": 7}, (), (WORDS, LETTERS)),
}


def network(kind):
    """With random weights, of which all say something."""
    options, _, (vocabulary, _) = KINDS[kind]
    model = recurrent(vocabulary=len(vocabulary), embedding_size=3, **{"units": 4, **options})
    random = np.random.default_rng(3)
    model.set_weights([random.normal(0, 0.9, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """One of each kind: its folder and its model."""
    root, made = tmp_path_factory.mktemp("export"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)  # of Keras it takes seconds
        for kind, (_, labels, (vocabulary, target)) in KINDS.items():
            model = network(kind)
            options = {"preprocessing": Preprocessing(0, vocabulary=vocabulary, target_vocabulary=target)}
            options["formats"] = ("onnx",) if kind == "classification" else ("savedmodel", "onnx")
            found = export(model, root / kind, labels=labels, samples=SAMPLES, **options)
            made[kind] = root / kind, model, found
    return made


@pytest.fixture(params=KINDS)
def made(request, bundles):
    return request.param, *bundles[request.param]


def test_the_task_follows_from_the_network_and_its_vocabularies(made):
    kind, folder, _, _ = made
    signature = Signature.read(folder / "signature.json")
    assert signature.task == kind
    assert [(one.name, one.dtype, one.shape) for one in signature.inputs] == [("tokens", "int32", ("batch", "time"))]
    names = ["model.onnx", "step.onnx"] if signature.step else ["model.onnx"]
    assert [name for name in signature.files if name.endswith(".onnx")] == names
    for name in names:
        proto = onnx.load(folder / name)
        assert signature.metadata().items() <= {one.key: one.value for one in proto.metadata_props}.items()
        assert not {node.op_type for node in proto.graph.node} & {"Loop", "Scan", "If"}
    told = signature.inputs + signature.outputs
    graph = onnx.load(folder / "model.onnx").graph
    for tensor, wanted in zip((*graph.input, *graph.output), told, strict=True):
        assert tensor.name == wanted.name
        assert tuple(d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim) == wanted.shape


def test_runtimes_agree_over_lengths_and_steps(made):
    kind, folder, _, found = made
    assert found.holds
    assert found.input_shapes == ((3, 5), (1, 5), (3, 3), (3, 10))
    assert all(result.largest_difference < 1e-6 for result in found.results)  # float32 sums of a few
    with np.load(folder / "samples.npz") as archive:
        recorded = dict(archive)
    if kind in ("language_model", "sequence_to_sequence"):
        assert recorded["step_token"].shape == (3, 5)
        assert recorded["step_probabilities"].shape == (3, 5, 7)
        assert (recorded["step_token"][:, 1] == recorded["step_probabilities"][:, 0].argmax(axis=-1)).all()
    else:
        assert not [name for name in recorded if name.startswith("step_")]


@pytest.mark.parametrize("kind", ["tagging", "language_model"])
def test_nothing_is_told_of_padding(kind, bundles):
    probabilities = Bundle(bundles[kind][0]).run(SAMPLES)["probabilities"]
    np.testing.assert_allclose(probabilities.sum(axis=-1), SAMPLES > 0, atol=1e-6)


def test_a_language_model_goes_on_by_one_token(bundles):
    folder, model, _ = bundles["language_model"]
    bundle = Bundle(folder)
    states = bundle.start(2)
    assert [state.shape for state in states] == [(2, 4), (2, 3)]
    assert not any(state.any() for state in states)
    tokens = np.array([[2, 5, 4], [2, 6, 6]], np.int32)
    whole = model(keras.ops.array(tokens))
    for number, token in enumerate(tokens.T):
        probabilities, states = bundle.step(np.ascontiguousarray(token), states)
        np.testing.assert_allclose(probabilities, whole[:, number], atol=1e-6)
    assert [state.shape for state in states] == [(2, 4), (2, 3)]


def test_an_answer_begins_with_what_the_encoder_leaves(bundles):
    folder, model, _ = bundles["sequence_to_sequence"]
    bundle = Bundle(folder)
    written = np.array([[2, 4, 5]] * 3, np.int32)
    states = bundle.encode(SAMPLES)
    whole = model([keras.ops.array(SAMPLES), keras.ops.array(written)])
    for number, token in enumerate(written.T):
        probabilities, states = bundle.step(np.ascontiguousarray(token), states)
        np.testing.assert_allclose(probabilities, whole[:, number], atol=1e-6)


def test_what_a_bundle_does_not_do_is_refused(bundles):
    names = ("language_model", "sequence_to_sequence", "tagging")
    writer, translator, tagger = (Bundle(bundles[kind][0]) for kind in names)
    with pytest.raises(BundleError, match="only a bundle that does sequence_to_sequence has this"):
        writer.encode(SAMPLES)
    with pytest.raises(BundleError, match="only a bundle that does language_model has this"):
        translator.start()
    with pytest.raises(BundleError, match="does tagging, which has no steps"):
        tagger.step(SAMPLES[:, 0], [])
    with pytest.raises(ValueError, match=r"token must be int32 of \('batch',\); got int64"):
        writer.step(np.array([2]), writer.start())


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([4, 2, 0, 0], [4, 2, 0, 0]),  # padding stays
        ([0, 0, 0, 0], [1, 0, 0, 0]),  # nothing at all is one unknown token
        ([0, 3, 0, 4], [1, 3, 1, 4]),  # holes are no padding
        ([6, -1, 5, 0], [1, 1, 5, 0]),  # of six tokens the last is 5
        ([0, 0, 0, -7], [1, 1, 1, 1]),
    ],
)
def test_what_counts_as_a_token(given, read):
    signature = classification(("a", "b"), Preprocessing(0, vocabulary=WORDS))
    np.testing.assert_array_equal(prepare(tf.constant([given, [2, 0, 0, 0]]), signature), [read, [2, 0, 0, 0]])


def test_what_is_traced_on_a_gpu_runs_without_one(monkeypatch):
    model, seen = recurrent(classes=2, units=3, vocabulary=6, bidirectional=True), []
    inner_loop = keras.layers.LSTM.inner_loop

    def watched(layer, *given, **options):
        seen.append(layer.use_cudnn)
        return inner_loop(layer, *given, **options)

    monkeypatch.setattr(keras.layers.LSTM, "inner_loop", watched)
    signature = classification(("a", "b"), Preprocessing(0, vocabulary=WORDS))
    serving_function(model, signature).get_concrete_function()
    assert seen == [False, False], "of both directions"
    seen.clear()
    model(keras.ops.array(SAMPLES))
    assert seen == ["auto", "auto"], "training goes on as before"


def test_every_runtime_reads_tokens_alike(bundles):
    folder, _, _ = bundles["tagging"]
    odd, even = np.array([[0, 99, 0, 4, 0]], np.int32), np.array([[1, 1, 1, 4, 0]], np.int32)
    saved = tf.saved_model.load(str(folder / "saved_model/1")).signatures["serving_default"]
    bundle = Bundle(folder)
    for given, same in ((odd, even), (odd[:, :1], even[:, :1])):
        wanted = bundle.run(same)["probabilities"]
        np.testing.assert_allclose(bundle.run(given)["probabilities"], wanted, atol=1e-6)
        np.testing.assert_allclose(saved(tokens=tf.constant(given))["probabilities"], wanted, atol=1e-6)


@pytest.mark.parametrize("altered", ["step_probabilities", "step_next_state2"])
def test_a_wrong_step_is_found(altered, bundles, tmp_path):
    folder = shutil.copytree(bundles["language_model"][0], tmp_path / "copy")
    assert parity.verify(folder, ["onnxruntime"]).holds
    with np.load(folder / "samples.npz") as archive:
        arrays = dict(archive)
    arrays[altered] = arrays[altered][..., ::-1]
    np.savez(folder / "samples.npz", **arrays)
    signature = Signature.read(folder / "signature.json")
    files = {**signature.files, "samples.npz": sha256(folder / "samples.npz")}
    dataclasses.replace(signature, files=files).write(folder / "signature.json")
    (found,) = parity.verify(folder, ["onnxruntime"]).results
    assert not found.equal
    assert found.largest_difference > 0.01
    assert found.same_answer == (altered != "step_probabilities")


# open files that the few lines leave to the interpreter
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_code_of_the_readme_runs(made, monkeypatch, capsys):
    kind, folder, _, _ = made
    monkeypatch.chdir(folder)
    text = (folder / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    told = []
    for block in blocks:
        assert len(block.splitlines()) <= 28
        exec(compile(block.replace("some text", "A rainy DAY, x y!"), "README.md", "exec"), {})
        told.append(re.sub(r"0\.\d+", "", capsys.readouterr().out))
    assert len(told) == (1 if kind == "classification" else 2)
    assert len(set(told)) == 1, "both runtimes answer alike"
    bundle, tokens = Bundle(folder), np.array([[2, 5, 4, 1]], np.int32)  # the fifth word is cut off
    if kind in ("classification", "tagging"):
        best = bundle.run(tokens)["probabilities"][0].argmax(axis=-1)
        labels = KINDS[kind][1]
        wanted = [labels[best]] if kind == "classification" else [labels[k] for k in best]
        words = ["a", "rainy", "day", "x"] if kind == "tagging" else [""]
        assert [line.split() for line in told[0].splitlines()] == [
            f"{word} {label}".split() for word, label in zip(words, wanted, strict=True)
        ]
    else:
        states = bundle.start() if kind == "language_model" else bundle.encode(tokens)
        token, written = np.array([2], np.int32), ""
        for _ in range(100):
            probabilities, states = bundle.step(token, states)
            token = probabilities.argmax(axis=-1).astype(np.int32)
            if token[0] == 3:
                break
            written += LETTERS.tokens[token[0]]
        assert told[0] == f"{written}\n"
    assert f"`tokens` are numbers of {'characters' if kind == 'language_model' else 'words'}" in text
    assert ("`dlapp generate` takes the beginning of a text" in text) == (kind == "language_model")


def refuse(kind, **changed):
    _, labels, (vocabulary, target) = KINDS[kind]
    preprocessing = Preprocessing(0, vocabulary=vocabulary, target_vocabulary=target)
    return {"labels": labels, "preprocessing": preprocessing, "samples": SAMPLES, **changed}


def test_what_does_not_fit_is_refused(tmp_path):
    both = recurrent(form="many_to_many", classes=7, units=3, bidirectional=True, vocabulary=7)
    with pytest.raises(BundleError, match=r"recurrent cannot go on by one token: .*bidirectional=False"):
        export(both, tmp_path / "a", **refuse("language_model"))
    with pytest.raises(ValueError, match="gives one of 7 tokens must have as many outputs; recurrent has 5"):
        export(
            recurrent(form="one_to_many", classes=5, units=3, vocabulary=7), tmp_path / "a", **refuse("language_model")
        )
    with pytest.raises(ValueError, match="embedding of recurrent must have a row for each of 6 tokens; it has 5"):
        export(recurrent(classes=2, units=3, vocabulary=5), tmp_path / "a", **refuse("classification"))
    with pytest.raises(ValueError, match=r"tokens must be int32 of \('batch', 'time'\); got int64"):
        export(network("tagging"), tmp_path / "a", **refuse("tagging", samples=SAMPLES.astype(np.int64)))


def test_the_readme_of_one_format(bundles):
    signature = Signature.read(bundles["sequence_to_sequence"][0] / "signature.json")
    text = render(signature, "dates", ["onnx"])
    assert "tensorflow" not in text
    assert "The first states are what `model.onnx` gives." in text
    assert "`token`, `state1`, `state2` become\n`probabilities`, `next_state1`, `next_state2`." in text
    assert "resizing" not in text
