"""Keras's callbacks, made safe against interruption: what they write is whole, what they know resumes."""

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import rich.progress
import tensorflow as tf
from rich.console import Console

from dlapp.architectures.heads import for_inference
from dlapp.errors import TrainingDiverged
from dlapp.files import replacing

Row = dict[str, float]


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """``ModelCheckpoint`` that writes beside its file and renames, so that the file is never half-written.

    Args:
        path: of the file.
        resumable: with the optimizer and its state; without, Keras loads the file even where a
            schedule of dlapp is unknown.
    """

    def __init__(self, path: Path, *, resumable: bool = False, **options: Any) -> None:
        self.path = path
        self._resumable = resumable
        self._beside = path.with_name(f".{path.stem}.part{path.suffix}")
        super().__init__(str(self._beside), verbose=0, **options)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model if self._resumable else for_inference(model))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._beside.unlink(missing_ok=True)  # half a file of a process that was killed
        try:
            super().on_epoch_end(epoch, logs)
            if self._beside.exists():
                self._beside.replace(self.path)
        finally:
            self._beside.unlink(missing_ok=True)


class EarlyStopping(keras.callbacks.EarlyStopping):
    """``EarlyStopping`` that first relives the epochs of the run that it continues."""

    def __init__(self, past: Sequence[Row], **options: Any) -> None:
        super().__init__(**options)
        self._past = past

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        for row in self._past:
            self.on_epoch_end(int(row["epoch"]) - 1, {"val_loss": row["dev_loss"]})


class ReduceOnPlateau(keras.callbacks.ReduceLROnPlateau):
    """``ReduceLROnPlateau`` that first relives the epochs of the run that it continues."""

    def __init__(self, past: Sequence[Row], **options: Any) -> None:
        super().__init__(**options)
        self._past = past

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        for row in self._past:
            self.on_epoch_end(int(row["epoch"]) - 1, {"val_loss": row["dev_loss"]})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, dict(logs or {}))  # it adds the learning rate, which is no metric


class History(keras.callbacks.Callback):
    """``history.csv``: one row an epoch, rewritten whole, in full precision.

    Columns: epoch (from 1), seconds, learning_rate (at the start of the epoch), train_* and dev_*.
    Keras's ``CSVLogger`` sorts its columns, calls dev val, and may leave half a line.
    """

    def __init__(self, path: Path, past: Sequence[Row]) -> None:
        super().__init__()
        self.path = path
        self.rows = list(past)
        self._started = 0.0
        self._learning_rate = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()
        self._learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        row = {
            "epoch": epoch + 1,
            "seconds": round(time.perf_counter() - self._started, 3),
            "learning_rate": self._learning_rate,
        }
        row |= {f"train_{name}": float(value) for name, value in logs.items() if not name.startswith("val_")}
        row |= {f"dev_{name[4:]}": float(value) for name, value in logs.items() if name.startswith("val_")}
        self.rows.append(row)
        write_history(self.path, self.rows)


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Writes ``history.csv``, whole or not at all."""
    with replacing(path) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)


def read_history(path: Path) -> list[Row]:
    """The rows of ``history.csv``; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


class EpochSeeds(keras.callbacks.Callback):
    """Makes the randomness of an epoch a function of the seed and the epoch's number alone.

    Keras does not save the state of its seed generators, and the order of tf.data's shuffle counts
    iterators; with this, a resumed run draws what an uninterrupted one would have drawn.

    Args:
        seed: of the run.
        epoch: read by the pipeline when a pass starts.
        others: variables among which there are more seed generators, beside those of the model.
    """

    def __init__(self, seed: int, epoch: tf.Variable, others: Sequence[Any] = ()) -> None:
        super().__init__()
        self._seed = seed
        self._epoch = epoch
        self._others = others

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch.assign(epoch)
        states = [
            variable for variable in (*self.model.variables, *self._others) if "seed_generator_state" in variable.path
        ]
        for number, state in enumerate(states):
            state.assign(np.random.SeedSequence([self._seed, number, epoch]).generate_state(2))


class StopOnNaN(keras.callbacks.Callback):
    """Stops with an error when the loss is no number any more.

    Raises:
        TrainingDiverged: names the epoch and the likely cause.
    """

    def __init__(self, scaled: bool) -> None:
        super().__init__()
        self._epoch = 0
        self._scaled = scaled

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            cause = (
                f"the learning rate ({rate:.3g}) is too high: try {rate / 10:.1g}"
                if self._scaled
                else "the inputs are not scaled: leave preprocessing.scale at its default, or lower the learning rate"
            )
            raise TrainingDiverged(f"the loss became {loss} in epoch {self._epoch + 1}. Most likely {cause}.")


class Progress(keras.callbacks.Callback):
    """A bar with the metrics while an epoch runs, on a terminal; and one line when it ends, everywhere."""

    def __init__(self, console: Console, epochs: int, best: float) -> None:
        super().__init__()
        self._console = console
        self._epochs = epochs
        self._best = best
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("epoch {task.fields[epoch]}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[metrics]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", epoch="", metrics="")
        self._started = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()
        self._bar.reset(self._task, total=self.params["steps"], epoch=f"{epoch + 1}/{self._epochs}", metrics="")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update(self._task, completed=min(batch + 1, self.params["steps"]), metrics=_in_words(logs or {}))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        train = {name: value for name, value in logs.items() if not name.startswith("val_")}
        dev = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        improved = dev["loss"] < self._best
        self._best = min(self._best, dev["loss"])
        self._console.print(
            f"epoch {epoch + 1:>{len(str(self._epochs))}}/{self._epochs}  "
            f"{time.perf_counter() - self._started:5.1f} s  train {_in_words(train)}  dev {_in_words(dev)}"
            + ("  best" if improved else ""),
            highlight=False,
        )

    def close(self) -> None:
        """Takes the bar away, also after an error."""
        self._bar.stop()


def _in_words(metrics: dict[str, Any]) -> str:
    return " ".join(f"{name} {float(value):.4f}" for name, value in metrics.items())
