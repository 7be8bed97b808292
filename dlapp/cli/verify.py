"""``dlapp verify``: does a bundle compute the same in every runtime?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import keras


def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, or its name below export/.")],
    runtime: Annotated[list[str] | None, typer.Option(help="keras, savedmodel or onnxruntime; or all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replays samples.npz in every runtime and compares with what Keras gave; exit status 1 if one differs."""
    from dlapp.cli.console import find_bundle, import_tensorflow, print_json

    import_tensorflow()
    from dlapp.cli.export import following_command
    from dlapp.exporting.parity import PARITY, verify

    folder = find_bundle(bundle)
    parity = verify(folder, runtime, model=_find_model(folder))
    if as_json:
        print_json({"bundle": str(folder), **parity.to_dict()})
    else:
        print_parity(parity.to_dict())
        print(f"Wrote {folder / PARITY}")
        print(f"Next: {following_command(folder)}")
    if not parity.holds:
        raise typer.Exit(1)


def _find_model(bundle: Path) -> "keras.Model | None":
    """The model that a bundle was exported from, if it is still below models/ as it was then."""
    from dlapp.architectures import fully_convolutional
    from dlapp.inference.bundle import SIGNATURE
    from dlapp.signature import Signature
    from dlapp.training.model_folder import ModelFolder

    signature = Signature.read(bundle / SIGNATURE)
    folder = ModelFolder.of_bundle(signature)
    if folder is None:
        return None
    model = folder.load_model()
    return model if signature.windows is None else fully_convolutional(model, approximate=True)


def print_parity(parity: dict[str, Any]) -> None:
    """The verdict as a table."""
    import rich
    from rich.table import Table

    shapes = ", ".join(" x ".join(map(str, shape)) for shape in parity["input_shapes"])
    table = Table(
        title=f"parity with {parity['reference']}", caption=f"samples of {shapes}; at most {parity['tolerance']:.0e}"
    )
    for column in ("runtime", "largest difference", "same answers", "latency", "verdict"):
        table.add_column(column, justify="left" if column in ("runtime", "verdict") else "right")
    for row in parity["results"]:
        table.add_row(
            f"{row['runtime']} {row['version']}",
            f"{row['largest_difference']:.1e}",
            "yes" if row["same_answer"] else "no",
            f"{row['latency_s'] * 1000:.2f} ms",
            "equal" if row["equal"] else "differs",
        )
    rich.print(table)
