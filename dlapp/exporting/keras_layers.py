"""``python -m dlapp.exporting.keras_layers REQUEST.json``: what each layer of the model gives for some inputs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dlapp.architectures.stepping import step_model
from dlapp.exporting.graph import network_of, prepare, prepare_step
from dlapp.exporting.onnx_layers import PREPROCESSING
from dlapp.exporting.runtimes import Place, keras_model
from dlapp.inference.bundle import SIGNATURE
from dlapp.signature import Signature


def main(path: Path) -> None:
    """Reads ``inputs.npz`` beside the request and writes ``layers.npz``.

    Of the inputs there is one array each; of those of steps, the first has a second axis, of time. The answer has them
    for each step as ``STEP/input/NAME``, and what the layers gave as ``STEP/layer/NAME/NUMBER`` with NaN where a
    sequence is masked: there a runtime may give what it likes.
    """
    request = json.loads(path.read_text(encoding="utf-8"))
    signature = Signature.read(Path(request["folder"]) / SIGNATURE)
    model = keras_model.load_network(Place(Path(request["folder"]), signature, model=Path(request["model"])))
    with np.load(path.with_name("inputs.npz"), allow_pickle=False) as archive:
        given = dict(archive)
    found = _steps(model, signature, given) if request["steps"] else _whole(model, signature, given)
    arrays = {f"{number}/{name}": values for number, one in enumerate(found) for name, values in one.items()}
    np.savez(path.with_name("layers.npz"), **arrays)  # pyright: ignore[reportArgumentType]


def _whole(model: keras.Model, signature: Signature, given: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    network = network_of(model, signature)
    (values,) = given.values()
    prepared = prepare(tf.constant(values), signature)
    yield {f"input/{name}": values for name, values in given.items()} | _answers(network, prepared)


def _steps(model: keras.Model, signature: Signature, given: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    network = step_model(model)
    (token, tokens), *states = given.items()
    for now in tokens.T:
        fed = {token: np.ascontiguousarray(now), **dict(states)}
        prepared = prepare_step([tf.constant(values) for values in fed.values()], signature)
        yield {f"input/{name}": values for name, values in fed.items()} | _answers(network, prepared)
        after = network(prepared, training=False)[1:]
        states = [(name, values.numpy()) for (name, _), values in zip(states, after, strict=True)]


def _answers(network: keras.Model, prepared: Any) -> dict[str, np.ndarray]:
    outputs = {
        f"layer/{node.operation.name}/{number}": tensor
        for depth in sorted(network._nodes_by_depth, reverse=True)  # from the input on
        for node in network._nodes_by_depth[depth]
        if isinstance(node.operation, keras.Layer) and not node.is_input
        for number, tensor in enumerate(node.outputs)
    }
    first = tf.nest.flatten(prepared)[0]
    found = keras.Model(network.inputs, outputs)(prepared, training=False)
    return {f"layer/{PREPROCESSING}/0": first.numpy(), **{name: _unmasked(values) for name, values in found.items()}}


def _unmasked(tensor: Any) -> np.ndarray:
    values, mask = np.array(tensor, np.float32), getattr(tensor, "_keras_mask", None)
    if mask is not None and values.shape[:2] == mask.shape:
        values[~np.array(mask, bool)] = np.nan
    return values


if __name__ == "__main__":
    main(Path(sys.argv[1]))
