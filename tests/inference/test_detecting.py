"""Objects of a picture as plain tuples, the same alone and among others, and a reason for each file without any."""

import json

import numpy as np
import pytest
from PIL import Image

from dlapp.errors import DlappError
from dlapp.inference import Bundle
from dlapp.inference.detecting import Found, detect, detect_all, detect_files
from dlapp.inference.predicting import predict
from tests.inference.tiny_detector import LABELS, write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle(write_bundle(tmp_path_factory.mktemp("bundles") / "tiny"), threads=1)


def paint(red, green, size=(80, 160)):
    """A picture of one colour, (height, width, 3)."""
    return np.full((*size, 3), (red, green, 77), np.uint8)


A, B, C = (0.0, 0.0, 40.0, 80.0), (0.0, 0.0, 40.0, 60.0), (40.0, 80.0, 80.0, 160.0)  # of 80 x 160 pixels


@pytest.mark.parametrize(
    ("options", "scores", "boxes"),
    [
        ({}, (0.9, 0.6), (A, C)),  # B overlaps A by 0.75, more than 0.5
        ({"max_overlap": 0.8}, (0.9, 0.8, 0.6), (A, B, C)),
        ({"max_overlap": 0.7}, (0.9, 0.6), (A, C)),
        ({"min_score": 0.7}, (0.9,), (A,)),
        ({"min_score": 0.7, "max_overlap": 0.8}, (0.9, 0.8), (A, B)),
        ({"min_score": 0.95}, (), ()),
    ],
    ids=str,
)
def test_objects_are_told_surest_first_by_the_thresholds(bundle, options, scores, boxes):
    found = detect(bundle, paint(255, 0), **options)
    assert found.labels == ("circle",) * len(scores)
    assert found.scores == pytest.approx(scores)
    assert found.boxes == boxes
    assert len(found) == len(scores)
    assert json.loads(json.dumps(found.__dict__)), "nothing of it is NumPy's"


def test_classes_do_not_suppress_each_other(bundle):
    found = detect(bundle, paint(204, 255))  # 0.8 of red
    assert found.labels == ("square", "circle", "square", "circle")
    assert found.scores == pytest.approx([0.9, 0.72, 0.6, 0.48])
    assert found.boxes == (A, A, C, C)


@pytest.mark.parametrize("options", [{}, {"min_score": 0.5}, {"max_overlap": 0.9}], ids=str)
def test_each_picture_of_a_batch_gets_the_answer_that_it_gets_alone(bundle, options):
    pictures = np.stack([paint(255, 0), paint(0, 0), paint(128, 255), paint(90, 99)])
    together = detect_all(bundle, pictures, **options)
    assert together == [detect(bundle, picture, **options) for picture in pictures]
    assert together[1] == Found((), (), ())
    assert len({len(found) for found in together}) > 1, "rows of the batch have as many"


def test_files_keep_their_order_and_those_without_an_answer_their_reason(bundle, tmp_path, monkeypatch):
    sizes = []
    run = Bundle.run

    def counting(self, inputs, **options):
        sizes.append(inputs.shape[:3])
        return run(self, inputs, **options)

    monkeypatch.setattr(Bundle, "run", counting)
    files = [tmp_path / f"{number:02}.png" for number in range(40)]
    for number, file in enumerate(files):
        Image.fromarray(paint(255, 0, (80, 160) if number < 35 else (16, 24))).save(file)
    files[3].write_text("no picture")
    Image.fromarray(np.full((16, 24), 255, np.uint8)).save(files[36])  # grey, which has all colours
    found = list(detect_files(bundle, files))
    assert [one.input for one in found] == [str(file) for file in files]
    assert [number for number, one in enumerate(found) if one.error] == [3]
    assert found[3].found is None
    assert found[3].picture is None
    assert str(files[3]) in found[3].error
    assert sizes == [(3, 80, 160), (31, 80, 160), (5, 16, 24)]
    assert found[0].found.boxes == (A, C)
    assert found[39].found.boxes == ((0, 0, 8, 12), (8, 12, 16, 24)), "in pixels of its own picture"
    assert sorted(set(found[36].found.labels)) == sorted(LABELS)
    assert found[36].picture.shape == (16, 24, 3)
    assert list(detect_files(bundle, [])) == []


def test_other_pictures_than_the_signature_says_are_refused(bundle):
    with pytest.raises(ValueError, match=r"image must be uint8 of \('batch', 'height', 'width', 3\); got float32"):
        detect(bundle, paint(0, 0).astype(np.float32))
    with pytest.raises(ValueError, match=r"got uint8 of \(1, 80, 160, 1\)"):
        detect(bundle, paint(0, 0)[..., :1])


def test_bundles_of_another_kind_are_refused_with_what_they_are_for(bundle, colours, tmp_path):
    with pytest.raises(DlappError, match=r"colours does classification and finds no objects"):
        detect(colours, paint(0, 0))
    with pytest.raises(DlappError, match=r"tiny finds objects and gives boxes: use dlapp.inference.detecting"):
        next(predict(bundle, [tmp_path]))


def test_odd_pictures_are_turned_upright_or_get_their_reasons(bundle, data_set):
    folder = data_set("odd_images_shared")
    expected = json.loads((folder / "expected.json").read_text())
    found = list(detect_files(bundle, [folder / name for name in sorted(expected)], min_score=0.0))
    for name, one in zip(sorted(expected), found, strict=True):
        assert (one.error is None) == expected[name]["expected"].startswith("accept"), name
    upright = found[sorted(expected).index("exif_rotated6.jpg")]
    assert upright.picture.shape == (240, 320, 3)
    assert (120, 160, 240, 320) in upright.found.boxes
