"""Sets that a real builder of tensorflow-datasets prepares here, read by name; and what is told of all others."""

import copy
import io
import os
import shlex
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlapp.data import load
from dlapp.data.sources import read, with_data_dir
from dlapp.errors import SourceError, UnknownName

tfds = pytest.importorskip("tensorflow_datasets")

IMAGE, LABEL = tfds.features.Image, tfds.features.ClassLabel
GREY = {"image": IMAGE(shape=(6, 5, 1)), "label": LABEL(names=["no", "yes"])}


def prepare(data_dir, name, splits, features=GREY, *, supervised=("image", "label"), version="1.0.0", config=None):
    """Prepares a set of these examples by split."""

    def info(self):
        found = tfds.features.FeaturesDict(copy.deepcopy(features))
        return tfds.core.DatasetInfo(builder=self, features=found, supervised_keys=supervised)

    body = {
        "name": name,
        "VERSION": tfds.core.Version(version),
        "BUILDER_CONFIGS": [tfds.core.BuilderConfig(name=config)] if config else [],
        "_info": info,
        "_split_generators": lambda self, manager: {split: enumerate(rows) for split, rows in splits.items()},
        "_generate_examples": lambda self: iter(()),
    }
    builder = types.new_class(
        name, (tfds.core.GeneratorBasedBuilder,), {"skip_registration": True}, lambda space: space.update(body)
    )
    builder(data_dir=data_dir).download_and_prepare()


def grey(count, *, first=0):
    """Pictures of one value each, which is their number, of two classes in turn."""
    return [{"image": np.full((6, 5, 1), first + n, np.uint8), "label": n % 2} for n in range(count)]


