"""``dlapp export``: a model -> a bundle under ``export/``."""

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from dlapp.exporting.parity import Parity
    from dlapp.training.model_folder import ModelFolder


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMATS",
            help="onnx, savedmodel, and layouts for servers: tfserving, triton, kserve; as the recipe says.",
        ),
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
    storage_uri: Annotated[
        str | None, typer.Option(help="With --to kserve: where the cluster finds the folder of the bundle.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what verify measured, as JSON.")] = False,
) -> None:
    """Writes SavedModel and ONNX files that take raw values, and proves that they agree with Keras."""
    from dlapp.cli.console import import_tensorflow, print_json

    import_tensorflow()
    from dlapp.cli.verify import print_parity
    from dlapp.files import below
    from dlapp.inference.bundle import ROOT
    from dlapp.training.model_folder import ModelFolder

    folder = ModelFolder.find(model)
    default = folder.path.resolve().name + ("-sliding" if sliding else "")
    bundle = below(ROOT, default if name is None else name)
    thresholds = {"min_score": min_score, "max_overlap": max_overlap}
    chosen = {name: value for name, value in thresholds.items() if value is not None}
    parity = export_folder(
        folder, bundle, to, sliding=sliding, approximate=approximate, thresholds=chosen, storage_uri=storage_uri
    )
    if as_json:
        print_json({"bundle": str(bundle), **parity.to_dict()})
        return
    print_parity(parity.to_dict())
    print(f"Wrote {bundle}")
    print(f"Next: {following_command(bundle)}")


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
    storage_uri: str | None = None,
) -> "Parity":
    """Exports the model of a run, in the formats and layouts of ``to`` or else the formats of its recipe.

    Raises:
        DlappError: it cannot slide, ``approximate`` is given without ``sliding``, thresholds to what finds no boxes,
            or ``storage_uri`` without the layout ``kserve``; or a package for a layout is missing.
    """
    import dataclasses

    from dlapp import exporting
    from dlapp.errors import DlappError
    from dlapp.exporting import servers

    if approximate and not sliding:
        raise DlappError("--approximate is for networks that slide: give --sliding with it, or leave it out.")
    names = [part.strip() for part in to.split(",")] if to else folder.read_recipe().export.formats
    formats, layouts = servers.chosen(names)
    if storage_uri is not None and "kserve" not in layouts:
        raise DlappError("--storage-uri is for --to kserve: give it too, or leave --storage-uri out.")
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
            layouts=layouts,
            storage_uri=storage_uri,
            provenance=signature.provenance,
        )
    except ValueError as error:
        if not sliding:
            raise
        raise DlappError(f"{folder.path} cannot slide: {error}") from error
