"""int8 and float16 beside the float32 file: what stays the same, how close they are, and what is refused."""

import dataclasses
import json
import re
import shutil

import keras
import numpy as np
import onnx
import pytest

from dlapp.architectures import builder, custom_layers, recurrent
from dlapp.errors import BundleError, DlappError, MetricDropped, UnknownName
from dlapp.exporting import export, replaying, variants
from dlapp.exporting.variants import Measured, Wanted
from dlapp.files import sha256
from dlapp.inference import Bundle
from dlapp.inference.bundle import variants_of
from dlapp.signature import Detection, Preprocessing, Signature, Vocabulary

LABELS = ("a", "b", "c", "d")
PICTURES = Preprocessing(1, (16, 16), scale="unit")
LETTERS = Vocabulary(("", "[UNK]", *"abcdef"), "character")
BOTH = ("int8", "float16")
WEIGHTED = ("Conv", "MatMul", "Gemm")


def pictures(count, *, seed=0, channels=1):
    """Noise with a bright corner or two, so that pictures differ by more than noise does."""
    random = np.random.default_rng(seed)
    corners = np.kron(random.random((count, 2, 2, channels)), np.ones((1, 10, 13, 1)))[:, :, :25]
    return (corners * random.integers(0, 256, (count, 20, 25, channels))).astype(np.uint8)


def wanted(names=BOTH, *, scores=None, batches=None, **options):
    """Variants whose metric is ``scores``, of which 0.9 is the default."""
    scores = scores or {}
    return Wanted(
        names,
        lambda: iter(batches if batches is not None else [pictures(4, seed=seed) for seed in range(8)]),
        lambda bundle: Measured("accuracy", scores.get(bundle.variant, 0.9), 50),
        **options,
    )


def convolutional():
    """Convolutions with ReLU, pools and three dense layers, of random weights."""
    keras.utils.set_random_seed(0)
    model = builder("lenet5")((16, 16, 1), classes=4, activation="relu", pooling="max")
    model.set_weights([1.5 * weight for weight in model.get_weights()])  # or all answers are nearly equal
    return model


def write(folder, chosen, model=None):
    return export(
        convolutional() if model is None else model,
        folder,
        labels=LABELS,
        preprocessing=PICTURES,
        samples=pictures(5, seed=9),
        formats=["onnx"],
        variants=chosen,
    )