def encode(number):
    """A JPEG file of a size of its own."""
    random = np.random.default_rng(number)
    small = Image.fromarray(random.integers(0, 256, (3, 3, 3), np.uint8))
    file = io.BytesIO()
    small.resize((20 + number, 30 - number)).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A data_dir with a set of one size and one of varying sizes."""
    place = tmp_path_factory.mktemp("tfds")
    prepare(place, "dots", {"train": grey(40), "validation": grey(8, first=100), "test": grey(6, first=200)})

    def photographs(count):
        return [{"image": io.BytesIO(encode(n)), "label": "cdab"[n % 4]} for n in range(count)]

    features = {"image": IMAGE(encoding_format="jpeg"), "label": LABEL(names=list("dcba"))}
    prepare(place, "photographs", {"train": photographs(12), "test": photographs(4)}, features)
    return place


def test_pictures_of_one_size_are_read_into_memory(sets, caplog):
    data = load(f"tfds:dots?data_dir={sets}")
    assert not caplog.records, "tensorflow-datasets makes no remarks"
    assert data.labels == ("no", "yes")
    assert data.own_splits == ("train", "dev", "test")
    for part, values in ((data.train, range(40)), (data.dev, range(100, 108)), (data.test, range(200, 206))):
        assert part.inputs.shape == (len(values), 6, 5, 1)
        assert part.inputs.dtype == np.uint8
        assert sorted(part.inputs[:, 0, 0, 0].tolist()) == list(values)
        assert (part.inputs == part.inputs[:, :1, :1]).all()
        np.testing.assert_array_equal(part.targets, part.inputs[:, 0, 0, 0] % 2)
    again = load(f"tfds:dots:1.*.*?data_dir={sets}", channels=3)
    assert again.hash == data.hash
    np.testing.assert_array_equal(again.test.inputs, np.repeat(data.test.inputs, 3, axis=3))


def test_pictures_of_varying_size_become_files_once(sets, tmp_path):
    place = shutil.copytree(sets / "photographs", tmp_path / "photographs")
    source = f"tfds:photographs?data_dir={tmp_path}"
    data = load(source, dev=0.4)
    assert data.labels == tuple("dcba")
    assert data.own_splits == ("train", "test")
    (beside,) = place.glob("dlapp-*")
    assert beside.name == "dlapp-1.0.0-image-label"
    contents = {encode(n): "cdab"[n % 4] for n in range(12)}
    found = []
    for part in (data.train, data.dev, data.test):
        assert part.are_files
        for index, path in enumerate(part.inputs):
            content = Path(path).read_bytes()
            assert data.labels[part.targets[index]] == contents[content]
            np.testing.assert_array_equal(part.read(index), np.asarray(Image.open(io.BytesIO(content))))
            found.append(content)
    assert sorted(found) == sorted([*contents, *(encode(n) for n in range(4))])

    written = beside.stat().st_mtime_ns
    assert load(source, dev=0.4).hash == data.hash
    assert beside.stat().st_mtime_ns == written, "they are not written twice"
    later = beside.stat().st_mtime + 10
    os.utime(place / "1.0.0/dataset_info.json", (later, later))
    assert load(source, dev=0.4).hash == data.hash
    assert (tmp_path / "photographs/dlapp-1.0.0-image-label").stat().st_mtime_ns != written, "a new set is read anew"


def test_large_pictures_of_one_size_become_files_too(sets, tmp_path, monkeypatch):
    from dlapp.data import tfds as module

    shutil.copytree(sets / "dots", tmp_path / "dots")
    monkeypatch.setattr(module, "_MOST_IN_MEMORY", 1000)
    data = load(f"tfds:dots?data_dir={tmp_path}")
    assert data.train.are_files
    values = {int(part.read(k).max()) for part in data.splits().values() for k in range(len(part))}
    assert values == {*range(40), *range(100, 108), *range(200, 206)}


def test_a_folder_that_cannot_be_written_is_told(sets, monkeypatch):
    from dlapp.data import tfds as module

    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replacing_folder", full)
    with pytest.raises(SourceError, match=r"vary in size, so they are written as files .*No space left.*--data-dir"):
        load(f"tfds:photographs?data_dir={sets}")
    monkeypatch.setattr(module, "_MOST_IN_MEMORY", 1024)
    with pytest.raises(SourceError, match=r"dots take more than .* GiB, so they are written as files"):
        load(f"tfds:dots?data_dir={sets}")


def test_the_folder_is_that_of_the_environment(sets, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(sets))
    assert load("tfds:dots").labels == ("no", "yes")


def test_configurations_and_versions(tmp_path):
    for version, first in (("1.0.0", 10), ("1.10.0", 30), ("1.9.0", 20)):
        prepare(tmp_path, "dots", {"train": grey(10, first=first)}, version=version, config="plain")

    def lowest(source):
        data = load(f"tfds:{source}?data_dir={tmp_path}")
        return min(int(part.inputs.min()) for part in data.splits().values())

    assert lowest("dots/plain") == lowest("dots") == 30
    assert lowest("dots:1.9.*") == lowest("dots/plain:1.9.0") == 20
    with pytest.raises(SourceError, match=r"tfds:dots:2\.\*\.\* is not prepared in"):
        lowest("dots:2.*.*")
    shutil.copytree(tmp_path / "dots/plain", tmp_path / "dots/fancy")
    with pytest.raises(SourceError, match="several configurations: write one of tfds:dots/fancy, tfds:dots/plain"):
        lowest("dots")


def test_a_set_that_is_not_prepared_is_told_in_two_lines_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("dlapp downloads nothing"))
    place = tmp_path / "it's here"
    with pytest.raises(SourceError) as caught:
        load(f"tfds:cifar10:3.*.*?data_dir={place}")
    first, second = str(caught.value).splitlines()
    assert f"tfds:cifar10:3.*.* is not prepared in {place}" in first
    program, option, code = shlex.split(second)
    assert (program, option) == ("python", "-c")
    called = {}
    monkeypatch.setattr(
        tfds, "builder", lambda name, data_dir: called.update(name=name, data_dir=data_dir) or Builder()
    )

    class Builder:
        def download_and_prepare(self):
            called["prepared"] = True

    exec(code, {})
    assert called == {"name": "cifar10:3.*.*", "data_dir": str(place), "prepared": True}


def test_several_features_are_chosen_by_the_set_or_by_name(tmp_path):
    features = {
        "image": IMAGE(shape=(6, 5, 1)),
        "mask": IMAGE(shape=(6, 5, 1)),
        "label": LABEL(names=["no", "yes"]),
        "coarse": LABEL(num_classes=3),
    }
    rows = [row | {"mask": row["image"] + 100, "coarse": n % 3} for n, row in enumerate(grey(12))]
    prepare(tmp_path, "pairs", {"everything": rows}, features)
    data = load(f"tfds:pairs?data_dir={tmp_path}")
    assert (data.labels, data.own_splits) == (("no", "yes"), ()), "one split alone is split"
    chosen = load(f"tfds:pairs?data_dir={tmp_path}&image=mask&label=coarse")
    assert chosen.labels == ("0", "1", "2")
    assert min(int(part.inputs.min()) for part in chosen.splits().values()) == 100
    with pytest.raises(UnknownName, match=r"unknown class label of tfds:pairs 'lable'. Did you mean label\?"):
        load(f"tfds:pairs?data_dir={tmp_path}&label=lable")
    prepare(tmp_path, "unsure", {"train": rows}, features, supervised=None)
    with pytest.raises(SourceError, match=r"has several: image, mask. Choose the picture with \?image=image"):
        load(f"tfds:unsure?data_dir={tmp_path}")


def test_other_splits_and_those_without_labels_are_left_out_and_said(tmp_path):
    hidden = [row | {"label": -1} for row in grey(4)]
    prepare(tmp_path, "contest", {"train": grey(20), "test": hidden, "unlabelled": hidden})
    data = load(f"tfds:contest?data_dir={tmp_path}")
    assert data.own_splits == ()
    assert data.notes == (
        "the split unlabelled of tfds:contest is left out",
        "the split test of tfds:contest has no labels and is left out",
    )


@pytest.mark.parametrize(
    ("splits", "features", "supervised", "message"),
    [
        ({"a": grey(4), "b": grey(4)}, GREY, None, r"has the splits a, b; dlapp knows train, training"),
        ({"val": grey(4), "valid": grey(4)}, GREY, None, r"has two splits for dev: val and valid"),
        (
            {"train": [{"image": np.zeros((6, 5, 1), np.uint8), "age": 7}]},
            {"image": GREY["image"], "age": tfds.features.Scalar(np.int32)},
            None,
            r"has no class label, so nothing to classify: its features are age \(Scalar\), image \(Image\)",
        ),
        ({"train": [{"label": 1}]}, {"label": GREY["label"]}, None, r"has no picture, so nothing to classify"),
        (
            {"train": [{"image": np.zeros((6, 5, 1), np.uint16), "label": 0}]},
            {"image": IMAGE(shape=(6, 5, 1), dtype=np.uint16), "label": GREY["label"]},
            None,
            r"must have values of 8 bits; image of tfds:wrong has .*uint16.* Convert them",
        ),
        (
            {"train": [*grey(4), grey(1)[0] | {"label": -1}]},
            GREY,
            None,
            r"train split .* examples without a label\. Prepare it",
        ),
        ({"train": [grey(1)[0] | {"label": -1}]}, GREY, None, r"tfds:wrong has no labels: .* Prepare a set that has"),
    ],
    ids=["other splits", "two for dev", "no label", "no picture", "16 bits", "some labels", "no labels"],
)
def test_what_cannot_be_classified_is_refused(tmp_path, splits, features, supervised, message):
    prepare(tmp_path, "wrong", splits, features, supervised=supervised)
    with pytest.raises(SourceError, match=message):
        load(f"tfds:wrong?data_dir={tmp_path}")


def test_damage_is_told(sets, tmp_path):
    place = shutil.copytree(sets / "dots", tmp_path / "dots") / "1.0.0"
    shard = next(place.glob("dots-train*"))
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(SourceError, match=r"the train split in .* is damaged .*: remove it and prepare it again"):
        load(f"tfds:dots?data_dir={tmp_path}")
    (place / "features.json").write_text("{")
    with pytest.raises(SourceError, match=r"1\.0\.0 cannot be read .*: remove it and prepare it again"):
        load(f"tfds:dots?data_dir={tmp_path}")


def test_wrong_names_and_options_are_told(sets, monkeypatch):
    with pytest.raises(SourceError, match=r"is written NAME, NAME/CONFIG or NAME:VERSION.*got tfds:\.\./dots"):
        load(f"tfds:../dots?data_dir={sets}")
    with pytest.raises(UnknownName, match=r"unknown option of tfds 'datadir'. Did you mean data_dir\?"):
        load(f"tfds:dots?datadir={sets}")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SourceError, match=r"tfds:dots needs tensorflow-datasets: pip install 'dlapp\[tfds\]'"):
        load("tfds:dots")


def test_data_dir_becomes_a_part_of_the_source(sets, tmp_path):
    assert with_data_dir("digits", None) == "digits"
    assert with_data_dir("tfds:dots", "~/sets & more") == "tfds:dots?data_dir=~/sets%20%26%20more"
    shutil.copytree(sets / "dots", tmp_path / "a & b/dots")
    assert load(with_data_dir("tfds:dots?label=label", str(tmp_path / "a & b"))).labels == ("no", "yes")
    for source in ("digits", "tfds:dots?data_dir=here"):
        with pytest.raises(SourceError, match=r"--data-dir is where a set of tensorflow-datasets lies"):
            with_data_dir(source, "there")


BOX = tfds.features.BBoxFeature
OBJECTS = {"bbox": BOX(), "label": LABEL(names=["cat", "dog"]), "is_crowd": np.bool_, "area": np.int64}
BOXED = {"image": IMAGE(encoding_format="jpeg"), "objects": tfds.features.Sequence(OBJECTS)}


def boxed(count, *, first=0, objects=None):
    """Pictures of 30 - n high and 20 + n wide with n % 3 objects each."""

    def one(number):
        box = tfds.features.BBox(ymin=0.1, xmin=0.25, ymax=0.5, xmax=1.0)
        return {"bbox": box, "label": number % 2, "is_crowd": number == 1, "area": 7}

    wanted = [n % 3 if objects is None else objects for n in range(first, first + count)]
    return [
        {"image": io.BytesIO(encode(first + n)), "objects": [one(k) for k in range(number)]}
        for n, number in enumerate(wanted)
    ]


def test_boxes_are_those_of_the_prepared_set(tmp_path):
    splits = {"train": boxed(6), "validation": boxed(2, first=6), "test": boxed(3, objects=0)}
    prepare(tmp_path, "zoo", splits, BOXED, supervised=None)
    loaded = read(f"tfds:zoo?data_dir={tmp_path}")
    assert (loaded.task, loaded.labels, loaded.flaws) == ("detection", ("cat", "dog"), ())
    assert loaded.notes == ("the split test of tfds:zoo has no labels and is left out",)
    contents = {encode(n): n for n in range(8)}
    for split, numbers in (("train", range(6)), ("dev", (6, 7))):
        part = loaded.parts[split]
        found = [contents[Path(path).read_bytes()] for path in part.inputs]
        assert sorted(found) == list(numbers)
        for index, number in enumerate(found):
            own = part.boxes[index]
            assert part.targets[index] == number % 3
            assert own.classes.tolist() == [0, 1][: number % 3]
            assert own.wanted.counts.tolist() == [min(number % 3, 1)], "the second of each is a crowd"
            expected = [[0.1 * (30 - number), 0.25 * (20 + number), 0.5 * (30 - number), 20 + number]] * (number % 3)
            np.testing.assert_allclose(own.corners.reshape(-1, 4), np.reshape(expected, (-1, 4)), rtol=1e-5)
    (beside,) = (tmp_path / "zoo").glob("dlapp-*")
    written = beside.stat().st_mtime_ns
    assert read(f"tfds:zoo?data_dir={tmp_path}").digest == loaded.digest
    assert beside.stat().st_mtime_ns == written


def test_a_class_of_the_picture_goes_before_boxes_unless_these_are_named(tmp_path):
    features = {**BOXED, "label": LABEL(names=["no", "yes"]), "faces": tfds.features.Sequence({"bbox": BOX()})}
    rows = [row | {"label": n % 2, "faces": []} for n, row in enumerate(boxed(12))]
    prepare(tmp_path, "both", {"train": rows}, features, supervised=None)
    assert read(f"tfds:both?data_dir={tmp_path}").task == "classification"
    assert read(f"tfds:both?data_dir={tmp_path}&objects=objects").task == "detection"
    with pytest.raises(UnknownName, match=r"unknown boxes of tfds:both 'faces'. Known: objects"):
        read(f"tfds:both?data_dir={tmp_path}&objects=faces")
    features = {**BOXED, "parts": tfds.features.Sequence(OBJECTS)}
    prepare(tmp_path, "two", {"train": [row | {"parts": []} for row in boxed(4)]}, features, supervised=None)
    with pytest.raises(SourceError, match=r"has several: objects, parts\. Choose the boxes with \?objects=objects"):
        read(f"tfds:two?data_dir={tmp_path}")
    features = {**BOXED, "objects": tfds.features.Sequence({**OBJECTS, "bbox": BOX(bbox_format="XYWH")})}
    prepare(tmp_path, "wide", {"train": boxed(2)}, features, supervised=None)
    with pytest.raises(SourceError, match="must be ymin, xmin, ymax, xmax as fractions; it is XYWH"):
        read(f"tfds:wide?data_dir={tmp_path}")


def test_texts_with_a_class_pairs_and_lines(tmp_path):
    text = tfds.features.Text
    reviews = [{"text": f"film n\u00famero {n}", "label": n % 2} for n in range(12)]
    kinds = {"text": text(), "label": LABEL(names=["neg", "pos"])}
    unlabelled = [{"text": "film", "label": -1}] * 3
    splits = {"train": reviews, "test": reviews[:4], "unsupervised": unlabelled}
    prepare(tmp_path, "reviews", splits, kinds, supervised=("text", "label"))
    loaded = read(f"tfds:reviews?data_dir={tmp_path}")
    assert loaded.task == "classification"
    assert loaded.labels == ("neg", "pos")
    told = zip(loaded.parts["train"].inputs, loaded.parts["train"].targets.tolist(), strict=True)
    assert sorted(told) == sorted((row["text"], row["label"]) for row in reviews)
    assert loaded.notes == ("the split unsupervised of tfds:reviews is left out",)

    spoken = [{"en": f"go {n}", "es": f"va {n}"} for n in range(6)]
    languages = {"en": text(), "es": text()}
    prepare(tmp_path, "spoken", {"train": spoken}, languages, supervised=("en", "es"))
    loaded = read(f"tfds:spoken?data_dir={tmp_path}")
    assert loaded.task == "sequence_to_sequence"
    part = loaded.parts["train"]
    assert sorted(zip(part.inputs, part.wanted, strict=True)) == [(f"go {n}", f"va {n}") for n in range(6)]

    alone = read(f"tfds:spoken?text=es&data_dir={tmp_path}")
    assert alone.task == "language_model"
    assert sorted(alone.parts["train"].inputs) == [f"va {n}" for n in range(6)]
    with pytest.raises(UnknownName, match="unknown text of tfds:spoken 'de'"):
        read(f"tfds:spoken?text=de&data_dir={tmp_path}")
