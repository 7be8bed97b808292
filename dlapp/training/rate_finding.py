"""A learning-rate range test: the loss while the rate grows from step to step.

Smith, L. N. (2017), Cyclical learning rates for training neural networks, section 3.3.
https://arxiv.org/abs/1506.01186
"""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from dlapp.errors import TrainingError
from dlapp.training.batches import Batches
from dlapp.training.compiling import loss_and_metric, optimizer_for
from dlapp.training.preparing import Run
from dlapp.training.soft_targets import are_soft

LOWEST, HIGHEST = 1e-6, 10.0
_STEPS = 200
_BEGINNING = 20  # steps, up to a rate of 5e-6: no network learns anything in them
_SMOOTHING = 0.9  # of the exponentially weighted average of the loss, with bias correction
_BLOWN_UP = 4.0  # times the lowest loss: the test ends
_SAFETY = 10.0  # a tenth of the rate at which the loss is lowest trains without diverging later


@dataclasses.dataclass(frozen=True)
class RateTest:
    """What a range test saw.

    Attributes:
        rates: (steps,) the learning rate of each step.
        losses: (steps,) the smoothed loss before it.
        suggestion: where the loss has fallen halfway from where it began to its lowest, but no more than a
            tenth of the rate at which it is lowest.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_learning_rate(run: Run) -> RateTest:
    """Trains a copy of the run's network for 200 steps while the rate grows from 1e-6 to 10.

    Batches, loss, and the optimizer with its parameters and clipping are those of the recipe, its schedule is not
    used. The network of ``run`` keeps its weights.

    Raises:
        TrainingError: the loss never fell, so there is nothing to suggest.
    """
    model = keras.models.clone_model(run.model)
    model.set_weights(run.model.get_weights())
    loss, _ = loss_and_metric(model, run.data.task, soft=are_soft(run.recipe), grid_loss=run.grid_loss)
    model.compile(optimizer=optimizer_for(model, run.recipe.training, LOWEST), loss=loss)
    rise = _Rise()
    batches = Batches(run)
    model.fit(
        batches.train.repeat(),
        steps_per_epoch=_STEPS,
        class_weight=batches.class_weights,
        callbacks=[rise],
        shuffle=False,  # the pipeline shuffles
        verbose=0,
    )
    return RateTest(tuple(rise.rates), tuple(rise.losses), _suggest(rise.rates, rise.losses))


class _Rise(keras.callbacks.Callback):
    """Multiplies the learning rate after every step and keeps the smoothed loss of the step."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._average = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.reset_metrics()  # or the loss would be the mean of all the steps so far

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        smoothed = self._average / (1 - _SMOOTHING ** (batch + 1))
        if not math.isfinite(smoothed) or (self.losses and smoothed > _BLOWN_UP * min(self.losses)):
            self.model.stop_training = True
            return
        self.rates.append(LOWEST * (HIGHEST / LOWEST) ** (batch / (_STEPS - 1)))
        self.losses.append(smoothed)
        self.model.optimizer.learning_rate = LOWEST * (HIGHEST / LOWEST) ** ((batch + 1) / (_STEPS - 1))


def _suggest(rates: list[float], losses: list[float]) -> float:
    """Halfway down is about where the loss falls most steeply, but noise moves it less than it does a slope."""
    began = float(np.median(losses[:_BEGINNING])) if losses else 0.0
    lowest = int(np.argmin(losses)) if losses else 0
    if lowest < 2 or losses[lowest] > 0.99 * began:
        raise TrainingError(
            "the loss did not fall at any learning rate from 1e-06 to 10: look at the data, the scaling of the inputs "
            "and the initial weights first."
        )
    above = np.flatnonzero(np.array(losses[: lowest + 1]) >= (began + losses[lowest]) / 2)
    return float(f"{min(rates[above[-1]], rates[lowest] / _SAFETY):.2g}")
