"""``dlapp gradient-check``: is what backpropagation gives the derivative of the cost?"""

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import keras
    import numpy as np

    from dlapp.training.gradient_checking import LayerGradient
    from dlapp.training.model_folder import ModelFolder

_EXAMPLES = 8
_CHANGEABLE = ("training.l1", "training.l2", "training.dropout")
_REMARKS = {
    "no gradient": "dead, unused, taken away by a batch normalization, or too small for differences to see",
    "kinks only": "not checked, the cost has a kink beside every entry; try another --seed or a smaller --input",
    "look at it": "the two are further apart than rounding explains",
    "wrong": "what backpropagation gives is not the derivative of the cost",
}


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ARCHITECTURE|MODEL", help="A name from `dlapp list architectures`; or a folder below models/."
        ),
    ],
    input_shape: Annotated[
        str | None, typer.Option("--input", metavar="H,W,C", help="Shape of one input, e.g. 32,32,1.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes; 1 is a number to predict.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="An option of the architecture, activation=relu; or training.l1, training.l2, training.dropout.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Entries of each tensor.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, inputs, targets and of which entries.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compares every gradient with two-sided differences in float64; exit status 1 if one is wrong."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    import dataclasses

    import keras
    from rich.console import Console
    from rich.progress import track

    from dlapp.architectures import ARCHITECTURES
    from dlapp.errors import DlappError, RecipeError
    from dlapp.training.compiling import loss_and_metric
    from dlapp.training.gradient_checking import check_gradients

    keras.utils.set_random_seed(seed)
    if what in ARCHITECTURES:
        model, task = _build(what, input_shape, classes, settings or [])
        inputs, name = _draw(model, seed), what
        following = f"dlapp train {what} --data {_fitting_data(model, task)}"
    else:
        folder = _find(what)
        if input_shape is not None or classes is not None or settings:
            raise RecipeError(
                f"--input, --classes and --set are for an architecture; {what} is a model. Leave them out."
            )
        model, task, inputs = _read(folder)
        name, following = str(folder.path), f"dlapp evaluate {shlex.quote(folder.path.name)}"
    loss, _ = loss_and_metric(model, task)
    console = Console(stderr=True)

    def bar(places: Sequence[int]) -> Iterable[int]:
        return track(places, "tensors", console=console, transient=True, disable=not console.is_terminal)

    try:
        found = check_gradients(
            model, inputs, _targets(model, task, len(inputs), seed), loss, samples=samples, seed=seed, track=bar
        )
    except ValueError as error:
        raise DlappError(f"{name} cannot be checked: {error}") from error
    wrong = [tensor.name for tensor in found if tensor.verdict == "wrong"]
    if as_json:
        print_json(
            {
                "checked": name,
                "loss": loss.name,
                "examples": len(inputs),
                "correct": not wrong,
                "tensors": [dataclasses.asdict(tensor) for tensor in found],
            }
        )
    else:
        _print_table(f"{name}: {loss.name} of {len(inputs)} examples", found)
        print(_sum_up(found))
        print(f"Next: {f'look at how {_layer(wrong[-1])} computes its gradient' if wrong else following}")
    if wrong:
        raise typer.Exit(1)


def _build(
    architecture: str, input_shape: str | None, classes: int | None, settings: list[str]
) -> "tuple[keras.Model, str]":
    """The network with those options, and its task."""
    import inspect

    from dlapp.architectures import ARCHITECTURES, builder
    from dlapp.cli.console import parse_shape
    from dlapp.errors import RecipeError
    from dlapp.recipe import Recipe, parse_setting, with_changes
    from dlapp.training.compiling import build

    changes: dict[str, Any] = {}
    for key, value in map(parse_setting, settings):
        dotted = key if "." in key else f"architecture_options.{key}"
        if not dotted.startswith("architecture_options.") and dotted not in _CHANGEABLE:
            raise RecipeError(f"{key} changes no gradient; --set takes {', '.join(_CHANGEABLE)} and activation=relu.")
        changes[dotted] = value
    _check_task(architecture, finds_boxes=ARCHITECTURES[architecture].task is not None)
    values = with_changes({"architecture": architecture, "data": "random"}, changes)
    defaults = inspect.signature(builder(architecture)).parameters
    shape = defaults["input_shape"].default if input_shape is None else parse_shape(input_shape)
    count = defaults["classes"].default if classes is None else classes
    number = count == 1
    model = build(Recipe.from_values(values, where="the options"), tuple(shape), 0 if number else count)
    return model, "regression" if number else "classification"


def _fitting_data(model: "keras.Model", task: str) -> str:
    """A source that a network of that kind can be trained on."""
    if task == "regression":
        return "diabetes"
    return "breast_cancer" if model.outputs[0].shape[-1] == 1 else "digits"


def _find(what: str) -> "ModelFolder":
    """The folder of a model; where there is none, architectures are suggested as well."""
    from dlapp.architectures import ARCHITECTURES
    from dlapp.errors import UnknownName
    from dlapp.training.model_folder import ROOT, ModelFolder

    try:
        return ModelFolder.find(what)
    except UnknownName as error:
        models = (found.parent.name for found in ROOT.glob("*/recipe.toml"))
        raise UnknownName("architecture or model", what, [*ARCHITECTURES, *models]) from error


def _read(folder: "ModelFolder") -> "tuple[keras.Model, str, np.ndarray]":
    """The network of a model, its task, and some of its examples, preprocessed."""
    import tensorflow as tf

    from dlapp.data.preprocessing import preprocess

    signature = folder.read_signature()
    _check_task(str(folder.path), finds_boxes=signature.detection is not None)
    samples = preprocess(tf.constant(folder.read_samples()), signature.preprocessing)
    return folder.load_model(), signature.task, samples.numpy()


def _check_task(name: str, *, finds_boxes: bool) -> None:
    from dlapp.errors import DlappError

    if finds_boxes:
        raise DlappError(
            f"{name} finds boxes, whose loss is computed in float32, too coarse for finite differences. Check the "
            "gradients of its backbone."
        )


def _draw(model: "keras.Model", seed: int) -> "np.ndarray":
    """Random inputs of a network."""
    import numpy as np

    return np.random.default_rng(seed).normal(size=(_EXAMPLES, *model.input_shape[1:]))


def _targets(model: "keras.Model", task: str, examples: int, seed: int) -> "np.ndarray":
    """Random targets; a gradient is the derivative whatever they are."""
    import numpy as np

    chance = np.random.default_rng(seed + 1)
    if task == "regression":
        return chance.normal(size=(examples, 1))
    return chance.integers(0, max(model.outputs[0].shape[-1], 2), size=(examples, 1))


def _print_table(title: str, found: "list[LayerGradient]") -> None:
    import rich
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=SIMPLE)
    table.add_column("weights", no_wrap=True)
    for column in ("shape", "checked", "kinks", "error"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict")
    for tensor in found:
        table.add_row(
            escape(tensor.name),
            " x ".join(map(str, tensor.shape)) or "1",
            str(tensor.checked),
            str(tensor.kinks or ""),
            "-" if tensor.relative_error is None else f"{tensor.relative_error:.1e}",
            tensor.verdict,
        )
    rich.print(table)


def _sum_up(found: "list[LayerGradient]") -> str:
    """One line for each thing that there is to say."""
    lines = []
    worst = found[-1]
    if worst.relative_error is not None:
        lines.append(
            f"worst: {worst.name}, {worst.relative_error:.1e} (about 1e-7 is correct, 1e-3 and above is wrong)"
        )
    kinks = sum(tensor.kinks for tensor in found)
    if kinks:
        entries = kinks + sum(tensor.checked for tensor in found)
        lines.append(f"{kinks} of {entries} entries left out: the cost has a kink there (ReLU, max pooling)")
    for verdict, remark in _REMARKS.items():
        names = [tensor.name for tensor in found if tensor.verdict == verdict]
        if names:
            lines.append(f"{verdict}: {', '.join(names)}: {remark}")
    return "\n".join(lines)


def _layer(tensor: str) -> str:
    return tensor.rpartition("/")[0]
