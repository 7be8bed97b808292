"""The learning rate over the steps of a run: Keras's schedules, and a warm-up before any of them."""

from typing import Any

import keras
from keras.optimizers import schedules

from dlapp.recipe import Training


@keras.saving.register_keras_serializable("dlapp")
class WarmUp(schedules.LearningRateSchedule):
    """A straight line from 0 to ``peak``, then another schedule from its beginning.

    Goyal et al. (2017), Accurate, large minibatch SGD, section 2.2. https://arxiv.org/abs/1706.02677

    Args:
        peak: the learning rate at the end of the line.
        steps: that the line takes.
        after: what follows; ``peak`` itself where it is None.
    """

    def __init__(self, peak: float, steps: int, after: schedules.LearningRateSchedule | None = None) -> None:
        self.peak = peak
        self.steps = steps
        self.after = after

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        after = self.peak if self.after is None else self.after(keras.ops.maximum(step - self.steps, 0.0))
        return keras.ops.where(step < self.steps, self.peak * step / self.steps, after)

    def get_config(self) -> dict[str, Any]:
        after = None if self.after is None else schedules.serialize(self.after)
        return {"peak": self.peak, "steps": self.steps, "after": after}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        after = config.pop("after")
        return cls(**config, after=None if after is None else schedules.deserialize(after))


def learning_rate(training: Training, *, steps_per_epoch: int) -> float | schedules.LearningRateSchedule:
    """The learning rate as Keras's optimizers take it; ``plateau`` begins with the rate of the recipe."""
    training = training.resolved()
    rate = training.learning_rate
    every = training.epochs * steps_per_epoch
    warmup = min(round(training.warmup_epochs * steps_per_epoch), every - 1)
    decay_steps = (training.decay_epochs or 0) * steps_per_epoch
    match training.schedule:
        case "cosine":
            if warmup:
                return schedules.CosineDecay(0.0, every - warmup, warmup_target=rate, warmup_steps=warmup)
            return schedules.CosineDecay(rate, every)
        case "step" | "exponential":
            staircase = training.schedule == "step"
            after = schedules.ExponentialDecay(rate, decay_steps, training.decay_rate, staircase=staircase)
        case "inverse_time":
            after = schedules.InverseTimeDecay(rate, decay_steps, training.decay_rate)
        case "constant" | "plateau":
            return WarmUp(rate, warmup) if warmup else rate
    return WarmUp(rate, warmup, after) if warmup else after
