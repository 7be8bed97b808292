"""The tree of exceptions: as drawn, with the exit status that each branch ends in, and hints for unknown names."""

import inspect
import re

import pytest

from dlapp import errors
from dlapp.errors import CheckFailed, DlappError, UnknownName

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DlappError)]


def test_the_drawn_tree_is_the_tree_of_classes():
    drawn, above = {}, {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)([A-Z]\w+)  ", line):
            depth = len(found[1]) // 4
            above[depth] = found[2]
            drawn[found[2]] = above.get(depth - 1)
    assert drawn == {
        kind.__name__: None if kind is DlappError else kind.__base__ and kind.__base__.__name__ for kind in CLASSES
    }


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_only_failed_checks_end_with_status_1(kind):
    assert kind.exit_status == (1 if issubclass(kind, CheckFailed) else 2)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("lenet", ["vgg16", "lenet5"], r"Did you mean lenet5\?"),
        ("resnet5", iter(["resnet50", "resnet56"]), r"Did you mean resnet5[06] or resnet5[06]\?"),
        ("zebra", ["vgg16", "lenet5"], r"Known: lenet5, vgg16\."),
        ("zebra", [], r"There is none yet\."),
        ("Y", ["x", "y"], r"Did you mean y\?"),
        ("lenet", ["VGG16", "LeNet5"], r"Did you mean LeNet5\?"),
        ("zebra", ["column10", "column2", "Column1"], r"Known: Column1, column2, column10\."),
    ],
    ids=["near", "two near, from an iterator", "far", "nothing known", "case", "case of many", "numbers"],
)
def test_unknown_name_suggests(name, known, hint):
    with pytest.raises(UnknownName, match=rf"^unknown architecture '{name}'\. {hint} Try again\.$"):
        raise UnknownName("architecture", name, known, remedy="Try again.")
