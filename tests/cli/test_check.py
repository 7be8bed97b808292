"""``dlapp check`` names what is wrong with the data, and says so with its exit status."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dlapp.drawing import color


def write_pictures(folder, classes, each=6, seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            motif = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
            motif.resize((40, 40), Image.Resampling.BICUBIC).save(folder / name / f"{number}.png")


def checked(dlapp, source):
    status, out, err = dlapp("check", source, "--json")
    assert not err, err
    return status, json.loads(out)


def problems(found):
    return [line["text"] for line in found["verdicts"] if line["verdict"] == "problem"]


@pytest.fixture
def pictures(workplace):
    write_pictures(workplace / "pictures/train", ["cat", "dog"])
    write_pictures(workplace / "pictures/test", ["cat", "dog"], seed=1)
    return workplace / "pictures"


def test_clean_pictures_pass(dlapp, pictures):
    status, found = checked(dlapp, "folder:pictures")
    assert status == 0
    assert not problems(found)
    assert found["examples"] == {"train": 12, "test": 12}
    assert found["classes"] == {"cat": {"train": 6, "test": 6}, "dog": {"train": 6, "test": 6}}
    assert found["pictures"]["height"] == {"min": 40, "median": 40.0, "max": 40}
    assert found["repeats"] == []
    status, out, _ = dlapp("check", "folder:pictures")
    assert status == 0
    assert "2 classes of 12 examples each" in out
    assert out.splitlines()[-1] == "Next: dlapp train ARCHITECTURE --data folder:pictures"


def test_a_picture_in_train_and_test_is_a_leak(dlapp, pictures):
    shutil.copy(pictures / "train/cat/0.png", pictures / "test/cat/copy.png")
    Image.open(pictures / "train/dog/1.png").save(pictures / "test/dog/copy.jpg", quality=80)
    status, found = checked(dlapp, "folder:pictures")
    assert status == 1
    told = "2 groups of the same or nearly the same examples lie in more than one split and flatter the error on test"
    assert problems(found) == [told]
    members = [set(map(str, group["members"])) for group in found["repeats"]]
    assert {"pictures/train/cat/0.png", "pictures/test/cat/copy.png"} in members
    assert [group["exact"] for group in found["repeats"]].count(True) == 1


def test_the_same_picture_under_two_labels_is_a_contradiction(dlapp, pictures):
    shutil.copy(pictures / "train/cat/0.png", pictures / "train/dog/0b.png")
    status, found = checked(dlapp, "folder:pictures")
    assert status == 1
    assert problems(found) == ["1 group of the same examples has different labels"]
    assert "pictures/train/cat/0.png (cat)" in found["repeats"][0]["members"]


def test_every_unreadable_picture_is_named(dlapp, pictures):
    for number in range(3):
        (pictures / f"train/cat/bad{number}.png").write_bytes(b"")
    whole = (pictures / "train/dog/0.png").read_bytes()
    (pictures / "train/dog/cut.png").write_bytes(whole[: len(whole) // 2])
    status, found = checked(dlapp, "folder:pictures")
    assert status == 1
    assert problems(found) == ["4 files cannot be read: repair or remove them"]
    assert all(any(name in line for line in found["unreadable"]) for name in ("bad0", "bad1", "bad2", "cut.png"))
    assert found["examples"]["train"] == 13, "what can be listed is audited nevertheless"
    for number in range(3):
        (pictures / f"train/cat/bad{number}.png").unlink()
    assert problems(checked(dlapp, "folder:pictures")[1]) == ["1 file cannot be read: repair or remove it"]


def test_one_class_is_told_and_not_refused(dlapp, workplace):
    write_pictures(workplace / "one", ["cat"])
    status, found = checked(dlapp, "folder:one")
    assert status == 1
    assert problems(found) == ["one class (cat); a classifier needs at least 2"]


def test_a_table_is_told_by_its_columns(dlapp, workplace):
    random = np.random.default_rng(0)
    lines = ["id,size,colour,same,kind"]
    lines += [
        f"{n},{'' if n % 4 == 0 else random.normal():.5},{'red' if n % 3 else ''},7,{'rare' if n < 2 else 'abc'[n % 2]}"
        for n in range(60)
    ]
    (workplace / "table.csv").write_text("\n".join(lines) + "\n")
    status, found = checked(dlapp, "csv:table.csv?target=kind")
    assert status == 1
    assert problems(found) == ["splits cannot be drawn: a class needs 3 examples, one for each; there are rare 2"]
    columns = {column["name"]: column for column in found["columns"]}
    assert set(columns) == {"size", "colour", "same"}
    assert columns["size"]["missing"] == pytest.approx(0.25)
    assert columns["same"]["constant"]
    assert columns["colour"]["categories"] == 1
    notes = " ".join(line["text"] for line in found["verdicts"] if line["verdict"] == "note")
    for told in (
        "id is left out: it counts the rows",
        "same",
        "cells are missing in 2 columns",
        "class_weights=balanced",
    ):
        assert told in notes


def test_rows_of_test_that_stand_in_train_are_a_leak(dlapp, workplace):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 4)), np.arange(60) % 2
    np.savez("leak.npz", x_train=x[:40], y_train=y[:40], x_test=np.concatenate([x[40:], x[:3]]), y_test=y[:23])
    status, found = checked(dlapp, "npz:leak.npz")
    assert status == 1
    told = "3 groups of the same or nearly the same examples lie in more than one split and flatter the error on test"
    assert told in problems(found)


def write_table(folder, rows):
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "table.csv").write_text("\n".join(["x,z,y", *lines]) + "\n")


@pytest.mark.parametrize("labels", ["aa", "ab"], ids=["repeats", "contradictions"])
def test_rows_that_coincide_by_chance_are_a_note_whatever_their_labels(dlapp, workplace, labels):
    random = np.random.default_rng(0)
    rows = [[*random.normal(size=2).round(5), "ab"[n % 2]] for n in range(100)]
    write_table(workplace, [*rows, *([7, n, label] for n in range(3) for label in labels)])
    status, found = checked(dlapp, "csv:table.csv?target=y")
    assert (status, problems(found)) == (0, [])
    assert len(found["repeats"]) == 3
    write_table(workplace, [*rows, *([7, 0, label] for label in labels)])
    status, found = checked(dlapp, "csv:table.csv?target=y")
    contradiction = "1 group of the same examples has different labels"
    assert problems(found) == ([contradiction] if labels == "ab" else [])
    assert status == len(problems(found))


def test_one_column_is_one_and_the_next_command_can_be_pasted(dlapp, workplace):
    (workplace / "one.csv").write_text("x,y\n" + "".join(f"{n / 7:.3f},{'abb'[n % 3]}\n" for n in range(60)) + ",a\n")
    status, out, _ = dlapp("check", "csv:one.csv?target=y&task=classification")
    assert status == 0
    assert "ok       1 column\n" in out
    assert "cells are missing in 1 column\n" in out
    assert "2 classes, from 21 examples (a) to 40 (b)" in out
    assert out.splitlines()[-1] == ("Next: dlapp train ARCHITECTURE --data 'csv:one.csv?target=y&task=classification'")


@pytest.mark.parametrize("source", ["digits", "iris", "diabetes"])
def test_embedded_sets_have_no_problem(dlapp, source):
    status, found = checked(dlapp, source)
    assert status == 0
    assert not problems(found)


@pytest.fixture
def boxes(workplace):
    """Pictures with boxes of two classes, sound: train of 6 and test of 3."""
    random = np.random.default_rng(0)
    for split, names in (("train", "abcdef"), ("test", "xyz")):
        for name in names:
            write_boxes(
                workplace / "boxes" / split / f"{name}.png", random, ("cat", 10, 20, 60, 90), ("dog", 1, 1, 40, 50)
            )
    return workplace / "boxes"


def write_boxes(path, random, *objects):
    """A picture of 100 x 100 and its XML; the first object begins in line 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    motif = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
    motif.resize((100, 100), Image.Resampling.BICUBIC).save(path)
    lines = ["<annotation>", "<folder/>"]
    for name, y1, x1, y2, x2 in objects:
        corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        lines.append(f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>")
    path.with_suffix(".xml").write_text("\n".join([*lines, "</annotation>"]))


def test_sound_boxes_pass_and_are_counted(dlapp, boxes):
    status, found = checked(dlapp, "boxes")
    assert (status, problems(found), found["flaws"]) == (0, [], [])
    assert found["task"] == "detection"
    assert found["classes"] == {"cat": {"test": 3, "train": 6}, "dog": {"test": 3, "train": 6}}
    assert found["objects"]["count"] == 18
    assert found["objects"]["most"] == 2
    assert found["objects"]["height"] == pytest.approx({"min": 0.4, "median": 0.455, "max": 0.51})
    status, out, _ = dlapp("check", "boxes")
    assert "18 objects, at most 2 in a picture; pictures without any: 0" in out
    assert "covers 20 to 36 % of its picture" in out
    assert "every box lies within its picture, and none is there twice" in out


def test_every_flaw_of_a_box_is_named_with_file_and_line(dlapp, boxes):
    random = np.random.default_rng(9)
    sound = ("cat", 10, 20, 60, 90)
    wrong = (
        sound,
        ("dog", 5, 5, 5, 9),
        ("dog", 60, 20, 10, 90),
        ("dog", 10, 20, 60, 190),
        ("dog", 1, 1, "x", 9),
        sound,
    )
    write_boxes(boxes / "train/wrong.png", random, *wrong)
    write_boxes(boxes / "test/other.png", random, ("emu", 10, 20, 60, 90))
    write_boxes(boxes / "train/cut.png", random, sound)
    (boxes / "train/cut.xml").write_text("<annotation>\n<object>")
    (boxes / "train/a.xml").unlink()
    (boxes / "train/b.png").unlink()
    (boxes / "train/bad.png").write_bytes(b"")
    shutil.copy(boxes / "train/c.xml", boxes / "train/bad.xml")
    status, found = checked(dlapp, "boxes")
    assert status == 1
    expected = {
        ("boxes/test/other.xml:3", "unknown class"),
        ("boxes/train/a.png", "picture without label file"),
        ("boxes/train/b.xml:1", "label file without picture"),
        ("boxes/train/cut.xml:2", "damaged label file"),
        ("boxes/train/wrong.xml:4", "zero area"),
        ("boxes/train/wrong.xml:5", "reversed corners"),
        ("boxes/train/wrong.xml:6", "outside the picture"),
        ("boxes/train/wrong.xml:7", "damaged label file"),
    }
    assert {(flaw["where"], flaw["kind"]) for flaw in found["flaws"]} == expected
    told = problems(found)
    assert len(told) == 7 + 1 + 1  # kinds, a double, a file that is no picture
    assert "1 label with the flaw 'zero area': repair it, or train with --set detection.flawed=skip" in told
    assert "1 object is labelled twice" in told
    assert "1 file cannot be read: repair or remove it" in told
    _, out, _ = dlapp("check", "boxes")
    assert all(where in out for where, _ in expected)
    assert "boxes/train/wrong.png: cat, x 19 to 90, y 9 to 60" in out
    assert "'emu'" in out


def test_a_sheet_of_samples_is_drawn(dlapp, boxes):
    status, out, _ = dlapp("check", "boxes", "--draw", "sheet.png")
    assert (status, out.splitlines()[-2]) == (0, "Wrote sheet.png")
    drawn = np.asarray(Image.open("sheet.png"))
    assert drawn.shape[1] == 8 + 6 * (300 + 8), "six pictures of 100 x 100 in a row, enlarged by a whole factor"
    colors = {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()}
    assert {color(0), color(1)} <= colors, "the boxes of both classes"


def test_a_sheet_is_drawn_of_classes_too_but_not_of_rows(dlapp, pictures):
    (pictures / "train/cat/0.png").write_bytes(b"")
    assert dlapp("check", "folder:pictures", "--draw", "sheet.jpg")[0] == 1
    with Image.open("sheet.jpg") as drawn:
        assert drawn.format == "JPEG"
    for arguments, message in (
        (("iris", "--draw", "sheet.png"), "a sheet is drawn of pictures; iris has rows. Leave --draw out."),
        (("folder:pictures", "--draw", "sheet"), "a drawing is a file of .bmp, "),
        (("folder:pictures", "--draw", "no/sheet.png"), "there is no folder no. Make it first."),
    ):
        status, _, err = dlapp("check", *arguments)
        assert status == 2
        assert message in err


def test_the_same_picture_with_other_boxes_is_a_contradiction(dlapp, boxes):
    for name in ("copy", "again"):
        shutil.copy(boxes / "train/a.png", boxes / f"train/{name}.png")
    write = (boxes / "train/again.xml").write_text
    write((boxes / "train/a.xml").read_text().replace("<name>dog", "<name>cat"))
    shutil.copy(boxes / "train/a.xml", boxes / "train/copy.xml")
    _, found = checked(dlapp, "boxes")
    assert problems(found) == ["1 group of the same examples has different labels"]
    (group,) = found["repeats"]
    assert set(group["members"]) == {
        "boxes/train/a.png (1 cat, 1 dog)",
        "boxes/train/again.png (2 cat)",
        "boxes/train/copy.png (1 cat, 1 dog)",
    }


def test_objects_that_are_few_tiny_or_missing_are_notes(dlapp, boxes):
    random = np.random.default_rng(9)
    for name in range(12):
        write_boxes(boxes / f"train/{name}.png", random, *(("cat", 10, 20 * k + 1, 12, 20 * k + 20) for k in range(5)))
    write_boxes(boxes / "train/rare.png", random, ("emu", 10, 20, 60, 90))
    write_boxes(boxes / "train/none.png", random)
    status, found = checked(dlapp, "boxes")
    assert status == 0
    notes = [line["text"] for line in found["verdicts"] if line["verdict"] == "note"]
    assert notes[:3] == [
        "test has no object of emu",
        "fewer than 10 objects of dog, emu",
        "3 classes, from 1 objects (emu) to 69 (cat): unbalanced",
    ]
    assert "60 objects are less than 8 pixels high or wide where pictures become 256 x 256" in notes[3]
    assert found["objects"]["without"] == 1


def test_labels_without_any_object_are_a_problem_and_no_crash(dlapp, workplace):
    write_boxes(workplace / "empty/a.png", np.random.default_rng(0))
    status, found = checked(dlapp, "empty")
    assert (status, problems(found)) == (1, ["no picture has an object: there is nothing to learn"])
    write_boxes(workplace / "cut/a.png", np.random.default_rng(0))
    (workplace / "cut/a.xml").write_text("<annotation>")
    status, found = checked(dlapp, "cut")
    assert (status, found["flaws"][0]["where"]) == (1, "cut/a.xml:1")


def test_no_source_is_an_error(dlapp, workplace):
    status, _, err = dlapp("check", "folder:nowhere")
    assert status == 2
    assert "nowhere is not a folder" in err


def test_odd_pictures_are_sorted_as_expected(dlapp, workplace, data_set):
    folder = data_set("odd_images_shared")
    expected = json.loads((folder / "expected.json").read_text())
    for label in ("a", "b"):
        (workplace / "odd" / label).mkdir(parents=True)
        for name in expected:
            shutil.copy(folder / name, workplace / "odd" / label / name)
    _, found = checked(dlapp, "folder:odd")
    for name, entry in expected.items():
        named = any(name in line for line in found["unreadable"])
        assert named == entry["expected"].startswith("reject"), name
