"""``parity.html``: what ``dlapp verify`` measured, for people."""

import datetime
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
from matplotlib.axes import Axes

from dlapp.reporting.plots import BEST, STYLE, TRAIN, as_svg
from dlapp.reporting.report import write_template
from dlapp.signature import Signature

_WRONG = "#b3402a"
INCOMPARABLE = 1e30  # beyond, no numbers were compared: another shape, another count, or not a number
_NOTHING = 1e-10  # a difference of 0 on a logarithmic axis
_ORDER = ("equal", "differs", "crashed", "not supported", "not installed")
_UNITS = {
    "regression": "as a share of the target's deviation or mean, whichever is larger",
    "localization": "of scores",
    "detection": "of scores",
    "tensors": "of the model's own numbers",
    "sequence_to_sequence": "as a share of the largest number in a state, if that is above 1",
}


def write_parity(path: Path, name: str, parity: Mapping[str, Any], signature: Signature, *, strict: bool) -> None:
    """Writes the page.

    Args:
        path: of the page.
        name: of the bundle.
        parity: what ``parity.json`` holds.
        signature: of the bundle.
        strict: whether a runtime that is not installed is a fault.
    """
    rows = sorted(parity["results"], key=lambda row: _ORDER.index(row["verdict"]))
    ran = [row for row in rows if row["agreement"] is not None]
    equal = [row for row in rows if row["verdict"] == "equal"]
    found = {verdict: [row["runtime"] for row in rows if row["verdict"] == verdict] for verdict in _ORDER}
    write_template(
        path,
        "parity.html.jinja",
        name=name,
        signature=signature,
        parity=parity,
        holds=parity["holds"] and not (strict and found["not installed"]),
        verdict=_say(found),
        rows=rows,
        others=[row for row in rows if row["verdict"] != "equal" or row["reason"]],
        equal=equal,
        largest=max((row["largest_difference"] for row in equal), default=None),
        fastest=min(equal, key=lambda row: row["latency_s"], default=None),
        plot=_plot(ran, parity["tolerance"]) if ran else None,
        unit=_UNITS.get(signature.task, "of probabilities"),
        shapes=[" x ".join(map(str, shape)) for shape in parity["input_shapes"]],
        incomparable=INCOMPARABLE,
        command=f"dlapp verify {shlex.quote(name)}",
        when=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )


def _say(found: Mapping[str, Sequence[str]]) -> str:
    """The verdict in a sentence."""
    total = sum(map(len, found.values()))
    same = len(found["equal"])
    told = [f"{same} of {total} runtimes give the answers of Keras" if same < total else "Every runtime agrees"]
    if same == total == 1:
        told = [f"{found['equal'][0]} gives the answers of Keras"]
    elif same == total:
        told = [f"All {total} runtimes give the answers of Keras"]
    for verdict, one, more in (
        ("differs", "gives others", "give others"),
        ("crashed", "crashed", "crashed"),
        ("not supported", "cannot run the bundle", "cannot run the bundle"),
        ("not installed", "is not installed", "are not installed"),
    ):
        names = found[verdict]
        if names:
            listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            told.append(f"{listed} {one if len(names) == 1 else more}")
    return "; ".join(told) + "."


def _plot(rows: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """The latency of each runtime, and how far its answers are from those of Keras, the fastest at the top."""
    rows = sorted(rows, key=lambda row: row["latency_s"])
    places = [-number for number in range(len(rows))]
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "parity", "axes.grid.axis": "x"}):
        figure = matplotlib.figure.Figure(figsize=(9.6, 0.36 * len(rows) + 1.1), layout="constrained")
        speed, apart = figure.subplots(1, 2, sharey=True)
        _bars(speed, places, [1000 * row["latency_s"] for row in rows], rows)
        speed.set(xlabel="latency of one sample alone in ms", yticks=places)
        speed.set_yticklabels([row["runtime"] for row in rows], parse_math=False)
        far = 10 * max(1.0, *(row["largest_difference"] for row in rows if row["largest_difference"] < INCOMPARABLE))
        for place, row in zip(places, rows, strict=True):
            value = row["largest_difference"]
            drawn = far if value >= INCOMPARABLE else max(value, _NOTHING)
            apart.plot([_NOTHING, drawn], [place, place], color="#d5dae2", linewidth=2, zorder=1)
            marker = ">" if value >= INCOMPARABLE else "o"
            apart.plot(drawn, place, marker, color=_color(row), markersize=7, clip_on=False)
        apart.axvspan(tolerance, far, color=_WRONG, alpha=0.05, linewidth=0)
        apart.axvline(tolerance, color=BEST, linestyle=":", label=f"tolerance: {tolerance:.0e}")
        apart.set(xscale="log", xlim=(_NOTHING, far), xlabel="largest difference from Keras")
        apart.tick_params(left=False)
        figure.legend(frameon=False, loc="outside upper right")
        return as_svg(figure)


def _bars(axes: Axes, places: Sequence[int], values: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> None:
    values = [max(value, 1e-6) for value in values]
    least = 10.0 ** (math.floor(math.log10(min(values))) - (math.log10(min(values)) % 1 < 0.1))
    axes.barh(
        places, [value - least for value in values], 0.62, left=least, color=[_color(row) for row in rows], zorder=2
    )
    for place, value in zip(places, values, strict=True):
        axes.text(value * 1.12, place, f"{value:.3g}", va="center", fontsize=9)
    axes.set(xscale="log", xlim=(least, max(values) * 4))


def _color(row: Mapping[str, Any]) -> str:
    return TRAIN if row["verdict"] == "equal" else _WRONG
