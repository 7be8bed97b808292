"""Every architecture, trained and exported, in every runtime: ``make runtimes`` writes ``export/README.md``.

``python -m tests.benchmarks.runtimes [--again] [FOLDER]``: FOLDER (build/runtimes) keeps what is trained, exported and
measured, so that an interrupted run goes on. With ``--again`` it exports and measures anew what it has trained.
"""

import datetime
import json
import os
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from dlapp.architectures import ARCHITECTURES
from dlapp.cli.export import export_folder
from dlapp.errors import DlappError
from dlapp.exporting.parity import PARITY, runnable, verify
from dlapp.exporting.runtimes import RUNTIMES
from dlapp.files import write_json, write_text
from dlapp.inference.bundle import SIGNATURE
from dlapp.recipe import Recipe, with_changes
from dlapp.signature import Signature
from dlapp.training import preparing
from dlapp.training import run as runs
from dlapp.training.model_folder import ModelFolder

README = Path(__file__).parents[2] / "export" / "README.md"
_SENTENCES = 120

# what of it is not in its name, and its recipe
Row = tuple[str, dict[str, Any]]


def rows(texts: Path) -> dict[str, Row]:
    """What is trained, quick ones first: by name, what is said of it and its recipe.

    Pictures are as small as the network takes, since a difference between runtimes does not hang on their size.
    """
    tables = {
        "linear_unit": "diabetes",
        "logistic_unit": "breast_cancer",
        "softmax_regression": "iris",
        "shallow_network": "wine",
        "deep_network": "iris",
    }
    found = {name: _row(data=data, epochs=5) for name, data in tables.items()}
    found["lenet5"] = _row(data="digits", epochs=3)
    found["lenet5 antialias"] = _row("shrunk with antialias", data="digits", size=16, antialias=True, epochs=2)
    found["lenet5 sliding"] = _row("slides", data="digits", epochs=2)
    few = "shapes?examples=200&size=64"
    found["localizer"] = _row(data=f"{few}&objects=1", size=64, epochs=3, min_score=0.05)
    found["yolo_grid"] = _row(data=f"{few}&objects=2", size=64, epochs=3, min_score=0.05)
    found["yolo_grid letterbox"] = _row(
        "letterboxed", data=f"{few}&objects=2", size=64, epochs=3, min_score=0.05, resize="letterbox"
    )
    sentences, tagged = f"labelled:{texts}/moods.tsv", f"conllu:{texts}/tags.conllu"
    for cell in ("simple", "gru", "lstm"):
        found |= {
            f"recurrent {cell} picture": _row(f"{cell}, a step a row", data="digits", epochs=2, cell=cell),
            f"recurrent {cell} classes": _row(f"{cell}, both directions, average", data=sentences, cell=cell),
            f"recurrent {cell} tags": _row(f"{cell}, both directions", data=tagged, cell=cell, bidirectional=True),
            f"recurrent {cell} characters": _row(
                f"{cell}, two layers", data="pydoc", cell=cell, units=[32, 32], epochs=1
            ),
            f"recurrent {cell} dates": _row(
                f"{cell}, encoder-decoder", data="dates?examples=1000", cell=cell, epochs=2
            ),
        }
    found["recurrent gru published"] = _row("gru, reset before", data="digits", epochs=2, cell="gru", reset_after=False)
    found["recurrent lstm row"] = _row("lstm, one step", data="iris", cell="lstm", form="one_to_one")
    for name, at in ARCHITECTURES.items():
        if name in found or name == "recurrent":
            continue
        size = {"alexnet": 67, "inception_v1": 65}.get(name, 32)
        assert at.size is not None, f"{name} is new: say what it is trained on"
        found[name] = _row(data="digits", size=size, epochs=2, batch_size=32)
    return found


def _row(what: str = "", *, data: str, **settings: Any) -> Row:
    values: dict[str, Any] = {"data": data, "training.epochs": settings.pop("epochs", 4)}
    for table, keys in (
        ("training", ("batch_size",)),
        ("preprocessing", ("size", "antialias", "resize")),
        ("detection", ("min_score",)),
    ):
        values |= {f"{table}.{key}": settings.pop(key) for key in keys if key in settings}
    if "cell" in settings:
        settings = {"units": 32, "embedding_size": 16} | settings
        if data in ("iris", "digits"):
            del settings["embedding_size"]
    return what, values | {f"architecture_options.{key}": value for key, value in settings.items()}


