"""Transfer learning in two stages: a new last layer on fixed features, then fine-tuning of what lies before it."""

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dlapp import signature as signatures
from dlapp.architectures.transfer import split_head, unfreeze
from dlapp.data import Examples
from dlapp.data.pipelines import Pipeline, cache_limit, naming_unreadable
from dlapp.errors import TrainingDiverged
from dlapp.recipe import Augment
from dlapp.training.preparing import Run

_BATCH = 64  # pictures that go through the frozen layers together

Tell = Callable[[str], None]
# trains one stage, which has a name, leaves its model with the weights that were best on dev, and gives their loss
FitStage = Callable[[Run, str], float]


def fit_stages(run: Run, fit: FitStage, tell: Tell, scratch: Path | None = None) -> float:
    """Trains the new head, then, if the recipe unfreezes layers, those too; the better of both is kept.

    While nothing before the head changes and nothing is augmented, its features do not change either: they
    are computed once, and the head alone is trained on them. The result is the same.

    Args:
        run: of a recipe with a transfer; its model is left with the weights that were best on dev.
        fit: trains a stage, ``"head"`` or ``"fine-tuning"``.
        tell: takes a line for the person.
        scratch: where features that do not fit in memory are kept meanwhile; the system's place where it is None.

    Returns:
        The lowest loss on dev.

    Raises:
        TrainingDiverged: a stage did; of fine-tuning it is told.
    """
    transfer = run.recipe.transfer
    assert transfer is not None
    with _head_stage(run, tell, scratch) as stage:
        best = fit(stage, "head")
    if not transfer.unfreeze:
        return best
    kept = run.model.get_weights()
    names = unfreeze(run.model, transfer.unfreeze)
    tell(f"Fine-tuning {len(names)} more layers, from {names[0]} on, learning rate {transfer.learning_rate:g}")
    # without the warm-up, which is for weights that are still random
    training = run.recipe.training.model_copy(
        update={"epochs": transfer.epochs, "learning_rate": transfer.learning_rate, "warmup_epochs": 0}
    )
    fine_tuning = dataclasses.replace(run, recipe=run.recipe.model_copy(update={"training": training}))
    try:
        fine = fit(fine_tuning, "fine-tuning")
    except TrainingDiverged as error:
        raise TrainingDiverged(f"in fine-tuning, whose learning rate is transfer.learning_rate, {error}") from error
    if fine >= best:
        run.model.set_weights(kept)
        tell(f"Fine-tuning did not lower the loss on dev ({best:.4f}, then {fine:.4f}): the new head alone is kept")
    return min(best, fine)


@contextlib.contextmanager
def _head_stage(run: Run, tell: Tell, scratch: Path | None) -> Iterator[Run]:
    """The first stage: of the head alone on cached features, or of the whole network where those change."""
    if run.detection is not None:
        tell("Training the layers behind the backbone, which is frozen")
        yield run
        return
    if run.recipe.preprocessing.augment != Augment():
        tell("Training the new head; augmented pictures differ in every epoch, so features are not cached")
        yield run
        return
    features, head = split_head(run.model)
    splits = {"train": run.data.train, "dev": run.data.dev}
    count = sum(map(len, splits.values()))
    size = count * features.output_shape[-1] * np.dtype(np.float32).itemsize
    for left in scratch.glob("features-*") if scratch is not None else ():  # by a run that was killed
        shutil.rmtree(left)
    with contextlib.ExitStack() as stack:
        folder = None
        if size > cache_limit():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="features-")))
        started = time.perf_counter()
        cached = dict(_compute(features, splits, run.preprocessing, folder))
        where = "on disk" if folder else "in memory"
        tell(
            f"features cached {where}: {count:,} x {features.output_shape[-1]:,} numbers, {size / 1e6:,.1f} MB, "
            f"{time.perf_counter() - started:.1f} s; the new head trains on them"
        )
        data = dataclasses.replace(run.data, **cached, test=cached["dev"].take([]))
        yield dataclasses.replace(run, data=data, preprocessing=signatures.Preprocessing(channels=0), model=head)


def _compute(
    features: keras.Model, splits: dict[str, Examples], preprocessing: signatures.Preprocessing, folder: Path | None
) -> Iterator[tuple[str, Examples]]:
    """The splits by name, with features for inputs: (n, d) float32, in memory or in files of that folder."""
    # traced once, for batches of any length; predict would trace again for the last one of each split
    compute = tf.function(
        functools.partial(features, training=False), input_signature=[tf.TensorSpec(features.input_shape)]
    )
    for name, examples in splits.items():
        shape = (len(examples), features.output_shape[-1])
        found = np.empty(shape, np.float32)
        if folder is not None:
            found = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
        filled = 0
        with naming_unreadable(examples):
            for pictures, _ in Pipeline(examples, preprocessing, cache_bytes=0).batches(_BATCH):
                found[filled : filled + len(pictures)] = compute(pictures)
                filled += len(pictures)
        yield name, Examples(inputs=found, targets=examples.targets, channels=0)