@pytest.fixture(scope="module", autouse=True)
def _without_latencies():
    """Of Keras they take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants") / "lenet"
    write(folder, wanted(scores={"int8": 0.895}))
    return folder


def outside(proto):
    """What a caller sees of an ONNX file."""
    tensors = [*proto.graph.input, *proto.graph.output]
    return [tensor.SerializeToString() for tensor in tensors], {one.key: one.value for one in proto.metadata_props}


def upstream(graph, name):
    """The operators that a tensor is made by, back to those with weights."""
    made = {output: node for node in graph.node for output in node.output}
    found, waiting = set(), [name]
    while waiting:
        node = made.get(waiting.pop())
        if node is not None:
            found.add(node.op_type)
            waiting += [] if node.op_type in WEIGHTED else node.input
    return found


@pytest.mark.parametrize(("variant", "share"), [("int8", 0.3), ("float16", 0.53)])
def test_has_the_same_inputs_outputs_and_metadata_in_fewer_bytes(folder, variant, share):
    whole, proto = (onnx.load(folder / name) for name in ("model.onnx", f"model.{variant}.onnx"))
    onnx.checker.check_model(proto, full_check=True)
    (tensors, metadata), (same, more) = outside(whole), outside(proto)
    assert same == tensors
    assert more == metadata | {"variant": variant}
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 18)]
    # 23,000 weights; the graph and the metadata take 6 KB of each
    sizes = [(folder / name).stat().st_size for name in (f"model.{variant}.onnx", "model.onnx")]
    assert sizes[0] < share * sizes[1] + 8192


def test_answers_are_close(folder):
    given = pictures(40, seed=3)
    expected = Bundle(folder).run(given)["probabilities"]
    assert expected.std(axis=0).min() > 1e-3, "answers that are all equal would prove nothing"
    # float16 has 11 bits; int8 has steps of 1/255 of each range
    for variant, largest in (("float16", 2e-3), ("int8", 4e-2)):
        found = Bundle(folder, variant=variant, threads=1).run(given)["probabilities"]
        assert 0 < np.abs(found - expected).max() < largest


SIZES = ("Shape", "Gather", "Concat", "Unsqueeze")  # that a picture is resized to


def test_eight_bits_begin_behind_preprocessing_and_end_before_the_answer(folder):
    graph = onnx.load(folder / "model.int8.onnx").graph
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert upstream(graph, first.input[0]) == {"Cast", "Resize", "Mul", "Reshape", *SIZES}
    assert upstream(graph, "probabilities") <= {"Softmax", "Add", *WEIGHTED}, "the answer is not rounded"
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kernels = [weights[node.input[0]] for node in graph.node if node.op_type == "DequantizeLinear"
               and node.input[0] in weights and weights[node.input[0]].data_type == onnx.TensorProto.INT8]  # fmt: skip
    assert len(kernels) == 5, "two convolutions and three dense layers"
    scales = {node.input[0]: weights[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert sorted(tuple(scales[kernel.name].dims) for kernel in kernels) == [(4,), (6,), (16,), (84,), (120,)]


def test_records_what_was_measured_and_hashes_every_file(folder):
    found = json.loads((folder / "variants.json").read_text())
    whole, int8 = ((folder / name).stat().st_size for name in ("model.onnx", "model.int8.onnx"))
    assert found["float32"] == {"file": "model.onnx", "bytes": whole, "accuracy": 0.9}
    assert (found["metric"], found["split"], found["examples"], found["max_drop"]) == ("accuracy", "dev", 50, 0.01)
    assert list(found["variants"]) == ["int8", "float16"]
    first = found["variants"]["int8"]
    assert (first["bytes"], first["size_ratio"]) == (int8, round(int8 / whole, 4))
    assert first["drop"] == pytest.approx(0.005)
    differences = (
        Bundle(folder, variant="int8").run(pictures(5, seed=9))["probabilities"]
        - Bundle(folder).run(pictures(5, seed=9))["probabilities"]
    )
    assert first["largest_difference"] == pytest.approx(np.abs(differences).max(), abs=1e-6)
    signature = Signature.read(folder / "signature.json")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - set(signature.files) == {"signature.json", "parity.json"}
    assert variants_of(signature) == ["float32", "int8", "float16"]


def test_the_same_network_and_examples_give_the_same_bytes(folder, tmp_path):
    chosen, signature = wanted(scores={"int8": 0.895}), Signature.read(folder / "signature.json")
    shutil.copy(folder / "model.onnx", tmp_path)
    variants.write(tmp_path, signature, chosen)
    for name in ("model.int8.onnx", "model.float16.onnx"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({"float32": 0.9, "int8": 0.88}, "accuracy of int8 on dev is 0.8800, of float32 0.9000: worse by 0.0200"),
        ({"float32": 0.9, "int8": float("nan")}, "accuracy of int8 on dev is nan"),
        ({"float32": 1.5, "int8": 1.52}, "worse by 0.0200, more than --max-drop 0.01; .*lenet was not written"),
    ],
    ids=["falls", "NaN", "smaller is better"],
)
def test_what_is_worse_by_more_than_it_may_be_is_refused(measured, told, folder):
    def judge(**options):
        chosen = Wanted(
            ["int8"],
            list,
            lambda one: Measured("accuracy", measured[one.variant], 50, measured["float32"] > 1),
            **options,
        )
        variants.judge(copy, chosen, pictures(2), name=folder)

    copy = shutil.copytree(folder, folder.with_name("judged"), dirs_exist_ok=True)
    with pytest.raises(MetricDropped, match=told) as raised:
        judge()
    assert raised.value.exit_status == 1
    assert "Allow more, or leave --quantize int8 out" in str(raised.value)
    if measured["int8"] == measured["int8"]:
        judge(max_drop=0.02)
        drop = json.loads((copy / "variants.json").read_text())["variants"]["int8"]["drop"]
        assert drop == pytest.approx(0.02)


def test_dev_without_an_object_proves_nothing(folder):
    chosen = Wanted(["int8"], list, lambda one: Measured("map_50", None, 3))
    with pytest.raises(DlappError, match="dev has nothing to measure map_50 with"):
        variants.judge(folder, chosen, pictures(2), name=folder)


def test_of_a_refused_bundle_nothing_is_left(folder, tmp_path):
    before = shutil.copytree(folder, tmp_path / "lenet")
    found = {path.name: path.read_bytes() for path in before.iterdir()}
    with pytest.raises(MetricDropped):
        write(tmp_path / "lenet", wanted(["int8"], scores={"int8": 0.5}))
    assert {path.name: path.read_bytes() for path in before.iterdir()} == found
    assert [path.name for path in tmp_path.iterdir()] == ["lenet"]


def test_calibration_is_read_batch_by_batch():
    read = []

    def batches():
        for seed in range(3):
            read.append(seed)
            yield pictures(2, seed=seed)

    proto = onnx.load_model_from_string(small_graph().SerializeToString())
    variants.quantize(proto, "image", batches())
    assert read == [0, 1, 2]


def small_graph():
    """x @ weights of what was divided by 255."""
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    small (uint8[batch, height, width, channels] image) => (float[batch, 2] value)
    <float white = {255}, int64[2] flat = {0, -1}>
    {
        float = Cast <to = 1> (image)
        scaled = Div (float, white)
        rows = Reshape (scaled, flat)
        value = MatMul (rows, weights)
    }
    """
    proto = onnx.parser.parse_model(re.sub(r"^\s+", "", text, flags=re.MULTILINE))
    weights = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    return proto


