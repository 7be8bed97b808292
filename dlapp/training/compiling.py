"""From the words of a recipe to what ``model.compile`` takes."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from dlapp.architectures import builder
from dlapp.architectures.heads import gives_logits
from dlapp.errors import RecipeError, UnknownName
from dlapp.recipe import Recipe, Training

_OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "gradient_descent": keras.optimizers.SGD,
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}
# Below this size Python's share of a step shows; above it, 16 steps would be too long between two
# looks at the loss.
_SMALL_MODEL = 1_000_000
_STEPS_PER_EXECUTION = 16


def build(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """The network of a recipe, uncompiled.

    Raises:
        RecipeError: the builder has no such option, or refuses its value.
        UnknownName: there is no such architecture, or it has no such option.
    """
    make = builder(recipe.architecture)
    known = inspect.signature(make).parameters
    options: dict[str, Any] = {"classes": classes, **recipe.architecture_options}
    for name in options:
        if name not in known or name == "input_shape":
            raise UnknownName(f"option of {recipe.architecture}", name, known.keys() - {"input_shape"})
    if recipe.training.l2:
        options["kernel_regularizer"] = keras.regularizers.L2(recipe.training.l2)
    if recipe.training.dropout:
        if "dropout" not in known:
            raise RecipeError(f"{recipe.architecture} has no dropout: remove training.dropout from the recipe.")
        options["dropout"] = recipe.training.dropout
    try:
        model = make(input_shape, **options)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{recipe.architecture} cannot be built on {input_shape}: {error}") from error
    if model.output_shape[1:] not in ((classes,), (1,) if classes == 2 else ()):
        raise RecipeError(
            f"the data have {classes} classes; {recipe.architecture} gives {model.output_shape[1:]}. "
            "Remove classes and include_top from architecture_options."
        )
    gives_logits(model)  # refuses other activations
    return model


def compile_classifier(model: keras.Model, training: Training, *, steps_per_epoch: int) -> None:
    """Compiles with cross-entropy, accuracy and the optimizer and schedule of the recipe."""
    logits = gives_logits(model)
    if model.output_shape[-1] == 1:
        loss: keras.losses.Loss = keras.losses.BinaryCrossentropy(from_logits=logits)
        accuracy: keras.metrics.Metric = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0 if logits else 0.5)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
        accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")
    model.compile(
        optimizer=_OPTIMIZERS[training.optimizer](learning_rate(training, steps_per_epoch=steps_per_epoch)),
        loss=loss,
        metrics=[accuracy],
        steps_per_execution=_STEPS_PER_EXECUTION if model.count_params() < _SMALL_MODEL else 1,
    )


def learning_rate(
    training: Training, *, steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate as Keras takes it."""
    if training.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(training.learning_rate, training.epochs * steps_per_epoch)
    return training.learning_rate
