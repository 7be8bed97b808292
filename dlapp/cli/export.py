"""``dlapp export``: a model -> a bundle under ``export/``."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dlapp.exporting.parity import Parity
    from dlapp.exporting.variants import Wanted
    from dlapp.training.model_folder import ModelFolder


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A folder, or its name below models/; or any .keras file.")
    ],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="FORMATS",
            help="onnx, savedmodel, and layouts for servers: tfserving, triton, kserve, with commas between or one by "
            "one; both formats, or as the recipe says. What is not asked for is not written.",
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
    model_version: Annotated[
        str | None, typer.Option(help="Of the model, for its metadata; as the recipe says.")
    ] = None,
    license: Annotated[str | None, typer.Option(help="Under which others may use it; as the recipe says.")] = None,
    author: Annotated[str | None, typer.Option(help="Who made it; as the recipe says.")] = None,
    samples: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Of a .keras file: inputs to prove it with; else random.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Of a .keras file: load it although a Lambda layer runs code of it.")
    ] = False,
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
    from dlapp.errors import DlappError
    from dlapp.files import below
    from dlapp.inference.bundle import ROOT
    from dlapp.training.model_folder import ModelFolder

    to = ",".join(formats) if formats else None
    thresholds = {"min_score": min_score, "max_overlap": max_overlap}
    chosen = {name: value for name, value in thresholds.items() if value is not None}
    names = chosen_variants(quantize, float16=float16, sliding=sliding, max_drop=max_drop)
    about = {"version": model_version, "license": license, "author": author}
    if model.endswith((".keras", ".h5")):
        if sliding or approximate or chosen or names:
            raise DlappError(
                "--sliding, --approximate, --min-score, --max-overlap, --quantize and --float16 are for models that "
                "dlapp trained."
            )
        bundle = below(ROOT, Path(model).stem if name is None else name)
        before = _kept(bundle)
        parity = export_file(
            Path(model), bundle, to, about=about, samples=samples, unsafe=unsafe, storage_uri=storage_uri
        )
    else:
        if samples is not None or unsafe:
            raise DlappError("--samples and --unsafe are for .keras files; a model that dlapp trained has samples.")
        folder = ModelFolder.find(model)
        default = folder.path.resolve().name + ("-sliding" if sliding else "")
        bundle = below(ROOT, default if name is None else name)
        variants = wanted_variants(folder, names, max_drop) if names else None
        before = _kept(bundle)
        parity = export_folder(
            folder, bundle, to,
            sliding=sliding, approximate=approximate, thresholds=chosen, about=about, variants=variants,
            storage_uri=storage_uri,
        )  # fmt: skip
    if as_json:
        print_json(
            {"bundle": str(bundle), **parity.to_dict(), **({"variants": read_measured(bundle)} if names else {})}
        )
        return
    print_parity(parity.to_dict())
    if names:
        print(tell_variants(read_measured(bundle)))
    print(f"Wrote {bundle}")
    gone = [one for one in before if one not in _kept(bundle)]
    if gone:
        print(f"Not written again, as nobody asked for it: {', '.join(gone)}")
    print(f"Next: {f'dlapp benchmark {shlex.quote(bundle.name)}' if names else following_command(bundle)}")


def _kept(bundle: Path) -> list[str]:
    """What a bundle holds that another export may lack: formats, variants, layouts, and what is said of it."""
    from dlapp.errors import BundleError
    from dlapp.inference.bundle import SIGNATURE
    from dlapp.signature import Signature

    try:
        signature = Signature.read(bundle / SIGNATURE)
    except BundleError:  # there is none, or one that is broken
        return []
    files = dict.fromkeys(name.partition("/")[0] for name in signature.files)
    return [*files, *(key for key in ("version", "license", "author") if signature.provenance.get(key))]


def following_command(bundle: Path) -> str:
    """What a person tries next with this bundle."""
    from dlapp.inference.bundle import ONNX, ROOT, SIGNATURE
    from dlapp.signature import Signature

    signature = Signature.read(bundle / SIGNATURE)
    name = shlex.quote(bundle.name if bundle.parent == ROOT else str(bundle))
    preprocessing = signature.preprocessing
    if signature.task == "language_model":
        return f"dlapp generate {name}"
    if preprocessing.vocabulary is not None:
        return f'dlapp predict {name} "some text"'
    if signature.task == "tensors" or (signature.files and ONNX not in signature.files):
        return f"dlapp verify {name} --all"
    slide = "" if signature.windows is None else " --slide"
    return f"dlapp predict {name} {'TABLE.csv' if preprocessing.size is None else 'PICTURE...'}{slide}"


def export_folder(
    folder: "ModelFolder",
    bundle: Path,
    to: str | None = None,
    *,
    sliding: bool = False,
    approximate: bool = False,
    thresholds: Mapping[str, float] = MappingProxyType({}),
    about: Mapping[str, str | None] = MappingProxyType({}),
    storage_uri: str | None = None,
    variants: "Wanted | None" = None,
) -> "Parity":
    """Exports the model of a run, in the formats and layouts of ``to`` or else the formats of its recipe.

    Raises:
        DlappError: it cannot slide, ``approximate`` is given without ``sliding``, thresholds to what finds no boxes,
            or ``storage_uri`` without the layout ``kserve``; or a package for a layout is missing.
    """
    import dataclasses

    from dlapp import exporting
    from dlapp.errors import DlappError

    if approximate and not sliding:
        raise DlappError("--approximate is for networks that slide: give --sliding with it, or leave it out.")
    recipe = folder.read_recipe().export
    formats, layouts = _choose(to, recipe.formats, storage_uri)
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
            provenance={**signature.provenance, **_describe(about, recipe.model_dump())},
            variants=variants,
        )
    except ValueError as error:
        if not sliding:
            raise
        raise DlappError(f"{folder.path} cannot slide: {error}") from error


def export_file(
    path: Path,
    bundle: Path,
    to: str | None = None,
    *,
    about: Mapping[str, str | None] = MappingProxyType({}),
    samples: Path | None = None,
    unsafe: bool = False,
    storage_uri: str | None = None,
) -> "Parity":
    """Exports a model that dlapp did not train, in both formats where ``to`` is None.

    Raises:
        ModelError: the file cannot be read, or a layer of it has no exported form.
        SourceError: the samples cannot be read.
    """
    import numpy as np
    import tensorflow as tf

    from dlapp import exporting
    from dlapp.architectures.loading import load_model
    from dlapp.errors import ModelError, SourceError
    from dlapp.exporting.any_model import explain

    if path.suffix == ".h5":
        raise ModelError(f"{path} is in Keras's old format: load it in Python and save it as {path.stem}.keras.")
    formats, layouts = _choose(to, ("savedmodel", "onnx"), storage_uri)
    model = load_model(path, unsafe=unsafe)
    given = None
    if samples is not None:
        try:
            with np.load(samples, allow_pickle=False) as archive:
                given = dict(archive)
        except (OSError, ValueError, TypeError) as error:
            raise SourceError(f"{samples} cannot be read as a NumPy archive (.npz): {error}.") from error
    try:
        return exporting.export(
            model,
            bundle,
            samples=given,
            formats=formats,
            layouts=layouts,
            storage_uri=storage_uri,
            provenance={"name": bundle.name, "file": path.name, **_describe(about, {})},
        )
    except (ValueError, tf.errors.OpError) as error:
        told = explain(str(error), model)
        raise ModelError(f"{path} cannot be exported. {told} --samples FILE.npz gives inputs that fit it.") from error


def _choose(to: str | None, default: Sequence[str], storage_uri: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Formats and layouts.

    Raises:
        DlappError: ``storage_uri`` is given without the layout ``kserve``; or a package for a layout is missing.
    """
    from dlapp.errors import DlappError
    from dlapp.exporting import servers

    formats, layouts = servers.chosen([part.strip() for part in to.split(",")] if to else default)
    if storage_uri is not None and "kserve" not in layouts:
        raise DlappError("--storage-uri is for --to kserve: give it too, or leave --storage-uri out.")
    return formats, layouts


def _describe(about: Mapping[str, str | None], recipe: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a model: version, license and author, and the commit of the working directory if it has one."""
    import subprocess

    told = {key: about.get(key) or recipe.get(key) for key in ("version", "license", "author")}
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        told["git_commit"] = found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return {key: value for key, value in told.items() if value}
