"""``dlapp export --to`` a layout, as a person calls it."""

import json

import pytest
import yaml


def test_export_to_tensorflow_serving(dlapp, copy_of_trained):
    status, out, err = dlapp("export", "stripes", "--to", "tfserving", "--name", "served")
    assert (status, err) == (0, "")
    assert out.splitlines()[-2] == "Wrote export/served"
    folder = copy_of_trained / "export/served"
    for name in ("tfserving/models.config", "saved_model/1/assets.extra/tf_serving_warmup_requests"):
        assert (folder / name).is_file()
    assert not (folder / "model.onnx").exists()
    assert json.loads(dlapp("verify", "served", "--json")[1])["holds"]


def test_kserve_is_told_where_the_bundle_is(dlapp, copy_of_trained):
    status, _, err = dlapp("export", "stripes", "--to", "onnx, kserve", "--storage-uri", "gs://bucket/stripes")
    assert (status, err) == (0, "")
    manifest = yaml.safe_load((copy_of_trained / "export/stripes/kserve/inference_service.yaml").read_text())
    assert manifest["spec"]["predictor"]["model"]["storageUri"] == "gs://bucket/stripes/triton"
    assert (copy_of_trained / "export/stripes/triton/stripes/1/model.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onnx,tritn"], "Did you mean triton?"),
        (["--to", "onnx", "--storage-uri", "s3://bucket"], "--storage-uri is for --to kserve"),
    ],
)
def test_a_wrong_layout_is_one_error(dlapp, copy_of_trained, arguments, message):
    status, out, err = dlapp("export", "stripes", *arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_what_another_export_leaves_out_is_told(dlapp, copy_of_trained):
    dlapp("export", "stripes", "--license", "MIT")
    status, out, _ = dlapp("export", "stripes", "--to", "tfserving", "--to", "savedmodel")
    assert status == 0
    assert "Not written again, as nobody asked for it: model.onnx, license\n" in out
    (copy_of_trained / "export/stripes/signature.json").write_text("{}")
    status, out, _ = dlapp("export", "stripes")  # a broken bundle says nothing of itself
    assert status == 0
    assert "Not written again" not in out
