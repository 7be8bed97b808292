"""``explain`` as a person calls it, on a model and on a bundle alone."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dlapp.architectures import lenet5
from dlapp.exporting import export
from dlapp.exporting.explaining import Explainer
from dlapp.signature import Preprocessing


@pytest.fixture(scope="module")
def folders(tmp_path_factory, trained):
    """A working directory with bundles alone: of a network with convolutions, and of one without."""
    root = tmp_path_factory.mktemp("explain")
    samples = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    export(
        lenet5((16, 16, 3), classes=3),
        root / "export/colours",
        labels=["red", "green", "two words"],
        preprocessing=Preprocessing(3, (16, 16), scale="unit"),
        samples=samples,
        formats=["savedmodel"],
    )
    shutil.copytree(trained / "export/stripes", root / "export/stripes")
    shutil.copytree(trained / "models/stripes", root / "models/stripes")
    alpha = np.random.default_rng(1).integers(0, 256, (45, 70, 4), np.uint8)
    Image.fromarray(alpha).save(root / "cat.png")
    (root / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture
def workplace(folders, tmp_path, monkeypatch):
    place = shutil.copytree(folders, tmp_path / "place")
    monkeypatch.chdir(place)
    return place


def test_a_bundle_alone_is_explained(dlapp, workplace):
    status, out, _ = dlapp("explain", "colours", "cat.png", "--class", "two words")
    assert status == 0
    assert "Wrote cat-explained.png" in out
    status, out, _ = dlapp("explain", "export/colours", "cat.png", "--layer", "pool1", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["wrote"] == "cat-explained-2.png", "nothing is overwritten unless it is named"
    assert told["explained"] == told["top"][0]["label"]
    assert told["layer"] == "conv2"
    assert np.shape(told["grad_cam"]) == (2, 2)
    assert told["drawn"]["filters"] == {"title": "filters of conv1, zero is grey", "maps": 6}
    assert told["drawn"]["activations"] == {"title": "what pool1 gives", "maps": 6}
    for name in ("cat-explained.png", "cat-explained-2.png"):
        with Image.open(workplace / name) as picture:
            assert picture.format == "PNG"


def test_without_a_convolution_the_weights_are_drawn(dlapp, workplace):
    shutil.rmtree(workplace / "export/stripes")
    for name in ("stripes", "models/stripes"):
        status, out, _ = dlapp("explain", name, "cat.png", "--output", "drawn.png")
        assert status == 0
        assert "Note: Grad-CAM needs a convolution; logistic_unit has none." in out
        assert "Wrote drawn.png" in out
    status, _, err = dlapp("explain", "stripes", "cat.png", "--class", "above")
    assert (status, err.partition(";")[0]) == (2, "Error: --class needs a convolution, for Grad-CAM")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["colour", "cat.png"], "unknown bundle or model 'colour'. Did you mean colours?"),
        (["strips", "cat.png"], "Did you mean stripes?"),
        (["colours", "absent.png"], "absent.png does not exist"),
        (["colours", "broken.png"], "broken.png is not a picture"),
        (["colours", "cat.png", "--class", "grean"], "unknown class 'grean'. Did you mean green?"),
        (["colours", "cat.png", "--layer", "conv9"], "unknown layer 'conv9'. Did you mean conv2 or conv1?"),
        (["colours", "cat.png", "--layer", "dense1"], "without height and width"),
        (["colours", "cat.png", "--output", "absent/a.png"], "absent does not exist"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_explain_refuses(dlapp, workplace, arguments, message):
    status, out, err = dlapp("explain", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert not list(workplace.glob("*explained*"))


def test_worst_mistakes_are_explained_and_never_in_the_way(dlapp, workplace, trained, monkeypatch):
    shutil.copytree(trained / "pictures", workplace / "pictures")
    (workplace / "pictures/above/00.png").rename(workplace / "pictures/below/wrong.png")
    picture = Image.open(workplace / "pictures/below/wrong.png")
    for number in range(6):  # mistakes of another size, on whatever split they fall
        picture.resize((20, 18 + number)).save(workplace / f"pictures/below/wrong{number}.png")
    options = ("--data", "folder:pictures", "--epochs", 1, "--set", "split.test=0.4")
    assert dlapp("train", "lenet5", *options, "--name", "convolutions")[0] == 0
    page = (workplace / "models/convolutions/report.html").read_text()
    shown = page.count("taken for")
    assert shown
    assert page.count('class="map"') == shown

    def fail(*_):
        raise RuntimeError("no gradient today")

    monkeypatch.setattr(Explainer, "grad_cam", fail)
    status, _, err = dlapp("train", "lenet5", *options, "--name", "unexplained")
    assert status == 0
    assert "Note: mistakes are not explained: no gradient today" in err
    assert 'class="map"' not in (workplace / "models/unexplained/report.html").read_text()
