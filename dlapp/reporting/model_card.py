"""A model card, ``README.md`` of a model, from its ``results.json`` alone, and the plots that it shows.

Mitchell, M. et al. (2019), Model cards for model reporting. https://arxiv.org/abs/1810.03993
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlapp.files import write_text
from dlapp.reporting import plots
from dlapp.reporting.detection_plots import kinds_of_errors
from dlapp.reporting.report import UNITS, render_template

CURVES, ERRORS, CONFUSION, KINDS = "curves.svg", "errors.svg", "confusion.svg", "kinds-of-errors.svg"
_CURVE = {"regression": "r2", "detection": "iou", "localization": "iou"}  # beside the loss; accuracy of all others
_FEW = 1000  # examples, by which two networks can hardly be told apart


def render(results: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    return render_template(
        "card.md.jinja",
        **{**results, "labels": [_cell(label) for label in results["labels"]]},
        rows=list(_metrics(results)),
        runtimes=list(_runtimes(results)),
        reasons=[(row["runtime"], _one_line(f"{row['reason']} {row['remedy']}")) for row in _unequal(results)],
        limits=list(_limits(results)),
        has_matrix=_has_matrix(results),
        number=number,
        count=count,
    )


def write_plots(folder: Path, results: Mapping[str, Any], history: Sequence[dict[str, float]]) -> list[Path]:
    """Draws the plots that the card shows into ``folder``; returns where they are."""
    drawn = {CURVES: plots.curves(history, _CURVE.get(results["task"], "accuracy"))}
    diagnosis = results["diagnosis"]
    if diagnosis is not None:
        unit = UNITS.get(results["task"], "%")
        drawn[ERRORS] = plots.errors(diagnosis["errors"], diagnosis["bayes_error"], unit=unit)
        if diagnosis["boxes"]:
            drawn[KINDS] = kinds_of_errors(diagnosis["boxes"])
    if _has_matrix(results):
        drawn[CONFUSION] = plots.confusion(results["test"]["confusion_matrix"], results["labels"])
    for name, svg in drawn.items():
        # pages may be dark, where black letters on nothing cannot be read
        write_text(folder / name, re.sub("<svg ", '<svg style="background: white" ', svg, count=1))
    return [folder / name for name in drawn]


def number(value: float | None) -> str:
    """Four digits, or a dash where it is not known."""
    return "-" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:,.4g}"


def count(scores: Mapping[str, Any]) -> str:
    """How much of a split was measured, in its own unit."""
    unit = "characters" if "characters" in scores else "examples"
    return f"{scores[unit]:,} {unit}"


def _has_matrix(results: Mapping[str, Any]) -> bool:
    return "confusion_matrix" in results["test"] and results["classes"] == len(results["labels"])


def _metrics(results: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row for each number that was measured on all splits, with the interval on test where there is one."""
    splits = [results[name] for name in ("train", "dev", "test")]
    for key, value in splits[-1].items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        told = [f"{scores[key]:,}" if isinstance(value, int) else number(scores[key]) for scores in splits]
        interval = splits[-1].get(f"{key}_interval")
        if interval is not None:
            told[-1] += f" ({number(interval[0])} to {number(interval[1])})"
        yield [key.replace("_", " "), *told]
    headline, diagnosis = results["headline"], results["diagnosis"]
    if diagnosis is not None and headline["interval_of"] not in (None, headline["metric"]):
        errors = [diagnosis["errors"].get(name) for name in ("train", "dev", "test")]
        told = [f"{number(e['value'])} ({number(e['low'])} to {number(e['high'])})" if e else "-" for e in errors]
        yield [f"{headline['interval_of'].replace('_', ' ')}, mean", *told]


def _runtimes(results: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row for each runtime: verdict, largest difference and latency of the float32 files."""
    found = {row["runtime"]: row for row in results["parity"] or ()}
    timed = {row["runtime"]: row for row in (results["benchmark"] or {"results": ()})["results"]}
    for name in dict.fromkeys([*found, *timed]):
        row, times = found.get(name), timed.get(name)
        latency = [_latency(times, size) for size in ("1", "32")]
        if row is None:
            yield [name, "-", "not verified", "-", *latency]
            continue
        difference = "-" if row["largest_difference"] is None else f"{row['largest_difference']:.1e}"
        yield [name, row["version"] or "-", row["verdict"], difference, *latency]


def _latency(row: Mapping[str, Any] | None, size: str) -> str:
    return "-" if row is None or row["error"] else f"{1000 * row['latency'][size]['median_s']:.3g}"


def _unequal(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in results["parity"] or () if row["verdict"] != "equal"]


def _limits(results: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must not expect of the network, as far as it was measured."""
    data, test, diagnosis = results["data"], results["test"], results["diagnosis"] or {}
    yield (
        f"It knows `{data['source']}` alone. How good it is on anything else was not measured: "
        f"`dlapp evaluate {shlex.quote(results['name'])} --data SOURCE` does."
    )
    if not data["own_splits"]:
        yield "Its test examples were drawn at random from the data that it was trained on, and are of the same kind."
    if test["examples"] < _FEW and results["task"] != "language_model":
        yield f"Test has {test['examples']:,} examples: differences to another network within its interval mean little."
    if results["classes"] > 1 and "per_class" in test and "f1" in test["per_class"][0]:
        worst = min(test["per_class"], key=lambda row: row["f1"] if row["f1"] is not None else 2)
        if worst["f1"] is not None and worst["f1"] < 1:
            yield f"It is worst on {_cell(worst['label'])}, with an F1 of {worst['f1']:.4f} on test."
    for pair in diagnosis.get("confused", ()):
        told = f"{_cell(pair['true'])} taken for {_cell(pair['predicted'])}"
        yield f"Most confused on dev: {told} ({pair['count']} times)."
    for segment in diagnosis.get("segments", ()):
        yield (
            f"Worse on {_cell(segment['name'])} {_cell(segment['value'])}: error {segment['error']:.4g}, "
            f"{segment['rest_error']:.4g} elsewhere."
        )
    yield from diagnosis.get("limits", ())
    if results["task"] == "classification":
        yield "It gives one of its classes to every input: it has no answer for what is none of them."


def _cell(text: object) -> str:
    """A label as text that neither ends a cell of a table nor becomes HTML."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", _one_line(str(text)))


def _one_line(text: str) -> str:
    return " ".join(text.split())
