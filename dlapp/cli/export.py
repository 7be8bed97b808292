"""``dlapp export``: a model -> a bundle under ``export/``."""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from dlapp.exporting.parity import Parity
    from dlapp.exporting.variants import Wanted
    from dlapp.training.model_folder import ModelFolder


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/.")],
    to: Annotated[
        str | None, typer.Option(metavar="FORMATS", help="onnx, savedmodel or both with a comma; as the recipe says.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the bundle below export/; the model's where left out.")] = None,
    sliding: Annotated[
        bool, typer.Option("--sliding", help="Slide over pictures of any size, for a map of answers in one pass.")
    ] = False,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="With --sliding: take networks that pad; answers differ somewhat.")
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Of a detector: boxes less sure are not told; as the recipe says."),
    ] = None,
    max_overlap: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Of a detector: of two boxes that overlap more, the surer is told."),
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(metavar="int8", help="Also a variant of 8 bits, calibrated on training examples.")
    ] = None,
    float16: Annotated[
        bool,
        typer.Option("--float16", help="Also a variant in float16: half the size, for GPUs; slower on processors."),
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0.0, help="How much worse on dev a variant may be, in the task's metric; 0.01."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what verify measured, as JSON.")] = False,
) -> None:
    """Writes SavedModel and ONNX files that take raw values, and proves that they agree with Keras."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    from dlapp.cli.variants import chosen_variants, read_measured, tell_variants, wanted_variants
    from dlapp.cli.verify import print_parity
    from dlapp.files import below
    from dlapp.inference.bundle import ROOT
    from dlapp.training.model_folder import ModelFolder

    names = chosen_variants(quantize, float16=float16, sliding=sliding, max_drop=max_drop)
    folder = ModelFolder.find(model)
    default = folder.path.resolve().name + ("-sliding" if sliding else "")
    bundle = below(ROOT, default if name is None else name)
    thresholds = {"min_score": min_score, "max_overlap": max_overlap}
    chosen = {name: value for name, value in thresholds.items() if value is not None}
    variants = wanted_variants(folder, names, max_drop) if names else None
    parity = export_folder(
        folder, bundle, to, sliding=sliding, approximate=approximate, thresholds=chosen, variants=variants
    )
    if as_json:
        print_json(
            {"bundle": str(bundle), **parity.to_dict(), **({"variants": read_measured(bundle)} if names else {})}
        )
        return
    print_parity(parity.to_dict())
    if names:
        print(tell_variants(read_measured(bundle)))
    print(f"Wrote {bundle}")
    print(f"Next: {f'dlapp benchmark {shlex.quote(bundle.name)}' if names else following_command(bundle)}")


def following_command(bundle: "Path") -> str:
    """What a person tries next with this bundle."""
    from dlapp.inference.bundle import SIGNATURE
    from dlapp.signature import Signature

    signature = Signature.read(bundle / SIGNATURE)
    name, preprocessing = shlex.quote(bundle.name), signature.preprocessing
    if signature.task == "language_model":
        return f"dlapp generate {name}"
    if preprocessing.vocabulary is not None:
        return f'dlapp predict {name} "some text"'
    slide = "" if signature.windows is None else " --slide"
    return f"dlapp predict {name} {'TABLE.csv' if preprocessing.size is None else 'PICTURE...'}{slide}"


def export_folder(
    folder: "ModelFolder",
    bundle: "Path",
    to: str | None = None,
    *,
    sliding: bool = False,
    approximate: bool = False,
    thresholds: Mapping[str, float] = MappingProxyType({}),
    variants: "Wanted | None" = None,
) -> "Parity":
    """Exports the model of a run, in the formats of ``to`` or else of its recipe.

    Raises:
        DlappError: it cannot slide, ``approximate`` is given without ``sliding``, or thresholds to what finds no boxes.
    """
    import dataclasses

    from dlapp import exporting
    from dlapp.errors import DlappError

    if approximate and not sliding:
        raise DlappError("--approximate is for networks that slide: give --sliding with it, or leave it out.")
    formats = [part.strip() for part in to.split(",")] if to else list(folder.read_recipe().export.formats)
    signature = folder.read_signature()
    detection = signature.detection
    if detection is not None:
        detection = dataclasses.replace(detection, **thresholds)
    elif thresholds:
        raise DlappError("--min-score and --max-overlap are for networks that find boxes: leave them out.")
    try:
        return exporting.export(
            folder.load_model(),
            bundle,
            labels=signature.labels,
            target=signature.target,
            detection=detection,
            sliding=sliding,
            approximate=approximate,
            preprocessing=signature.preprocessing,
            samples=folder.read_samples(),
            formats=formats,
            variants=variants,
            provenance=signature.provenance,
        )
    except ValueError as error:
        if not sliding:
            raise
        raise DlappError(f"{folder.path} cannot slide: {error}") from error
