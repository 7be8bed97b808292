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
from dlapp.reporting.parity_page import INCOMPARABLE
from dlapp.reporting.report import UNITS, render_template

MARK = "<!-- written by `dlapp card`"  # how a card begins
CURVES, ERRORS, CONFUSION, KINDS = "curves.svg", "errors.svg", "confusion.svg", "kinds-of-errors.svg"
_CURVE = {"regression": "r2", "detection": "iou", "localization": "iou"}  # beside the loss; accuracy of all others
_FEW = 1000  # examples, by which two networks can hardly be told apart
_LABELS = 20  # that are named


def render(results: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    name, training = results["name"], results["training"]
    return render_template(
        "card.md.jinja",
        **{**results, "labels": [_escape(label) for label in results["labels"][:_LABELS]]},
        mark=MARK,
        quoted=shlex.quote(name),
        command=f"dlapp train {shlex.quote(f'models/{name}/recipe.toml')}",
        trained=_count(training["epochs"], "epoch"),
        rows=list(_metrics(results)),
        runtimes=list(_runtimes(results)),
        remarks=list(_remarks(results)),
        limits=list(_limits(results)),
        number=number,
        count=count,
        columns=[_escape(column) for column in results["data"]["columns"]],
        escape=_escape,
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
    if results["confusion_matrix"]:
        drawn[CONFUSION] = plots.confusion(results["confusion_matrix"], results["labels"])
    for name, svg in drawn.items():
        # pages may be dark, where black letters on nothing cannot be read
        write_text(folder / name, re.sub("<svg ", '<svg style="background: white" ', svg, count=1))
    return [folder / name for name in drawn]


def number(value: float | None) -> str:
    """Four decimals; of numbers from 10 on and below a thousandth four digits; a dash where it is not known."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}" if size >= 10 or 0 < size < 1e-3 else f"{value:.4f}"


def count(scores: Mapping[str, Any]) -> str:
    """How much of a split was measured, in its own unit."""
    unit = "character" if "characters" in scores else "example"
    return _count(scores[f"{unit}s"], unit)


def _count(several: int, unit: str) -> str:
    return f"{several:,} {unit}" + "s" * (several != 1)


def _metrics(results: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row for each number of any split, with the interval on test where there is one."""
    splits = [results[name] for name in ("train", "dev", "test")]
    for key in dict.fromkeys(key for scores in splits for key in scores if key != "threshold"):
        values = [scores.get(key) for scores in splits]
        known = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if not known or (key == "examples" and "characters" in splits[-1]):  # a running text is one example
            continue
        told = [f"{value:,}" if isinstance(value, int) else number(value) for value in values]
        interval = splits[-1].get(f"{key}_interval")
        if interval is not None:
            told[-1] += f" ({number(interval[0])} to {number(interval[1])})"
        yield [key.replace("_", " "), *told]
    headline, diagnosis = results["headline"], results["diagnosis"]
    if diagnosis is not None and headline["interval_of"] not in (None, headline["metric"]):
        errors = [diagnosis["errors"][name] for name in ("train", "dev", "test")]
        told = [f"{number(e['value'])} ({number(e['low'])} to {number(e['high'])})" for e in errors]
        yield [f"{headline['interval_of']}, mean", *told]


def _runtimes(results: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row for each runtime: verdict, largest difference and latency of the float32 files."""
    found = {row["runtime"]: row for row in results["parity"] or ()}
    timed = {row["runtime"]: row for row in (results["benchmark"] or {"results": ()})["results"]}
    for name in dict.fromkeys([*found, *timed]):
        latency = [_latency(timed.get(name), size) for size in ("1", "32")]
        if name not in found:
            yield [name, "-", "not verified", "-", *latency]
            continue
        row = found[name]
        difference = row["largest_difference"]
        told = "-" if difference is None or difference >= INCOMPARABLE else f"{difference:.1e}"
        yield [name, row["version"] or "-", row["verdict"], told, *latency]


def _latency(row: Mapping[str, Any] | None, size: str) -> str:
    return "-" if row is None or row["error"] else f"{1000 * row['latency'][size]['median_s']:.3g}"


def _remarks(results: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each runtime that does not do all: where it differs, or why it cannot, and what does."""
    for row in results["parity"] or ():
        told = "; ".join(_escape(row[key]) for key in ("where", "reason", "remedy") if row[key])
        if told:
            yield f"{row['runtime']}, {row['verdict']}: {told}"


def _limits(results: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must not expect of the network, as far as it was measured."""
    data, test, diagnosis = results["data"], results["test"], results["diagnosis"] or {}
    base = f" and what `{results['base']}` was trained on" if results["base"] else ""
    yield (
        f"It knows `{data['source']}`{base} alone. How good it is on anything else was not measured: "
        f"`dlapp evaluate {shlex.quote(results['name'])} --data SOURCE` does."
    )
    if results["task"] == "language_model" and test["examples"] == 1:
        yield "Its test is the end of the text that it was trained on."
    elif "test" not in data["own_splits"]:
        yield "Its test examples were drawn at random from the data that it was trained on, and are of the same kind."
    if test["examples"] < _FEW and results["task"] != "language_model":
        told = _count(test["examples"], "example")
        yield f"Test has {told}: differences to another network within its interval mean little."
    worst = results["worst_class"]
    if worst is not None:
        yield f"It is worst on {_escape(worst['label'])}, with an F1 of {worst['f1']:.4f} on test."
    for pair in diagnosis.get("confused", ()):
        told = f"{_escape(pair['true'])} taken for {_escape(pair['predicted'])}"
        yield f"Most confused on dev: {told} ({_count(pair['count'], 'time')})."
    for segment in diagnosis.get("segments", ()):
        yield (
            f"Worse on {_escape(segment['name'])} {_escape(segment['value'])}: error {segment['error']:.4g}, "
            f"{segment['rest_error']:.4g} elsewhere."
        )
    yield from (_escape(sentence) for sentence in diagnosis.get("repeats", ()))
    if diagnosis.get("likely_wrong_labels"):
        doubtful = _count(diagnosis["likely_wrong_labels"], "label")
        yield f"{doubtful} of its data may be wrong: `dlapp diagnose` lists them."
    yield from diagnosis.get("limits", ())
    if results["task"] == "classification":
        yield "It gives one of its classes to every input: it has no answer for what is none of them."


def _escape(text: object) -> str:
    """Text on one line that neither ends a cell of a table nor becomes Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", " ".join(str(text).split()))
