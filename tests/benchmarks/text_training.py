"""Training a character model, against the plainest Keras script and against PyTorch, with the same network."""

import importlib.util
import io
import time
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from rich.console import Console

from dlapp import texts
from dlapp.architectures import recurrent
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training import run as runs
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder
from tests.benchmarks.timing import EpochClock, tell

_CHARACTERS, _WINDOW, _BATCH, _EPOCHS, _UNITS, _EMBEDDING, _TURNS = 288_000, 100, 32, 6, 128, 64, 2
_DEV = 20  # windows


def run(folder: Path) -> None:
    """The beginning of Python's topics in windows of 100; the epoch that compiles does not count.

    Ours also keeps the weights and what resuming needs after each epoch.
    """
    text = "\n\n".join(topics.values())[:_CHARACTERS]
    (folder / "train.txt").write_text(text)
    for split in ("dev", "test"):
        (folder / f"{split}.txt").write_text(text[: _DEV * _WINDOW + 1])
    vocabulary = texts.build_vocabulary([text], unit="character")
    numbers = texts.encode(text, vocabulary)
    whole = (len(numbers) - 1) // _WINDOW * _WINDOW
    inputs, wanted = (numbers[start : start + whole].reshape(-1, _WINDOW) for start in (0, 1))
    for cell in ("simple", "gru", "lstm"):
        pairs = [(_plain(cell, inputs, wanted, len(vocabulary)), _ours(cell, folder, turn)) for turn in range(_TURNS)]
        plainest, best = (min(column) for column in zip(*pairs, strict=True))
        what = f"{cell}, {_UNITS} units: characters a second"
        tell(f"{what} / plain Keras ({_CHARACTERS / best:,.0f}/s)", plainest / best, "at least 1.0")
        if importlib.util.find_spec("torch") is not None:
            other = min(_torch(cell, inputs, wanted, len(vocabulary)) for _ in range(_TURNS))
            tell(f"{what} / PyTorch", other / best, "reported; goal 1.0")


def _plain(cell: str, inputs: np.ndarray, wanted: np.ndarray, size: int) -> float:
    model = recurrent(
        classes=size, form="many_to_many", cell=cell, units=_UNITS, vocabulary=size, embedding_size=_EMBEDDING
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = EpochClock()
    dev = inputs[:_DEV], wanted[:_DEV]
    model.fit(inputs, wanted, batch_size=_BATCH, epochs=_EPOCHS, validation_data=dev, verbose=0, callbacks=[clock])
    return min(clock.seconds[1:])


def _ours(cell: str, folder: Path, turn: int) -> float:
    values = {
        "architecture": "recurrent",
        "data": f"text:{folder / 'train.txt'},{folder / 'dev.txt'},{folder / 'test.txt'}",
        "architecture_options": {"cell": cell, "units": _UNITS, "embedding_size": _EMBEDDING},
        "training": {"epochs": _EPOCHS, "batch_size": _BATCH, "schedule": "constant"},
    }
    model = ModelFolder(folder / f"{cell}{turn}")
    runs.train(preparing.prepare(Recipe.from_values(values)), model, Console(file=io.StringIO()))
    return min(row["seconds"] for row in read_history(model.history)[1:])


def _torch(cell: str, inputs: np.ndarray, wanted: np.ndarray, size: int) -> float:
    import torch

    make = {"simple": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
    embedding, layer = torch.nn.Embedding(size, _EMBEDDING), make(_EMBEDDING, _UNITS, batch_first=True)
    top = torch.nn.Linear(_UNITS, size)
    weights = [weight for part in (embedding, layer, top) for weight in part.parameters()]
    optimizer, loss = torch.optim.Adam(weights), torch.nn.CrossEntropyLoss()
    pairs = torch.tensor(inputs, dtype=torch.int64), torch.tensor(wanted, dtype=torch.int64)
    seconds = []
    for _ in range(_EPOCHS):
        started = time.perf_counter()
        for given, target in zip(*(part.split(_BATCH) for part in pairs), strict=True):
            optimizer.zero_grad()
            answers = top(layer(embedding(given))[0])
            loss(answers.flatten(0, 1), target.flatten()).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
