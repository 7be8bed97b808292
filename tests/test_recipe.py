"""Recipes: defaults, TOML both ways, changes by dotted keys, and what a wrong one is told."""

import copy
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlapp.errors import RecipeError
from dlapp.recipe import Recipe, Transfer, parse_setting, with_changes

LEAST = {"architecture": "lenet5", "data": "digits"}
AUGMENT = ("shift", "rotate", "zoom", "brightness", "contrast", "rand_augment", "mixup", "cutmix")
FULL = {
    **LEAST,
    "architecture_options": {"activation": "relu", "pooling": "max"},
    "preprocessing": {
        "size": [28, 32],
        "channels": 1,
        "resize": "letterbox",
        "antialias": True,
        "scale": "unit",
        "augment": {"flip": "both", "crop": 4, **dict.fromkeys(AUGMENT, 0.1)},
    },
    "split": {"dev": 0.2, "test": 0.1, "seed": 7, "own": False},
    "transfer": {"model": "models/base", "unfreeze": "all", "epochs": 3, "learning_rate": 1e-4},
    "training": {
        "epochs": 3,
        "batch_size": "all",
        "optimizer": "nesterov",
        "momentum": 0.95,
        "learning_rate": 0.05,
        "schedule": "step",
        "decay_rate": 0.3,
        "decay_epochs": 2,
        "warmup_epochs": 0.5,
        "clip_norm": 1.0,
        "l1": 1e-5,
        "l2": 1e-4,
        "dropout": [0.5, 0.2],
        "label_smoothing": 0.1,
        "class_weights": {"7": 2.0},
        "early_stopping": 0,
        "mixed_precision": True,
        "seed": 1,
    },
    "detection": {
        "anchors": [[0.1, 0.2], [0.5, 0.4]],
        "box_loss": "sqrt",
        "object_weight": 2.0,
        "no_object_weight": 0.1,
        "box_weight": 1.0,
        "class_weight": 0.5,
        "min_score": 0.6,
        "max_overlap": 0.4,
        "most": 20,
        "flawed": "skip",
    },
    "text": {
        "unit": "word",
        "standardize": "lower",
        "vocabulary": 500,
        "min_count": 3,
        "length": 40,
        "window": 20,
    },
    "export": {"formats": ["onnx"], "version": "2", "license": "MIT", "author": "A. Person"},
    "tune": {
        "space": {
            "training.learning_rate": {"low": 1e-4, "high": 0.1, "scale": "log", "stage": 2},
            "training.batch_size": {"choices": [16, 32]},
        },
        "seed": 3,
    },
}
ADAM = {
    **LEAST,
    "training": {
        "optimizer": "adamw",
        "beta_1": 0.8,
        "beta_2": 0.99,
        "epsilon": 1e-8,
        "weight_decay": 0.01,
        "clip_value": 0.5,
        "class_weights": "balanced",
    },
}
RMSPROP = {**LEAST, "training": {"optimizer": "rmsprop", "rho": 0.8, "momentum": 0.5, "schedule": "plateau"}}


def test_the_defaults_are_the_documented_ones():
    assert Recipe.from_values(LEAST).model_dump(mode="json") == {
        **LEAST,
        "architecture_options": {},
        "preprocessing": {
            "size": None,
            "channels": None,
            "resize": "stretch",
            "antialias": None,
            "scale": "standardize",
            "augment": {"flip": None, "crop": 0, **dict.fromkeys(AUGMENT, 0.0)},
        },
        "split": {"dev": 0.15, "test": 0.15, "seed": 0, "own": True},
        "transfer": None,
        "training": {
            "epochs": 30,
            "batch_size": 64,
            "optimizer": "adam",
            **dict.fromkeys(("momentum", "rho", "beta_1", "beta_2", "epsilon", "weight_decay")),
            "learning_rate": 0.002,
            "schedule": "cosine",
            "decay_rate": None,
            "decay_epochs": None,
            "warmup_epochs": 0.0,
            "clip_norm": None,
            "clip_value": None,
            "l1": 0.0,
            "l2": 0.0,
            "dropout": 0.0,
            "label_smoothing": 0.0,
            "class_weights": None,
            "early_stopping": 10,
            "mixed_precision": False,
            "seed": 0,
        },
        "detection": {
            "anchors": None,
            "box_loss": "ciou",
            "object_weight": 1.0,
            "no_object_weight": 0.5,
            "box_weight": 5.0,
            "class_weight": 1.0,
            "min_score": 0.3,
            "max_overlap": 0.5,
            "most": 100,
            "flawed": "refuse",
        },
        "text": {
            **dict.fromkeys(("unit", "standardize", "min_count", "length")),
            "vocabulary": 10_000,
            "window": 100,
        },
        "export": {"formats": ["savedmodel", "onnx"], **dict.fromkeys(("version", "license", "author"))},
        "tune": {"space": {}, "seed": 0},
    }


