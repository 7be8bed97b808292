"""Networks that read texts, from a recipe to a folder: what is chosen, what is learned, what is left and measured."""

import json

import numpy as np
import pytest

from dlapp import texts
from dlapp.errors import RecipeError
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training.answering import answer, errors_of
from dlapp.training.model_folder import ModelFolder
from dlapp.training.preparing import load_own_data
from dlapp.training.run import fit_in_memory

WORDS = ("red", "green", "blue", "round", "square")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Small sources of each task."""
    root, draw = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    names = ["".join(draw.choice(list("abc"), draw.integers(2, 7))) for _ in range(60)]
    (root / "names.txt").write_text("\n".join(names))
    rows = [[*draw.choice(WORDS, draw.integers(3, 9)), mood] for mood in ("good", "bad") for _ in range(40)]
    (root / "moods.tsv").write_text("\n".join(f"{' '.join(row)}\t{row[-1]}" for row in rows))
    lines = []
    for _ in range(40):
        for number, word in enumerate(draw.choice(WORDS, draw.integers(2, 6)), start=1):
            tag = "SHAPE" if word in WORDS[3:] else "COLOUR"
            lines.append(f"{number}\t{word}\t_\t{tag}" + "\t_" * 6)
        lines.append("")
    (root / "tags.conllu").write_text("\n".join(lines))
    (root / "story.txt").write_text("abc " * 300)
    (root / "pairs.txt").write_text("\n".join(f"{name}\t{name[::-1]}" for name in names))
    return {
        "language_model": f"lines:{root / 'names.txt'}",
        "running": f"text:{root / 'story.txt'}",
        "classification": f"labelled:{root / 'moods.tsv'}",
        "tagging": f"conllu:{root / 'tags.conllu'}",
        "sequence_to_sequence": f"pairs:{root / 'pairs.txt'}",
    }


def recipe(data, **tables):
    training = {"epochs": 2, "batch_size": 16, "early_stopping": 0} | tables.pop("training", {})
    options = {"units": 8, "embedding_size": 4} | tables.pop("architecture_options", {})
    return {"architecture": "recurrent", "data": data, "training": training, "architecture_options": options, **tables}


def prepare(data, **tables):
    return preparing.prepare(Recipe.from_values(recipe(data, **tables)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, train, sources):
    """A model of two epochs for each source."""
    root = tmp_path_factory.mktemp("models")
    learns = {"running": {"training": {"epochs": 15, "batch_size": 2, "learning_rate": 0.02}}}
    return {name: train(root / name, recipe(source, **learns.get(name, {}))) for name, source in sources.items()}


@pytest.mark.parametrize(
    ("name", "unit", "standardize", "min_count"),
    [
        ("language_model", "character", "none", 1),
        ("classification", "word", "lower_and_strip_punctuation", 2),
        ("tagging", "word", "none", 2),
        ("sequence_to_sequence", "character", "none", 1),
    ],
)
def test_the_recipe_of_a_run_says_what_was_chosen(sources, name, unit, standardize, min_count):
    run = prepare(sources[name])
    chosen = run.recipe.text
    assert (chosen.unit, chosen.standardize, chosen.min_count) == (unit, standardize, min_count)
    assert run.recipe.training.clip_norm == 1.0, "the norm of gradients is clipped where nothing is said"
    again = preparing.prepare(Recipe.from_values(run.recipe.model_dump(mode="json", exclude_none=True)))
    assert again.recipe == run.recipe
    assert again.preprocessing == run.preprocessing


def test_a_classifier_of_words_has_defaults_of_its_own(sources):
    run = prepare(sources["classification"])
    options = {"units": 8, "embedding_size": 4, "bidirectional": True, "pooling": "average"}
    assert run.recipe.architecture_options == options
    assert run.recipe.training.dropout == 0.5
    said = {"training": {"dropout": 0.0}, "architecture_options": {"pooling": "last"}}
    kept = prepare(sources["classification"], **said).recipe
    assert (kept.training.dropout, kept.architecture_options["pooling"]) == (0.0, "last")
    assert prepare(sources["tagging"]).recipe.architecture_options == {"units": 8, "embedding_size": 4}


def test_what_predicts_tokens_has_larger_steps(sources):
    values = {"architecture": "recurrent", "data": sources["language_model"]}
    training = preparing.prepare(Recipe.from_values(values)).recipe.training
    assert (training.batch_size, training.learning_rate) == (32, 0.005)
    values["training"] = {"optimizer": "momentum", "batch_size": 8}
    training = preparing.prepare(Recipe.from_values(values)).recipe.training
    assert (training.batch_size, training.learning_rate) == (8, 0.002)


def test_names_are_read_by_their_characters(tmp_path):
    (tmp_path / "names.tsv").write_text("".join(f"Name{number % 7}\t{number % 2}\n" for number in range(40)))
    assert prepare(f"labelled:{tmp_path / 'names.tsv'}").recipe.text.unit == "character"


def test_the_vocabulary_is_that_of_train_alone(sources):
    run = prepare(sources["classification"], text={"min_count": 1})
    found = texts.build_vocabulary(run.data.train.inputs, unit="word", standardize="lower_and_strip_punctuation")
    assert run.preprocessing.vocabulary.tokens == found.tokens
    assert prepare(sources["classification"], text={"vocabulary": 4}).model.get_layer("embedding").input_dim == 4


@pytest.mark.parametrize(
    ("name", "task", "figures"),
    [
        ("language_model", "language_model", {"perplexity", "bits_per_character", "accuracy", "tokens"}),
        ("running", "language_model", {"perplexity", "bits_per_character"}),
        ("classification", "classification", {"accuracy", "f1_macro", "roc_auc"}),
        ("tagging", "tagging", {"accuracy", "f1_macro", "per_class", "whole_sentences"}),
        ("sequence_to_sequence", "sequence_to_sequence", {"exact_match", "edit_distance", "accuracy"}),
    ],
)
def test_a_run_leaves_metrics_a_signature_and_samples(trained, name, task, figures):
    folder = trained[name]
    metrics = folder.read_metrics()
    assert metrics["task"] == task
    assert figures | {"examples", "loss"} <= metrics["test"].keys()
    signature = folder.read_signature()
    assert signature.task == task
    assert signature.preprocessing.vocabulary is not None
    signature.inputs[0].check(folder.read_samples())
    assert (signature.step is not None) == (task in ("language_model", "sequence_to_sequence"))


def test_a_text_of_four_letters_is_learned(trained):
    # a, b, c and a blank follow each other: without a look at the one before the perplexity is 4
    assert trained["running"].read_metrics()["test"]["perplexity"] < 2


def test_answers_are_in_the_order_of_the_examples(trained):
    folder = trained["tagging"]
    data, signature, model = load_own_data(folder), folder.read_signature(), folder.load_model()
    found = answer(model, data.train, signature)
    assert found.lengths.tolist() == [len(words) for words in data.train.inputs]
    assert found.wanted.tolist() == np.concatenate(data.train.wanted).tolist()
    ends = np.cumsum(found.lengths)
    for index in (0, 5, len(data.train) - 1):
        numbers = texts.encode(data.train.inputs[index], signature.preprocessing.vocabulary)
        alone = model.predict(numbers[np.newaxis], verbose=0)[0]
        wanted = data.train.wanted[index]
        nats = found.nats[ends[index] - len(numbers) : ends[index]]
        np.testing.assert_allclose(nats, -np.log(alone[np.arange(len(numbers)), wanted]), rtol=1e-4)
    errors = errors_of(data.train, found, signature)
    assert errors.mean() == pytest.approx(np.mean(1 - found.correct / found.lengths))


def test_classes_are_in_the_order_of_the_examples(trained):
    folder = trained["classification"]
    data, signature, model = load_own_data(folder), folder.read_signature(), folder.load_model()
    found = answer(model, data.test, signature)
    for index in range(0, len(data.test), 4):
        numbers = texts.encode(data.test.inputs[index], signature.preprocessing.vocabulary)
        np.testing.assert_allclose(found[index], model.predict(numbers[np.newaxis], verbose=0)[0], atol=1e-6)


def test_a_running_text_is_scored_as_if_it_was_read_in_one_piece(trained):
    folder = trained["running"]
    data, signature, model = load_own_data(folder), folder.read_signature(), folder.load_model()
    found = answer(model, data.dev, signature)
    numbers = texts.encode(data.dev.inputs[0], signature.preprocessing.vocabulary)
    whole = model.predict(numbers[np.newaxis, :-1], verbose=0)[0]
    expected = -np.log(whole[np.arange(len(numbers) - 1), numbers[1:]])
    # a hundred characters before each are nearly all that a network knows
    np.testing.assert_allclose(found.nats, expected, atol=1e-3)


def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, trained, train, sources, monkeypatch):
    from dlapp.training.callbacks import History

    name = "sequence_to_sequence"
    finish = History.on_epoch_end

    def interrupt(self, epoch, logs=None):
        finish(self, epoch, logs)
        if epoch == 0:
            raise KeyboardInterrupt

    folder = ModelFolder(tmp_path / "again")
    with monkeypatch.context() as patch:
        patch.setattr(History, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(folder.path, recipe(sources[name]))
    train(folder.path, recipe(sources[name]))
    for weight, other in zip(folder.load_model().weights, trained[name].load_model().weights, strict=True):
        np.testing.assert_array_equal(weight, other)
    assert json.loads(folder.metrics.read_text())["test"] == trained[name].read_metrics()["test"]


def test_reversing_is_learned(tmp_path):
    pairs = [f"{a}{b}\t{b}{a}" for a in "abcd" for b in "abcd"]
    (tmp_path / "p.txt").write_text("\n".join(pairs * 20))
    run = prepare(
        f"pairs:{tmp_path / 'p.txt'}",
        architecture_options={"cell": "gru", "units": 16, "embedding_size": 8},
        training={"epochs": 12, "batch_size": 16, "learning_rate": 0.02},
    )
    fit_in_memory(run)
    found = answer(run.model, run.data.test, run.signature)
    assert np.mean([reply == wanted for reply, wanted in zip(found.replies, run.data.test.wanted, strict=True)]) > 0.9


@pytest.mark.parametrize(
    ("name", "tables", "message"),
    [
        ("tagging", {"architecture": "lenet5"}, "holds texts; lenet5 reads pictures or rows. Train recurrent"),
        ("tagging", {"training": {"label_smoothing": 0.1}}, "training.label_smoothing is for one class an example"),
        ("tagging", {"training": {"class_weights": "balanced"}}, "training.class_weights is for one class an example"),
        ("classification", {"preprocessing": {"augment": {"shift": 0.1}}}, "holds texts, not pictures: remove"),
        ("classification", {"preprocessing": {"channels": 3}}, "holds texts, not pictures: remove it"),
        ("language_model", {"architecture_options": {"bidirectional": True}}, "has seen what it is to predict"),
        ("tagging", {"architecture_options": {"form": "many_to_one"}}, "in the form many_to_many; .* Remove form"),
        ("tagging", {"text": {"min_count": 10_000}}, "train has no token at least 10000 times: lower text.min_count"),
    ],
)
def test_what_does_not_fit_is_refused(sources, name, tables, message):
    values = recipe(sources[name], **{key: value for key, value in tables.items() if key != "architecture"})
    values["architecture"] = tables.get("architecture", "recurrent")
    if values["architecture"] != "recurrent":
        values["architecture_options"] = {}
    with pytest.raises(Exception, match=message) as caught:
        preparing.prepare(Recipe.from_values(values))
    assert isinstance(caught.value, RecipeError) or "min_count" in message


def test_a_table_of_texts_is_refused_elsewhere():
    with pytest.raises(RecipeError, match="digits holds no texts: remove the table text"):
        preparing.prepare(Recipe.from_values({"architecture": "recurrent", "data": "digits", "text": {"unit": "word"}}))
