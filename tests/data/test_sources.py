"""How sources are written, and what a bare path is recognised as."""

import pytest

from dlapp.data.sources import SOURCES, parse
from dlapp.errors import SourceError, UnknownName


@pytest.mark.parametrize("scheme", [scheme for scheme, (_, how, _) in SOURCES.items() if ":" in how])
def test_a_scheme_takes_everything_after_its_colon(scheme):
    assert parse(f"{scheme}:some/where:else,b c") == (scheme, "some/where:else,b c")
    with pytest.raises(SourceError, match=f"{scheme} needs a path: write {scheme}:"):
        parse(scheme)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("a.npz", "npz"),
        ("a.h5", "h5"),
        ("a.hdf5", "h5"),
        ("A.NPZ", "npz"),
        ("mnist/train-images-idx3-ubyte", "idx"),
        ("mnist/train-images-idx3-ubyte.gz", "idx"),
        ("pictures/cat/1.png", "folder"),
        ("digit/cat/1.png", "folder"),  # what is there goes before what is nearly a name
        ("a:b/cat/1.png", "folder"),
        ("a.yaml", "yolo"),
        ("a.json", "coco"),
        ("boxes/data.yaml", "yolo"),
        ("boxes/1.xml", "voc"),
        ("boxes/train/1.xml", "voc"),
        ("boxes/Annotations/1.xml", "voc"),
        ("boxes/valid/annotations/1.xml", "voc"),
        ("boxes/cat/1.xml", "folder"),  # something else of one class
        ("boxes/annotations/instances_val2017.json", "coco"),
    ],
)
def test_a_bare_path_is_recognised_by_what_it_holds(workplace, name, scheme):
    path = workplace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    source = name.partition("/")[0]
    assert parse(source) == (scheme, source)
    assert parse(str(workplace / source)) == (scheme, str(workplace / source))


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("digts", UnknownName, "unknown source 'digts'. Did you mean digits.*dlapp list sources"),
        ("foldr:x", UnknownName, "unknown source 'foldr'. Did you mean folder"),
        ("kaggle:mnist", UnknownName, "Known: breast_cancer, coco, conllu, csv, .* wine"),
        ("some/where", SourceError, "some/where does not exist"),
        ("missing.npz", SourceError, "missing.npz does not exist"),
        (
            "digits:8",
            SourceError,
            "digits takes nothing after its name, or options as in digits\\?classes=0,1,2; got 'digits:8'",
        ),
        ("", (SourceError, UnknownName), "source"),
    ],
)
def test_what_is_no_source_is_told(workplace, source, kind, message):
    with pytest.raises(kind, match=message):
        parse(source)


def test_options_of_shapes_follow_a_question_mark():
    assert parse("shapes") == ("shapes", "")
    assert parse("shapes?objects=2&noise=0") == ("shapes", "objects=2&noise=0")
