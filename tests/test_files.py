"""Files and folders are whole or absent, whatever happens while they are written."""

import errno
import os
from pathlib import Path

import pytest

from dlapp import files
from dlapp.errors import AlreadyExists, DlappError, UnknownName

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
FAILURES = [
    pytest.param(FULL, "No space left", id="disk full"),
    pytest.param(KeyboardInterrupt("stopped"), "stopped", id="Ctrl-C"),
    pytest.param(ValueError("bug"), "bug", id="bug"),
]


def fail(context, failure: BaseException):
    """Writes into what ``context`` gives, a file or a folder, and fails."""
    with context as place:
        (place / "b.txt" if place.is_dir() else place).write_text("half")
        raise failure


def tree(folder: Path) -> dict[str, str]:
    """Every file below ``folder``, hidden ones too, with its text."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def target(tmp_path):
    """A folder with one file, alone in its own parent."""
    folder = tmp_path / "export" / "net"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("before")
    return folder


def test_replacing_puts_the_new_file_in_place_and_keeps_the_suffix(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("before")
    with files.replacing(path) as beside:
        assert beside.suffix == ".keras"
        assert beside.parent == tmp_path, "a rename is atomic within one file system only"
        beside.write_text("after")
        assert path.read_text() == "before"
    assert tree(tmp_path) == {"model.keras": "after"}


@pytest.mark.parametrize("before", [{}, {"a.txt": "before"}], ids=["new", "existing"])
@pytest.mark.parametrize(("failure", "message"), FAILURES)
def test_replacing_leaves_everything_as_it_was(tmp_path, before, failure, message):
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(type(failure), match=message):
        fail(files.replacing(tmp_path / "a.txt"), failure)
    assert tree(tmp_path) == before


def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    files.write_json(path, {"größe": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"loss": float("nan")})
    assert tree(tmp_path) == {"metrics.json": '{\n  "größe": 1\n}\n'}


def test_replacing_folder_leaves_nothing_of_the_old_one(target):
    with files.replacing_folder(target) as scratch:
        assert not any(scratch.iterdir())
        (scratch / "b.txt").write_text("after")
        assert tree(target) == {"a.txt": "before"}
    assert tree(target.parent) == {"net/b.txt": "after"}
    assert list(target.parent.iterdir()) == [target]


def test_replacing_folder_creates_the_parents(tmp_path):
    with files.replacing_folder(tmp_path / "export" / "net") as scratch:
        (scratch / "b.txt").write_text("after")
    assert tree(tmp_path) == {"export/net/b.txt": "after"}


@pytest.mark.parametrize(("failure", "message"), FAILURES)
def test_replacing_folder_leaves_the_old_one_as_it_was(target, failure, message):
    with pytest.raises(type(failure), match=message):
        fail(files.replacing_folder(target), failure)
    assert tree(target.parent) == {"net/a.txt": "before"}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("which", [1, 2], ids=["moving the old away", "moving the new in"])
@pytest.mark.parametrize(
    ("failure", "message", "moment"),
    [
        pytest.param(FULL, "No space left", "before", id="disk full"),
        pytest.param(KeyboardInterrupt("stopped"), "stopped", "before", id="Ctrl-C before"),
        pytest.param(KeyboardInterrupt("stopped"), "stopped", "after", id="Ctrl-C after"),
    ],
)
def test_replacing_folder_survives_a_failing_rename(target, monkeypatch, failure, message, moment, which):
    rename, calls = Path.replace, []

    def fails_once(self, to):
        calls.append(to)
        if len(calls) == which and moment == "before":
            raise failure
        rename(self, to)
        if len(calls) == which:
            raise failure

    monkeypatch.setattr(Path, "replace", fails_once)
    with pytest.raises(type(failure), match=message), files.replacing_folder(target) as scratch:
        (scratch / "b.txt").write_text("after")
    # either the previous state or the complete new one, never neither
    assert tree(target.parent) in ({"net/a.txt": "before"}, {"net/b.txt": "after"})


def test_next_free_counts_from_2_and_takes_the_first_gap(tmp_path):
    for free in ("net", "net-2", "net-3", "net-5"):
        assert files.next_free(tmp_path / "net") == tmp_path / free
        (tmp_path / free).mkdir()
        (tmp_path / "net-4").mkdir(exist_ok=True)


@pytest.fixture
def models(workplace):
    """models/ with two models, and a folder that is none."""
    for name in ("lenet5-digits", "unit-cats"):
        (workplace / "models" / name).mkdir(parents=True)
        (workplace / "models" / name / "recipe.toml").touch()
    (workplace / "models" / "notes").mkdir()


def find(name):
    return files.find_folder(name, kind="model", root="models", holds="recipe.toml")


@pytest.mark.parametrize("name", ["unit-cats", "models/unit-cats", "./models/unit-cats/"])
@pytest.mark.usefixtures("models")
def test_find_folder_takes_a_name_or_a_path(name):
    assert find(name).resolve() == Path("models/unit-cats").resolve()


@pytest.mark.usefixtures("models")
def test_find_folder_prefers_the_path_to_the_name():
    Path("unit-cats").mkdir()
    Path("unit-cats/recipe.toml").touch()
    assert find("unit-cats") == Path("unit-cats")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lenet-digits", r"Did you mean lenet5-digits\?"),
        ("zebra", r"Known: lenet5-digits, unit-cats\."),
    ],
)
@pytest.mark.usefixtures("models")
def test_find_folder_suggests_what_is_there(name, hint):
    with pytest.raises(UnknownName, match=f"unknown model '{name}'. {hint}"):
        find(name)


def test_find_folder_where_nothing_was_made_yet(workplace):
    with pytest.raises(UnknownName, match=r"unknown model 'x'\. There is none yet\."):
        find("x")


@pytest.mark.usefixtures("models")
def test_find_folder_says_what_a_folder_lacks():
    with pytest.raises(UnknownName, match=r"notes has no recipe\.toml\.") as caught:
        find("notes")
    assert "none yet" not in str(caught.value), "two models are there"


def test_moved_aside_takes_only_what_dlapp_wrote(target):
    with (
        pytest.raises(AlreadyExists, match=r"was not written by dlapp \(it has no signature.json\)"),
        files.moved_aside(target, holds="signature.json"),
    ):
        pytest.fail("must not begin")
    assert tree(target) == {"a.txt": "before"}


def test_what_was_moved_aside_comes_back_if_its_successor_fails(target):
    with pytest.raises(OSError, match="No space"), files.moved_aside(target, holds="a.txt"):  # noqa: PT012
        target.mkdir()
        (target / "a.txt").write_text("half")
        raise OSError(28, "No space left on device")
    assert tree(target.parent) == {"net/a.txt": "before"}
    with files.moved_aside(target, holds="a.txt"):
        assert not target.exists()
        target.mkdir()
        (target / "a.txt").write_text("after")
    assert tree(target.parent) == {"net/a.txt": "after"}
    assert list(target.parent.iterdir()) == [target], "nothing is left beside it"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", ".hidden", "/tmp/x"])
def test_a_name_stays_below_its_root(name):
    with pytest.raises(DlappError, match="one word without slashes"):
        files.below(Path("models"), name)
    assert files.below(Path("models"), "a.b-2") == Path("models/a.b-2")
