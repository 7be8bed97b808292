"""From the words of a recipe to what ``model.compile`` takes."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dlapp.architectures import ARCHITECTURES, builder
from dlapp.architectures.heads import gives_logits
from dlapp.architectures.transfer import frozen_layers, replace_head, take_backbone
from dlapp.errors import RecipeError, UnknownName
from dlapp.recipe import OPTIMIZERS, Recipe, Training
from dlapp.training.grid_loss import BoxOverlap, GridLoss
from dlapp.training.precision import LossScaling, computes_in_float16
from dlapp.training.schedules import learning_rate
from dlapp.training.sequences import wanted_shape
from dlapp.training.soft_targets import RoundedBinaryAccuracy

_OPTIMIZERS: dict[str, type[keras.optimizers.Optimizer]] = {
    "gradient_descent": keras.optimizers.SGD,
    "momentum": keras.optimizers.SGD,
    "nesterov": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}
# Below this size Python's share of a step shows; above it, 16 steps would be too long between two
# looks at the loss.
_SMALL_MODEL = 1_000_000
_STEPS_PER_EXECUTION = 16
# What XLA gains in as many steps of a recurrent layer, a fourth of their time, is what its compiler takes.
_WORTH_COMPILING = 500


def build(
    recipe: Recipe, input_shape: tuple[int | None, ...], classes: int, *, base: keras.Model | None = None
) -> keras.Model:
    """The network of a recipe, uncompiled.

    Args:
        recipe: names the architecture and its options.
        input_shape: of one example.
        classes: how many there are; 0 for a regression.
        base: a trained network whose layers become those of a detector's backbone, frozen.

    Raises:
        RecipeError: the builder has no such option, or refuses its value.
        UnknownName: there is no such architecture, or it has no such option.
    """
    builder(recipe.architecture)  # an unknown name is told with its nearest
    task = ARCHITECTURES[recipe.architecture].task
    options: dict[str, Any] = {"classes": classes or 1}
    if not classes:
        options["classifier_activation"] = None
    try:
        model = _make(recipe, input_shape, options)
    except (ValueError, TypeError) as error:
        message = f"{recipe.architecture} cannot be built on {input_shape}: {error}"
        if not classes and task is None:
            message += " The target is a number; linear_unit, shallow_network and deep_network predict one."
        raise RecipeError(message) from error
    if base is not None:
        try:
            take_backbone(model, base)
        except ValueError as error:
            raise RecipeError(f"{recipe.architecture} cannot be built on {base.name}: {error}") from error
        _check_unfreeze(recipe, model, base.name)
    if task is not None:
        return model
    output_shape = model.outputs[0].shape[1:]
    if output_shape not in ((classes or 1,), (1,) if classes == 2 else ()):
        wanted = f"{classes} classes" if classes else "one number to predict"
        raise RecipeError(
            f"the data have {wanted}; {recipe.architecture} gives {output_shape}. "
            "Remove classes and include_top from architecture_options."
        )
    if classes:
        gives_logits(model)  # refuses other activations
    return model


def build_for_texts(recipe: Recipe, options: Mapping[str, Any]) -> keras.Model:
    """The network of a recipe that reads tokens, uncompiled.

    Args:
        recipe: names the architecture and its options.
        options: what the data decide of it.

    Raises:
        RecipeError: the builder refuses an option, or the network gives something else than the data ask for.
        UnknownName: there is no such option.
    """
    try:
        model = _make(recipe, (None,), options)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{recipe.architecture} cannot be built for {recipe.data}: {error}") from error
    wanted, given = wanted_shape(options), model.outputs[0].shape[1:]
    if given != wanted or recipe.architecture_options.get("form", options["form"]) != options["form"]:
        raise RecipeError(
            f"{recipe.data} needs answers of {wanted} in the form {options['form']}; {recipe.architecture} gives "
            f"{given}. Remove form, classes and include_top from architecture_options."
        )
    gives_logits(model)  # refuses other activations
    return model


def _make(recipe: Recipe, input_shape: tuple[int | None, ...], options: Mapping[str, Any]) -> keras.Model:
    """The network of a recipe; of ``options``, which its own go before, those that the builder knows.

    Raises:
        ValueError, TypeError: the builder refuses an option.
    """
    make = builder(recipe.architecture)
    known = inspect.signature(make).parameters
    options = {name: value for name, value in options.items() if name in known} | recipe.architecture_options
    for name in options:
        if name not in known or name == "input_shape":
            raise UnknownName(f"option of {recipe.architecture}", name, known.keys() - {"input_shape"})
    training = recipe.training
    if training.l1 or training.l2:
        options["kernel_regularizer"] = _regularizer(training)
    if training.dropout or ("dropout" in known and "dropout" in training.model_fields_set - options.keys()):
        if "dropout" not in known:
            raise RecipeError(f"{recipe.architecture} has no dropout: remove training.dropout from the recipe.")
        options["dropout"] = training.dropout
    return make(input_shape, **options)


def rebuild(recipe: Recipe, base: keras.Model, classes: int) -> keras.Model:
    """A trained network with a new last layer, everything before it frozen; uncompiled.

    Args:
        recipe: its training says how the new layer is regularized.
        base: the trained network.
        classes: how many there are; 0 for a regression.

    Raises:
        RecipeError: the network cannot get such a layer.
    """
    training = recipe.training
    if not isinstance(training.dropout, float | int):
        raise RecipeError("a transfer has one layer to drop before: training.dropout must be one number.")
    try:
        model = replace_head(
            base,
            classes or 1,
            classifier_activation="softmax" if classes else None,
            kernel_regularizer=_regularizer(training),
            dropout=training.dropout,
        )
    except ValueError as error:
        raise RecipeError(f"{base.name} cannot get a new last layer: {error}") from error
    _check_unfreeze(recipe, model, base.name)
    return model


def _check_unfreeze(recipe: Recipe, model: keras.Model, name: str) -> None:
    """Refuses to fine-tune more layers than there are."""
    count = recipe.transfer.unfreeze if recipe.transfer is not None else 0
    possible = len(frozen_layers(model))
    if count and not possible:
        raise RecipeError(
            f"transfer.unfreeze must be 0: {name} has no layer before its last that could be trained too; got "
            f"{count!r}."
        )
    if count != "all" and count > possible:
        raise RecipeError(
            f'transfer.unfreeze must be at most {possible}, the layers of {name} that can be trained, or "all"; '
            f"got {count}."
        )


def _regularizer(training: Training) -> keras.Regularizer | None:
    return keras.regularizers.L1L2(training.l1, training.l2) if training.l1 or training.l2 else None


def compile_for(
    model: keras.Model,
    training: Training,
    *,
    task: str,
    steps_per_epoch: int,
    one_length: bool = False,
    soft: bool = False,
    grid_loss: GridLoss | None = None,
) -> None:
    """Compiles with the loss and metric of the task and the optimizer and schedule of the recipe.

    Args:
        model: a network.
        training: of the recipe.
        task: of the data.
        steps_per_epoch: of the run.
        one_length: whether all sequences have the same number of steps, where the network takes any.
        soft: whether targets are shares of each class instead of classes.
        grid_loss: of a detector.
    """
    loss, metric = loss_and_metric(model, task, soft=soft, grid_loss=grid_loss)
    model.compile(
        optimizer=optimizer_for(model, training, learning_rate(training, steps_per_epoch=steps_per_epoch)),
        loss=loss,
        metrics=[metric],
        steps_per_execution=_STEPS_PER_EXECUTION if model.count_params() < _SMALL_MODEL else 1,
        jit_compile=_jit_compile(model, training.epochs * steps_per_epoch, one_length),
    )


def _jit_compile(model: keras.Model, steps: int, one_length: bool) -> bool | str:
    """Whether XLA compiles the steps, which it does again for each shape of a batch."""
    if None not in model.inputs[0].shape[1:]:
        return "auto"
    if tf.config.list_physical_devices("GPU"):  # which has kernels of its own for recurrent layers
        return False
    return one_length and steps >= _WORTH_COMPILING


def loss_and_metric(
    model: keras.Model, task: str, *, soft: bool = False, grid_loss: GridLoss | None = None
) -> tuple[keras.losses.Loss, keras.metrics.Metric]:
    """Cross-entropy and accuracy of a classifier; mean squared error and R2 of a regression; of a detector its own."""
    if grid_loss is not None:
        return grid_loss, BoxOverlap(*grid_loss.cells)
    if task == "regression":
        return keras.losses.MeanSquaredError(), keras.metrics.R2Score(name="r2")
    logits = gives_logits(model)
    if model.outputs[0].shape[-1] == 1:
        kind = RoundedBinaryAccuracy if soft else keras.metrics.BinaryAccuracy
        accuracy = kind("accuracy", threshold=0.0 if logits else 0.5)
        return keras.losses.BinaryCrossentropy(from_logits=logits), accuracy
    if soft:
        return keras.losses.CategoricalCrossentropy(from_logits=logits), keras.metrics.CategoricalAccuracy("accuracy")
    return (
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        keras.metrics.SparseCategoricalAccuracy("accuracy"),
    )


def optimizer_for(
    model: keras.Model, training: Training, rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """The optimizer of the recipe; where layers compute in float16, one that scales the loss."""
    plain = optimizer(training, rate)
    return LossScaling(plain) if computes_in_float16(model) else plain


def optimizer(
    training: Training, rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Keras's optimizer of that name, with the parameters and the clipping of the recipe."""
    resolved = training.resolved()
    options: dict[str, Any] = {name: getattr(resolved, name) for name in OPTIMIZERS[training.optimizer]}
    if training.optimizer == "nesterov":
        options["nesterov"] = True
    return _OPTIMIZERS[training.optimizer](
        rate, global_clipnorm=training.clip_norm, clipvalue=training.clip_value, **options
    )
