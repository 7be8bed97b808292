"""Networks that say where: one object, or those of every cell of a grid.

Sermanet, P. et al. (2013), OverFeat: a regressor of one box. https://arxiv.org/abs/1312.6229
Redmon, J. et al. (2015), You only look once: a grid of cells. https://arxiv.org/abs/1506.02640
Redmon, J. and Farhadi, A. (2016), YOLO9000: convolutions instead of dense layers, several boxes with anchors.
https://arxiv.org/abs/1612.08242
The label of the course is (p, x, y, h, w, class 1..C): Ng, A. (2017), Convolutional neural networks, week 3.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dlapp.architectures import builder
from dlapp.architectures.darknet import convolution
from dlapp.architectures.inputs import feature_maps

_FEWEST, _MOST = 16, 256  # filters of our own small backbone, twice as many behind each pooling
_CELLS = 13  # a side, to which it pools at least: the grid of YOLO9000
_POSITIONS = 8  # a side, to which it pools for the localizer, whose dense layer has a weight for each
_RARE = 0.01  # share of boxes that hold an object before anything is learned: Lin et al. 2017, section 4.1
_HIDDEN = 256  # units of the localizer's hidden layer


def localizer(
    input_shape: Sequence[int | None] = (128, 128, 3),
    *,
    classes: int = 3,
    backbone: str = "small",
    kernel_regularizer: Any = None,
) -> keras.Model:
    """Is there an object, which, and where: one box for the whole picture.

    The feature maps of a backbone, flattened, and one hidden layer, which know the place; their maxima over all
    positions, which know the class wherever it is; and an output of 5 + C numbers.

    Args:
        input_shape: (height, width, channels) of pictures of one size.
        classes: at least 1.
        backbone: ``small`` (3 x 3 convolutions with 16 to 256 filters, a pooling between each two until no side has
            more than 8 positions), or any architecture of pictures.
        kernel_regularizer: of every kernel.

    Returns:
        A model from (batch, height, width, channels) to (batch, 5 + classes): logits of p, x and y, and of h and w,
        then one for each class. Sigmoids of x and y are the centre of the box and those of h and w its size, all
        as fractions of the picture; the softmax of the rest is the class.

    Raises:
        ValueError: the backbone has no feature maps, or an argument does not fit.
    """
    inputs, x = _features("localizer", input_shape, classes, backbone, kernel_regularizer, _POSITIONS)
    what = layers.GlobalMaxPooling2D(name="detector_pool")(x)
    x = layers.Flatten(name="detector_flatten")(x)
    x = layers.Dense(_HIDDEN, activation="relu", kernel_regularizer=kernel_regularizer, name="detector_dense")(x)
    x = layers.Concatenate(name="detector_concatenate")([x, what])
    x = layers.Dense(5 + classes, kernel_regularizer=kernel_regularizer, name="detector")(x)
    return keras.Model(inputs, x, name="localizer")


def yolo_grid(
    input_shape: Sequence[int | None] = (256, 256, 3),
    *,
    classes: int = 20,
    grid: int | None = None,
    boxes: int = 5,
    backbone: str = "small",
    kernel_regularizer: Any = None,
) -> keras.Model:
    """The objects of every cell of a grid, in one pass over the picture.

    The feature maps of a backbone, a 3 x 3 convolution with as many filters, and a 1 x 1 convolution that gives
    5 + C numbers for each box of each cell.

    Args:
        input_shape: (height, width, channels) of pictures of one size.
        classes: at least 1.
        grid: cells a side; as many as the feature maps have positions where it is None, or a divisor of that, to
            which the maps are pooled.
        boxes: of each cell; 1 is the course's network.
        backbone: ``small`` (3 x 3 convolutions with 16 to 256 filters, a pooling between each two until no side has
            more than 13 positions), or any architecture of pictures.
        kernel_regularizer: of every kernel.

    Returns:
        A model from (batch, height, width, channels) to (batch, rows, columns, boxes x (5 + classes)): for each box
        logits of p, x, y, h, w and of each class. Sigmoids of x and y are the centre within the cell. Where there
        is one box, sigmoids of h and w are its size as fractions of the picture; else h and w are logarithms of
        the size over that of the box's anchor. The softmax of the rest is the class.

    Raises:
        ValueError: the backbone has no feature maps, they do not divide into the grid, or an argument does not fit.

    Departures:
        YOLO9000 joins finer feature maps to the last ones (its passthrough layer) and has three 3 x 3 convolutions in
        front of the output, of 1,024 filters.
    """
    if boxes < 1:
        raise ValueError(f"boxes must be at least 1, those of each cell; got {boxes}.")
    inputs, x = _features("yolo_grid", input_shape, classes, backbone, kernel_regularizer, _CELLS)
    rows, columns, filters = x.shape[1:]
    if grid is not None:
        if grid < 1 or rows % grid or columns % grid:
            fitting = [cells for cells in range(1, min(rows, columns) + 1) if not (rows % cells or columns % cells)]
            raise ValueError(
                f"grid must divide the {rows} x {columns} feature maps that {backbone} gives for pictures of "
                f"{input_shape[0]} x {input_shape[1]}: {', '.join(map(str, fitting))}; got {grid}. Choose one of "
                "these, or resize the pictures (preprocessing.size)."
            )
        if (rows, columns) != (grid, grid):
            x = layers.MaxPooling2D((rows // grid, columns // grid), name="detector_pool")(x)
    x = convolution(x, filters, 3, name="detector_conv", kernel_regularizer=kernel_regularizer)
    outputs = layers.Conv2D(
        boxes * (5 + classes),
        1,
        kernel_regularizer=kernel_regularizer,
        # most boxes hold nothing: without this, learning that comes first and drowns the rest
        bias_initializer=keras.initializers.Constant(
            boxes * [math.log(_RARE / (1 - _RARE)), *(4 + classes) * [0.0]]  # pyright: ignore[reportArgumentType]
        ),
        name="detector",
    )(x)
    return keras.Model(inputs, outputs, name="yolo_grid")


def _features(
    network: str, shape: Sequence[int | None], classes: int, backbone: str, kernel_regularizer: Any, positions: int
) -> tuple[Any, Any]:
    """The input of a network, and the feature maps of its backbone, (batch, rows, columns, filters).

    The small backbone has no more than so many ``positions`` a side.
    """
    if classes < 1:
        raise ValueError(f"classes must be at least 1; got {classes}.")
    if backbone == "small":

        def small(x: Any) -> Any:
            poolings = math.ceil(math.log2(max(*x.shape[1:3], positions) / positions))
            for stage in range(poolings + 1):
                if stage:
                    x = layers.MaxPooling2D(2, name=f"stage{stage + 1}_pool")(x)
                filters = min(_FEWEST * 2**stage, _MOST)
                x = convolution(x, filters, 3, name=f"stage{stage + 1}_conv", kernel_regularizer=kernel_regularizer)
            return x

        return feature_maps(network, shape, small, any_size=False)
    make = builder(backbone)
    if len(shape) != 3 or None in shape:
        raise ValueError(f"{network} needs pictures of one size, (height, width, channels); got {tuple(shape)}.")
    top = {"include_top": False} if "include_top" in inspect.signature(make).parameters else {}
    model = make(shape, kernel_regularizer=kernel_regularizer, **top)
    if len(model.outputs[0].shape) != 4:
        fitting = "small, lenet5, alexnet, darknet19, inception_v1, or one of vgg and resnet"
        raise ValueError(f"backbone must be a network with feature maps ({fitting}); {backbone} has none.")
    return model.input, model.outputs[0]
