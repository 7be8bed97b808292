"""The picture of a network in the format that its name says."""

import pytest
from PIL import Image

from dlapp.architectures import builder
from dlapp.architectures.summary import summarize
from dlapp.errors import DlappError
from dlapp.reporting.diagram import _lanes, draw


@pytest.fixture(scope="module")
def layers():
    return summarize(builder("lenet5")())


def test_writes_png_and_svg_with_every_layer(layers, tmp_path):
    draw(layers, "lenet5", tmp_path / "lenet5.png")
    with Image.open(tmp_path / "lenet5.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("L").getcolors()) > 10, "something is drawn"
    draw(layers, "lenet5", tmp_path / "lenet5.svg")
    text = (tmp_path / "lenet5.svg").read_text()
    assert all(f"<!-- {layer.name} -->" in text for layer in layers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lenet5.png", "lenet5.svg"]


def test_lines_past_a_layer_do_not_run_into_each_other():
    rows = summarize(builder("resnet20")())
    places = {row.name: place for place, row in enumerate(rows)}
    found = _lanes(rows)
    projected = ("stage2_block1_add", places["stage1_relu"])
    assert (projected[1], places[projected[0]]) in [(start, end) for start, end, _ in found]
    assert len(found) >= 9, "one shortcut for each block"
    for number, (start, end, lane) in enumerate(found):
        for other_start, other_end, other in found[:number]:
            assert other != lane or other_end <= start or end <= other_start


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet5.xyz", r"lenet5\.xyz has a format that cannot be drawn: .*png.*svg"),
        ("lenet5", "lenet5 must end with the format to draw"),
        ("absent/lenet5.png", "absent does not exist: make the folder first"),
    ],
)
def test_what_cannot_be_drawn_is_named_and_leaves_nothing(layers, tmp_path, name, message):
    with pytest.raises(DlappError, match=message):
        draw(layers, "lenet5", tmp_path / name)
    assert not list(tmp_path.iterdir())
