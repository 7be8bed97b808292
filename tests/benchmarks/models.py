"""The reference models: ``make models`` trains each recipe of ``models/`` and writes its card and the table.

``python -m tests.benchmarks.models [--cards] [NAME]...``: in build/models each is trained, diagnosed, exported, proven
in every runtime that is installed and timed; with ``--cards`` only the cards are written, from what is there. They go
to ``models/NAME/``, unless the metric lies outside the 95 % interval that is recorded there: then the record stays as
it is, and the command ends with status 1.
"""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from dlapp.cli.app import app
from dlapp.files import write_text
from dlapp.reporting.model_card import number
from dlapp.training.model_folder import ModelFolder

MODELS = Path(__file__).parents[2] / "models"
_BASES = {"transfer-other-digits": "lenet5-first-digits"}  # what starts from which
_SECONDS = "0.5"  # that each runtime is timed with each batch size


def recipes() -> list[str]:
    """The names of the reference models: folders with a recipe, and no run beside it."""
    found = (ModelFolder(path.parent) for path in MODELS.glob("*/recipe.toml"))
    return sorted(one.path.name for one in found if not (one.metrics.exists() or one.last_state.exists()))


def main(arguments: Sequence[str]) -> None:
    """Makes the models of these names, or all."""
    warnings.filterwarnings("ignore")  # of the libraries
    known = recipes()
    names = [one for one in arguments if one != "--cards"]
    work = MODELS.parent / "build" / "models"
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    failures = []
    for name in sorted(names or known, key=lambda name: (name in _BASES, name)):
        print(f"\n{name}", flush=True)
        failure = (None if "--cards" in arguments else _measure(name)) or _record(name)
        failures += [f"{name}: {failure}"] if failure else []
    write_text(MODELS / "README.md", table(_read_all(known)))
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


def _measure(name: str) -> str | None:
    """Trains one and measures it in every way; or says what failed."""
    base = ["--from", _BASES[name]] if name in _BASES else []
    shutil.rmtree(Path("export") / name, ignore_errors=True)
    return (
        _run("train", str(ModelFolder(MODELS / name).recipe), "--name", name, "--overwrite", *base)
        or _run("diagnose", name)
        or _run("export", name)
        or _run("verify", name, "--all", allowed=(0, 1))  # the card tells which runtimes differ
        or _run("benchmark", name, "--seconds", _SECONDS)
    )


def _run(*arguments: str, allowed: Sequence[int] = (0,)) -> str | None:
    try:
        status = app(list(arguments), standalone_mode=False) or 0
    except Exception as error:
        status = error
    keras.utils.clear_session(free_memory=True)
    return None if status in allowed else f"dlapp {' '.join(arguments)} failed: {status}"


def _record(name: str) -> str | None:
    """Writes the card of a model that was measured, and keeps it; or says why not."""
    made, recorded = ModelFolder(Path("models") / name), ModelFolder(MODELS / name)
    failure = _run("card", name)
    if failure:
        return failure
    found = json.loads(made.results.read_text(encoding="utf-8"))["headline"]
    if recorded.results.is_file():
        before = json.loads(recorded.results.read_text(encoding="utf-8"))["headline"]
        if found["measured"] is None or not before["low"] <= found["measured"] <= before["high"]:
            interval = f"{number(before['measured'])} ({number(before['low'])} to {number(before['high'])})"
            return f"{before['interval_of']} is {number(found['measured'])}, and was {interval}"
    for path in (made.results, made.card, *made.path.glob("*.svg")):
        shutil.copyfile(path, recorded.path / path.name)
    header, *_ = made.recipe.read_text(encoding="utf-8").splitlines()  # command, machine, time and metric
    lines = recorded.recipe.read_text(encoding="utf-8").splitlines()
    kept = lines[1:] if lines[0].startswith("# dlapp train") else lines
    write_text(recorded.recipe, "\n".join([header, *kept]) + "\n")
    return None


def _read_all(names: Sequence[str]) -> list[dict[str, Any]]:
    paths = (ModelFolder(MODELS / name).results for name in names)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def table(every: Sequence[Mapping[str, Any]]) -> str:
    """The text of ``models/README.md``."""
    return "\n".join([_HEAD, *_rows(every), "", _FOOT])


def _rows(every: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for results in every:
        headline, training = results["headline"], results["training"]
        told = number(headline["value"])
        if headline["interval_of"] == headline["metric"]:
            told += f" ({number(headline['low'])} to {number(headline['high'])})"
        cells = (
            f"[{results['name']}]({results['name']}/README.md)",
            f"`{results['architecture']}`",
            f"`{results['data']['source']}`",
            f"{results['parameters']:,}",
            headline["metric"].replace("_", " "),
            told,
            f"{training['seconds']:.0f} s",
            _equal(results["parity"]),
        )
        yield f"| {' | '.join(cells)} |"


def _equal(parity: Sequence[Mapping[str, Any]] | None) -> str:
    """How many of the runtimes that were there gave Keras's answers."""
    there = [row for row in parity or () if row["verdict"] != "not installed"]
    return f"{sum(row['verdict'] == 'equal' for row in there)} of {len(there)}"


_HEAD = """\
# Reference models

Made by `make models`, which trains each recipe anew, on data that dlapp brings, and fails where a metric lies outside
the 95 % interval of the last record. Nothing here is typed by hand: the cards are `dlapp card`'s, from `results.json`.
Weights are not kept: the command in the first line of a recipe makes them.

| model | architecture | data | parameters | metric | on test (95 %) | training | runtimes that agree |
| --- | --- | --- | ---: | --- | ---: | ---: | ---: |"""
_FOOT = """\
Training is the sum of the epochs on 2 processor cores. A metric without an interval (boxes, text) is judged anew by
the error that its card has one for. Which runtimes disagree, and why, is in the cards; all architectures in all
runtimes are [another table](../export/README.md).
"""

if __name__ == "__main__":
    main(sys.argv[1:])
