"""The trained network that a transfer starts from, with the preprocessing that it was trained with."""

from typing import NamedTuple

import keras

from dlapp.architectures import ARCHITECTURES
from dlapp.architectures.applications import IMAGENET_SIZE, pretrained
from dlapp.errors import RecipeError, UnknownName
from dlapp.recipe import Recipe
from dlapp.signature import Preprocessing
from dlapp.training.model_folder import ModelFolder

_IMAGENET = "imagenet:"


class BaseNetwork(NamedTuple):
    """A trained network.

    Attributes:
        name: as ``transfer.model`` has it.
        architecture: the name of its builder.
        model: with its trained weights.
        preprocessing: what it was trained with, and is therefore given again.
        backbone: of a detector, what its features are made by; empty for all others.
    """

    name: str
    architecture: str
    model: keras.Model
    preprocessing: Preprocessing
    backbone: str = ""


def architecture_of(model: str) -> str:
    """The architecture of what ``transfer.model`` names.

    Raises:
        UnknownName: there is no such model, or no such architecture.
    """
    if model.startswith(_IMAGENET):
        architecture = model.removeprefix(_IMAGENET)
        if architecture not in ARCHITECTURES:
            raise UnknownName("architecture", architecture, ARCHITECTURES)
        return architecture
    return ModelFolder.find(model).read_recipe().architecture


def base_folder(recipe: Recipe) -> ModelFolder | None:
    """The folder of the model that a recipe starts from; None where it starts from none, or from ImageNet's weights.

    Raises:
        UnknownName: there is no such model.
    """
    if recipe.transfer is None or recipe.transfer.model.startswith(_IMAGENET):
        return None
    return ModelFolder.find(recipe.transfer.model)


def load_base(recipe: Recipe) -> BaseNetwork | None:
    """What a recipe starts from; None where it starts from random weights.

    The networks with ImageNet's weights have no top: their features are averaged over the picture, so that
    ``preprocessing.size`` may be another than theirs.

    Raises:
        RecipeError: the recipe says something else of the network than it is.
        UnknownName: there is no such model.
        DlappError: the run of the model is not finished, or weights could not be downloaded.
    """
    if recipe.transfer is None:
        return None
    name = recipe.transfer.model
    architecture = architecture_of(name)
    detects = ARCHITECTURES[recipe.architecture].task is not None
    if recipe.architecture != architecture and not detects:
        raise RecipeError(
            f"{name} is a {architecture}; the recipe says {recipe.architecture}. Write {architecture} there, or start "
            "from another."
        )
    if recipe.architecture_options and not detects:
        raise RecipeError(
            f"{name} is built already: remove architecture_options, or train a {architecture} without transfer."
        )
    folder = base_folder(recipe)
    if folder is not None:
        backbone = folder.read_recipe().architecture_options.get("backbone", "small")
        backbone = backbone if ARCHITECTURES[architecture].task is not None else ""
        return BaseNetwork(name, architecture, folder.load_model(), folder.read_signature().preprocessing, backbone)
    try:
        size = recipe.preprocessing.size or IMAGENET_SIZE
        model, preprocessing = pretrained(architecture, include_top=False, size=size)
    except ValueError as error:
        raise RecipeError(f"{name} cannot be a start: {error}") from error
    return BaseNetwork(name, architecture, model, preprocessing)


def with_backbone(recipe: Recipe, base: BaseNetwork) -> Recipe:
    """The recipe of a detector whose backbone is the network that it starts from.

    Raises:
        RecipeError: the recipe names another.
    """
    backbone = base.backbone or base.architecture
    options = recipe.architecture_options
    if options.get("backbone", backbone) != backbone:
        raise RecipeError(
            f"architecture_options.backbone must be {backbone}, as {base.name} is; got {options['backbone']}. Leave it "
            "out, or start from another."
        )
    channels = recipe.preprocessing.channels or base.preprocessing.channels
    return recipe.model_copy(
        update={
            "architecture_options": {**options, "backbone": backbone},
            "preprocessing": recipe.preprocessing.model_copy(
                update={"channels": channels, "scale": base.preprocessing.scale}
            ),
        }
    )