@pytest.mark.parametrize(
    ("training", "resolved"),
    [
        ({}, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "decay_rate": None}),
        ({"optimizer": "momentum", "schedule": "exponential"}, {"momentum": 0.9, "beta_1": None, "decay_rate": 0.95}),
        ({"optimizer": "rmsprop", "rho": 0.5, "schedule": "plateau"}, {"rho": 0.5, "momentum": 0.0, "decay_epochs": 5}),
    ],
    ids=["adam", "momentum", "rmsprop"],
)
def test_a_resolved_recipe_hides_no_default(training, resolved):
    found = Recipe.from_values({**LEAST, "training": training}).training.resolved().model_dump()
    assert {key: found[key] for key in resolved} == resolved


def test_another_optimizer_or_schedule_drops_the_parameters_of_the_old_one():
    values = {"training": {"optimizer": "momentum", "momentum": 0.5, "schedule": "step", "decay_rate": 0.1, "l2": 1}}
    changes = {"training.optimizer": "adam", "training.schedule": "cosine"}
    assert with_changes(values, changes)["training"] == {"optimizer": "adam", "schedule": "cosine", "l2": 1}
    assert with_changes(values, {"training.optimizer": "momentum"}) == values
    kept = with_changes(values, {"training.optimizer": "rmsprop", "training.momentum": 0.7})["training"]
    assert kept["momentum"] == 0.7
    default = {"training": {"beta_1": 0.8}}
    assert with_changes(default, {"training.optimizer": "adam"})["training"] == {"beta_1": 0.8, "optimizer": "adam"}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"momentum": 0.5}, "adam takes no momentum"),
        ({"decay_rate": 0.5}, "cosine takes no decay_rate"),
        ({"schedule": "step", "decay_rate": 1.5}, "decay_rate of step must be less than 1; got 1.5"),
        ({"schedule": "plateau", "warmup_epochs": 1}, "plateau takes no warmup_epochs"),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs must be less than epochs; got 3.0 of 3"),
        ({"clip_norm": 1, "clip_value": 1}, "exclude each other"),
        ({"dropout": [0.5, 1.5]}, "training.dropout"),
        ({"class_weights": {"a": -1}}, "training.class_weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parameters_that_do_not_belong_together_are_refused(training, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_values({**LEAST, "training": training})


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"low": 1}, "low must be less than high"),
        ({"low": 2, "high": 1}, "low must be less than high; got 2 and 1"),
        ({"low": 0, "high": 1, "scale": "log"}, "above 0 on a log scale"),
        ({"low": 0.5, "high": 1.0, "scale": "complement"}, r"in \[0, 1\) on the complement scale"),
        ({"low": 1, "high": 2, "choices": [1]}, "low and high, or choices"),
        ({"choices": []}, "low and high, or choices"),
    ],
    ids=["one end", "reversed", "log of 0", "complement of 1", "both", "no choice"],
)
def test_an_axis_is_a_range_or_choices(axis, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_values({**LEAST, "tune": {"space": {"training.l2": axis}}})


AXES = re.escape('{low = 1e-4, high = 0.1, scale = "log"} or {choices = [16, 32]}')


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"foo": [1, 2]}, rf"tune\.space\.foo must be an axis, {AXES}; got \[1, 2\] in the recipe\."),
        ({"training.l2": 3}, rf"tune\.space\.training\.l2 must be an axis, {AXES}; got 3 in"),
        ({"training.l2": {"lo": 1}}, rf"unknown key tune\.space\.training\.l2\.lo in .* An axis is {AXES}\."),
        ({"training": {"l2": {"low": 1}}}, r'unknown key tune.space.training.l2 in .* in quotes: "training\.l2"\.'),
        ({"training.l2": {"low": 2, "high": 1}}, r"tune\.space\.training\.l2: low must be less than high"),
        ({"width": {"low": 1, "high": 2, "scale": "lg"}}, r"tune\.space\.width\.scale must be .* mean 'log'\?"),
        ({"width": {"choices": [[1]]}}, r"tune\.space\.width\.choices must be"),
        (3, r"tune\.space must be a table; got 3 in"),
    ],
    ids=["list", "number", "misspelt", "no quotes", "reversed", "scale", "choice", "no table"],
)
def test_a_wrong_space_is_told_its_axis_and_what_one_is(space, message):
    with pytest.raises(RecipeError, match=f"^{message}"):
        Recipe.from_values({**LEAST, "tune": {"space": space}})


def test_the_space_of_the_readme_is_one():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    recipe = Recipe.from_values({**LEAST, **tomllib.loads(block)})
    assert {"training.learning_rate", "training.batch_size", "width", "depth"} <= set(recipe.tune.space)


