"""How good a network is that answers at every step of a sequence."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """What a network answers at the steps of n sequences, one behind the other.

    Attributes:
        lengths: (n,) int64, the steps of each.
        wanted: (steps,) int32, the class of each step.
        predicted: (steps,) int32, the likeliest class.
        nats: (steps,) float32, minus the natural logarithm of the probability of ``wanted``.
        characters: (n,) int64, of the text that the steps of each stand for; of language models.
        replies: n texts that an encoder-decoder answers, decoded; nothing for the others.
    """

    lengths: np.ndarray
    wanted: np.ndarray
    predicted: np.ndarray
    nats: np.ndarray
    characters: np.ndarray
    replies: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lengths)
