"""``dlapp check`` names what is wrong with the data, and says so with its exit status."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image


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
