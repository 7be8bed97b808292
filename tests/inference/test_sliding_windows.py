"""A sliding bundle tells which window shows what, in numbers and as a picture."""

import json

import numpy as np
import pytest
from PIL import Image

from dlapp.architectures import builder
from dlapp.cli.predict import main as predict
from dlapp.errors import BundleError, DlappError
from dlapp.exporting import export
from dlapp.inference import Bundle
from dlapp.inference.predicting import predict as predict_files
from dlapp.inference.sliding import draw, slide
from dlapp.signature import Preprocessing
from tests.inference.conftest import LABELS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Windows of 4 x 4 in steps of 1, whose likeliest class is the strongest channel."""
    folder = tmp_path_factory.mktemp("sliding") / "colours-sliding"
    model = builder("softmax_regression")((4, 4, 3), classes=3)
    model.set_weights([np.tile(np.eye(3), (16, 1)), np.zeros(3)])
    samples = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    preprocessing = Preprocessing(3, (4, 4), scale="unit")
    export(model, folder, labels=LABELS, preprocessing=preprocessing, samples=samples, sliding=True)
    return folder


@pytest.fixture(scope="module")
def bundle(folder):
    return Bundle(folder, threads=1)


def patches():
    """A red patch below and a blue one at the right of a black picture."""
    picture = np.zeros((10, 14, 3), np.uint8)
    picture[5:9, 1:5, 0] = 255
    picture[2:6, 9:13, 2] = 200
    return picture


def test_every_window_gets_the_answer_of_its_crop(bundle, bundles):
    picture = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    found = bundle.run(picture[np.newaxis])["probabilities"][0]
    crops = np.array([picture[row : row + 4, column : column + 4] for row in range(4) for column in range(6)])
    expected = Bundle(bundles / "colours", threads=1).run(crops)["probabilities"].reshape(4, 6, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert bundle.signature.outputs[0].shape == ("batch", "rows", "columns", 3)


def test_windows_that_stand_out_are_where_the_patches_are(bundle):
    found = slide(bundle, patches(), min_score=0.9)
    assert [(window.label, window.box) for window in found.best] == [("red", (5, 1, 9, 5)), ("blue", (2, 9, 6, 13))]
    assert found.best[0].probability > found.best[1].probability
    assert found.scores.shape == (7, 11)
    assert not slide(bundle, np.zeros((6, 6, 3), np.uint8), min_score=0.5).best, "a third each is nothing"


def test_the_drawing_colours_what_is_sure_enough(bundle):
    found = slide(bundle, patches(), min_score=0.9)
    page = draw(patches(), found, bundle.signature.windows, LABELS, min_score=0.9)
    width, height = page.size
    assert width % 14 == 0, "enlarged by a whole number"
    factor = width // 14
    assert height > 10 * factor, "with the classes below"
    pixels = np.asarray(page)
    black = pixels[factor // 2, factor // 2]
    assert black.tolist() == [0, 0, 0], "no window is sure there"
    red = pixels[7 * factor, 3 * factor]
    assert red[0] > red[1], "the cell of class red is not opaque"


@pytest.mark.parametrize("size", [(3, 9), (9, 3)])
def test_a_picture_smaller_than_the_window_is_refused(bundle, size):
    with pytest.raises(ValueError, match=rf"at least as large as the window, 4 x 4; got {size[0]} x {size[1]}"):
        slide(bundle, np.zeros((*size, 3), np.uint8))


def test_one_answer_a_picture_is_not_what_it_gives(bundle, folder):
    with pytest.raises(DlappError, match=r"slides over pictures and gives a map"):
        next(predict_files(bundle, [folder]))


def test_the_command_tells_draws_and_goes_on_after_a_small_picture(folder, workplace, capsys):
    Image.fromarray(patches()).save("patches.png")
    Image.fromarray(patches()[:3]).save("small.png")
    assert predict([str(folder), "small.png", "patches.png", "--slide", "--min-score", "0.9"]) == 1
    out, err = capsys.readouterr()
    assert "patches.png  7 x 11 windows, 2 of them stand out" in out
    assert "red 1.0000" in out
    assert "rows 5 to 9, columns 1 to 5" in out
    assert "Error: small.png: the picture must be at least as large as the window" in err
    with Image.open("slides/patches.png") as drawing:
        assert drawing.size[0] >= 480
    assert predict([str(folder), "patches.png", "--draw", "there", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["predictions"][0]["drawing"] == "there/patches.png"
    assert np.shape(told["predictions"][0]["map"]["scores"]) == (7, 11)
    assert told["predictions"][0]["windows"][0]["box"] == [5, 1, 9, 5]


def test_equal_neighbours_are_one_find(bundle):
    # 36 windows lie wholly in the red patch and are equally sure; those that share more than half are the same
    picture = np.zeros((9, 9, 3), np.uint8)
    picture[..., 0] = 255
    found = slide(bundle, picture)
    assert (found.scores == found.scores[0, 0]).all()
    boxes = [window.box for window in found.best]
    shared = [
        max(0, min(one[2], other[2]) - max(one[0], other[0])) * max(0, min(one[3], other[3]) - max(one[1], other[1]))
        for number, one in enumerate(boxes)
        for other in boxes[:number]
    ]
    assert len(boxes) > 1
    assert max(shared) <= 4 * 4 / 2
    covered = [
        any((4 - abs(top - box[0])) * (4 - abs(left - box[1])) > 8 and abs(top - box[0]) < 4 for box in boxes)
        for top in range(6)
        for left in range(6)
    ]
    assert all(covered), "a window was left out that shows something else"


@pytest.mark.parametrize("option", [["--slide"], ["--draw", "there"], ["--min-score", "0.9"]])
def test_a_bundle_that_does_not_slide_is_told_how(bundles, workplace, option):
    with pytest.raises(BundleError, match=rf"{option[0]} is for sliding.* dlapp export colours --sliding"):
        predict([str(bundles / "colours"), "x.png", *option])


def test_one_answer_is_not_slid(bundles, folder, workplace):
    with pytest.raises(DlappError, match=r"one answer a picture\. Export the model with sliding=True"):
        slide(Bundle(bundles / "colours", threads=1), patches())
    with pytest.raises(BundleError, match=r"--top is for one answer a picture; .* slides"):
        predict([str(folder), "x.png", "--top", "2"])
