"""What a detector asks of a recipe and its data: boxes to learn, and a grid that they fit into."""

import keras
import tensorflow as tf

from dlapp import signature as signatures
from dlapp.architectures import ARCHITECTURES
from dlapp.data import Data
from dlapp.data.grid import count_lost, encode, find_anchors, pad, resized
from dlapp.errors import RecipeError
from dlapp.recipe import Detection, Recipe


def check_task(recipe: Recipe, data: Data) -> None:
    """Refuses networks that find boxes on data without, the other way round, and options that are of the other kind."""
    detects = ARCHITECTURES[recipe.architecture].task is not None
    if detects and data.task != "detection":
        raise RecipeError(
            f"{recipe.architecture} learns boxes; {recipe.data} has none. Name a source with boxes (shapes, voc:DIR, "
            "yolo:DIR, coco:FILE.json, `dlapp list sources`)."
        )
    if not detects and data.task == "detection":
        raise RecipeError(
            f"{recipe.data} has boxes; {recipe.architecture} gives one answer for a picture. Train yolo_grid, or "
            "localizer for one object a picture."
        )
    if not detects:
        if recipe.detection != Detection():
            raise RecipeError(f"{recipe.architecture} finds no boxes: remove the table detection from the recipe.")
        return
    augment, training = recipe.preprocessing.augment, recipe.training
    refused = {
        "preprocessing.augment.rotate": augment.rotate and "Keras does not turn boxes right",
        "preprocessing.augment.rand_augment": augment.rand_augment and "it turns and shears, and boxes would stay",
        "preprocessing.augment.mixup": augment.mixup and "it mixes classes, and there is one for each box",
        "preprocessing.augment.cutmix": augment.cutmix and "it mixes classes, and there is one for each box",
        "training.label_smoothing": training.label_smoothing and "it is for one class a picture",
        "training.class_weights": training.class_weights and "they are for one class a picture",
    }
    for key, why in refused.items():
        if why:
            raise RecipeError(f"{recipe.architecture} takes no {key}: {why}. Remove it.")


def detection_of(
    recipe: Recipe, model: keras.Model, data: Data, preprocessing: signatures.Preprocessing
) -> tuple[signatures.Detection, tuple[str, ...]]:
    """The grid of a detector with its anchors, and what a person should know of how objects fit into it.

    Raises:
        RecipeError: there are other anchors than boxes of a cell, or too few objects to find any.
    """
    wanted = recipe.detection
    train = data.train.boxes
    assert train is not None
    objects = resized(train.wanted, data.train.picture_sizes, preprocessing)
    if not len(objects.corners):
        raise RecipeError(f"train of {recipe.data} has no object to learn: label some.")
    size = preprocessing.size
    assert size is not None
    notes: tuple[str, ...] = ()
    shape = model.output_shape[1:]
    grid = (shape[0], shape[1]) if len(shape) == 3 else (1, 1)
    boxes = shape[-1] // (5 + len(data.labels))
    anchors = wanted.anchors or ()
    if wanted.anchors is None and boxes > 1:
        sizes = (objects.corners[:, 2:] - objects.corners[:, :2]) / size
        try:
            anchors, fit = find_anchors(sizes, boxes, seed=recipe.training.seed)
        except ValueError as error:
            raise RecipeError(f"{recipe.data} cannot be learned with {boxes} boxes a cell: {error}") from error
        notes += (f"{boxes} anchors fit the objects of train with a mean intersection over union of {fit:.2f}.",)
    if len(anchors) not in ((boxes,) if boxes > 1 else (0, 1)):
        raise RecipeError(
            f"detection.anchors must be {boxes}, one for each of architecture_options.boxes; got {len(anchors)}."
        )
    localizes = ARCHITECTURES[recipe.architecture].task == "localization"
    detection = signatures.Detection(
        grid=grid,
        anchors=anchors,
        min_score=wanted.min_score,
        max_overlap=wanted.max_overlap,
        most=1 if localizes else wanted.most,
    )
    corners, classes = pad(objects)
    labels = encode(tf.constant(corners), tf.constant(classes), size=size, detection=detection, count=len(data.labels))
    lost = count_lost(objects, labels)
    if lost:
        told = (
            f"{lost:,} of {len(objects.corners):,} objects of train are lost to training: their cell of the "
            f"{grid[0]} x {grid[1]} grid has no box left for them. More boxes a cell or a finer grid keep them."
        )
        notes = (*notes, told)
    return detection, notes
