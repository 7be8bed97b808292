"""Layouts for servers: read back with the servers' own schemas, and compared with the files that they are about."""

import base64
import io
import json
import re
import subprocess
import sys
import urllib.request

import numpy as np
import onnx
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2
from tritonclient.grpc import model_config_pb2

from dlapp import pictures
from dlapp import signature as signatures
from dlapp.architectures import builder
from dlapp.errors import DlappError, ParityError, UnknownName
from dlapp.exporting import export, recording, replaying, servers
from dlapp.exporting.servers import commands, kserve, names, tensorflow_serving, triton
from dlapp.files import sha256
from dlapp.inference.bundle import Bundle
from dlapp.signature import END, PADDING, START, UNKNOWN, Detection, Preprocessing, Signature, Vocabulary, Windows
from tests.exporting.conftest import KINDS, network, raw

LETTERS = Vocabulary((PADDING, UNKNOWN, START, END, "a", "b", "c"), "character", marked=True)
ALL = ("tfserving", "triton", "kserve")


def make_pictures():
    _, _, preprocessing, shape = KINDS["logistic_unit"]
    labels = ("no", "yes\nat last")
    return network("logistic_unit"), {"labels": labels, "preprocessing": preprocessing, "samples": raw(shape, batch=3)}


def make_rows():
    _, _, preprocessing, shape = KINDS["rows"]
    return network("rows"), {"labels": ("a", "b", "c"), "preprocessing": preprocessing, "samples": raw(shape, batch=3)}


def make_detector():
    anchors = ((0.2, 0.2), (0.5, 0.3))
    model = builder("yolo_grid")((48, 32, 3), classes=2, boxes=2)
    random = np.random.default_rng(0)
    model.layers[-1].set_weights([random.normal(0, 0.3, w.shape) for w in model.layers[-1].get_weights()])
    options = {"preprocessing": Preprocessing(3, (48, 32), scale="unit"), "labels": ("disc", "square")}
    return model, {
        **options,
        "detection": Detection((12, 8), anchors, 0.02, 0.4, 20),
        "samples": raw((40, 60, 3), batch=2),
    }


def make_language_model():
    model = builder("recurrent")(
        vocabulary=len(LETTERS), embedding_size=3, form="one_to_many", cell="gru", classes=7, units=(4, 3)
    )
    tokens = np.array([[2, 4, 5, 4], [5, 4, 0, 0]], np.int32)
    return model, {"preprocessing": Preprocessing(0, vocabulary=LETTERS), "samples": tokens}


