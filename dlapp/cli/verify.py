"""``dlapp verify``: does a bundle compute the same in every runtime?"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.exporting.parity import Parity

PAGE = "parity.html"


def command(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A folder, or its name below export/; or an ONNX file.")
    ],
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="keras, savedmodel, onnxruntime, openvino, ...; may be given several times."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="In every runtime that dlapp knows.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 where a runtime is not installed.")
    ] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE.keras", help="Of an ONNX file: the model that it should compute.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="With --against: load a model although a Lambda layer runs code of it.")
    ] = False,
    locate: Annotated[
        bool, typer.Option("--locate", help="Where a runtime differs, find the first layer that departs.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which a runtime is ended.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Replays samples.npz in every runtime and compares with what Keras gave; exit status 1 if one differs."""
    from dlapp.cli.console import find_bundle, print_json
    from dlapp.errors import DlappError

    if everything and runtime:
        raise DlappError("--all runs every runtime, --runtime some: give one of them.")
    if bundle.endswith(".onnx") or against is not None:
        if against is None or not bundle.endswith(".onnx"):
            raise DlappError(
                "--against compares an ONNX file with a .keras file: dlapp verify FILE.onnx --against FILE.keras"
            )
        if locate:
            raise DlappError("--locate looks into bundles: leave it out with --against.")
        what, ending = Path(bundle), [f"Next: dlapp export {shlex.quote(str(against))}"]
        parity = _verify_file(what, against, runtime, everything=everything, unsafe=unsafe, timeout_s=timeout)
    else:
        if unsafe:
            raise DlappError("--unsafe goes with --against FILE.keras: leave it out.")
        what = find_bundle(bundle)
        parity, ending = _verify_bundle(
            what, runtime, everything=everything, strict=strict, locate=locate, timeout_s=timeout
        )
    if as_json:
        print_json({"bundle": str(what), **parity.to_dict()})
    else:
        print_parity(parity.to_dict())
        for line in ending:
            print(line)
    if not parity.passes(strict=strict):
        raise typer.Exit(1)


def _verify_bundle(
    folder: Path,
    runtimes: Sequence[str] | None,
    *,
    everything: bool,
    strict: bool,
    locate: bool,
    timeout_s: float,
) -> "tuple[Parity, list[str]]":
    """A bundle in the runtimes that were named, in all, or in those that dlapp needs; and what is said in the end."""
    from dlapp.cli.export import following_command
    from dlapp.exporting.parity import OWN, PARITY, runnable, verify
    from dlapp.exporting.runtimes import RUNTIMES
    from dlapp.inference.bundle import SIGNATURE
    from dlapp.reporting.parity_page import write_parity
    from dlapp.signature import Signature
    from dlapp.training.model_folder import ModelFolder

    signature = Signature.read(folder / SIGNATURE)
    run = ModelFolder.of_bundle(signature)
    model = None if run is None else run.model
    there = runnable(folder, signature, model)
    chosen = there if everything else runtimes or [name for name in OWN if name in there]
    find = None
    if locate:
        from dlapp.exporting.locating import Locator

        find = Locator(timeout_s)
    parity = verify(folder, chosen, model=model, isolated=True, timeout_s=timeout_s, locate=find)
    absent = [name for name in RUNTIMES if name not in there] if everything else []
    without = [f"Left out, as what they run is not there: {', '.join(absent)}"] if absent else []
    page = folder / PAGE
    write_parity(page, folder.resolve().name, parity.to_dict(), signature, strict=strict)
    ending = [*without, f"Wrote {folder / PARITY} and {page}"]
    following = following_command(folder)
    if parity.passes(strict=strict) and not following.startswith("dlapp verify"):  # which was just done
        ending.append(f"Next: {following}")
    return parity, ending


def _verify_file(
    path: Path, against: Path, runtimes: Sequence[str] | None, *, everything: bool, unsafe: bool, timeout_s: float
) -> "Parity":
    """An ONNX file in the runtimes that read it, on random inputs."""
    import tempfile

    from dlapp.cli.console import import_tensorflow

    import_tensorflow()
    from dlapp.architectures.loading import load_model
    from dlapp.exporting.against import write_bundle
    from dlapp.exporting.parity import verify
    from dlapp.exporting.runtimes import RUNTIMES
    from dlapp.inference.bundle import ONNX

    chosen = (
        [name for name, kind in RUNTIMES.items() if kind.reads == ONNX] if everything else runtimes or ["onnxruntime"]
    )
    model = load_model(against, unsafe=unsafe)
    with tempfile.TemporaryDirectory() as scratch:
        write_bundle(path, model, Path(scratch))
        return verify(scratch, chosen, isolated=True, foreign=True, timeout_s=timeout_s)


def print_parity(parity: dict[str, Any]) -> None:
    """The verdict as a table, and what is to be said of runtimes that do not agree or cannot run all."""
    import rich
    from rich.table import Table

    shapes = ", ".join(" x ".join(map(str, shape)) for shape in parity["input_shapes"])
    table = Table(
        title=f"parity with {parity['reference']}",
        caption=f"samples of {shapes}; at most {parity['tolerance']:.0e}",
        box=None,  # 80 columns have no room for lines
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in ("runtime", "version", "differs", "relative", "same", "load\ns", "latency\nms", "verdict"):
        left = column in ("runtime", "version", "verdict")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in parity["results"]:
        ran = row["agreement"] is not None
        run, cases = row["cases"]
        table.add_row(
            row["runtime"],
            row["version"],
            f"{row['largest_difference']:.1e}" if ran else "",
            f"{row['largest_relative_difference']:.1e}" if ran else "",
            f"{row['agreement']:.0%}" + ("" if run == cases else f" of {run}/{cases}") if ran else "",
            f"{row['load_s']:.2f}" if ran else "",
            f"{row['latency_s'] * 1000:.2f}" if ran else "",
            row["verdict"],
        )
    rich.print(table)
    for row in parity["results"]:
        if row["verdict"] != "equal" or row["reason"]:
            print(f"{row['runtime']}: {explain(row)}")


def explain(row: dict[str, Any]) -> str:
    """What is to be said of a runtime that does not agree or cannot run all, on one line."""
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
    return f"{told}. Instead: {row['remedy']}." if row["remedy"] else f"{told}."
