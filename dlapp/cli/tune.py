"""``dlapp tune``: a recipe -> a search for better hyperparameters, and the model that comes of it."""

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dlapp.training.tuning import Search, Tried

_SHOWN = 5  # trials
_ENOUGH = 20  # complete trials, of which importances say something


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE.toml", help="Where to begin; [tune.space] says what varies.")
    ],
    trials: Annotated[int, typer.Option(min=1, help="Wanted in all: a search that is there already is gone on with.")],
    name: Annotated[str | None, typer.Option(help="Of the folder below models/.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Searches hyperparameters by the loss on dev and trains the best recipe into models/NAME.

    What varies is a line each under [tune.space] in the recipe, such as
    "training.l2" = {low = 1e-6, high = 1e-2, scale = "log"} or "training.batch_size" = {choices = [16, 64]};
    where there is none, dlapp chooses.
    """
    from dlapp.cli.console import import_tensorflow, print_json
    from dlapp.files import below
    from dlapp.recipe import Recipe

    begin = Recipe.read(Path(recipe))
    folder_name = _default_name(Path(recipe)) if name is None else name
    import_tensorflow()
    from rich.console import Console

    from dlapp.cli.reports import report, tell_splits
    from dlapp.training.model_folder import ROOT, ModelFolder
    from dlapp.training.preparing import load_data
    from dlapp.training.tuning import TUNING, Search, train_best

    folder = ModelFolder(below(ROOT, folder_name))
    tuning = folder.path / TUNING
    _check_free(folder.path, tuning)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    data = load_data(begin)
    for note in data.notes:
        console.print(f"Note: {note}")
    with contextlib.closing(Search.open(tuning / "study.db", begin, data)) as search:
        try:
            _search(search, trials, tuning, console)
            tried, best, importances = search.tried(), search.best(), search.importances()
            _write_results(search, tuning, tried, importances)
            console.print(f"Trial {best.number} is the best of {len(tried)}; {folder.path} is its model.")
            answers = train_best(search, folder, console)
            if answers is not None:
                report(folder, data, answers)
        except KeyboardInterrupt:
            console.print(f"\nInterrupted. Go on with the same command: {_same_command(recipe, trials, name)}")
            raise typer.Exit(130) from None
    metrics = folder.read_metrics()
    if as_json:
        print_json(
            {
                "model": str(folder.path),
                "trials": len(tried),
                "best": {"number": best.number, "value": best.value, "values": dict(best.values)},
                "as_it_was": tried[0].value,
                "importances": importances,
                **metrics,
            }
        )
        return
    _print_best(tried)
    print(_won(tried[0], best))
    print(_tell_importances(importances, sum(trial.state == "complete" for trial in tried)))
    print(tell_splits(metrics))
    print(f"Wrote {folder.path}, search {tuning}, report {folder.report}")
    model = shlex.quote(folder.path.name)
    print(f"Next: dlapp diagnose {model}, or dlapp export {model}")


def _default_name(recipe: Path) -> str:
    base = recipe.absolute().parent.name if recipe.name == "recipe.toml" else recipe.stem
    return f"{base}-tuned"


def _same_command(recipe: str, trials: int, name: str | None) -> str:
    named = [] if name is None else ["--name", name]
    return shlex.join(["dlapp", "tune", recipe, "--trials", str(trials), *named])


def _check_free(folder: Path, tuning: Path) -> None:
    """Refuses a folder that holds something else than a search."""
    from dlapp.errors import AlreadyExists

    if folder.exists() and not tuning.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"{folder} is there already and comes of no search: choose another --name.")


def _search(search: "Search", trials: int, tuning: Path, console: "Console") -> None:
    """Tries until there are so many trials, with a line for each; ``trials.csv`` always has them all."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    before = search.tried()
    space = search.recipe.tune.space
    console.print(f"{search.recipe.architecture} on {search.recipe.data}: searching {', '.join(space)}")
    if len(before) > trials:
        console.print(f"there are {len(before)} trials already in {tuning}: --trials {trials} adds none")
    elif before:
        there = "is" if len(before) == 1 else "are"
        console.print(f"{len(before)} of {trials} trials {there} there already in {tuning}")
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("", total=trials, completed=len(before))
    with bar:
        for trial in search.run(trials):
            before.append(trial)
            _write_trials(tuning / "trials.csv", before, list(space))
            bar.update(task, completed=len(before))
            console.print(_tell(trial, before, trials))


def _tell(trial: "Tried", tried: "Sequence[Tried]", trials: int) -> str:
    """A trial in one line."""
    complete = [other for other in tried if other.state == "complete"]
    best = min(complete, key=lambda other: (other.value, other.number), default=None)
    ended = f"{trial.state} {trial.why}".rstrip() if trial.value is None or trial.why else ""
    loss = "       -" if trial.value is None else f"{trial.value:8.4f}"
    lowest = "" if best is None else f"best {best.value:.4f} (trial {best.number})"
    what = _tell_values(trial.changes) if trial.number else "the recipe as it is"
    parts = [f"trial {trial.number:>{len(str(trials))}}", f"dev loss {loss}", lowest, what, ended]
    return "  ".join(part for part in parts if part)


def _tell_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {_number(value)}" for key, value in values.items())


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _write_trials(path: Path, tried: "Sequence[Tried]", axes: Sequence[str]) -> None:
    import csv

    from dlapp.files import replacing

    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "state", "value", "seconds", *axes])
        for trial in tried:
            seconds = round(trial.seconds, 3)
            writer.writerow([trial.number, trial.state, trial.value, seconds, *(trial.values[key] for key in axes)])