def main(arguments: Sequence[str]) -> None:
    """Trains, exports and measures what is not there yet, and writes the table behind each."""
    warnings.filterwarnings("ignore")  # of the libraries
    again = "--again" in arguments
    folders = [one for one in arguments if not one.startswith("--")]
    work = Path(folders[0] if folders else "build/runtimes").absolute()
    _write_texts(work / "texts")
    os.chdir(work)
    wanted = rows(Path("texts"))
    for name, (_, values) in wanted.items():
        started = time.perf_counter()
        try:
            _error_of(name).unlink(missing_ok=True)
            done = _make(name.replace(" ", "-"), name.split()[0], values, again=again)
        except DlappError as error:
            done = f"{type(error).__name__}: {error}"
            write_json(_error_of(name), {"error": done})
        print(f"{name}: {done}, {time.perf_counter() - started:.0f} s", flush=True)
        write_text(README, render(wanted))


def _error_of(name: str) -> Path:
    return Path("export") / f"{name.replace(' ', '-')}.json"


def _make(name: str, architecture: str, values: Mapping[str, Any], *, again: bool) -> str:
    model, bundle = ModelFolder(Path("models") / name), Path("export") / name
    if not model.metrics.is_file():
        keras.backend.clear_session()
        shutil.rmtree(model.path, ignore_errors=True)
        recipe = Recipe.from_values(with_changes({}, {"architecture": architecture, **values}))
        with Path("log").open("a") as log:
            runs.train(preparing.prepare(recipe), model, Console(file=log))
    if again or not bundle.is_dir():
        sliding = name.endswith("-sliding")
        export_folder(model, bundle, sliding=sliding, approximate=sliding)
    elif len(json.loads((bundle / PARITY).read_text())["results"]) == len(RUNTIMES):
        return "was there"
    signature = Signature.read(bundle / SIGNATURE)
    verify(bundle, runnable(bundle, signature, model.model), model=model.model, isolated=True)
    return "done"


