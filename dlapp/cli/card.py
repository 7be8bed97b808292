"""``dlapp card``: what is known of a model, on one page for those who get it."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.training.model_folder import ModelFolder


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/.")],
    bundle: Annotated[
        str | None,
        typer.Option(metavar="BUNDLE", help="Whose parity and latency are told; the one of the model's name."),
    ] = None,
    data_license: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of the data, where they are no embedded ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json.")] = False,
) -> None:
    """Writes a model card, README.md of the model, with its plots, from what the other verbs have measured."""
    from dlapp.cli.console import print_json
    from dlapp.errors import AlreadyExists, DlappError
    from dlapp.files import write_text
    from dlapp.reporting.model_card import MARK, render
    from dlapp.training.model_folder import ModelFolder

    folder = ModelFolder.find(model)
    if folder.card.is_file() and not folder.card.read_text(encoding="utf-8").startswith(MARK):
        raise AlreadyExists(f"{folder.card} was not written by dlapp card: move it away first.")
    if folder.metrics.is_file() or folder.last_state.is_file() or not folder.results.is_file():
        exported = _bundle_of(folder, bundle)
        results, written = _collect(folder, exported, data_license)
        following = _following(folder, exported, results)
    elif bundle is not None or data_license is not None:
        raise DlappError(f"{folder.path} holds results alone: --bundle and --data-license are for a run that is there.")
    else:  # of a reference model, whose weights are not kept
        results, written = _read_results(folder.results), []
        following = f"dlapp train {shlex.quote(str(folder.recipe))}"
    write_text(folder.card, render(results))
    if as_json:
        print_json(results)
        return
    print(f"Wrote {', '.join(str(path) for path in (folder.card, *written))}")
    print(f"Next: {following}")


def _collect(
    folder: "ModelFolder", exported: Path | None, data_license: str | None
) -> tuple[dict[str, Any], list[Path]]:
    """What is known, and the files that were written beside the card.

    Raises:
        TrainingError: the run is not finished.
    """
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from dlapp.cli.benchmark import RESULTS
    from dlapp.exporting.parity import PARITY
    from dlapp.files import write_json
    from dlapp.reporting.model_card import write_plots
    from dlapp.training.callbacks import read_history
    from dlapp.training.results import collect

    results = collect(
        folder,
        diagnosis=_read(folder.diagnosis),
        parity=exported and _read(exported / PARITY),
        benchmark=exported and _read(exported / RESULTS),
        data_license=data_license,
    )
    write_json(folder.results, results)
    return results, [folder.results, *write_plots(folder.path, results, read_history(folder.history))]


def _bundle_of(folder: "ModelFolder", name: str | None) -> Path | None:
    """The bundle of that name, or of the model's own; None where the latter is not there or of another run.

    Raises:
        BundleError: the bundle that was named was exported from something else.
        UnknownName: there is none of that name.
    """
    from dlapp.cli.console import find_bundle
    from dlapp.errors import BundleError
    from dlapp.inference.bundle import ROOT, SIGNATURE
    from dlapp.signature import Signature

    if not folder.metrics.is_file():
        return None
    found = ROOT / folder.path.resolve().name if name is None else find_bundle(name)
    if (found / SIGNATURE).is_file() and folder.gave(Signature.read(found / SIGNATURE)):
        return found
    if name is None:
        return None
    raise BundleError(f"{found} was not exported from {folder.path} as it is now: export it anew, or name another.")


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _read_results(path: Path) -> dict[str, Any]:
    """What ``results.json`` holds.

    Raises:
        DlappError: it is damaged, or of another version of dlapp.
    """
    from dlapp.errors import DlappError
    from dlapp.training.model_folder import RESULTS_FORMAT

    try:
        results = _read(path)
    except ValueError as error:
        raise DlappError(f"{path} is damaged: {error}. Train the model again.") from error
    if not results or results.get("format") != RESULTS_FORMAT:
        raise DlappError(f"{path} was written by another version of dlapp: train the model again, or install that one.")
    return results


def _following(folder: "ModelFolder", exported: Path | None, results: dict[str, Any]) -> str:
    """What the card still lacks, or how the model is used."""
    name = shlex.quote(folder.path.name)
    if results["diagnosis"] is None:
        return f"dlapp diagnose {name}, and dlapp card again"
    if exported is None:
        return f"dlapp export {name}, and dlapp card again"
    if results["benchmark"] is None:
        return f"dlapp benchmark {shlex.quote(exported.name)}, and dlapp card again"
    from dlapp.cli.export import following_command

    return following_command(exported)