MADE = {
    "pictures": make_pictures,
    "rows": make_rows,
    "detector": make_detector,
    "language_model": make_language_model,
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A bundle of each kind with every layout."""
    root, made = tmp_path_factory.mktemp("export"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "_median_latency", lambda *_: 0.0)  # of Keras it takes seconds
        for kind, make in MADE.items():
            model, options = make()
            found = export(model, root / kind, layouts=ALL, storage_uri="s3://bucket/models/", **options)
            assert found.holds
            made[kind] = root / kind
    return made


@pytest.fixture(params=MADE)
def bundle(request, bundles):
    return bundles[request.param]


def read_samples(folder):
    signature = Signature.read(folder / "signature.json")
    return signature, recording.read(folder, signature)[0].inputs[signature.inputs[0].name]


def read_config(path):
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def test_models_config_names_the_model_and_where_the_container_finds_it(bundle):
    config = text_format.Parse(
        (bundle / "tfserving/models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (bundle.name, f"/models/{bundle.name}", "tensorflow")
    assert f'-v "$PWD/saved_model:{model.base_path}"' in (bundle / "README.md").read_text()


def test_warm_up_requests_are_answered_by_the_saved_model(bundle):
    signature, samples = read_samples(bundle)
    loaded = tf.saved_model.load(str(bundle / "saved_model/1"))
    records = tf.data.TFRecordDataset(str(bundle / "saved_model/1/assets.extra/tf_serving_warmup_requests"))
    requests = [prediction_log_pb2.PredictionLog.FromString(one.numpy()).predict_log.request for one in records]
    for request in requests:
        assert request.model_spec.name == bundle.name
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert all(len(values) == 1 for values in outputs.values())
    served = [request.model_spec.signature_name for request in requests]
    expected = ["serving_default"]
    expected += ["serving_encoded"] if signature.inputs[0].name == "image" else []
    expected += ["step"] if signature.step is not None else []
    assert served == expected * len(samples)
    given = [tf.make_ndarray(one.inputs[signature.inputs[0].name]) for one in requests[:: len(expected)]]
    np.testing.assert_array_equal(np.concatenate(given), samples)


def picture_files(random):
    """Files of one drawing in the ways that a drawing can be stored; name: bytes."""
    base = np.kron(random.integers(0, 256, (4, 5, 3)), np.ones((6, 6, 1))).astype(np.uint8)
    alpha = random.integers(0, 256, (*base.shape[:2], 1), np.uint8)
    rgb, rgba = Image.fromarray(base), Image.fromarray(np.concatenate([base, alpha], axis=-1))
    stored = {
        "rgb.png": (rgb, {}),
        "rgb.jpg": (rgb, {"quality": 70}),
        "progressive.jpg": (rgb, {"progressive": True}),
        "grey.png": (rgb.convert("L"), {}),
        "grey.jpg": (rgb.convert("L"), {}),
        "alpha.png": (rgba, {}),
        "grey_alpha.png": (rgba.convert("LA"), {}),
        "bits.png": (rgb.convert("1"), {}),
        "palette16.png": (rgb.quantize(16), {}),
        "palette200.png": (rgb.quantize(200), {}),
        "hole.png": (rgb.quantize(16), {"transparency": 3}),
    }
    files = {}
    for name, (picture, options) in stored.items():
        buffer = io.BytesIO()
        picture.save(buffer, {"png": "PNG", "jpg": "JPEG"}[name[-3:]], **options)
        files[name] = buffer.getvalue()
    return files


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_encoded_pictures_are_decoded_as_predict_reads_them(channels, tmp_path):
    decode = tf.function(
        lambda encoded: tensorflow_serving.decode(encoded, channels), input_signature=[tf.TensorSpec((), tf.string)]
    )
    for name, encoded in picture_files(np.random.default_rng(0)).items():
        (tmp_path / name).write_bytes(encoded)
        found = decode(encoded).numpy()
        np.testing.assert_array_equal(found, pictures.read(tmp_path / name, channels), err_msg=name)


@pytest.mark.parametrize("kind", ["pictures", "detector"])
def test_encoded_pictures_of_several_sizes_have_the_answers_of_pixels(kind, bundles, tmp_path):
    bundle = Bundle(bundles[kind])
    loaded = tf.saved_model.load(str(bundle.folder / "saved_model/1"))
    random = np.random.default_rng(1)
    files = {name: data for name, data in picture_files(random).items() if name.startswith("rgb")}
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (31, 17, 3), np.uint8)).save(buffer, "PNG")
    files["other.png"] = buffer.getvalue()
    found = loaded.signatures["serving_encoded"](encoded=tf.constant(list(files.values())))
    assert {one.name for one in bundle.signature.outputs} == set(found)
    for number, (name, data) in enumerate(files.items()):
        (tmp_path / name).write_bytes(data)
        expected = bundle.run(pictures.read(tmp_path / name, 3)[np.newaxis])
        for output, values in expected.items():
            # another runtime; boxes are pixels
            np.testing.assert_allclose(found[output][number], values[0], atol=1e-4, rtol=1e-4, err_msg=name)


def test_what_takes_no_encoded_pictures(bundles):
    for kind in ("rows", "language_model"):
        assert "serving_encoded" not in tf.saved_model.load(str(bundles[kind] / "saved_model/1")).signatures
        assert "serving_encoded" not in (bundles[kind] / "README.md").read_text()
    moved = signatures.sliding_classification(("a", "b"), Preprocessing(1, (8, 8)), Windows((8, 8), (4, 4)))
    assert servers.decoding_function(None, moved) is None, "maps of pictures of several sizes have no common shape"


def test_another_answer_to_encoded_pictures_fails_the_export(monkeypatch, tmp_path):
    model, options = make_pictures()
    monkeypatch.setattr(tensorflow_serving, "decode", lambda encoded, channels: tf.zeros((5, 5, channels), tf.uint8))
    with pytest.raises(ParityError, match="serving_encoded gives other probabilities of sample 0 as a PNG file"):
        export(model, tmp_path / "bundle", formats=["savedmodel"], layouts=["tfserving"], **options)
    assert not list(tmp_path.iterdir())


TYPES = {"TYPE_UINT8": "uint8", "TYPE_INT32": "int32", "TYPE_FP32": "float32"}


def described(tensors):
    """Name, type and shape with the batch, as the server hands it to the graph; what varies is None."""
    told = []
    for one in tensors:
        dims = one.reshape.shape if one.HasField("reshape") else one.dims
        kind = TYPES[model_config_pb2.DataType.Name(one.data_type)]
        told.append((one.name, kind, [None, *(None if size == -1 else size for size in dims)]))
    return told


def of_onnx(tensors):
    return [
        (
            one.name,
            np.dtype(onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)).name,
            [None if size.dim_param else size.dim_value for size in one.type.tensor_type.shape.dim],
        )
        for one in tensors
    ]


def test_triton_is_told_what_the_onnx_files_say(bundle):
    signature = Signature.read(bundle / "signature.json")
    for end in ("", "-step") if signature.step else ("",):
        folder = bundle / "triton" / f"{bundle.name}{end}"
        config = read_config(folder / "config.pbtxt")
        assert (config.name, config.platform) == (folder.name, "onnxruntime_onnx")
        assert config.max_batch_size > 1
        assert config.HasField("dynamic_batching")
        graph = onnx.load(folder / "1/model.onnx").graph
        optional = {one.name for one in graph.initializer}
        required = [one for one in graph.input if one.name not in optional]
        # with optional inputs the server refuses a model that batches
        assert not any(one.optional for one in config.input)
        assert described(config.input) == of_onnx(required)
        assert described(config.output) == of_onnx(graph.output)


def test_triton_is_told_what_the_saved_model_says(bundle):
    signature = Signature.read(bundle / "signature.json")
    for end in ("", "-step") if signature.step else ("",):
        folder = bundle / "triton" / f"{bundle.name}{end}-savedmodel"
        config = read_config(folder / "config.pbtxt")
        assert (config.name, config.platform) == (folder.name, "tensorflow_savedmodel")
        served = tf.saved_model.load(str(folder / "1/model.savedmodel")).signatures[
            config.parameters["TF_SIGNATURE_DEF"].string_value
        ]
        given = served.structured_input_signature[1].values()
        assert sorted(described(config.input)) == sorted(
            (one.name, one.dtype.name, one.shape.as_list()) for one in given
        )
        for name, kind, shape in described(config.output):
            found = served.structured_outputs[name]
            assert found.dtype.name == kind
            assert found.shape.is_compatible_with(shape)


def test_triton_has_labels_where_an_example_has_one_row_of_them(bundles):
    for end in ("", "-savedmodel"):
        folder = bundles["pictures"] / "triton" / f"pictures{end}"
        (output,) = read_config(folder / "config.pbtxt").output
        assert output.label_filename == "labels.txt"
        assert (folder / "labels.txt").read_text() == "no\nyes at last\n"
    for kind in ("detector", "language_model"):
        assert not list(bundles[kind].rglob("labels.txt"))


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_triton_has_the_files_of_the_bundle(links, bundles, monkeypatch, tmp_path):
    original = bundles["language_model"]

    def refuse(*_):
        raise OSError("no links here")

    for name in ("saved_model", "model.onnx", "step.onnx"):
        (tmp_path / name).symlink_to(original / name)
    if not links:
        monkeypatch.setattr("os.link", refuse)
        triton.write(tmp_path, "language_model", Signature.read(original / "signature.json"))
    root = original if links else tmp_path
    pairs = {"model.onnx": "language_model/1/model.onnx", "step.onnx": "language_model-step/1/model.onnx"}
    for path in (original / "saved_model/1").rglob("*"):
        if path.is_file():
            place = path.relative_to(original / "saved_model/1")
            pairs[f"saved_model/1/{place}"] = f"language_model-savedmodel/1/model.savedmodel/{place}"
    for source, target in pairs.items():
        found = root / "triton" / target
        assert found.samefile(original / source) == links
        assert found.read_bytes() == (original / source).read_bytes()


def test_every_file_is_hashed(bundle):
    signature = Signature.read(bundle / "signature.json")
    left = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert left - set(signature.files) == {"signature.json", "parity.json"}
    assert all(sha256(bundle / name) == expected for name, expected in signature.files.items())


def test_the_same_export_writes_the_same_layouts(bundles, monkeypatch, tmp_path):
    monkeypatch.setattr(replaying, "_median_latency", lambda *_: 0.0)
    model, options = make_pictures()
    export(model, tmp_path / "pictures", layouts=ALL, storage_uri="s3://bucket/models/", **options)
    for path in [*bundles["pictures"].rglob("*.config"), *bundles["pictures"].rglob("*.pbtxt")] + [
        bundles["pictures"] / name
        for name in ("kserve/inference_service.yaml", "README.md", f"saved_model/1/{tensorflow_serving.WARM_UP}")
    ]:
        assert (tmp_path / "pictures" / path.relative_to(bundles["pictures"])).read_bytes() == path.read_bytes()


def test_kserve_starts_tensorflow_serving_or_triton(bundles, tmp_path):
    text = (bundles["language_model"] / "kserve/inference_service.yaml").read_text()
    manifest = yaml.safe_load(text)
    assert manifest == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "language-model"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "tensorflow", "version": "2"},
                    "runtime": "kserve-tensorflow-serving",
                    "runtimeVersion": "2.19.1",
                    "protocolVersion": "v1",
                    "storageUri": "s3://bucket/models/saved_model",
                }
            }
        },
    }
    assert "it is an example" not in text
    kserve.write(tmp_path, "Über_Netz 2", None, served_by="triton")
    text = (tmp_path / "kserve/inference_service.yaml").read_text()
    model = yaml.safe_load(text)["spec"]["predictor"]["model"]
    assert (model["modelFormat"]["name"], model["runtime"]) == ("triton", "kserve-tritonserver")
    assert (model["protocolVersion"], model["runtimeVersion"]) == ("v2", "25.02-py3")
    assert model["storageUri"] == "pvc://models/Über_Netz 2/triton"
    assert "it is an example: change it, or use --storage-uri" in text


@pytest.mark.parametrize(
    ("name", "model", "service"),
    [
        ("lenet5-digits", "lenet5-digits", "lenet5-digits"),
        ("two words", "two-words", "two-words"),
        ("LeNet_5.1", "LeNet_5.1", "lenet-5-1"),
        ("5-layers", "5-layers", "model-5-layers"),
        ("日本", "model", "model"),
    ],
)
def test_names_are_those_that_servers_take(name, model, service):
    assert names.model_name(name) == model
    assert names.service_name(name) == service


def answer_requests(monkeypatch, folder):
    """Lets the bundle answer instead of servers; gives what was asked."""
    bundle, asked = Bundle(folder), []

    def open_url(request):
        body = json.loads(request.data)
        if ":predict" in request.full_url:
            (wanted,) = bundle.signature.inputs
            outputs = bundle.run(np.array(body["instances"], wanted.dtype))
            rows = zip(*outputs.values(), strict=True)
            answer = {"predictions": [np.asarray(row[0]).tolist() for row in rows]}
        else:
            (given,) = body["inputs"]
            dtype = {"UINT8": "uint8", "FP32": "float32", "INT32": "int32"}[given["datatype"]]
            outputs = bundle.run(np.array(given["data"], dtype).reshape(given["shape"]))
            assert given["name"] == bundle.signature.inputs[0].name
            answer = {"outputs": [{"name": k, "data": v.ravel().tolist()} for k, v in outputs.items()]}
        asked.append(request.full_url)
        return io.BytesIO(json.dumps(answer).encode())

    monkeypatch.setattr(urllib.request, "urlopen", open_url)
    return asked


# an open file that the ten lines leave to the interpreter
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_requests_of_the_readme_are_answered(bundle, monkeypatch, tmp_path, capsys):
    signature, samples = read_samples(bundle)
    asked = answer_requests(monkeypatch, bundle)
    monkeypatch.chdir(tmp_path)
    if samples.ndim == 4:
        Image.fromarray(samples[0]).save("picture.png")
    elif samples.ndim == 2:
        np.save("rows.npy", samples)
    text = (bundle / "README.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if "urllib" in code:
            exec(compile(code, "README.md", "exec"), {})
    triton_url = f"http://localhost:8000/v2/models/{bundle.name}/infer"
    encoded = signature.inputs[0].name == "image"
    assert asked == [*([] if encoded else [f"http://localhost:8501/v1/models/{bundle.name}:predict"]), triton_url]
    assert f"'name': '{signature.outputs[0].name}'" in capsys.readouterr().out
    for url in asked:
        assert (bundle / "triton" / url.split("/")[-2]).is_dir() or url.endswith(":predict")
    assert "kubectl apply -f kserve/inference_service.yaml" in text


@pytest.mark.skipif(sys.platform == "win32", reason="sh")
def test_curl_sends_the_picture_to_the_signature_for_it(bundles, tmp_path):
    text = (bundles["pictures"] / "README.md").read_text()
    (command,) = re.findall(r"```sh\n(echo .*?)```", text, re.DOTALL)
    (tmp_path / "curl").write_text('#!/bin/sh\ncat > asked.json\necho "$@" > arguments\n')
    (tmp_path / "curl").chmod(0o755)
    picture = tensorflow_serving.encode(raw((90, 80, 3), batch=1)[0])
    (tmp_path / "picture.png").write_bytes(picture)
    subprocess.run(["sh", "-c", f'PATH="{tmp_path}:$PATH"\n{command}'], cwd=tmp_path, check=True)
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked["signature_name"] == "serving_encoded"
    ((name, value),) = asked["instances"][0].items()
    served = tf.saved_model.load(str(bundles["pictures"] / "saved_model/1")).signatures["serving_encoded"]
    assert name in served.structured_input_signature[1]
    assert base64.b64decode(value["b64"]) == picture
    assert (tmp_path / "arguments").read_text() == "-d @- http://localhost:8501/v1/models/pictures:predict\n"


def test_the_readme_says_what_the_models_of_triton_are(bundles):
    text = (bundles["language_model"] / "README.md").read_text()
    assert "`language_model-step` and `language_model-step-savedmodel` go on by one token" in text
    signature = Signature.read(bundles["rows"] / "signature.json")
    words = {"read": "", "imports": ""}
    (alone,) = commands.describe(signature, "rows", ["savedmodel"], ["triton"], **words)
    assert "/v2/models/rows-savedmodel/infer" in alone
    assert "is the ONNX file" not in alone
    assert "thresholds are those of the export" in (bundles["detector"] / "README.md").read_text()


@pytest.mark.parametrize(
    ("given", "formats", "layouts"),
    [
        ("onnx", "onnx", ""),
        ("savedmodel,onnx", "savedmodel,onnx", ""),
        ("tfserving", "savedmodel", "tfserving"),
        ("onnx,tfserving", "savedmodel,onnx", "tfserving"),
        ("triton", "savedmodel,onnx", "triton"),
        ("onnx,triton", "onnx", "triton"),
        ("triton,tfserving", "savedmodel,onnx", "tfserving,triton"),
        ("kserve", "savedmodel", "tfserving,kserve"),
        ("onnx,kserve", "onnx", "triton,kserve"),
        ("kserve,triton", "savedmodel,onnx", "triton,kserve"),
    ],
)
def test_layouts_bring_what_they_need(given, formats, layouts):
    found = servers.chosen(given.split(","))
    assert tuple(",".join(part) for part in found) == (formats, layouts)


@pytest.mark.parametrize(
    ("layouts", "formats", "message"),
    [
        (["tfserving"], ["onnx"], "the layout tfserving needs the format savedmodel"),
        (["kserve"], ["onnx"], "the layout kserve needs the layout tfserving or triton"),
        (["tritn"], ["onnx"], "unknown layout 'tritn'. Did you mean triton?"),
    ],
)
def test_what_a_layout_lacks_is_told_before_the_work(layouts, formats, message, tmp_path):
    model, options = make_rows()
    with pytest.raises(DlappError, match=re.escape(message)):
        export(model, tmp_path / "bundle", formats=formats, layouts=layouts, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "module"), [("tfserving", "tensorflow_serving"), ("triton", "tritonclient")])
def test_a_package_that_is_missing_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DlappError, match=rf"{name} is written with .*pip install 'dlapp\[servers\]'"):
        servers.chosen([name])
    servers.chosen(["onnx"])


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown format or layout 'tfservin'\. Did you mean tfserving\?"):
        servers.chosen(["onnx", "tfservin"])
