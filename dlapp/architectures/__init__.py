"""Builders: functions that return an uncompiled functional ``keras.Model``.

The table below knows every builder without importing Keras, so that ``dlapp list`` answers at once;
``dlapp.architectures.lenet5`` imports the family's file when it is first used.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from dlapp.errors import UnknownName

if TYPE_CHECKING:
    from dlapp.architectures.alex_net import alexnet as alexnet
    from dlapp.architectures.applications import imagenet_labels as imagenet_labels
    from dlapp.architectures.applications import pretrained as pretrained
    from dlapp.architectures.darknet import darknet19 as darknet19
    from dlapp.architectures.dense import deep_network as deep_network
    from dlapp.architectures.dense import linear_unit as linear_unit
    from dlapp.architectures.dense import shallow_network as shallow_network
    from dlapp.architectures.detectors import localizer as localizer
    from dlapp.architectures.detectors import yolo_grid as yolo_grid
    from dlapp.architectures.inception import inception_v1 as inception_v1
    from dlapp.architectures.lenet import lenet5 as lenet5
    from dlapp.architectures.linear import logistic_unit as logistic_unit
    from dlapp.architectures.linear import softmax_regression as softmax_regression
    from dlapp.architectures.recurrent_networks import recurrent as recurrent
    from dlapp.architectures.resnet import resnet18 as resnet18
    from dlapp.architectures.resnet import resnet20 as resnet20
    from dlapp.architectures.resnet import resnet32 as resnet32
    from dlapp.architectures.resnet import resnet34 as resnet34
    from dlapp.architectures.resnet import resnet44 as resnet44
    from dlapp.architectures.resnet import resnet50 as resnet50
    from dlapp.architectures.resnet import resnet56 as resnet56
    from dlapp.architectures.resnet import resnet101 as resnet101
    from dlapp.architectures.resnet import resnet110 as resnet110
    from dlapp.architectures.resnet import resnet152 as resnet152
    from dlapp.architectures.sliding import fully_convolutional as fully_convolutional
    from dlapp.architectures.transfer import replace_head as replace_head
    from dlapp.architectures.transfer import unfreeze as unfreeze
    from dlapp.architectures.vgg import vgg11 as vgg11
    from dlapp.architectures.vgg import vgg13 as vgg13
    from dlapp.architectures.vgg import vgg16 as vgg16
    from dlapp.architectures.vgg import vgg19 as vgg19


class Architecture(NamedTuple):
    """A builder as the table has it.

    Attributes:
        family: the file it stands in.
        what: the first line of its docstring.
        source: authors and year.
        size: height and width that it was made for; None if it was made for none.
        learning_rate: of Adam, where a recipe has none and the usual one is too high: deep networks without
            normalization stop learning in their first steps.
        task: what it is for, where that is not classification or regression: ``localization`` or ``detection``.
        own: keys of a recipe, and what they are where it says nothing of them.
    """

    family: str
    what: str
    source: str
    size: tuple[int, int] | None
    learning_rate: float | None = None
    task: str | None = None
    own: Mapping[str, Any] = MappingProxyType({})


# moved, scaled and mirrored pictures, as the YOLO papers train: boxes of few pictures are learned by heart
_DETECTS: Mapping[str, Any] = MappingProxyType(
    {
        "training.batch_size": 16,
        "preprocessing.augment": MappingProxyType({"flip": "horizontal", "shift": 0.1, "zoom": 0.1}),
    }
)
ARCHITECTURES: dict[str, Architecture] = {
    "linear_unit": Architecture("dense", "One neuron for a number.", "Rosenblatt 1958", None),
    "logistic_unit": Architecture(
        "linear", "One sigmoid unit on a flattened picture or a row of features.", "Cox 1958", None
    ),
    "softmax_regression": Architecture(
        "linear", "One softmax layer on a flattened picture or a row of features.", "Cox 1966", None
    ),
    "shallow_network": Architecture("dense", "One hidden layer, tanh by default.", "Rumelhart et al. 1986", None),
    "deep_network": Architecture(
        "dense", "Any list of hidden layers on a flattened picture or a row of features.", "Rumelhart et al. 1986", None
    ),
    "lenet5": Architecture(
        "lenet", "Two convolutions and two hidden layers, made to read digits.", "LeCun et al. 1998", (32, 32)
    ),
    "alexnet": Architecture(
        "alex_net",  # a file of the builder's name would hide it
        "Five convolutions and two hidden layers, which won ImageNet in 2012.",
        "Krizhevsky et al. 2012",
        (227, 227),
        1e-4,
    ),
    "vgg11": Architecture(
        "vgg",
        "Eight convolutions of 3 x 3 in five blocks, and three dense layers (configuration A).",
        "Simonyan and Zisserman 2014",
        (224, 224),
        1e-4,
    ),
    "vgg13": Architecture(
        "vgg",
        "Ten convolutions of 3 x 3 in five blocks, and three dense layers (configuration B).",
        "Simonyan and Zisserman 2014",
        (224, 224),
        1e-4,
    ),
    "vgg16": Architecture(
        "vgg",
        "Thirteen convolutions of 3 x 3 in five blocks, and three dense layers (configuration D).",
        "Simonyan and Zisserman 2014",
        (224, 224),
        1e-4,
    ),
    "vgg19": Architecture(
        "vgg",
        "Sixteen convolutions of 3 x 3 in five blocks, and three dense layers (configuration E).",
        "Simonyan and Zisserman 2014",
        (224, 224),
        1e-4,
    ),
    "resnet18": Architecture(
        "resnet", "18 layers with shortcuts, in blocks of two convolutions.", "He et al. 2015", (224, 224)
    ),
    "resnet34": Architecture(
        "resnet", "34 layers with shortcuts, in blocks of two convolutions.", "He et al. 2015", (224, 224)
    ),
    "resnet50": Architecture(
        "resnet", "50 layers with shortcuts, in bottlenecks of three convolutions.", "He et al. 2015", (224, 224)
    ),
    "resnet101": Architecture(
        "resnet", "101 layers with shortcuts, in bottlenecks of three convolutions.", "He et al. 2015", (224, 224)
    ),
    "resnet152": Architecture(
        "resnet", "152 layers with shortcuts, in bottlenecks of three convolutions.", "He et al. 2015", (224, 224)
    ),
    "resnet20": Architecture(
        "resnet", "20 layers with shortcuts, for pictures of 32 x 32.", "He et al. 2015", (32, 32)
    ),
    "resnet32": Architecture(
        "resnet", "32 layers with shortcuts, for pictures of 32 x 32.", "He et al. 2015", (32, 32)
    ),
    "resnet44": Architecture(
        "resnet", "44 layers with shortcuts, for pictures of 32 x 32.", "He et al. 2015", (32, 32)
    ),
    "resnet56": Architecture(
        "resnet", "56 layers with shortcuts, for pictures of 32 x 32.", "He et al. 2015", (32, 32)
    ),
    "resnet110": Architecture(
        "resnet", "110 layers with shortcuts, for pictures of 32 x 32.", "He et al. 2015", (32, 32)
    ),
    "inception_v1": Architecture(
        "inception",
        "Nine modules of four branches each, which won ImageNet in 2014.",
        "Szegedy et al. 2014",
        (224, 224),
        3e-4,
    ),
    "darknet19": Architecture(
        "darknet",
        "Nineteen convolutions of 3 x 3 and 1 x 1, which YOLO9000 is built on.",
        "Redmon and Farhadi 2016",
        (224, 224),
    ),
    "localizer": Architecture(
        "detectors",
        "Is there an object, which, and where: one box for the whole picture.",
        "Sermanet et al. 2013",
        None,
        task="localization",
        own=_DETECTS,
    ),
    "yolo_grid": Architecture(
        "detectors",
        "The objects of every cell of a grid, in one pass over the picture.",
        "Redmon et al. 2015, 2016",
        None,
        task="detection",
        own=_DETECTS,
    ),
    "recurrent": Architecture(
        "recurrent_networks",
        "A network that keeps a state from step to step of a sequence.",
        "Elman 1990, Hochreiter and Schmidhuber 1997, Cho et al. 2014",
        None,
        # gradients that explode are rare, and ruin a run: Pascanu, Mikolov and Bengio (2013)
        own=MappingProxyType({"training.clip_norm": 1.0}),
    ),
}

# functions that give or change a trained model: the file that each stands in, never of the same name, since the
# import of the file would take the function's place
_FUNCTIONS = {
    "fully_convolutional": "sliding",
    "imagenet_labels": "applications",
    "pretrained": "applications",
    "replace_head": "transfer",
    "unfreeze": "transfer",
}


def builder(name: str) -> Callable[..., Any]:
    """The builder of that name.

    Raises:
        UnknownName: there is none; the nearest names are suggested.
    """
    if name not in ARCHITECTURES:
        raise UnknownName("architecture", name, ARCHITECTURES)
    return getattr(importlib.import_module(f"{__name__}.{ARCHITECTURES[name].family}"), name)


def __getattr__(name: str) -> Callable[..., Any]:
    if name in ARCHITECTURES:
        return builder(name)
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
