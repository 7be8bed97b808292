"""How good a network is that answers at every step of a sequence."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dlapp.evaluation import intervals
from dlapp.evaluation.classification import score_classes


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

    @property
    def correct(self) -> np.ndarray:
        """(n,) steps of each sequence whose likeliest class is the wanted one."""
        return self._sums((self.wanted == self.predicted).astype(np.float64))

    @property
    def total_nats(self) -> np.ndarray:
        """(n,) nats of each sequence."""
        return self._sums(self.nats.astype(np.float64))

    def _sums(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(np.repeat(np.arange(len(self)), self.lengths), values, minlength=len(self))


def score_tagging(steps: Steps, labels: Sequence[str]) -> dict[str, Any]:
    """Metrics of one split of tagged sentences, ready for JSON.

    Returns:
        ``examples`` (sentences), ``tokens``, ``loss`` (nats a token), ``accuracy`` over tokens with a 95 % interval
        that knows which belong to one sentence, ``whole_sentences``, the share without a mistake, and ``f1_macro``,
        ``per_class`` and ``confusion_matrix`` as ``score`` has them, in tokens.
    """
    accuracy = intervals.of_ratio(steps.correct, steps.lengths)
    return {
        "examples": len(steps),
        "tokens": int(steps.lengths.sum()),
        "loss": float(steps.nats.astype(np.float64).mean()),
        "accuracy": accuracy.value,
        "accuracy_interval": [accuracy.low, accuracy.high],
        "whole_sentences": float((steps.correct == steps.lengths).mean()),
        **score_classes(steps.wanted, steps.predicted, labels),
    }


def score_language_model(steps: Steps) -> dict[str, Any]:
    """Metrics of one split of texts whose tokens were predicted one after another, ready for JSON.

    Returns:
        ``examples`` (texts), ``tokens``, ``characters`` of these, ``loss`` (nats a token), ``perplexity`` (its
        exponential), ``bits_per_character``, and ``accuracy``, how often the likeliest token came.
    """
    nats = float(steps.nats.astype(np.float64).mean())
    characters = int(steps.characters.sum())
    return {
        "examples": len(steps),
        "tokens": int(steps.lengths.sum()),
        "characters": characters,
        "loss": nats,
        "perplexity": math.exp(nats),
        "bits_per_character": float(steps.total_nats.sum()) / math.log(2) / max(characters, 1),
        "accuracy": float(steps.correct.sum() / steps.lengths.sum()),
    }


def score_replies(steps: Steps, wanted: Sequence[str]) -> dict[str, Any]:
    """Metrics of one split of texts that were answered by texts, ready for JSON.

    Args:
        steps: with a reply to each.
        wanted: n texts.

    Returns:
        ``examples``, ``tokens``, ``loss`` (nats a token) and ``accuracy`` of the next token behind what was wanted;
        ``exact_match``, the share of replies that are what was wanted, with a 95 % interval; ``edit_distance``, the
        mean Levenshtein distance in characters; ``character_error_rate``, all distances over all wanted characters.
    """
    exact = intervals.of_proportion(sum(map(str.__eq__, steps.replies, wanted)), len(wanted))
    distances = [edit_distance(reply, text) for reply, text in zip(steps.replies, wanted, strict=True)]
    return {
        "examples": len(steps),
        "tokens": int(steps.lengths.sum()),
        "loss": float(steps.nats.astype(np.float64).mean()),
        "accuracy": float(steps.correct.sum() / steps.lengths.sum()),
        "exact_match": exact.value,
        "exact_match_interval": [exact.low, exact.high],
        "edit_distance": float(np.mean(distances)),
        "character_error_rate": sum(distances) / max(sum(map(len, wanted)), 1),
    }


def errors_of_steps(steps: Steps, task: str, wanted: Sequence[str] | None = None) -> np.ndarray:
    """(n,) float64 from 0: the share of wrong tags, bits a character, or 1 where the reply is another text.

    Args:
        steps: what was answered.
        task: ``tagging``, ``language_model`` or ``sequence_to_sequence``.
        wanted: n texts, of the last of these.
    """
    if task == "sequence_to_sequence":
        assert wanted is not None
        return np.array([reply != text for reply, text in zip(steps.replies, wanted, strict=True)], np.float64)
    if task == "tagging":
        return 1 - steps.correct / np.maximum(steps.lengths, 1)
    return steps.total_nats / math.log(2) / np.maximum(steps.characters, 1)


def edit_distance(a: str, b: str) -> int:
    """Characters to insert, delete or replace until ``a`` is ``b``.

    Levenshtein, V. I. (1966), Binary codes capable of correcting deletions, insertions and reversals, Soviet Physics
    Doklady 10(8); row by row of the table of Wagner and Fischer (1974).
    """
    before = list(range(len(b) + 1))
    for row, letter in enumerate(a, start=1):
        now = [row]
        for column, other in enumerate(b, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != other)))
        before = now
    return before[-1]
