"""``dlapp train``: a recipe, or an architecture and a source -> a folder under ``models/``."""

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.recipe import Recipe
    from dlapp.training.model_folder import ModelFolder


def command(
    what: Annotated[
        str | None, typer.Argument(metavar="ARCHITECTURE|RECIPE.toml", help="A name from `dlapp list`, or a file.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="SOURCE", help="Where the data come from.")] = None,
    data_dir: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the set of tfds:NAME is prepared.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a source of texts, such as latin-1; utf-8 where left out.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training examples.")] = None,
    batch_size: Annotated[str | None, typer.Option(help="Examples a step, or all.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="gradient_descent, momentum, adam, ...")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the start.")] = None,
    from_model: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="Start from a trained model, or from imagenet:resnet50."),
    ] = None,
    unfreeze: Annotated[
        str | None, typer.Option(metavar="N|all", help="With --from: then fine-tune the last N layers, or all.")
    ] = None,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Compute in float16 (for GPUs); exports stay in float32.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of initial weights, order, dropout and augmentation.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the recipe: training.l2=1e-3.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the folder below models/.")] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with an interrupted run; --epochs may be raised, which stretches a cosine.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the model of that name.")] = False,
    find_learning_rate: Annotated[
        bool, typer.Option("--find-learning-rate", help="Only suggest a learning rate, by a range test.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Trains a network and writes models/NAME: weights, history, metrics and a report."""
    from dlapp.errors import RecipeError
    from dlapp.recipe import parse_setting

    if data_dir is not None:
        from dlapp.data.sources import with_data_dir

        if data is None:
            raise RecipeError("--data-dir goes with --data tfds:NAME.")
        data = with_data_dir(data, data_dir)
    if encoding is not None:
        from dlapp.data.sources import with_encoding

        if data is None:
            raise RecipeError("--encoding goes with --data text:FILE or another source of texts.")
        data = with_encoding(data, encoding)
    given = {
        "architecture": None if what is None or _is_recipe(what) else what,
        "data": data,
        "training.epochs": epochs,
        "training.batch_size": int(batch_size) if batch_size and batch_size.isdecimal() else batch_size,
        "training.optimizer": optimizer,
        "training.learning_rate": learning_rate,
        "training.mixed_precision": mixed_precision or None,
        "training.seed": seed,
        "transfer.model": from_model,
        "transfer.unfreeze": int(unfreeze) if unfreeze and unfreeze.isdecimal() else unfreeze,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    changes |= dict(parse_setting(setting) for setting in settings or ())
    if resume + overwrite + find_learning_rate > 1:
        raise RecipeError(
            "--resume goes on with a run, --overwrite replaces it, --find-learning-rate only looks: give one of them."
        )
    if unfreeze is not None and "transfer.model" not in changes and not (what is not None and _is_recipe(what)):
        raise RecipeError("--unfreeze says how much of a trained network learns too: name it with --from MODEL.")
    if find_learning_rate:
        recipe = _read_recipe(what, changes)
        _suggest_learning_rate(recipe, name or _default_name(what, recipe), as_json=as_json)
        return
    if resume:
        folder, recipe = _find_run(what, name, changes)
    else:
        recipe = _read_recipe(what, changes)
        folder = _new_folder(name, _default_name(what, recipe), overwrite=overwrite)
        _check_base_stays(recipe, folder)
    train_and_report(recipe, folder, overwrite=overwrite)
    from dlapp.cli.reports import tell_splits

    metrics = folder.read_metrics()
    if as_json:
        from dlapp.cli.console import print_json

        print_json({"model": str(folder.path), **metrics})
        return
    print(tell_splits(metrics))
    print(f"Wrote {folder.path}, report {folder.report}")
    model = shlex.quote(folder.path.name)
    print(f"Next: dlapp diagnose {model}, or dlapp export {model}")


def _suggest_learning_rate(recipe: "Recipe", name: str, *, as_json: bool) -> None:
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    import dataclasses

    from dlapp.files import below
    from dlapp.reporting import plots
    from dlapp.training.model_folder import ROOT
    from dlapp.training.preparing import prepare
    from dlapp.training.rate_finding import find_learning_rate

    path = below(ROOT, f"{name}-learning-rate.png")
    found = find_learning_rate(prepare(recipe))
    path.parent.mkdir(exist_ok=True)
    plots.write_rate_test(path, found.rates, found.losses, found.suggestion)
    if as_json:
        print_json({"plot": str(path), **dataclasses.asdict(found)})
        return
    print(f"Suggested learning rate for {recipe.architecture} with {recipe.training.optimizer}: {found.suggestion:g}")
    print(f"Wrote {path}")
    print(f"Next: the same command with --learning-rate {found.suggestion:g} instead of --find-learning-rate")


def train_and_report(recipe: "Recipe", folder: "ModelFolder", *, overwrite: bool = False) -> None:
    """Trains into ``folder``, from where it left off, and writes the report.

    Raises:
        typer.Exit: the run was interrupted; what it wrote can be resumed.
    """
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from rich.console import Console

    from dlapp.cli.reports import report
    from dlapp.errors import TrainingError
    from dlapp.files import moved_aside
    from dlapp.training.preparing import input_shape, prepare
    from dlapp.training.run import train

    console = Console(stderr=True, soft_wrap=True, markup=False)
    run = prepare(recipe)
    parts = ", ".join(f"{name} {len(part):,}" for name, part in run.data.splits().items())
    count = len(run.data.labels)
    what = f"examples of {count} class{'' if count == 1 else 'es'}" if count else f"examples of {run.data.target}"
    vocabulary = run.preprocessing.vocabulary
    if vocabulary is not None:
        told = f"{len(vocabulary) - vocabulary.reserved:,} different {vocabulary.unit}s"
        what = f"texts in {run.steps_per_epoch:,} steps" if not count else what.replace("examples", "texts")
    else:
        shape = input_shape(run.preprocessing)
        told = " x ".join(map(str, shape))
        if len(shape) == 1:
            told += " input" if shape == (1,) else " inputs"
    for note in (*run.data.notes, *run.notes):
        console.print(f"Note: {note}", highlight=False)
    console.print(
        f"{recipe.architecture} on {recipe.data}: {parts} {what}, {told}, {run.model.count_params():,} parameters",
        highlight=False,
    )
    again = f"dlapp train {shlex.quote(str(folder.recipe))} --resume"
    aside = moved_aside(folder.path, holds="recipe.toml") if overwrite else contextlib.nullcontext()
    try:
        with aside:
            answers = train(run, folder, console)
    except KeyboardInterrupt:
        console.print(f"\nInterrupted. Go on with: {again}", highlight=False)
        raise typer.Exit(130) from None
    except OSError as error:
        if overwrite:
            raise  # the model that was there is there again
        raise TrainingError(
            f"the run in {folder.path} could not be written: {error}. What it had saved is whole; "
            f"make room and go on with: {again}"
        ) from error
    report(folder, run.data, answers)


def _is_recipe(what: str) -> bool:
    return what.endswith(".toml") or Path(what).is_file()


def _read_recipe(what: str | None, changes: dict[str, Any]) -> "Recipe":
    from dlapp.errors import RecipeError
    from dlapp.recipe import Recipe, with_changes

    if what is None and "transfer.model" in changes:
        changes = {"architecture": _architecture_of(changes["transfer.model"]), **changes}
        what = changes["architecture"]
    if what is None:
        raise RecipeError("train needs an architecture and --data, or a recipe: dlapp train lenet5 --data digits.")
    if _is_recipe(what):
        return Recipe.read(Path(what), changes)
    if "data" not in changes:
        raise RecipeError(f"train needs data: dlapp train {shlex.quote(what)} --data SOURCE (`dlapp list sources`).")
    return Recipe.from_values(with_changes({}, changes), where="the options")


def _architecture_of(model: str) -> str:
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from dlapp.training.base_network import architecture_of

    return architecture_of(model)


def _default_name(what: str | None, recipe: "Recipe") -> str:
    if what is not None and _is_recipe(what):
        path = Path(what)
        return path.absolute().parent.name if path.name == "recipe.toml" else path.stem
    source = recipe.data.partition("?")[0]
    if source.startswith("tfds:"):
        return f"{recipe.architecture}-{source.split(':')[1].replace('/', '-')}"
    source = source.rpartition(":")[2].split(",")[0]
    return f"{recipe.architecture}-{Path(source).absolute().stem}"


def _new_folder(name: str | None, default: str, *, overwrite: bool) -> "ModelFolder":
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from dlapp.errors import AlreadyExists
    from dlapp.files import below, next_free
    from dlapp.training.model_folder import ROOT, ModelFolder

    path = below(ROOT, default if name is None else name)
    if overwrite or not path.exists():
        return ModelFolder(path)
    if name is None:
        return ModelFolder(next_free(path))
    raise AlreadyExists(
        f"{path} exists and is not overwritten. Choose another --name, go on with it (--resume) or replace it "
        "(--overwrite)."
    )


def _check_base_stays(recipe: "Recipe", folder: "ModelFolder") -> None:
    from dlapp.errors import RecipeError
    from dlapp.training.base_network import base_folder

    base = base_folder(recipe)
    if base is not None and base.path.resolve() == folder.path.resolve():
        raise RecipeError(
            f"{base.path} is what the transfer starts from, and cannot be where it goes. Choose another --name."
        )


def _find_run(what: str | None, name: str | None, changes: dict[str, Any]) -> "tuple[ModelFolder, Recipe]":
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from dlapp.errors import RecipeError
    from dlapp.recipe import Recipe
    from dlapp.training.model_folder import ModelFolder

    if name is not None:
        folder = ModelFolder.find(name)
    elif what is not None and ModelFolder(Path(what).parent).last_state.is_file():
        folder = ModelFolder(Path(what).parent)
    else:
        default = _default_name(what, _read_recipe(what, changes))
        folder = ModelFolder.find(_newest(default))
    if not folder.last_state.is_file():
        raise RecipeError(f"no run has begun in {folder.path}: there is nothing to go on with. Leave out --resume.")
    before = folder.read_recipe()
    recipe = Recipe.read(folder.recipe, changes)
    if recipe.training.epochs < before.training.epochs:
        raise RecipeError(
            f"--epochs may only be raised: the run in {folder.path} has {before.training.epochs}, "
            f"not {recipe.training.epochs}."
        )
    for key, value in changes.items():
        if key != "training.epochs" and _value(before, key) != _value(recipe, key):
            raise RecipeError(
                f"a resumed run keeps its recipe; {key} is {_value(before, key)!r} in {folder.recipe}, not {value!r}. "
                "Only --epochs may change: leave the option out or train anew."
            )
    return folder, recipe


def _newest(default: str) -> str:
    from dlapp.training.model_folder import ROOT

    newest, number = default, 2
    while (ROOT / f"{default}-{number}").exists():
        newest, number = f"{default}-{number}", number + 1
    return newest


def _value(recipe: "Recipe", dotted: str) -> Any:
    value: Any = recipe.model_dump(mode="json")
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
