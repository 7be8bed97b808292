"""Texts -> tf.data: numbers of tokens, batched by length, shuffled with a seed, prefetched."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dlapp import texts
from dlapp.data.examples import Examples
from dlapp.data.pipelines import order_of
from dlapp.signature import Preprocessing

_BUCKETS = 8  # of lengths, at most
_BATCHES = 4  # of each bucket, at least: the last of each is smaller than the others
_UNKNOWN = 1
_STRETCH = 3  # windows that are scored at once, behind one that is only read


class Stretch(NamedTuple):
    """What a network reads and gives for one sequence, or for a part of it.

    Attributes:
        inputs: (time,) int32 tokens; of an encoder-decoder also (target time,) what was written so far.
        targets: a class, or (time,) int32 classes, one for each step.
        unscored: steps at the beginning that are read to know what was before.
        characters: that the scored steps stand for.
    """

    inputs: tuple[np.ndarray, ...]
    targets: Any
    unscored: int = 0
    characters: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class SequencePipeline:
    """Texts on their way to a network.

    Attributes:
        examples: what is read.
        preprocessing: holds the vocabularies.
        task: of the data.
        window: tokens at once of a running text, which has more than a network is trained on at a time.
    """

    examples: Examples
    preprocessing: Preprocessing
    task: str
    window: int = 100

    @property
    def reads_windows(self) -> bool:
        """Whether what is trained on are windows of a running text, and so of one length, rather than examples."""
        vocabulary = self.preprocessing.vocabulary
        assert vocabulary is not None
        return self.task == "language_model" and not vocabulary.marked

    @functools.cached_property
    def stretches(self) -> list[Stretch]:
        """What is trained on: an example each, or the windows of a running text one behind the other."""
        return list(self._read(unscored=0, scored=self.window))

    def scored_stretches(self) -> list[Stretch]:
        """What is measured: as ``stretches``, but every token of a running text has a whole window before it."""
        return list(self._read(unscored=self.window, scored=_STRETCH * self.window))

    def steps(self, batch_size: int) -> int:
        """How many batches there are in a pass of :meth:`batches`."""
        buckets = np.digitize(self._lengths(), self._boundaries(batch_size))
        return sum(math.ceil(count / batch_size) for count in np.bincount(buckets) if count)

    def batches(
        self, batch_size: int, *, shuffle_seed: int | None = None, epoch: tf.Variable | None = None
    ) -> tf.data.Dataset:
        """One pass over the examples, those of similar length together.

        Args:
            batch_size: examples a batch, or windows; the last of each bucket may be smaller.
            shuffle_seed: gives another order in every pass; None keeps the order within each bucket.
            epoch: makes the order a function of ``shuffle_seed`` and this number alone.

        Returns:
            Batches of (inputs, targets): (batch, time) int32 tokens, with zeros behind the shorter ones, and (batch,)
            classes, or (batch, time) where each step has one. Inputs are a pair for an encoder-decoder.
        """
        inputs: list[Any] = [
            _ragged(arrays) for arrays in zip(*(stretch.inputs for stretch in self.stretches), strict=True)
        ]
        every = [stretch.targets for stretch in self.stretches]
        targets: Any = _ragged(every) if every[0].ndim else tf.constant(np.array(every, np.int32))
        lengths = tf.constant(self._lengths())
        boundaries = self._boundaries(batch_size)
        order = order_of(len(self.stretches), shuffle_seed, epoch)
        if boundaries:
            order = order.bucket_by_sequence_length(
                lambda index: tf.gather(lengths, index), boundaries, [batch_size] * (len(boundaries) + 1)
            )
        else:
            order = order.batch(batch_size)

        def gather(indices: tf.Tensor) -> tuple[object, tf.Tensor]:
            padded = [tf.gather(ragged, indices).to_tensor() for ragged in inputs]
            wanted = tf.gather(targets, indices)
            if isinstance(wanted, tf.RaggedTensor):
                wanted = wanted.to_tensor()
            return tuple(padded) if len(padded) > 1 else padded[0], wanted

        dataset = order.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
        steps = self.steps(batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)

    def _lengths(self) -> np.ndarray:
        return np.array([max(map(len, stretch.inputs)) for stretch in self.stretches], np.int32)

    def _boundaries(self, batch_size: int) -> list[int]:
        """Lengths from which on the next bucket begins."""
        count = min(len(self.stretches) // (_BATCHES * batch_size), _BUCKETS)
        if count < 2:
            return []
        lengths = self._lengths()
        found = np.unique(np.quantile(lengths, np.arange(1, count) / count, method="higher"))
        return [int(length) for length in found if length > lengths.min()]

    def _read(self, *, unscored: int, scored: int) -> Iterator[Stretch]:
        vocabulary = self.preprocessing.vocabulary
        assert vocabulary is not None
        for number, text in enumerate(self.examples.inputs):
            tokens = texts.encode(text, vocabulary)
            if not len(tokens):  # nothing but what is stripped: one that is unknown, as in the exported graph
                tokens = np.array([_UNKNOWN], np.int32)
            if self.reads_windows:
                yield from self._windows(tokens, number, unscored, scored)
            elif self.task == "language_model":
                # of what was cut the end is not known
                told = len(tokens) - 2 if tokens[-1] == vocabulary.end else len(tokens) - 1
                yield Stretch((tokens[:-1],), tokens[1:], characters=self._characters(text, told))
            else:
                yield self._pair(tokens, number)

    def _pair(self, tokens: np.ndarray, number: int) -> Stretch:
        """One example that has a target of its own."""
        if self.examples.wanted is None:
            return Stretch((tokens,), self.examples.targets[number])
        wanted = self.examples.wanted[number]
        if self.preprocessing.target_vocabulary is None:
            return Stretch((tokens,), np.asarray(wanted, np.int32)[: len(tokens)])
        answer = texts.encode(wanted, self.preprocessing.target_vocabulary)
        return Stretch((tokens, answer[:-1]), answer[1:])

    def _windows(self, tokens: np.ndarray, number: int, unscored: int, scored: int) -> Iterator[Stretch]:
        """Parts of a running text, each token of which is scored once; the first has nothing before it."""
        vocabulary = self.preprocessing.vocabulary
        assert vocabulary is not None
        letters = np.ones(len(tokens), np.int64)
        if vocabulary.unit == "word":  # and the blank before each
            words = texts.split_tokens(self.examples.inputs[number], "word", vocabulary.standardize)
            letters = np.array([1 + len(word) for word in words], np.int64)
        for begin in range(0, len(tokens) - 1, scored):
            end = min(begin + scored, len(tokens) - 1)
            first = max(begin - unscored, 0)
            yield Stretch(
                (tokens[first:end],),
                tokens[first + 1 : end + 1],
                begin - first,
                int(letters[begin + 1 : end + 1].sum()),
            )

    def _characters(self, text: str | Sequence[str], tokens: int) -> int:
        vocabulary = self.preprocessing.vocabulary
        assert vocabulary is not None
        kept = texts.split_tokens(text, vocabulary.unit, vocabulary.standardize)[:tokens]
        return sum(map(len, kept)) + (max(len(kept) - 1, 0) if vocabulary.unit == "word" else 0)


def _ragged(arrays: Sequence[np.ndarray]) -> Any:
    ragged: Any = tf.RaggedTensor
    with tf.device("cpu"):
        values = tf.constant(np.concatenate(arrays).astype(np.int32))
        return ragged.from_row_lengths(values, [len(array) for array in arrays], validate=False)