def _write_texts(folder: Path) -> None:
    """Sentences with a tag for each word and a mood for the whole: no such set is shipped with any package."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {
        "ADJ": ("good", "bad", "old", "green"),
        "NOUN": ("day", "cat", "book"),
        "VERB": ("runs", "sleeps", "falls"),
    }
    draw, tagged, moods = np.random.default_rng(0), [], []
    for _ in range(_SENTENCES):
        sentence = [(tag, str(draw.choice(words[tag]))) for tag in draw.choice(list(words), draw.integers(2, 9))]
        tagged += [f"{place}\t{word}\t_\t{tag}" + "\t_" * 6 for place, (tag, word) in enumerate(sentence, start=1)]
        tagged.append("")
        text = " ".join(word for _, word in sentence)
        moods.append(f"{text}\t{'long' if len(sentence) > 4 else 'short'}")
    write_text(folder / "tags.conllu", "\n".join(tagged) + "\n")
    write_text(folder / "moods.tsv", "\n".join(moods) + "\n")


def render(wanted: Mapping[str, Row]) -> str:
    """``export/README.md``, of what is measured so far."""
    found, failed = {}, {}
    for name in wanted:
        folder = Path("export") / name.replace(" ", "-")
        if (folder / PARITY).is_file():
            parity = json.loads((folder / PARITY).read_text())
            if len(parity["results"]) > 3:  # else by the export alone
                found[name] = parity
        if _error_of(name).is_file():
            failed[name] = json.loads(_error_of(name).read_text())["error"]
    lines = [
        "# Bundles",
        "",
        "`dlapp export` writes its bundles into this folder; `clients/` holds small programs that run one.",
        "",
        "Which runtime computes what Keras does, for every architecture: `dlapp verify BUNDLE --all`, which replays",
        "the samples of a bundle and compares with the recorded answers of Keras. A number is the largest difference,",
        "of a probability, of the score of a box, or of a value as a share of its deviation or mean; up to",
        f"{_tolerances(found)} counts as equal.",
        f"Made by `make runtimes` on {datetime.datetime.now(tz=datetime.UTC).date()}: {_machine()}.",
        "",
        "| architecture | trained on | input | " + " | ".join(RUNTIMES) + " |",
        "| --- " * (3 + len(RUNTIMES)) + "|",
    ]
    for name, parity in found.items():
        what, values = wanted[name]
        results = {one["runtime"]: one for one in parity["results"]}
        told = [name.split()[0] + (f" ({what})" if what else ""), _data(values["data"]), _input(name)]
        cells = [_cell(results[runtime]) if runtime in results else "" for runtime in RUNTIMES]
        lines.append("| " + " | ".join(told + cells) + " |")
    lines += ["", *_reasons(found)]
    lines += [f"- {name} was not exported: {error}" for name, error in failed.items()]
    versions = {
        one["runtime"]: one["version"] for parity in found.values() for one in parity["results"] if one["version"]
    }
    lines += [
        "",
        "tract takes the batch of a network with shortcuts by its name, `set_input_fact(0, 'batch,224,224,3,u8')`,",
        "its size after `into_model()` by `SetSymbols({'batch': 1})`; in Rust `with_ignore_value_info(true)` does.",
    ]
    lines += ["", "Versions: " + ", ".join(f"{name} {versions[name]}" for name in RUNTIMES if name in versions) + "."]
    return "\n".join(lines) + "\n"


def _cell(result: Mapping[str, Any]) -> str:
    verdict = result["verdict"]
    if result["largest_difference"] is None:
        return f"{verdict} ({result['operator']})" if result["operator"] else verdict
    apart = result["largest_difference"]
    told = f"{verdict} {apart:.0e}".replace("0e+00", "0") if result["agreement"] == 1.0 or apart < 1 else verdict
    run, cases = result["cases"]
    return told if run == cases else f"{told}, {run} of {cases} samples"


def _reasons(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Once for each kind: what a runtime says, of which bundles, and what to do instead."""
    kinds: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
    for name, parity in found.items():
        for one in parity["results"]:
            if one["verdict"] != "equal":
                key = one["runtime"], one["verdict"], one["operator"] or one["reason"]
                kinds.setdefault(key, []).append((name, one))
    for (runtime, verdict, _), cases in sorted(
        kinds.items(), key=lambda kind: (list(RUNTIMES).index(kind[0][0]), kind[0])
    ):
        worst = max((one for _, one in cases), key=lambda one: one["largest_difference"] or 0.0)
        what = f"{verdict} ({worst['operator']})" if worst["operator"] else verdict
        said = f"`{worst['reason']}`" if worst["reason"] else worst["where"]
        remedies = "; ".join(sorted({one["remedy"] for _, one in cases if one["remedy"]})) or "none"
        yield f"- {runtime}, {what}, of {_count(name for name, _ in cases)}: {said}. Instead: {remedies}."


def _count(names: Iterator[str]) -> str:
    each = list(names)
    return ", ".join(each[:8]) + (f" and {len(each) - 8} more" if len(each) > 8 else "")


def _data(source: str) -> str:
    scheme, _, rest = source.partition(":")
    return f"{scheme}, made up" if rest else scheme.partition("?")[0]


def _input(name: str) -> str:
    preprocessing = Signature.read(Path("export") / name.replace(" ", "-") / SIGNATURE).preprocessing
    if preprocessing.vocabulary is not None:
        return f"{preprocessing.vocabulary.unit}s"
    if preprocessing.size is None:
        return f"{preprocessing.width} columns"
    return " x ".join(map(str, (*preprocessing.size, preprocessing.channels)))


def _tolerances(found: Mapping[str, Mapping[str, Any]]) -> str:
    return " or ".join(f"{value:.0e}" for value in sorted({parity["tolerance"] for parity in found.values()}))


def _machine() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{platform.system()}, {names[0] if names else platform.machine()}, {os.cpu_count()} CPU cores"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main(sys.argv[1:])
