"""``dlapp show``: what a network is made of, or what a bundle says of itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import keras

    from dlapp.signature import Signature

_PAST_ALONE = (
    "It reads in one direction: what is given at a step depends on this step and the past only, never on what follows "
    "(bidirectional=true reads from the end too)"
)


def command(
    architecture: Annotated[
        str,
        typer.Argument(
            metavar="ARCHITECTURE|BUNDLE",
            help="A name from `dlapp list architectures`; or a bundle, or its name below export/.",
        ),
    ],
    input_shape: Annotated[
        str | None, typer.Option("--input", metavar="H,W,C", help="Shape of one input, e.g. 32,32,1.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the builder: bidirectional=true."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the network into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Shows layers, output shapes, parameters, multiply-adds and receptive fields; or the metadata of a bundle."""
    from dlapp.cli import console
    from dlapp.errors import DlappError, UnknownName

    bundle = _find_bundle(architecture)
    if bundle is not None:
        if input_shape or classes or settings or plot:
            raise DlappError(f"{bundle} is a bundle: --input, --classes, --set and --plot are for architectures.")
        _show_bundle(bundle, as_json=as_json)
        return
    console.import_tensorflow()
    import inspect

    from dlapp.architectures import ARCHITECTURES, builder
    from dlapp.architectures.heads import for_inference
    from dlapp.architectures.recurrent_networks import reads_one_way
    from dlapp.architectures.summary import reductions, summarize
    from dlapp.recipe import parse_setting

    make = builder(architecture)
    options = {"classes": classes} if classes is not None else {}
    options |= {key.removeprefix("architecture_options."): value for key, value in map(parse_setting, settings or ())}
    unknown = [key for key in options if key not in inspect.signature(make).parameters or key == "input_shape"]
    if unknown:
        known = inspect.signature(make).parameters.keys() - {"input_shape"}
        raise UnknownName(f"option of {architecture}", unknown[0], known)
    try:
        model = make(console.parse_shape(input_shape), **options) if input_shape else make(**options)
    except (ValueError, TypeError, IndexError) as error:
        raise DlappError(f"{architecture} cannot be built: {error}") from error
    rows = summarize(model)
    saved = reductions(model)
    exported = for_inference(model)
    if plot is not None:
        from dlapp.reporting.diagram import draw

        draw(rows, model.name, plot)
    if as_json:
        _print_json(architecture, model, rows, saved)
        return
    _print_table(architecture, rows, model.count_params())
    kept = exported.count_params()
    if kept < model.count_params():
        needed = _total(summarize(exported))
        print(
            f"{model.count_params() - kept:,} of the parameters are in auxiliary classifiers, which only help in "
            f"training: {kept:,} are exported" + ("." if needed is None else f", and {needed:,} multiply-adds.")
        )
    if saved:
        _print_reductions(saved)
    if reads_one_way(model):
        print(f"{_PAST_ALONE}.")
    if plot is not None:
        print(f"Wrote {plot}")
    example = "digits" if ARCHITECTURES[architecture].task is None else "shapes"
    print(f"Next: dlapp train {architecture} --data {'dates' if architecture == 'recurrent' else example}")


def _print_json(architecture: str, model: "keras.Model", rows: list, saved: list) -> None:
    import dataclasses

    from dlapp.architectures.heads import for_inference
    from dlapp.architectures.recurrent_networks import reads_one_way
    from dlapp.architectures.summary import summarize
    from dlapp.cli import console

    exported = for_inference(model)
    console.print_json(
        {
            "architecture": architecture,
            "input_shape": model.input_shape[1:],
            "output_shape": model.outputs[0].shape[1:],
            "parameters": model.count_params(),
            "parameters_exported": exported.count_params(),
            "multiply_adds": _total(rows),
            "multiply_adds_exported": _total(summarize(exported)),
            "layers": [dataclasses.asdict(row) for row in rows],
            "reductions": [dataclasses.asdict(reduction) for reduction in saved],
            "limits": [_PAST_ALONE] if reads_one_way(model) else [],
        }
    )


def _total(rows: list) -> int | None:
    each = [row.multiply_adds for row in rows]
    return None if None in each else sum(each)


def _print_table(architecture: str, rows: list, parameters: int) -> None:
    import rich
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=architecture, show_footer=True, box=SIMPLE)
    total = _total(rows)
    table.add_column("layer", "total", overflow="fold")  # a narrow terminal shall cut no number
    table.add_column("kind")
    table.add_column("output", no_wrap=True)
    table.add_column("parameters", f"{parameters:,}", justify="right", no_wrap=True)
    table.add_column("multiply-adds", "-" if total is None else f"{total:,}", justify="right", no_wrap=True)
    table.add_column("sees", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            row.kind,
            " x ".join("any" if size is None else str(size) for size in row.output_shape),
            f"{row.parameters:,}" if row.parameters else "",
            "-" if row.multiply_adds is None else f"{row.multiply_adds:,}" if row.multiply_adds else "",
            " x ".join(map(str, row.receptive_field)) if row.receptive_field else "",
        )
    rich.print(table)


