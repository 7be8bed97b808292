"""Lines stand where the boxes are, names where they can be read."""

import numpy as np
import pytest
from PIL import Image

from dlapp import drawing

WHITE, GREY = (255, 255, 255), (90, 90, 90)


def blank(height, width, *, value=255):
    return np.full((height, width, 3), value, np.uint8)


def is_color(image, index):
    """(height, width) bool: the pixels in the colour of a class."""
    return (np.asarray(image) == drawing.color(index)).all(axis=-1)


def spans(lit):
    """The rows and the columns from the first to the last that are lit: y1, x1, y2, x2."""
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]


def test_lines_are_inside_the_box_and_nothing_else_changes():
    image = drawing.draw_boxes(blank(600, 500), np.array([[100, 50, 301, 420]]), [""], [2])
    lit = is_color(image, 2)
    assert spans(lit) == [100, 50, 301, 420]
    expected = np.zeros((600, 500), bool)
    expected[100:301, 50:420] = True
    expected[102:299, 52:418] = False  # two pixels of each side
    np.testing.assert_array_equal(lit, expected)
    assert (np.asarray(image)[~lit] == 255).all()


def test_broken_lines_have_the_corners_of_the_box_and_gaps():
    image = drawing.draw_boxes(
        blank(500, 500), [[10, 20, 210, 420], [250, 20, 450, 420]], ["", ""], [0, 1], dashed=[True, False]
    )
    broken, whole = is_color(image, 0), is_color(image, 1)
    assert spans(broken) == [10, 20, 210, 420]
    assert spans(whole) == [250, 20, 450, 420]
    assert 0.4 < broken.sum() / whole.sum() < 0.7
    assert set(broken[10, 20:420].tolist()) == {True, False}


@pytest.mark.parametrize(
    ("shape", "side", "size"),
    [
        ((28, 28, 1), None, (504, 504)),  # 480 / 28 = 17.1
        ((480, 100, 3), None, (100, 480)),
        ((1200, 900, 3), None, (900, 1200)),
        ((1200, 900, 3), 320, (240, 320)),
        ((28, 14, 3), 320, (154, 308)),  # 320 / 28 = 11.4
        ((5000, 2, 3), 320, (1, 320)),
    ],
)
def test_boxes_grow_and_shrink_with_the_picture(shape, side, size):
    height, width = shape[:2]
    box = [[height / 4, 0, height / 2, width]]
    image = drawing.draw_boxes(np.full(shape, 255, np.uint8), box, [""], [3], side=side)
    assert image.size == size
    assert image.mode == "RGB"
    assert spans(is_color(image, 3)) == [round(size[1] / 4), 0, round(size[1] / 2), size[0]]


def test_what_is_transparent_is_white():
    picture = np.zeros((500, 500, 4), np.uint8)
    assert drawing.draw_boxes(picture, np.zeros((0, 4)), [], []).getpixel((7, 7)) == WHITE


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        ([-50, -20, 100, 90], [0, 0, 100, 90]),
        ([400, 450, 900, 900], [400, 450, 500, 500]),
        ([700, 700, 800, 800], [499, 499, 500, 500]),  # one pixel, at the edge that is nearest
        ([50, 60, 50, 60], [50, 60, 51, 61]),
        ([90, 80, 20, 30], [90, 80, 91, 81]),  # reversed: where it begins
    ],
)
@pytest.mark.parametrize("dashed", [False, True])
def test_boxes_beyond_the_picture_stay_in_sight(box, seen, dashed):
    image = drawing.draw_boxes(blank(500, 500), [box], [""], [0], dashed=dashed)
    assert spans(is_color(image, 0)) == seen


def label_pixels(box, text, index=0):
    """(500, 500) bool: what a label covers on white, without the lines of its box and its letters."""
    named, unnamed = (
        is_color(drawing.draw_boxes(blank(500, 500), [box], [some], [index]), index) for some in (text, "")
    )
    return named & ~unnamed