@pytest.mark.parametrize("values", [LEAST, FULL, ADAM, RMSPROP], ids=["least", "full", "adam", "rmsprop"])
def test_a_written_recipe_reads_back(tmp_path, values):
    recipe = Recipe.from_values(values)
    path = tmp_path / "recipe.toml"
    recipe.write(path, header="dlapp train recipe.toml\n2 cores")
    assert path.read_text().startswith("# dlapp train recipe.toml\n# 2 cores\n")
    assert Recipe.read(path) == recipe


def test_full_sets_every_key_to_something_else():
    # or the round trip above would not see a key that is dropped
    default, *others = (Recipe.from_values(values).model_dump() for values in (LEAST, FULL, ADAM, RMSPROP))
    assert default["transfer"] is None
    default["transfer"] = Transfer(model="another").model_dump()
    others = [{**other, "transfer": other["transfer"] or default["transfer"]} for other in others]
    for table in ("preprocessing", "split", "transfer", "training", "detection", "text", "export", "tune"):
        assert not {key for key in default[table] if all(default[table][key] == other[table][key] for other in others)}


def test_one_number_as_size_is_height_and_width():
    assert Recipe.from_values({**LEAST, "preprocessing": {"size": 32}}).preprocessing.size == (32, 32)


def test_changes_take_the_place_of_what_the_file_says(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('architecture = "lenet5"\ndata = "digits"\n[training]\nepochs = 3\nl2 = 0.1\n')
    recipe = Recipe.read(path, {"training.epochs": 5, "architecture_options.pooling": "max"})
    assert (recipe.training.epochs, recipe.training.l2) == (5, 0.1)
    assert recipe.architecture_options == {"pooling": "max"}


NAN, INF = float("nan"), float("inf")
WRONG = {
    "misspelt key": (
        "training.learning_rat",
        1,
        r"unknown key training.learning_rat in .* mean training.learning_rate\?",
    ),
    "key without table": ("learning_rate", 1, r"unknown key learning_rate in .* mean training.learning_rate\?"),
    "key in another table": ("training.dev", 0.1, r"unknown key training.dev in .* mean split.dev\?"),
    "table without its key": ("transfer.unfreeze", 2, r".* must name the transfer.model: add a line transfer.model"),
    "key two tables down": (
        "preprocessing.augment.shif",
        0.1,
        r"unknown key preprocessing.augment.shif in .* mean preprocessing.augment.shift\?",
    ),
    "misspelt table": ("trainin.l2", 1, r"unknown key trainin in .* mean training\?"),
    "misspelt top key": ("architectur", "x", r"unknown key architectur in .* mean architecture\?"),
    "key like no other": (
        "zebra",
        1,
        "unknown key zebra in .* Known: architecture, data, .*training.l2.*export.formats",
    ),
    "negative rate": ("training.learning_rate", -1, "training.learning_rate must be greater than 0; got -1 in"),
    "zero rate": ("training.learning_rate", 0, "training.learning_rate must be greater than 0; got 0 in"),
    "NaN rate": ("training.learning_rate", NAN, "training.learning_rate must be a finite number; got nan in"),
    "infinite rate": ("training.learning_rate", INF, "training.learning_rate must be a finite number; got inf in"),
    "rate in words": (
        "training.learning_rate",
        "fast",
        "training.learning_rate must be a valid number.*; got 'fast' in",
    ),
    "negative l2": ("training.l2", -1, "training.l2 must be greater than or equal to 0; got -1 in"),
    "NaN l2": ("training.l2", NAN, "training.l2 must be a finite number; got nan in"),
    "dropout of all": ("training.dropout", 1, "training.dropout must be less than 1; got 1 in"),
    "no epochs": ("training.epochs", 0, "training.epochs must be greater than 0; got 0 in"),
    "half an epoch": ("training.epochs", 1.5, "training.epochs must be a valid integer.*; got 1.5 in"),
    "seed too large": ("training.seed", 2**31, "training.seed must be less than 2147483648; got 2147483648 in"),
    "empty batch": ("training.batch_size", 0, "training.batch_size must be a positive whole number or .all.; got 0 in"),
    "misspelt all": ("training.batch_size", "al", r"training.batch_size must be .*\ball\b.*; got 'al' in"),
    "near optimizer": (
        "training.optimizer",
        "adm",
        "training.optimizer must be .*'adamw'; got 'adm' in .* mean 'adam'",
    ),
    "far optimizer": (
        "training.optimizer",
        "zebra",
        "training.optimizer must be .*'adamw'; got 'zebra' in the recipe.$",
    ),
    "optimizer no text": ("training.optimizer", 3, "training.optimizer must be .*'adamw'; got 3 in"),
    "near scale": ("preprocessing.scale", "unitt", "preprocessing.scale must be .*; got 'unitt' in .* mean 'unit'"),
    "two channels": ("preprocessing.channels", 2, "preprocessing.channels must be 1, 3 or 4; got 2 in"),
    "no size": ("preprocessing.size", 0, r"preprocessing.size\S* must be greater than 0; got 0 in"),
    "one side only": ("preprocessing.size", [32], r"preprocessing.size must .*; got \[32\] in"),
    "three sides": ("preprocessing.size", [32, 32, 3], r"preprocessing.size must .*; got \[32, 32, 3\] in"),
    "shift by all": ("preprocessing.augment.shift", 1, "preprocessing.augment.shift must be less than 1; got 1 in"),
    "no dev": ("split.dev", 0, "split.dev must be greater than 0; got 0 in"),
    "nothing to train on": ("split.dev", 0.9, r"split: dev and test must leave something .*; got 0.9 \+ 0.15 in"),
    "unknown format": ("export.formats", ["onxx"], r"export.formats\S* must be .*; got 'onxx' in .* mean 'onnx'"),
    "no format": ("export.formats", [], r"export.formats must (be|have|name) (?!Tuple).*; got \[\] in"),
    "value for a table": ("training", 3, "training must be a table; got 3 in"),
    "options no table": ("architecture_options", 3, "architecture_options must be a table; got 3 in"),
}


@pytest.mark.parametrize(("key", "value", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_recipe_is_told_key_rule_and_value(key, value, message):
    with pytest.raises(RecipeError, match=f"^{message}"):
        Recipe.from_values(with_changes(LEAST, {key: value}))


@pytest.mark.parametrize("key", LEAST)
def test_what_has_no_default_must_be_named(key):
    values = {name: value for name, value in LEAST.items() if name != key}
    with pytest.raises(RecipeError, match=f'^a.toml must name the {key}: add a line {key} = "..."'):
        Recipe.from_values(values, where="a.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"recipe.toml cannot be read: .*No such file"),
        (b"\xff\xfe", r"recipe.toml cannot be read: .*codec"),
        (b"architecture = lenet5", r"recipe.toml is not TOML: .*line 1"),
        (b'architecture = "lenet5"\ndata = "digits"\ntrainin = 1', r"unknown key trainin in .*recipe.toml"),
    ],
    ids=["missing", "binary", "no TOML", "unknown key"],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, content, message):
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        Recipe.read(path)


names = st.text("abc", min_size=1, max_size=2)
tables = st.recursive(st.integers(), lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=8)


@given(st.dictionaries(names, tables), st.lists(names, min_size=1, max_size=3), st.integers())
@settings(deadline=None, max_examples=100, derandomize=True)
def test_with_changes_sets_one_key_and_touches_nothing_else(values, parts, value):
    before = copy.deepcopy(values)
    dotted = ".".join(parts)
    place = values
    for part in parts[:-1]:
        place = place.get(part, {}) if isinstance(place, dict) else place
    if not isinstance(place, dict):
        with pytest.raises(RecipeError, match=f"is no table, so {dotted} cannot be set."):
            with_changes(values, {dotted: value})
        assert values == before
        return
    changed = with_changes(values, {dotted: value})
    assert values == before, "the original belongs to the caller"
    # walking down both: they agree everywhere but at the key
    for part in parts[:-1]:
        assert {k: v for k, v in changed.items() if k != part} == {k: v for k, v in before.items() if k != part}
        changed, before = changed[part], before.get(part, {})
    last = parts[-1]
    assert changed == {**before, last: value}


def test_with_changes_does_not_put_a_key_below_a_value():
    with pytest.raises(RecipeError, match=r"data is no table, so data\.seed cannot be set\."):
        with_changes(LEAST, {"data.seed": 1})


@pytest.mark.parametrize(
    ("setting", "parsed"),
    [
        ("training.l2=1e-3", ("training.l2", 0.001)),
        ("training.epochs=3", ("training.epochs", 3)),
        ("preprocessing.size=[28, 28]", ("preprocessing.size", [28, 28])),
        ("preprocessing.antialias=true", ("preprocessing.antialias", True)),
        ("architecture_options.activation=relu", ("architecture_options.activation", "relu")),
        ("architecture_options.activation='relu'", ("architecture_options.activation", "relu")),
        ("data=csv:a.csv?target=b", ("data", "csv:a.csv?target=b")),
        (r"data=folder:C:\new", ("data", r"folder:C:\new")),
        (" training.seed = 1 ", ("training.seed", 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_is_toml_or_else_text(setting, parsed):
    key, value = parse_setting(setting)
    assert (key, value) == parsed
    assert type(value) is type(parsed[1])


@pytest.mark.parametrize("setting", ["training.l2", "=3", "  = 3", ""])
def test_a_setting_without_key_or_equals_sign_is_refused(setting):
    with pytest.raises(RecipeError, match=f"--set takes key=value, as in training.l2=1e-3; got '{setting}'"):
        parse_setting(setting)