def _print_reductions(saved: list) -> None:
    import rich
    from rich.box import SIMPLE
    from rich.table import Table

    direct, through = sum(one.direct for one in saved), sum(one.through for one in saved)
    table = Table(title="what the 1 x 1 convolutions save, in weights", show_footer=True, box=SIMPLE)
    table.add_column("convolution", "total")
    table.add_column("channels")
    table.add_column("direct", f"{direct:,}", justify="right")
    table.add_column("through 1 x 1", f"{through:,}", justify="right")
    table.add_column("saved", f"{1 - through / direct:.0%}", justify="right")
    for one in saved:
        size = " x ".join(map(str, one.kernel_size))
        table.add_row(
            one.name,
            f"{size} on {one.channels} to {one.filters}, through {one.reduced}",
            f"{one.direct:,}",
            f"{one.through:,}",
            f"{1 - one.through / one.direct:.0%}",
        )
    rich.print(table)


def _find_bundle(name: str) -> Path | None:
    """The folder of a bundle, if it is none of the architectures."""
    from dlapp.architectures import ARCHITECTURES
    from dlapp.inference.bundle import ROOT, SIGNATURE

    if name in ARCHITECTURES:
        return None
    return next((folder for folder in (Path(name), ROOT / name) if (folder / SIGNATURE).is_file()), None)


def _show_bundle(folder: Path, *, as_json: bool) -> None:
    """What a bundle says of itself, and whether its files are those that it speaks of."""
    import shlex

    from dlapp.cli import console
    from dlapp.files import sha256
    from dlapp.inference.bundle import SIGNATURE, check_files
    from dlapp.signature import Signature

    signature = Signature.read(folder / SIGNATURE)
    check_files(folder, signature)
    sizes = {name: (folder / name).stat().st_size for name in signature.files}
    about = {"bundle": str(folder), "hash": sha256(folder / SIGNATURE), "size": sum(sizes.values())}
    if as_json:
        console.print_json({**about, **signature.to_dict()})
        return
    for name, value in _facts(signature, about):
        print(f"{name:14} {value}")
    if "recipe" in signature.provenance:
        print(f"\n{signature.provenance['recipe'].rstrip()}")
    print(f"\nNext: dlapp verify {shlex.quote(folder.resolve().name)} --all")


def _facts(signature: "Signature", about: dict[str, Any]) -> list[tuple[str, str]]:
    """Lines of a name and a value, of what is known."""
    facts = signature.provenance
    preprocessing = signature.preprocessing
    lines = [("bundle", about["bundle"]), ("hash", about["hash"]), ("size", f"{about['size']:,} bytes")]
    lines += [
        (key.replace("_", " "), str(facts[key]))
        for key in ("name", "architecture", "version", "license", "author", "data", "data_hash", "seed", "git_commit")
        if facts.get(key) is not None
    ]
    lines.append(("task", signature.task))
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        lines += [(kind, f"{one.name} {one.dtype} ({', '.join(map(str, one.shape))})") for one in tensors]
    if signature.labels:
        shown = ", ".join(signature.labels[:10]) + (", ..." if len(signature.labels) > 10 else "")
        lines.append(("labels", f"{len(signature.labels)}: {shown}"))
    if preprocessing.size is not None:
        how = "letterboxed" if preprocessing.letterbox else "averaged" if preprocessing.antialias else "bilinear"
        lines.append(
            ("preprocessing", f"{' x '.join(map(str, preprocessing.size))} {how}, scale {preprocessing.scale}")
        )
    elif preprocessing.vocabulary is not None:
        lines.append(("preprocessing", f"{len(preprocessing.vocabulary):,} {preprocessing.vocabulary.unit}s"))
    elif signature.task != "tensors":
        lines.append(("preprocessing", f"scale {preprocessing.scale}"))
    if facts.get("test"):
        lines.append(("test", ", ".join(f"{name} {value:.4g}" for name, value in facts["test"].items())))
    if "parity" in facts:
        runtimes = ", ".join(f"{name} {version}" for name, version in facts["parity"]["runtimes"].items())
        lines.append(("parity", f"within {facts['parity']['tolerance']:.0e} in {runtimes}"))
    made = {**facts.get("versions", {}), **facts.get("exported_with", {})}
    lines.append(("made with", ", ".join(f"{name} {version}" for name, version in made.items())))
    return lines
