"""What a source of texts asks of a recipe and of its network: one that reads tokens, in the form that the task has."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras

from dlapp.architectures import builder
from dlapp.architectures.recurrent_networks import recurrent
from dlapp.architectures.stepping import state_sizes
from dlapp.data import Data
from dlapp.errors import RecipeError
from dlapp.recipe import Recipe, Text
from dlapp.signature import Preprocessing, Signature, classification, language_model, sequence_to_sequence, tagging

_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "many_to_one",
        "tagging": "many_to_many",
        "language_model": "many_to_many",
        "sequence_to_sequence": "encoder_decoder",
    }
)


def check_texts(recipe: Recipe, data: Data) -> None:
    """Refuses networks that read no tokens on texts, and options that are of the other kind.

    Raises:
        RecipeError: the recipe and its data do not fit each other.
    """
    if not data.train.are_texts:
        if recipe.text != Text():
            raise RecipeError(f"{recipe.data} holds no texts: remove the table text from the recipe.")
        return
    if builder(recipe.architecture) is not recurrent:
        raise RecipeError(
            f"{recipe.data} holds texts; {recipe.architecture} reads pictures or rows. Train recurrent, which reads "
            "tokens."
        )
    if recipe.transfer is not None:
        raise RecipeError("a network that reads texts starts from none: remove transfer from the recipe (--from).")
    training = recipe.training
    if data.task == "classification":
        return
    refused = {
        "training.label_smoothing": training.label_smoothing,
        "training.class_weights": training.class_weights,
        "preprocessing.augment.mixup": recipe.preprocessing.augment.mixup,
        "preprocessing.augment.cutmix": recipe.preprocessing.augment.cutmix,
    }
    for key, value in refused.items():
        if value:
            raise RecipeError(f"{key} is for one class an example; {recipe.data} has one at each step. Remove it.")
    one_way = data.task == "language_model" and recipe.architecture_options.get("bidirectional", False)
    if one_way:
        raise RecipeError(
            "a language model that reads from the end too has seen what it is to predict: remove "
            "architecture_options.bidirectional."
        )


def with_own_keys(recipe: Recipe, data: Data) -> Recipe:
    """The recipe with what serves its task where it says nothing of it.

    What predicts one token after the other has many answers in a batch: it may be smaller, and its steps larger. For
    classes of words, the average over both directions with half of the units dropped beats a bag of words on the
    sentences of UCI, as the last state of one direction does not.
    """
    training, options, own = recipe.training, recipe.architecture_options, {}
    if data.task in ("language_model", "sequence_to_sequence"):
        own["batch_size"] = 32
        if training.optimizer == "adam":
            own["learning_rate"] = 0.005
    elif data.task == "classification" and recipe.text.unit == "word":
        options = {"units": 64, "bidirectional": True, "pooling": "average", **options}
        if "dropout" not in options:
            own["dropout"] = 0.5
    unsaid = {key: value for key, value in own.items() if key not in training.model_fields_set}
    return recipe.model_copy(update={"architecture_options": options, "training": training.model_copy(update=unsaid)})


def network_options(data: Data, preprocessing: Preprocessing) -> dict[str, Any]:
    """What the data decide of the network: its form, its vocabularies and how many classes it has."""
    vocabulary, target = preprocessing.vocabulary, preprocessing.target_vocabulary
    assert vocabulary is not None
    options: dict[str, Any] = {"form": _FORMS[data.task], "vocabulary": len(vocabulary), "classes": len(data.labels)}
    if data.task == "language_model":
        options["classes"] = len(vocabulary)
        options["form"] = "one_to_many" if vocabulary.marked else "many_to_many"
    elif target is not None:
        options |= {"target_vocabulary": len(target), "classes": len(target)}
    return options


def wanted_shape(options: Mapping[str, Any]) -> tuple[int | None, ...]:
    """What a network with these options gives for one example."""
    return (options["classes"],) if options["form"] == "many_to_one" else (None, options["classes"])


def signature_of(data: Data, preprocessing: Preprocessing, model: keras.Model) -> Signature:
    """What goes into a network that reads texts, and what comes out."""
    if data.task == "classification":
        return classification(data.labels, preprocessing)
    if data.task == "tagging":
        return tagging(data.labels, preprocessing)
    states = state_sizes(model)
    make = language_model if data.task == "language_model" else sequence_to_sequence
    return make(preprocessing, states)
