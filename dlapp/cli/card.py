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
    from dlapp.errors import DlappError
    from dlapp.files import write_text
    from dlapp.reporting.model_card import render
    from dlapp.training.model_folder import ModelFolder

    folder = ModelFolder.find(model)
    if folder.metrics.is_file() or not folder.results.is_file():
        results, written = _collect(folder, bundle, data_license)
    elif bundle is not None or data_license is not None:
        raise DlappError(f"{folder.path} holds results alone: --bundle and --data-license are for a run that is there.")
    else:  # of a reference model, whose weights are not kept
        results, written = json.loads(folder.results.read_text(encoding="utf-8")), []
    write_text(folder.card, render(results))
    if as_json:
        print_json(results)
        return
    print(f"Wrote {', '.join(str(path) for path in (folder.card, *written))}")
    print(f"Next: {_following(results)}")


def _collect(folder: "ModelFolder", bundle: str | None, data_license: str | None) -> tuple[dict[str, Any], list[Path]]:
    """What is known, and the files that were written beside the card.

    Raises:
        TrainingError: the run is not finished.
        BundleError: the bundle that was named is of another model.
    """
    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from dlapp.cli.benchmark import RESULTS
    from dlapp.exporting.parity import PARITY
    from dlapp.files import write_json
    from dlapp.reporting.model_card import write_plots
    from dlapp.training.callbacks import read_history
    from dlapp.training.results import collect

    exported = _find_bundle(folder, bundle)
    results = collect(
        folder,
        diagnosis=_read(folder.diagnosis),
        parity=exported and _read(exported / PARITY),
        benchmark=exported and _read(exported / RESULTS),
        data_license=data_license,
    )
    write_json(folder.results, results)
    return results, [folder.results, *write_plots(folder.path, results, read_history(folder.history))]


def _find_bundle(folder: "ModelFolder", name: str | None) -> Path | None:
    """The bundle that was exported from this run; None where none is asked for and that of its name is of another."""
    from dlapp.cli.console import find_bundle
    from dlapp.errors import BundleError
    from dlapp.inference.bundle import ROOT, SIGNATURE
    from dlapp.signature import Signature

    if name is None and not (ROOT / folder.path.name / SIGNATURE).is_file():
        return None
    found = find_bundle(name or folder.path.name)
    exported, trained = Signature.read(found / SIGNATURE).provenance, folder.read_signature().provenance
    if all(exported.get(key) == value for key, value in trained.items()):
        return found
    if name is None:
        return None
    raise BundleError(f"{found} was not exported from {folder.path} as it is now: export it anew, or name another.")


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _following(results: dict[str, Any]) -> str:
    """What the card still lacks, or where it goes."""
    name = shlex.quote(results["name"])
    for part, verb in (("diagnosis", "diagnose"), ("parity", "export"), ("benchmark", "benchmark")):
        if results[part] is None:
            return f"dlapp {verb} {name}, and dlapp card {name} again"
    return f"dlapp predict {name} INPUT..."