def test_rows_too_large_for_float16_are_scaled_before(tmp_path):
    columns = 300
    mean, variance = (5e6,) * columns, (1e12,) * columns
    rows = np.random.default_rng(0).normal(5e6, 1e6, (4, columns)).astype(np.float32)
    model = builder("shallow_network")((columns,), units=20, classes=4, kernel_initializer="he")
    folder = tmp_path / "rows"
    export(
        model,
        folder,
        labels=LABELS,
        preprocessing=Preprocessing(0, scale="standardize", mean=mean, variance=variance),
        samples=rows,
        formats=["onnx"],
        variants=wanted(batches=[rows]),
    )
    expected = Bundle(folder).run(rows)["probabilities"]
    assert expected.std(axis=0).min() > 1e-2, "answers that are all equal would prove nothing"
    for variant, largest in (("float16", 2e-3), ("int8", 4e-2)):
        np.testing.assert_allclose(Bundle(folder, variant=variant).run(rows)["probabilities"], expected, atol=largest)


def language_model():
    keras.utils.set_random_seed(0)
    return recurrent(classes=8, form="many_to_many", cell="gru", units=40, vocabulary=8, embedding_size=40)


def write_language_model(folder, names):
    return export(
        language_model(),
        folder,
        preprocessing=Preprocessing(0, vocabulary=LETTERS),
        samples=np.array([[2, 3, 4, 5], [7, 2, 0, 0]], np.int32),
        formats=["onnx"],
        variants=wanted(names),
    )


def test_recurrent_weights_have_float16_and_no_int8(tmp_path):
    with pytest.raises(BundleError, match=r"\w+ of recurrent is recurrent, .* give --float16 instead of --quantize"):
        write_language_model(tmp_path / "letters", ["int8"])
    assert not (tmp_path / "letters").exists()
    write_language_model(tmp_path / "letters", ["float16"])
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "letters").glob("*.onnx")}
    assert sorted(sizes) == ["model.float16.onnx", "model.onnx", "step.float16.onnx", "step.onnx"]
    for name in ("model", "step"):  # 10,500 weights in 4 bytes, 7 KB of graph and metadata
        assert sizes[f"{name}.float16.onnx"] < 0.5 * sizes[f"{name}.onnx"] + 6144
    whole, half = (Bundle(tmp_path / "letters", variant=variant) for variant in ("float32", "float16"))
    tokens = np.array([[2, 3, 4, 5, 6], [7, 2, 0, 0, 0]], np.int32)
    expected, found = (bundle.run(tokens)["probabilities"] for bundle in (whole, half))
    assert 0 < np.abs(found - expected).max() < 2e-3
    (first, _), (second, _) = (bundle.step(tokens[:, 0], bundle.start(2)) for bundle in (whole, half))
    assert 0 < np.abs(first - second).max() < 2e-3


