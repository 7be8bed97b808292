"""``dlapp predict`` on bundles that find objects, as a person calls it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dlapp import drawing
from tests.inference.tiny_detector import write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def here(workplace):
    """A working directory with red.png (80 x 160), which has circles, and black.png, which has nothing."""
    for name, red in (("red", 255), ("black", 0)):
        Image.fromarray(np.full((80, 160, 3), (red, 0, 0), np.uint8)).save(f"{name}.png")
    return workplace


def test_a_line_for_each_object_and_one_where_there_is_none(dlapp, here, bundle):
    status, out, err = dlapp("predict", bundle, "red.png", "black.png")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "red.png  2 objects",
        "  circle 0.9000  rows 0 to 40, columns 0 to 80",
        "  circle 0.6000  rows 40 to 80, columns 80 to 160",
        "black.png  nothing found",
    ]
    assert dlapp("predict", bundle, "red.png", "--min-score", "0.7")[1].startswith("red.png  1 object\n  circle")
    assert "0.8000  rows 0 to 40, columns 0 to 60" in dlapp("predict", bundle, "red.png", "--max-overlap", "0.8")[1]
    Image.open("red.png").resize((163, 80)).save("odd.png")
    assert "rows 0 to 40, columns 0 to 82" in dlapp("predict", bundle, "odd.png")[1], "81.5 is rounded"


def test_json_has_the_thresholds_and_every_object(dlapp, here, bundle):
    status, out, _ = dlapp("predict", bundle, "red.png", "absent.png", "black.png", "--json", "--max-overlap", 0.25)
    assert status == 1
    told = json.loads(out)
    assert told["bundle"] == str(bundle)
    assert told["labels"] == ["circle", "square"]
    assert (told["min_score"], told["max_overlap"]) == (0.3, 0.25)
    red, absent, black = told["predictions"]
    assert red == {
        "input": "red.png",
        "objects": [
            {"label": "circle", "score": pytest.approx(0.9), "box": [0, 0, 40, 80]},
            {"label": "circle", "score": pytest.approx(0.6), "box": [40, 80, 80, 160]},
        ],
    }
    assert absent == {"input": "absent.png", "error": "absent.png does not exist."}
    assert black == {"input": "black.png", "objects": []}


def test_drawings_have_the_boxes_and_names_of_their_own(dlapp, here, bundle):
    (here / "more").mkdir()
    Image.open("red.png").save("more/red.png")
    status, out, _ = dlapp("predict", bundle, "red.png", "more/red.png", "black.png", "--draw", "deep/er")
    assert status == 0
    assert [line for line in out.splitlines() if line.startswith("Wrote")] == [
        "Wrote deep/er/red.png",
        "Wrote deep/er/red-2.png",
        "Wrote deep/er/black.png",
    ]
    pixels = np.asarray(Image.open("deep/er/red.png"))
    assert pixels.shape == (240, 480, 3), "enlarged by three"
    lit = (pixels == drawing.color(0)).all(axis=-1)
    assert lit[119, :240].all(), "the lower side of the first box"
    assert lit[239, 240:480].all(), "and of the second"
    assert (np.asarray(Image.open("deep/er/black.png")) == 0).all()
    told = json.loads(dlapp("predict", bundle, "red.png", "--draw", "deep/er", "--json")[1])
    assert told["predictions"][0]["drawing"] == "deep/er/red-3.png"
    assert sorted(path.name for path in (here / "deep/er").iterdir()) == [
        "black.png",
        "red-2.png",
        "red-3.png",
        "red.png",
    ]


def test_files_that_cannot_be_read_get_a_reason_and_the_rest_an_answer(dlapp, here, bundle):
    (here / "text.jpg").write_text("no picture")
    status, out, err = dlapp("predict", bundle, "text.jpg", "red.png", "absent.png", "--draw", "there")
    assert status == 1
    assert out.splitlines()[0] == "red.png  2 objects"
    assert err.splitlines() == [
        "Error: text.jpg is not a picture that can be read: its format is unknown.",
        "Error: absent.png does not exist.",
        "2 inputs could not be read.",
    ]
    assert [path.name for path in (here / "there").iterdir()] == ["red.png"]


@pytest.mark.parametrize(
    ("most", "options", "told"),
    [
        (6, ["--top", "2"], "--top is for one answer a picture; {} finds objects. Leave it out."),
        (6, ["--slide"], "--slide is for sliding bundles; {} finds objects: --draw DIR draws them."),
        (
            1,
            ["--max-overlap", "0.5"],
            "--max-overlap is for several objects; {} finds one a picture. Leave it out.",
        ),
    ],
)
def test_options_of_other_bundles_are_refused(dlapp, here, tmp_path, most, options, told):
    folder = write_bundle(tmp_path / "export" / "tiny", most=most)
    status, out, err = dlapp("predict", folder, "red.png", *options)
    assert (status, out, err) == (2, "", f"Error: {told.format(folder)}\n")


@pytest.mark.parametrize("option", ["--min-score", "--max-overlap"])
@pytest.mark.parametrize("value", ["-0.1", "1.5", "half", "nan"])
def test_thresholds_are_shares(dlapp, here, bundle, option, value):
    status, _, err = dlapp("predict", bundle, "red.png", f"{option}={value}")
    assert status == 2
    assert f"{option}: must be a number from 0 to 1; got '{value}'" in err


def test_one_object_a_picture(dlapp, here):
    write_bundle(here / "export" / "one", most=1)
    assert dlapp("predict", "one", "red.png", "--min-score", 0.5)[1] == (
        "red.png  1 object\n  circle 0.9000  rows 0 to 40, columns 0 to 80\n"
    )


def test_a_drawing_that_cannot_be_written_is_told(dlapp, here, bundle):
    (here / "file").write_text("in the way")
    status, _, err = dlapp("predict", bundle, "red.png", "--draw", "file")
    assert status == 2
    assert "file" in err
    assert (here / "file").read_text() == "in the way"


def test_nothing_but_three_packages_is_needed(here, bundle):
    code = """
import sys
for name in ("typer", "click", "rich", "pydantic", "tomlkit", "h5py", "sklearn", "scipy", "matplotlib", "jinja2",
             "onnx", "tf2onnx", "tensorflow", "keras"):
    sys.modules[name] = None
from dlapp.cli import main
main()
"""
    command = [sys.executable, "-c", code, "predict", str(bundle), "red.png", "--draw", "there"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Wrote there/red.png\n")
