"""``dlapp verify``: does a bundle compute the same in every runtime?"""

from typing import Annotated, Any

import typer


def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, or its name below export/.")],
    runtime: Annotated[list[str] | None, typer.Option(help="savedmodel or onnxruntime; both where left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replays samples.npz in every runtime and compares with what Keras gave; exit status 1 if one differs."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    from dlapp.exporting.parity import PARITY, verify
    from dlapp.files import find_folder
    from dlapp.inference.bundle import ROOT, SIGNATURE

    folder = find_folder(bundle, kind="bundle", root=str(ROOT), holds=SIGNATURE)
    parity = verify(folder, runtime)
    if as_json:
        print_json({"bundle": str(folder), **parity.to_dict()})
    else:
        print_parity(parity.to_dict())
        print(f"Wrote {folder / PARITY}")
        print(f"Next: dlapp predict {folder.name} PICTURE...")
    if not parity.holds:
        raise typer.Exit(1)


def print_parity(parity: dict[str, Any]) -> None:
    """The verdict as a table."""
    import rich
    from rich.table import Table

    shapes = ", ".join(" x ".join(map(str, shape)) for shape in parity["input_shapes"])
    table = Table(title="parity with Keras", caption=f"samples of {shapes}; at most {parity['tolerance']:.0e}")
    for column in ("runtime", "largest difference", "same answers", "latency", "verdict"):
        table.add_column(column, justify="left" if column in ("runtime", "verdict") else "right")
    table.add_row(parity["reference"], "", "", "", "reference")
    for row in parity["results"]:
        table.add_row(
            f"{row['runtime']} {row['version']}",
            f"{row['largest_difference']:.1e}",
            "yes" if row["same_answer"] else "no",
            f"{row['latency_s'] * 1000:.2f} ms",
            "equal" if row["equal"] else "differs",
        )
    rich.print(table)
