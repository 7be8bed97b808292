"""Examples -> tf.data: decoded in parallel, cached where they fit, shuffled with a seed, batched, prefetched."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dlapp import pictures
from dlapp.data.augmentation import augment_objects
from dlapp.data.examples import Examples
from dlapp.data.grid import encode, pad, resized
from dlapp.data.preprocessing import preprocess, resize, scale
from dlapp.errors import SourceError, UnreadablePicture
from dlapp.signature import Detection, Preprocessing


def cache_limit() -> int:
    """Bytes that one split may take once resized: an eighth of the memory of the machine or the container."""
    if not hasattr(os, "sysconf"):  # Windows
        return 2 * 1024**3
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = Path("/sys/fs/cgroup/memory.max")
    if container.is_file() and (limit := container.read_text().strip()).isdecimal():
        memory = min(memory, int(limit))
    return memory // 8


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
    """Examples on their way to a network.

    Attributes:
        examples: what is read.
        preprocessing: what happens to it.
        cache_bytes: a split that is larger than this once resized is read again in every epoch.
        detection: the grid whose cells the boxes of the examples are labels of; None for other targets.
        classes: how many there are, of boxes.
    """

    examples: Examples
    preprocessing: Preprocessing
    cache_bytes: int = dataclasses.field(default_factory=cache_limit)
    detection: Detection | None = None
    classes: int = 0

    def batches(
        self,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        epoch: tf.Variable | None = None,
        augment: Callable[..., tf.Tensor] | None = None,
    ) -> tf.data.Dataset:
        """One pass over the examples.

        Args:
            batch_size: examples a batch; the last batch may be smaller.
            shuffle_seed: gives another order in every pass; None keeps the order of the examples.
            epoch: makes the order a function of ``shuffle_seed`` and this number alone, so that a
                resumed run sees what an uninterrupted one would; its owner counts it up.
            augment: called with a batch of resized, unscaled pictures and ``training=True``.

        Returns:
            Batches of (inputs, targets): (batch, height, width, channels) or (batch, width)
            float32 as the network takes them, and (batch,) int32 classes or float32 numbers, or
            (batch, rows, columns, boxes, 5 + classes) float32 labels of a grid.
        """
        order = order_of(len(self.examples), shuffle_seed, epoch)
        ready = resize if augment is not None else preprocess  # as far as the values can be kept from pass to pass
        kept = self._keep(ready)
        if kept is not None:
            targets = self._targets()
            dataset = order.batch(batch_size).map(
                lambda indices: (tf.gather(kept, indices), targets(indices)),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        else:
            dataset = self._read(order, batch_size, ready)
        if augment is not None:
            # in sequence: the seed generators of the layers are state, and its order must repeat
            if self.detection is None:
                dataset = dataset.map(lambda images, targets: (augment(images, training=True), targets))
            else:
                dataset = dataset.map(lambda images, objects: augment_objects(augment, images, *objects))
            dataset = dataset.map(
                lambda inputs, targets: (scale(inputs, self.preprocessing), targets),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        if self.detection is not None:
            dataset = dataset.map(
                lambda inputs, objects: (inputs, self._encode(*objects)), num_parallel_calls=tf.data.AUTOTUNE
            )
        steps = math.ceil(len(self.examples) / batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)

    def _targets(self) -> Callable[[tf.Tensor], Any]:
        """Gives the targets of examples by their indices; of boxes, corners and classes for :meth:`_encode`."""
        if self.detection is None or self.examples.boxes is None:
            arrays = [self.examples.targets]
        else:
            arrays = pad(resized(self.examples.boxes.wanted, self.examples.picture_sizes, self.preprocessing))
        kept = tuple(map(_on_cpu, arrays))

        def targets(indices: tf.Tensor) -> Any:
            found = tuple(tf.gather(values, indices) for values in kept)
            return found if self.detection is not None else found[0]

        return targets

    def _encode(self, corners: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        assert self.detection is not None
        assert self.preprocessing.size is not None
        return encode(corners, classes, size=self.preprocessing.size, detection=self.detection, count=self.classes)

    def _keep(self, transform: Callable[[tf.Tensor, Preprocessing], tf.Tensor]) -> tf.Tensor | None:
        """All the inputs, transformed, or None where they do not fit."""
        count = len(self.examples)
        shape = self.examples.inputs.shape[1:]
        if self.preprocessing.size is not None:
            shape = (*self.preprocessing.size, self.preprocessing.channels)
        elif self.preprocessing.columns:
            shape = (self.preprocessing.width,)
        if count * math.prod(shape) * np.dtype(np.float32).itemsize > self.cache_bytes:
            return None
        kept = np.empty((count, *shape), np.float32)
        filled = 0
        for batch, _ in self._read(tf.data.Dataset.range(count), 256, transform).prefetch(2):
            kept[filled : filled + len(batch)] = batch
            filled += len(batch)
        return _on_cpu(kept)

    def _read(
        self, order: tf.data.Dataset, batch_size: int, transform: Callable[[tf.Tensor, Preprocessing], tf.Tensor]
    ) -> tf.data.Dataset:
        """Batches of examples in that order, transformed: files one at a time in parallel, arrays together."""
        if isinstance(self.examples.inputs, np.memmap):
            return self._read_from_disk(order, batch_size, transform)
        inputs = _on_cpu(self.examples.inputs)
        targets = self._targets()
        plain = _on_cpu(self.examples.plain)

        def decode(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = _decode(tf.gather(inputs, index), tf.gather(plain, index), self.examples.channels)
            return transform(image, self.preprocessing), targets(index)

        def gather(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return transform(tf.gather(inputs, indices), self.preprocessing), targets(indices)

        if self.examples.are_files:
            return order.map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
        return order.batch(batch_size).map(gather, num_parallel_calls=tf.data.AUTOTUNE)

    def _read_from_disk(
        self, order: tf.data.Dataset, batch_size: int, transform: Callable[[tf.Tensor, Preprocessing], tf.Tensor]
    ) -> tf.data.Dataset:
        """The same for an array that lies in a file, of which a batch at a time is read."""
        inputs, targets = self.examples.inputs, self._targets()

        def read(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            found = tf.numpy_function(inputs.__getitem__, [indices], inputs.dtype)
            found.set_shape((None, *inputs.shape[1:]))
            return transform(found, self.preprocessing), targets(indices)

        return order.batch(batch_size).map(read, num_parallel_calls=tf.data.AUTOTUNE)


def order_of(count: int, seed: int | None, epoch: tf.Variable | None) -> tf.data.Dataset:
    """The numbers below ``count``, one at a time.

    Args:
        count: how many.
        seed: gives another order in every pass; None is their own order.
        epoch: makes the order a function of ``seed`` and this number alone.
    """
    if seed is None:
        return tf.data.Dataset.range(count)
    if epoch is None:
        return tf.data.Dataset.range(count).shuffle(count, seed=seed)

    def shuffled(_: tf.Tensor) -> tf.data.Dataset:
        # runs when a pass starts, so the variable is read then
        keys = tf.random.stateless_uniform([count], seed=tf.stack([tf.cast(seed, tf.int64), epoch]), dtype=tf.float64)
        return tf.data.Dataset.from_tensor_slices(tf.argsort(keys, stable=True))

    return tf.data.Dataset.range(1).flat_map(shuffled)


@contextlib.contextmanager
def naming_unreadable(*parts: Examples) -> Iterator[None]:
    """Turns TensorFlow's failure to decode a file into an error that names the files.

    Raises:
        SourceError: pictures of ``parts`` cannot be decoded; what they are is found by trying each.
    """
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError, tf.errors.NotFoundError) as error:
        found = [message for part in parts if part.are_files for message in _unreadable(part)]
        if not found:
            raise
        raise SourceError(f"{pictures.name_some(found)}\nRepair or remove them and train again.") from error


def _unreadable(examples: Examples) -> Iterator[str]:
    for index in range(len(examples)):
        try:
            examples.read(index)
            if examples.plain[index]:  # TensorFlow is stricter than Pillow about the end of a file
                _decode(tf.constant(examples.inputs[index]), tf.constant(True), examples.channels)
        except UnreadablePicture as error:
            yield str(error)
        except tf.errors.InvalidArgumentError:
            yield f"{examples.inputs[index]} is damaged: its end is missing. Save it again or leave it out."


def _decode(path: tf.Tensor, plain: tf.Tensor, channels: int) -> tf.Tensor:
    """(height, width, channels) uint8, the same values as ``pictures.read`` gives.

    TensorFlow decodes twice as fast as Pillow and outside of Python's lock, but knows nothing of EXIF,
    palettes, CMYK or transparency.
    """

    def by_tensorflow() -> tf.Tensor:
        # Pillow's discrete cosine transform; decode_jpeg reads PNG too
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=channels, dct_method="INTEGER_ACCURATE")

    def by_pillow() -> tf.Tensor:
        return tf.numpy_function(lambda name: pictures.read(name.decode(), channels), [path], tf.uint8)

    image = by_pillow() if channels == 4 else tf.cond(plain, by_tensorflow, by_pillow)
    image.set_shape((None, None, channels))
    return image


def _on_cpu(array: np.ndarray) -> tf.Tensor:
    with tf.device("cpu"):
        return tf.constant(array)
