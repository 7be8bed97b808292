"""``dlapp benchmark``: how large, fast and good each variant of a bundle is, in each runtime."""

import functools
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from dlapp.data import Examples
    from dlapp.exporting.runtimes import Place
    from dlapp.inference.timing import Run, Timing
    from dlapp.signature import Signature

RESULTS, PLOT = "benchmark.json", "benchmark.png"
_NOT_DEPLOYED = ("keras", "onnx-reference")
_SIZES = (1, 32)  # batches
_SIDE = 512  # pixels of a picture, at most


def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A folder, or its name below export/.")],
    runtime: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="As in verify; or all that are installed.")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of every runtime; one, so that machines compare.")
    ] = 1,
    seconds: Annotated[
        float, typer.Option(min=0.01, metavar="S", help="That each is measured with each batch size.")
    ] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measures size, load, latency at batch 1 and 32, throughput and the metric on test of every variant."""
    from dlapp.cli.console import find_bundle, import_tensorflow, print_json

    import_tensorflow()
    from dlapp.files import write_json
    from dlapp.inference.bundle import SIGNATURE, check_files
    from dlapp.inference.timing import processor
    from dlapp.reporting.benchmark_plot import write_benchmark
    from dlapp.signature import Signature

    folder = find_bundle(bundle)
    signature = Signature.read(folder / SIGNATURE)
    check_files(folder, signature)
    rows = _rows(folder, signature, runtime)
    examples, reason = _test_examples(signature)
    metric = _measure(folder, signature, {variant for variant, _ in rows}, examples, reason)
    batches = _inputs(folder, signature, examples)
    timings = _time(folder, signature, rows, threads, seconds, batches)
    agreements = _agreements(folder, signature, timings, batches, metric)
    found = {
        "bundle": str(folder),
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        "inputs": "test" if examples is not None else "samples.npz",
        "input_shape": list(next(iter(batches[1].values())).shape[1:]),
        "metric": metric,
        "results": [_result(folder, signature, row, timings[row], metric, agreements.get(row)) for row in rows],
    }
    write_json(folder / RESULTS, found)
    ran = any(not result["error"] for result in found["results"])
    if ran:
        write_benchmark(folder / PLOT, found)
    if as_json:
        print_json(found)
    else:
        _print(found)
        print(f"Wrote {folder / RESULTS}" + f" and {folder / PLOT}" * ran)
        print(f"Next: {_following(folder, signature, found)}")
    if all(result["error"] for result in found["results"]) or (runtime and any(r["error"] for r in found["results"])):
        raise typer.Exit(1)


def open_runtime(name: str, place: "Place") -> "Run":
    """A runtime of ``verify`` as something that is timed; in a process of its own."""
    from dlapp.exporting.runtimes import load
    from dlapp.inference.timing import Timed

    runtime = load(name, place)
    return Timed(runtime.run, runtime.last_s)


def _rows(folder: Path, signature: "Signature", wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    """Variants and runtimes that are measured: all that are installed but the two that nobody deploys.

    Raises:
        UnknownName: there is no such runtime.
        BundleError: a runtime has nothing to run, or is not installed.
    """
    from dlapp.errors import BundleError, UnknownName
    from dlapp.exporting.parity import runnable
    from dlapp.exporting.runtimes import RUNTIMES, is_installed
    from dlapp.inference.bundle import ONNX, variants_of

    unknown = [name for name in wanted or () if name not in RUNTIMES]
    if unknown:
        raise UnknownName("runtime", unknown[0], RUNTIMES)
    there = runnable(folder, signature, _model_of(signature))
    rows = []
    for name in wanted or [name for name in there if name not in _NOT_DEPLOYED]:
        installed = is_installed(name)
        if wanted and (name not in there or not installed):
            lacks = f"not installed ({RUNTIMES[name].install})" if name in there else "no file for it"
            raise BundleError(f"{folder} cannot be run by {name}: {lacks}.")
        variants = variants_of(signature) if RUNTIMES[name].reads == ONNX else ["float32"]
        rows += [(variant, name) for variant in variants if installed]
    return rows


def _model_of(signature: "Signature") -> Path | None:
    from dlapp.training.model_folder import ModelFolder

    folder = ModelFolder.of_bundle(signature)
    return None if folder is None else folder.model


def _test_examples(signature: "Signature") -> "tuple[Examples | None, str]":
    """The test split of the run that a bundle comes from, or why there is none."""
    from dlapp.errors import DlappError
    from dlapp.training.model_folder import ModelFolder
    from dlapp.training.preparing import load_own_data

    try:
        folder = ModelFolder.of_bundle(signature)
        if folder is None:
            name = signature.provenance.get("name", "the model")
            return None, f"models/{name} is not there any more, or was trained again since"
        return load_own_data(folder).test, ""
    except DlappError as error:
        return None, str(error)


def _measure(
    folder: Path, signature: "Signature", variants: set[str], examples: "Examples | None", reason: str
) -> dict[str, Any]:
    """The metric of every variant, by ONNX Runtime: its name and values, or why there are none."""
    from dlapp.cli.variants import measure
    from dlapp.inference.bundle import Bundle, variants_of
    from dlapp.training.answering import JUDGED_BY, SMALLER_IS_BETTER

    name = JUDGED_BY.get(signature.task, "metric")
    values: dict[str, float | None] = {}
    if signature.task not in JUDGED_BY:
        examples, reason = None, f"{folder.name} was not trained by dlapp"
    elif signature.windows is not None:
        reason = "a bundle that slides gives a map, and test has a class for each picture"
    elif examples is not None:
        for variant in variants_of(signature):
            if variant in variants:
                values[variant] = measure(Bundle(folder, variant=variant), examples).value
        reason = "" if values else "it is measured by ONNX Runtime, and there is no ONNX file"
    return {
        "name": name,
        "split": "test",
        "examples": len(examples) if values and examples is not None else 0,
        "smaller_is_better": name in SMALLER_IS_BETTER,
        "values": values,
        "reason": reason,
    }


def _inputs(folder: Path, signature: "Signature", examples: "Examples | None") -> "dict[int, dict[str, np.ndarray]]":
    """Batches of raw inputs of one shape, by name: of test or else of the samples, repeated where they are too few."""
    import numpy as np

    from dlapp import pictures
    from dlapp.exporting import recording
    from dlapp.training.answering_bundles import raw_batches

    if examples is None or signature.windows is not None:  # photographs may be smaller than a window
        named = dict(recording.read(folder, signature)[0].inputs)
    else:
        some = next(iter(raw_batches(examples, signature, range(min(len(examples), max(_SIZES))), size=max(_SIZES))))
        if signature.preprocessing.size is not None:  # 32 photographs as a camera gives them would fill the memory
            some = np.stack([pictures.shrink(picture, _SIDE) for picture in some])
        named = {signature.inputs[0].name: some}
    return {
        size: {name: np.ascontiguousarray(some[np.arange(size) % len(some)]) for name, some in named.items()}
        for size in _SIZES
    }


def _time(
    folder: Path,
    signature: "Signature",
    rows: Sequence[tuple[str, str]],
    threads: int,
    seconds: float,
    batches: "Mapping[int, Mapping[str, np.ndarray]]",
) -> "dict[tuple[str, str], Timing]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from dlapp.exporting.runtimes import RUNTIMES, Place
    from dlapp.inference.bundle import ONNX, file_of
    from dlapp.inference.timing import ROUNDS, Candidate, measure

    model = _model_of(signature)
    candidates = {}
    for variant, name in rows:
        place = Place(folder, signature, file_of(ONNX, variant), model, threads)
        module = f"dlapp.exporting.runtimes.{RUNTIMES[name].module}"
        candidates[variant, name] = Candidate(functools.partial(open_runtime, name, place), module)
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"measuring {len(rows)} of variant and runtime, {ROUNDS} rounds", file=console.file)
    bar = Progress(
        TextColumn("measuring, round"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=ROUNDS)
        return measure(
            candidates,
            batches,
            seconds=seconds,
            tell=lambda number: bar.update(task, completed=number),
        )


def _agreements(
    folder: Path,
    signature: "Signature",
    timings: "Mapping[tuple[str, str], Timing]",
    batches: "Mapping[int, Mapping[str, np.ndarray]]",
    metric: Mapping[str, Any],
) -> dict[tuple[str, str], float]:
    """Of each row that has a metric, the share of inputs with the answer of ONNX Runtime, by which that is measured."""
    from dlapp.exporting import comparing
    from dlapp.exporting.recording import Case
    from dlapp.exporting.replaying import Replay
    from dlapp.inference.bundle import Bundle

    given = batches[max(batches)]
    cases = {
        variant: Case(given, Bundle(folder, variant=variant).run(next(iter(given.values()))))
        for variant in metric["values"]
    }
    return {
        row: comparing.compare(signature, [cases[row[0]]], None, Replay("", [timing.answer], None, 0.0, 0.0)).agreement
        for row, timing in timings.items()
        if timing.answer is not None and row[0] in cases
    }


def _result(
    folder: Path,
    signature: "Signature",
    row: tuple[str, str],
    timing: "Timing",
    metric: Mapping[str, Any],
    agreement: float | None,
) -> dict[str, Any]:
    """One row as JSON has it; without the metric where the runtime has other answers than those it was measured by."""
    import dataclasses

    from dlapp.exporting.parity import shorten
    from dlapp.exporting.runtimes import RUNTIMES, version_of
    from dlapp.inference.bundle import ONNX, file_of

    variant, runtime = row
    reads = RUNTIMES[runtime].reads
    file = file_of(ONNX, variant) if reads == ONNX else reads
    parts = (name for name in signature.files if name == file or name.startswith(f"{file}/"))
    largest = timing.latencies.get(max(_SIZES))
    return {
        "variant": variant,
        "runtime": runtime,
        "version": version_of(runtime),
        "file": file,
        "bytes": sum((folder / name).stat().st_size for name in parts),
        "load_s": timing.load_s,
        "latency": {str(size): dataclasses.asdict(found) for size, found in timing.latencies.items()},
        "throughput": None if largest is None else max(_SIZES) / largest.median_s,
        "peak_memory": timing.peak_memory,
        "same_answers": agreement,
        metric["name"]: metric["values"].get(variant) if agreement == 1.0 else None,
        "error": shorten(timing.error),
    }


def _print(found: dict[str, Any]) -> None:
    import rich
    from rich.markup import escape
    from rich.table import Table

    metric = found["metric"]
    threads = f"{found['threads']} thread" + "s" * (found["threads"] > 1)
    table = Table(
        title=f"{found['bundle']}: {threads}, {found['processor']['name']}",
        caption=_caption(found),
        box=None,  # the columns just fit into 80 characters
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    columns = ["variant", "runtime", "MB", "load\ns", "batch 1\nms (95 %)", "batch 32\nms (95 %)"]
    for number, column in enumerate([*columns, "inputs\n/ s", _below(metric["name"])]):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    for row in found["results"]:
        value = row[metric["name"]]
        figures = ["-"] * 4
        if not row["error"]:
            times = (_tell_latency(row["latency"][str(size)]) for size in _SIZES)
            figures = [f"{row['load_s']:.1f}", *times, _thousands(row["throughput"])]
        megabytes, told = _few_digits(row["bytes"] / 1e6), "-" if value is None else f"{value:.4f}"
        table.add_row(row["variant"], row["runtime"], megabytes, *figures, told)
    rich.print(table)
    for row in found["results"]:
        what = f"{row['variant']} in {row['runtime']}"
        if row["error"]:
            rich.print(escape(f"{what} failed: {row['error']}"))
        elif row["same_answers"] not in (None, 1.0):
            rich.print(
                f"{what} gives the answer of ONNX Runtime to {row['same_answers']:.0%} of {max(_SIZES)} inputs, and so "
                f"has another {metric['name'].replace('_', ' ')}"
            )


def _tell_latency(latency: Mapping[str, float]) -> str:
    median, high = (_few_digits(1000 * latency[key]) for key in ("median_s", "p95_s"))
    return f"{median} ({high})"


def _below(name: str) -> str:
    """The last word of a metric below the others: bits per / character."""
    first, _, last = name.replace("_", " ").rpartition(" ")
    return f"{first}\n{last}" if first else last


def _few_digits(value: float) -> str:
    """Five characters of milliseconds or megabytes, at most."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _thousands(value: float) -> str:
    """Three digits and a unit: 950, 12.3k, 1.05M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:  # what rounds to it
            return f"{value / size:#.3g}{unit}".replace(".M", "M").replace(".k", "k")
    return f"{value:.0f}"


def _caption(found: dict[str, Any]) -> str:
    metric = found["metric"]
    if metric["values"]:
        return f"latency: median and 95 %; {metric['name'].replace('_', ' ')} on {metric['examples']:,} test examples"
    return f"latency: median and 95 %; no metric: {metric['reason']}"


def _following(folder: Path, signature: "Signature", found: dict[str, Any]) -> str:
    from dlapp.cli.export import following_command

    if signature.task == "tensors" or len({row["variant"] for row in found["results"]}) > 1:
        return following_command(folder)
    model = signature.provenance.get("name", "MODEL")
    return f"dlapp export {shlex.quote(model)} --float16"