@pytest.mark.parametrize("box", [[0, 0, 500, 500], [0, 480, 30, 500], [470, 0, 500, 10], [250, 490, 260, 500]])
def test_names_stand_wholly_inside_the_picture(box):
    whole = label_pixels([200, 100, 300, 200], "kangaroo 0.93").sum()
    assert label_pixels(box, "kangaroo 0.93").sum() > 0.75 * whole, "the lines of the box may lie below it"


def test_names_too_long_for_the_picture_are_cut():
    image = drawing.draw_boxes(blank(500, 100), [[100, 0, 200, 100]], ["a name that has no end " * 3], [0])
    lit = is_color(image, 0)
    assert lit[90, 0]
    assert lit[90, 80:].any()


def test_names_of_one_box_do_not_cover_each_other():
    boxes = np.tile([[200, 100, 400, 420]], (8, 1))
    together = drawing.draw_boxes(blank(500, 500), boxes, ["kangaroo"] * 8, list(range(8)))
    for index in range(8):
        whole = label_pixels(boxes[0], "kangaroo", index).sum()
        assert is_color(together, index).sum() >= 0.9 * whole, f"label {index} is hidden"


def ratio(first, second):
    """The contrast ratio of two colours by WCAG 2.2, 1 to 21."""
    levels = []
    for color in (first, second):
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        levels.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(levels) / min(levels)


def test_a_hundred_classes_have_colours_of_their_own_and_names_that_can_be_read():
    colors = [drawing.color(index) for index in range(100)]
    assert len(set(colors)) == 100
    nearest = [
        np.linalg.norm(np.subtract(one, other)) for number, one in enumerate(colors[:20]) for other in colors[:number]
    ]
    assert min(nearest) >= 50
    for index in range(100):
        picture = blank(500, 500, value=90)
        image = drawing.draw_boxes(picture, [[200, 100, 300, 200]], ["MMMM"], [index])
        seen = {color for _, color in image.crop((100, 185, 140, 200)).getcolors(10_000)}
        text = max(seen, key=lambda color: ratio(color, drawing.color(index)))
        assert text in ((0, 0, 0), WHITE), colors[index]
        assert ratio(text, drawing.color(index)) >= 4.5, colors[index]


def test_the_first_box_lies_above_the_others():
    image = drawing.draw_boxes(blank(500, 500), [[10, 10, 200, 200]] * 2, ["", ""], [4, 5])
    assert not is_color(image, 5).any()


def test_a_sheet_has_its_pictures_row_after_row():
    images = [Image.new("RGB", size, GREY) for size in ((640, 320), (100, 50), (50, 400))]
    page = np.asarray(drawing.sheet(images, columns=2, captions=["first", "", "x" * 300]))
    lit = (page == GREY).all(axis=-1)
    middle = page.shape[1] // 2
    first, second, third = lit[:180, :middle], lit[:180, middle:], lit[180:]
    assert [second.any(axis=1).sum(), second.any(axis=0).sum()] == [50, 100], "not enlarged"
    assert [third.any(axis=1).sum(), third.any(axis=0).sum()] == [320, 40]
    assert [first.any(axis=1).sum(), first.any(axis=0).sum()] == [160, 320]
    below = (page == 0).all(axis=-1)
    assert below[168:190, :middle].any(), "the caption"
    assert not below[:, middle:].any(), "no caption, and a long one keeps to its column"
    assert images[0].size == (640, 320), "they are left as they were"


@pytest.mark.parametrize("columns", [1, 5])
def test_a_sheet_of_one(columns):
    page = drawing.sheet([Image.new("L", (10, 10))], columns=columns)
    assert page.size == (26, 26)  # 8 around it


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"images must be at least one; got none"):
        drawing.sheet([], columns=3)
    with pytest.raises(ValueError, match=r"captions must be as many as the images, 1; got 2"):
        drawing.sheet([Image.new("L", (9, 9))], columns=3, captions=["a", "b"])
