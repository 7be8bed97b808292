"""Training convolutional networks on small pictures, against the plainest Keras script; ResNet-20 in PyTorch too."""

import importlib.util
import time
from pathlib import Path

import numpy as np

from dlapp.architectures import builder
from dlapp.recipe import Recipe
from dlapp.training import preparing
from dlapp.training import run as runs
from tests.benchmarks.timing import EpochClock, tell

# the smallest of each family, at sizes that keep an epoch to seconds: pictures of (height, width), examples
NETWORKS = {
    "lenet5": ((32, 32), 4096),
    "alexnet": ((67, 67), 128),
    "vgg11": ((32, 32), 128),
    "resnet18": ((32, 32), 256),
    "resnet20": ((32, 32), 512),
    "inception_v1": ((65, 65), 128),
}
_BATCH, _CLASSES, _EPOCHS, _TURNS = 64, 10, 3, 3


def run(folder: Path) -> None:
    """Noise in three channels; dev is one batch.

    What a run writes is left out, and so is the epoch that compiles.
    """
    for name, (size, examples) in NETWORKS.items():
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (examples + _BATCH, *size, 3), np.uint8)
        labels = random.integers(0, _CLASSES, examples + _BATCH)
        file = folder / f"{name}.npz"
        train, dev = slice(0, examples), slice(examples, None)
        arrays = {"x_train": images[train], "x_dev": images[dev], "x_test": images[dev]}
        np.savez(file, **arrays, y_train=labels[train], y_dev=labels[dev], y_test=labels[dev])
        scaled = images.astype("float32") / 255
        rivals = {"plain Keras": _keras}
        if name == "resnet20" and importlib.util.find_spec("torch") is not None:
            rivals["PyTorch"] = _torch
        best, least = float("inf"), dict.fromkeys(rivals, float("inf"))
        for _ in range(_TURNS):
            best = min(best, _ours(name, file))
            for rival, train_with in rivals.items():
                least[rival] = min(least[rival], train_with(name, scaled, labels, examples))
        for rival, seconds in least.items():
            tell(f"{name}, examples a second / {rival} ({examples / best:,.0f}/s)", seconds / best, "at least 1.0")
    if importlib.util.find_spec("torch") is None:
        print("  PyTorch is not installed: pip install '.[benchmark]' compares with it")


def _ours(name: str, file: Path) -> float:
    values = {
        "architecture": name,
        "data": f"npz:{file}",
        "preprocessing": {"size": list(NETWORKS[name][0])},
        "training": {"epochs": _EPOCHS, "batch_size": _BATCH, "schedule": "constant"},
    }
    clock = EpochClock()
    runs.fit_in_memory(preparing.prepare(Recipe.from_values(values)), [clock])
    return min(clock.seconds[1:])


def _keras(name: str, images: np.ndarray, labels: np.ndarray, examples: int) -> float:
    model = builder(name)(images.shape[1:], classes=_CLASSES)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = EpochClock()
    model.fit(
        images[:examples],
        labels[:examples],
        batch_size=_BATCH,
        epochs=_EPOCHS,
        validation_data=(images[examples:], labels[examples:]),
        verbose=0,
        callbacks=[clock],
    )
    return min(clock.seconds[1:])


def _torch(name: str, images: np.ndarray, labels: np.ndarray, examples: int) -> float:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from tests.benchmarks import torch_networks

    model = getattr(torch_networks, name)(_CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss = nn.CrossEntropyLoss()
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    targets = torch.from_numpy(labels)
    train = DataLoader(TensorDataset(inputs[:examples], targets[:examples]), batch_size=_BATCH, shuffle=True)
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
            loss(model(inputs[examples:]), targets[examples:])
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