def test_boxes_are_decoded_in_float32(tmp_path):
    keras.utils.set_random_seed(0)
    detection = Detection((8, 8), ((0.2, 0.2), (0.5, 0.3)), 0.02, 0.4, 20)
    model = builder("yolo_grid")((32, 32, 3), classes=4, boxes=2)
    folder = tmp_path / "boxes"
    export(
        model,
        folder,
        labels=LABELS,
        preprocessing=Preprocessing(3, (32, 32), scale="unit"),
        detection=detection,
        samples=pictures(3, channels=3),
        formats=["onnx"],
        variants=wanted(batches=[pictures(4, channels=3)]),
    )
    given = pictures(2, seed=5, channels=3)
    expected = Bundle(folder).run(given)
    for variant, largest in (("float16", 2e-3), ("int8", 5e-2)):
        bundle = Bundle(folder, variant=variant)
        found = bundle.run(given)
        assert {name: values.dtype for name, values in found.items()} == {
            name: values.dtype for name, values in expected.items()
        }
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=largest)
        assert bundle.run(given, min_score=1.0)["count"].tolist() == [0, 0]
        proto = onnx.load(folder / f"model.{variant}.onnx")
        assert upstream(proto.graph, "boxes") >= {"NonMaxSuppression", "Sigmoid", "Conv"}
        assert "QuantizeLinear" not in upstream(proto.graph, "boxes")


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda folder: Bundle(folder, variant="int4"), UnknownName, "unknown variant 'int4'. Did you mean int8"),
        (lambda folder: Bundle(folder, variant="int8"), BundleError, "no model.int8.onnx: .* with --quantize int8"),
    ],
    ids=["unknown", "not exported"],
)
def test_a_variant_that_is_not_there_is_named(call, error, told, exported):
    with pytest.raises(error, match=told):
        call(exported("rows").folder)


def test_a_file_under_another_name_is_found_out(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.copy(copy / "model.float16.onnx", copy / "model.int8.onnx")
    signature = Signature.read(copy / "signature.json")
    files = {**signature.files, "model.int8.onnx": sha256(copy / "model.int8.onnx")}
    dataclasses.replace(signature, files=files).write(copy / "signature.json")
    with pytest.raises(BundleError, match="disagree on variant"):
        Bundle(copy, variant="int8")


def test_without_an_onnx_file_there_are_no_variants(tmp_path):
    with pytest.raises(BundleError, match="int8 and float16 are variants of the ONNX file: export with --to onnx"):
        export(
            convolutional(),
            tmp_path / "none",
            labels=LABELS,
            preprocessing=PICTURES,
            samples=pictures(2),
            formats=["savedmodel"],
            variants=wanted(),
        )


def test_sums_of_squares_keep_their_digits(tmp_path):
    """Local response normalization is written with a convolution, which is none of the network's."""
    inputs = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(20, 3, activation="relu", name="conv1")(inputs)
    x = custom_layers.LocalResponseNormalization(alpha=0.5, name="norm1")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(6, 3, name="conv2")(x))
    write(tmp_path / "net", wanted(), keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x), name="net"))
    for variant in BOTH:
        proto = onnx.load(tmp_path / "net" / f"model.{variant}.onnx")
        constants = {one.name: one for one in proto.graph.initializer}
        convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
        (normalizing,) = (node for node in convolutions if "/norm1_1/" in node.name)
        assert constants[normalizing.input[1]].data_type == onnx.TensorProto.FLOAT
        others = [constants.get(node.input[1]) for node in convolutions if node is not normalizing]
        assert len(others) == 2
        assert all(one is None or one.data_type == onnx.TensorProto.FLOAT16 for one in others)
        assert not any(one.name.endswith("_stored") for one in constants.values())
