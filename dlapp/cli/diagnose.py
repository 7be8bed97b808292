"""``dlapp diagnose``: bias or variance, do the splits belong together, and what to do next."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.training.model_folder import ModelFolder


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/.")],
    bayes_error: Annotated[
        float,
        typer.Option(min=0.0, help="The error of the best there can be, such as a person's: a share, 0.02 is 2 %."),
    ] = 0.0,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also train on parts of the data; takes many runs.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Of the learning curve: runs of each size.")] = 3,
    directions: Annotated[
        bool, typer.Option("--directions", help="Also train a recurrent network that reads the other way, and compare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print diagnosis.json.")] = False,
) -> None:
    """Says whether a model is good, why not, and what to try; writes diagnosis.json and the report."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    from dlapp.training.model_folder import ModelFolder

    folder = ModelFolder.find(model)
    found = diagnose_folder(
        folder, bayes_error=bayes_error, seeds=seeds if learning_curve else 0, directions=directions
    )
    if as_json:
        print_json(found)
        return
    print_diagnosis(found)
    print(f"Wrote {folder.diagnosis} and {folder.report}")
    following = found["next"][0]["command"] if found["next"] else f"dlapp export {shlex.quote(folder.path.name)}"
    print(f"Next: {following}")


def diagnose_folder(
    folder: "ModelFolder", *, bayes_error: float = 0.0, seeds: int = 0, directions: bool = False
) -> dict[str, Any]:
    """As ``training.diagnosing.diagnose``, and writes ``diagnosis.json`` and the report."""
    from rich.console import Console

    from dlapp.cli.reports import report
    from dlapp.files import write_json
    from dlapp.training.diagnosing import diagnose

    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    found, measured = diagnose(folder, bayes_error=bayes_error, seeds=seeds, directions=directions, tell=console.print)
    write_json(folder.diagnosis, found)
    report(folder, measured.data, measured.answers, found)
    return found


def print_diagnosis(found: Mapping[str, Any]) -> None:
    """The diagnosis on the terminal."""
    print(found["headline"])
    for finding in found["findings"]:
        print(f"  {finding['sentence']}")
    for pair in found["splits"]:
        print(f"  {pair['sentence']}")
    if found["learning_curve"]:
        print(f"  {found['learning_curve']['extrapolation']['sentence']}")
    for limit in found["limits"]:
        print(f"  {limit}")
    if found["directions"]:
        print(f"  Directions: {found['directions']['sentence']}")
    for segment in found["segments"][:3]:
        name, value = segment["name"], segment["value"]
        print(f"  Worse on {name} {value}: error {segment['error']:.4g}, {segment['rest_error']:.4g} elsewhere.")
    if found["confused"]:
        pair = found["confused"][0]
        print(
            f"  Most confused on dev: {pair['true']} taken for {pair['predicted']} ({pair['count']} of the mistakes)."
        )
    if found["boxes"]:
        print("  Errors on dev, and the mean average precision that repairing each kind would bring:")
        for kind, error in sorted(found["boxes"]["errors"].items(), key=lambda item: -item[1]["cost"]):
            print(f"    {kind:14} {error['count']:>6,}  {100 * error['cost']:5.1f} points  {error['what']}")
    for line in found["repeats"]:
        print(f"  {line}")
    if found["labels"]:
        first = found["labels"][0]
        print(
            f"  Labels that are most likely wrong: {len(found['labels'])}, first {first['where']}: "
            f"{first['given']}, perhaps {first['suggested']}."
        )
    if not found["bayes_error"]:
        print("  (The Bayes error was taken as 0: say what a person reaches with --bayes-error.)")
    if found["next"]:
        print("What to try next:")
        for number, advice in enumerate(found["next"], start=1):
            print(f"  {number}. against {advice['against']}: {advice['why']}\n       {advice['command']}")
