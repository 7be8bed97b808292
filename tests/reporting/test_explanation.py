"""Maps over pictures: where they lie, and that what was drawn can be opened."""

import numpy as np
import pytest
from PIL import Image

from dlapp.errors import DlappError
from dlapp.reporting.explanation import Maps, draw, filter_maps, overlay, upsample


def test_a_map_covers_its_picture_bilinearly():
    heat = np.array([[0, 2], [4, 0]], np.float32)
    found = upsample(heat, (4, 6))
    # pixel centres in units of the map: rows -0.25, 0.25, 0.75, 1.25, held at the border
    down = np.clip((np.arange(4) + 0.5) / 2 - 0.5, 0, 1)[:, np.newaxis]
    right = np.clip((np.arange(6) + 0.5) / 3 - 0.5, 0, 1)
    expected = 2 * (1 - down) * right + 4 * down * (1 - right)
    np.testing.assert_allclose(found, expected / 4, atol=1e-6)
    assert not upsample(np.zeros((2, 2), np.float32), (5, 5)).any()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_strongest_place_is_the_brightest(channels):
    heat = np.zeros((4, 4), np.float32)
    heat[1, 3] = 7
    found = overlay(np.full((300, 240, channels), 128, np.uint8), heat)
    assert (found.shape, found.dtype) == ((300, 240, 3), np.uint8)
    row, column = np.unravel_index(found.sum(axis=-1).argmax(), found.shape[:2])
    assert 75 <= row < 150
    assert column >= 180
    assert overlay(np.zeros((20, 10, channels), np.uint8), heat).shape == (240, 120, 3), "small ones are enlarged"


def test_colours_of_filters_are_grey_at_zero():
    weights = np.array([[-2.0, 0.0, 2.0], [1.0, 0.0, 0.5]]).reshape(2, 1, 1, 3)
    np.testing.assert_allclose(filter_maps(weights)[:, 0, 0], [[0, 0.5, 1], [1, 0.5, 0.75]])
    assert not (filter_maps(np.zeros((1, 2, 2, 3))) - 0.5).any()
    np.testing.assert_allclose(filter_maps(np.arange(8.0).reshape(2, 2, 1, 2))[1, :, 0], [4.5, 6.5])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_drawn_at_most_64_maps_of_each(tmp_path, channels, monkeypatch):
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (30, 50, channels), np.uint8)
    maps = [
        Maps("filters", random.normal(size=(6, 5, 4))),
        Maps("colours", random.random((70, 3, 3, 3))),
        Maps("weights", np.zeros((2, 9, 9)), ["$x", "<b>"]),
    ]
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda axes, title, **_: titles.append(title))
    path = tmp_path / "drawn.png"
    draw(path, picture, title="a $b", told="told", heat=random.random((3, 4), np.float32), maps=maps)
    assert titles[2:] == ["filters: all 6, 5 x 4", "colours: the first 64 of 70, 3 x 3", "weights: all 2, 9 x 9"]
    with Image.open(path) as drawn:
        assert drawn.width > 1000
    draw(path, picture, title="a", told="there is none")
    assert [file.name for file in tmp_path.iterdir()] == ["drawn.png"]


@pytest.mark.parametrize(
    ("name", "message"), [("a", "a must end with"), ("absent/a.png", "does not exist"), ("a.xyz", "cannot be drawn")]
)
def test_where_it_cannot_be_drawn_it_says_so(tmp_path, name, message):
    with pytest.raises(DlappError, match=message):
        draw(tmp_path / name, np.zeros((4, 4, 1), np.uint8), title="", told="")
    assert not list(tmp_path.iterdir())
