"""The reference models: ``make models`` trains each recipe of ``models/`` and writes its card and the table.

``python -m tests.benchmarks.models [NAME]...``: in build/models each is trained, diagnosed, exported, verified in every
runtime that is installed and timed. What ``dlapp card`` then writes goes to ``models/NAME/``, unless its metric lies
outside the 95 % interval that is recorded there: then the record stays as it is, and the command ends with status 1.
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


def main(names: Sequence[str]) -> None:
    """Makes the models of these names, or all."""
    warnings.filterwarnings("ignore")  # of the libraries
    known = sorted(path.parent.name for path in MODELS.glob("*/recipe.toml"))
    wanted = sorted(names or known, key=lambda name: (name in _BASES, name))
    work = MODELS.parent / "build" / "models"
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    failures = [failure for name in wanted if (failure := _make(name))]
    write_text(MODELS / "README.md", table(_read_all(known)))
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


def _make(name: str) -> str | None:
    """Trains and measures one, and records it; or says why not."""
    print(f"\n{name}", flush=True)
    base = ["--from", _BASES[name]] if name in _BASES else []
    made, recorded = ModelFolder(Path("models") / name), ModelFolder(MODELS / name)
    for arguments in (
        ["train", str(recorded.recipe), "--name", name, "--overwrite", *base],
        ["diagnose", name],
        ["export", name],
        ["verify", name, "--all"],
        ["benchmark", name, "--seconds", _SECONDS],
        ["card", name],
    ):
        if arguments[0] == "export":
            shutil.rmtree(Path("export") / name, ignore_errors=True)
        try:
            app(arguments, standalone_mode=False)
        except Exception as error:
            return f"{name}: dlapp {' '.join(arguments)} failed: {error}"
        keras.utils.clear_session(free_memory=True)
    results = json.loads(made.results.read_text(encoding="utf-8"))
    if recorded.results.is_file():
        before = json.loads(recorded.results.read_text(encoding="utf-8"))["headline"]
        if not before["low"] <= results["headline"]["measured"] <= before["high"]:
            return (
                f"{name}: {before['interval_of']} is {number(results['headline']['measured'])}, and was "
                f"{number(before['measured'])} ({number(before['low'])} to {number(before['high'])})"
            )
    for path in (made.results, made.card, *made.path.glob("*.svg")):
        shutil.copyfile(path, recorded.path / path.name)
    _write_header(recorded.recipe, results)
    return None


def _write_header(recipe: Path, results: Mapping[str, Any]) -> None:
    """Command, machine, time and metric in the first line of a recipe."""
    lines = recipe.read_text(encoding="utf-8").splitlines()
    if lines[0].startswith("# dlapp train"):
        del lines[0]
    training, headline = results["training"], results["headline"]
    machine = f"{training['processors']} CPU cores, {training['seconds']:.0f} s"
    metric = f"test {headline['metric'].replace('_', ' ')} {number(headline['value'])}"
    header = f"# dlapp train models/{results['name']}/recipe.toml       {machine}, {metric}"
    write_text(recipe, "\n".join([header, *lines]) + "\n")


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
its recorded 95 % interval. Nothing here is typed by hand: the cards are `dlapp card`'s, from `results.json`. Weights
are not kept: the command in the first line of a recipe makes them.

| model | architecture | data | parameters | metric | on test (95 %) | training | runtimes that agree |
| --- | --- | --- | ---: | --- | ---: | ---: | ---: |"""
_FOOT = """\
Training is the sum of the epochs on 2 processor cores. A metric without an interval (boxes, text) is judged anew by
the error that its card has one for. Which runtimes disagree, and why, is in the cards; all architectures in all
runtimes are [another table](../export/README.md).
"""

if __name__ == "__main__":
    main(sys.argv[1:])
