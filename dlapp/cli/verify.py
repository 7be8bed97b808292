"""``dlapp verify``: does a bundle compute the same in every runtime?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.signature import Signature


def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, or its name below export/.")],
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="keras, savedmodel, onnxruntime, openvino, ...; may be given several times."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="In every runtime that dlapp knows.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 where a runtime is not installed.")
    ] = False,
    locate: Annotated[
        bool, typer.Option("--locate", help="Where a runtime differs, find the first layer that departs.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which a runtime is ended.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replays samples.npz in every runtime and compares with what Keras gave; exit status 1 if one differs."""
    from dlapp.cli.console import find_bundle, print_json
    from dlapp.cli.export import following_command
    from dlapp.errors import DlappError
    from dlapp.exporting.parity import OWN, PARITY, runnable, verify
    from dlapp.inference.bundle import SIGNATURE
    from dlapp.reporting.parity_page import write_parity
    from dlapp.signature import Signature

    if everything and runtime:
        raise DlappError("--all runs every runtime, --runtime some: give one of them.")
    folder = find_bundle(bundle)
    signature = Signature.read(folder / SIGNATURE)
    model = find_model(signature)
    there = runnable(folder, signature, model)
    chosen = there if everything else runtime or [name for name in OWN if name in there]
    find = None
    if locate:
        from dlapp.exporting.locating import Locator

        find = Locator(timeout)
    parity = verify(folder, chosen, model=model, isolated=True, timeout_s=timeout, locate=find)
    page = folder / "parity.html"
    write_parity(page, folder.resolve().name, parity.to_dict(), signature, strict=strict)
    if as_json:
        print_json({"bundle": str(folder), **parity.to_dict()})
    else:
        print_parity(parity.to_dict())
        print(f"Wrote {folder / PARITY} and {page}")
        print(f"Next: {following_command(folder)}")
    if not parity.holds or (strict and parity.absent):
        raise typer.Exit(1)


def find_model(signature: "Signature") -> Path | None:
    """The file of the model that a bundle was exported from, if it is still below models/ as it was then."""
    from dlapp.training.model_folder import ROOT, ModelFolder

    provenance = signature.provenance
    folder = ModelFolder(ROOT / str(provenance["name"]))
    if not folder.metrics.is_file():
        return None
    trained = folder.read_signature().provenance
    return folder.model if all(provenance.get(key) == value for key, value in trained.items()) else None


def print_parity(parity: dict[str, Any]) -> None:
    """The verdict as a table, and what is to be said of each runtime that does not agree."""
    import rich
    from rich.table import Table

    shapes = ", ".join(" x ".join(map(str, shape)) for shape in parity["input_shapes"])
    table = Table(
        title=f"parity with {parity['reference']}", caption=f"samples of {shapes}; at most {parity['tolerance']:.0e}"
    )
    for column in ("runtime", "difference", "relative", "same answers", "load", "latency", "verdict"):
        table.add_column(column, justify="left" if column in ("runtime", "verdict") else "right")
    for row in parity["results"]:
        ran = row["agreement"] is not None
        run, cases = row["cases"]
        table.add_row(
            f"{row['runtime']} {row['version']}".strip(),
            f"{row['largest_difference']:.1e}" if ran else "",
            f"{row['largest_relative_difference']:.1e}" if ran else "",
            f"{row['agreement']:.0%}" + ("" if run == cases else f" of {run}/{cases}") if ran else "",
            f"{row['load_s']:.2f} s" if ran else "",
            f"{row['latency_s'] * 1000:.2f} ms" if ran else "",
            row["verdict"],
        )
    rich.print(table)
    for row in parity["results"]:
        if row["verdict"] != "equal":
            print(f"{row['runtime']}: {explain(row)}")


def explain(row: dict[str, Any]) -> str:
    """What is to be said of a runtime that does not agree, on one line."""
    told = row["verdict"]
    if row["verdict"] == "differs":
        told = f"differs at {row['where']}"
    elif row["operator"]:
        told += f" ({row['operator']})"
    if row["reason"]:
        told += f": {row['reason']}"
    if row["located"]:
        told += f"; {row['located']['told']}"
    if row["verdict"] == "not installed":
        return f"{told}. Install it: {row['remedy']}"
    return f"{told}. {row['remedy'].capitalize()}." if row["remedy"] else f"{told}."