def _write_results(search: "Search", tuning: Path, tried: "Sequence[Tried]", importances: Mapping[str, float]) -> None:
    """What a person looks at after a search: the best recipe, the table and two pictures."""
    from dlapp.reporting.tuning import write_history, write_importance

    best = search.best()
    command = shlex.join(["dlapp", "train", str(tuning / "recipe.toml")])
    header = f"{command}\nbest of {_trials(tried)}, dev loss {best.value:.4f}"
    search.best_recipe().write(tuning / "recipe.toml", header=header)
    _write_trials(tuning / "trials.csv", tried, list(search.recipe.tune.space))
    write_history(tuning / "history.png", [trial.value for trial in tried], [trial.state for trial in tried])
    write_importance(tuning / "importance.png", importances)


def _print_best(tried: "Sequence[Tried]") -> None:
    import rich
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    complete = sorted((trial for trial in tried if trial.state == "complete"), key=lambda trial: trial.value or 0.0)
    table = Table(title=f"the best of {_trials(tried)}", box=SIMPLE)
    for column in ("trial", "dev loss"):
        table.add_column(column, justify="right")
    axes = list(tried[0].values)
    for key in axes:
        table.add_column(escape(key.rpartition(".")[2]), justify="right")
    for trial in complete[:_SHOWN]:
        table.add_row(str(trial.number), f"{trial.value:.4f}", *(escape(_number(trial.values[key])) for key in axes))
    rich.print(table)


def _won(first: "Tried", best: "Tried") -> str:
    if first.value is None:
        return (
            f"Trial 0, the recipe as it is, was {first.state}; trial {best.number} has a dev loss of {best.value:.4f}."
        )
    if best.number == first.number:
        return f"No trial was better on dev than the recipe as it is ({first.value:.4f})."
    less = 1 - (best.value or 0.0) / first.value
    return f"Dev loss {first.value:.4f} as the recipe is, {best.value:.4f} in trial {best.number}: {less:.0%} less."


def _tell_importances(importances: Mapping[str, float], complete: int) -> str:
    if not importances:
        return "What matters most cannot be told from so few trials."
    shares = [f"{key} {share:.0%}" for key, share in importances.items()]
    rough = f" (from {complete} trials: a rough guess)" if complete < _ENOUGH else ""
    return f"How the dev loss varied was due to {', '.join(shares)}{rough}."


def _trials(tried: "Sequence[Tried]") -> str:
    return f"{len(tried)} {'trial' if len(tried) == 1 else 'trials'}"
