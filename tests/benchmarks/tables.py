"""Training a deep network on a table of 100,000 rows, against the plainest Keras script and PyTorch."""

import importlib.util
import io
import itertools
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from dlapp.architectures import deep_network
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training import run as runs
from dlapp.training.callbacks import read_history
from dlapp.training.model_folder import ModelFolder
from tests.benchmarks.timing import EpochClock, tell

_TRAIN, _DEV, _COLUMNS, _BATCH, _EPOCHS, _TURNS = 100_000, 5_000, 20, 64, 2, 3
_UNITS = [64, 32]


def run(folder: Path) -> None:
    """The same network, batch size and optimizer in each; all evaluate dev after each epoch.

    The epoch that compiles does not count.
    """
    random = np.random.default_rng(0)
    rows = random.standard_normal((_TRAIN + _DEV, _COLUMNS)).astype(np.float32)
    labels = (rows[:, :3].sum(axis=1) > 0).astype(np.int64)
    np.savez(
        folder / "table.npz",
        x_train=rows[:_TRAIN],
        y_train=labels[:_TRAIN],
        x_dev=rows[_TRAIN:],
        y_dev=labels[_TRAIN:],
        x_test=rows[_TRAIN:],
        y_test=labels[_TRAIN:],
    )

    def ours(turn: int) -> float:
        values = {
            "architecture": "deep_network",
            "data": f"npz:{folder / 'table.npz'}",
            "architecture_options": {"units": _UNITS},
            "training": {"epochs": _EPOCHS, "batch_size": _BATCH, "schedule": "constant"},
        }
        model = ModelFolder(folder / f"run{turn}")
        runs.train(preparing.prepare(Recipe.from_values(values)), model, Console(file=io.StringIO()))
        return min(row["seconds"] for row in read_history(model.history)[1:])

    rivals = {"plain Keras": lambda: _keras(rows, labels)}
    if importlib.util.find_spec("torch") is not None:
        rivals["PyTorch"] = lambda: _torch(rows, labels)
    best, least = float("inf"), dict.fromkeys(rivals, float("inf"))
    for turn in range(_TURNS):
        best = min(best, ours(turn))
        least = {name: min(least[name], rival()) for name, rival in rivals.items()}
    for name, seconds in least.items():
        tell(f"rows a second / {name} ({_TRAIN / best:,.0f}/s)", seconds / best, "at least 1.0")
    if "PyTorch" not in rivals:
        print("  PyTorch is not installed: pip install '.[benchmark]' compares with it")


def _keras(rows: np.ndarray, labels: np.ndarray) -> float:
    model = deep_network((_COLUMNS,), classes=2, units=_UNITS)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = EpochClock()
    model.fit(
        rows[:_TRAIN],
        labels[:_TRAIN],
        batch_size=_BATCH,
        epochs=_EPOCHS,
        validation_data=(rows[_TRAIN:], labels[_TRAIN:]),
        verbose=0,
        callbacks=[clock],
    )
    return min(clock.seconds[1:])


def _torch(rows: np.ndarray, labels: np.ndarray) -> float:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    widths = [_COLUMNS, *_UNITS]
    hidden = [layer for size in itertools.pairwise(widths) for layer in (nn.Linear(*size), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(_UNITS[-1], 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    loss = nn.CrossEntropyLoss()
    inputs, targets = torch.from_numpy(rows), torch.from_numpy(labels)
    train = DataLoader(TensorDataset(inputs[:_TRAIN], targets[:_TRAIN]), batch_size=_BATCH, shuffle=True)
    dev = DataLoader(TensorDataset(inputs[_TRAIN:], targets[_TRAIN:]), batch_size=_BATCH)
    seconds = []
    for _ in range(_EPOCHS):
        started = time.perf_counter()
        model.train()
        for batch, classes in train:
            optimizer.zero_grad()
            loss(model(batch), classes).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for batch, classes in dev:
                loss(model(batch), classes)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
