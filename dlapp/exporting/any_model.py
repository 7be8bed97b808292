"""Networks of which dlapp knows nothing but what goes in and what comes out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from dlapp.errors import ModelError
from dlapp.signature import Signature, Tensor, tensors

_SAMPLES = 4
_SIZES = (16, 24)  # of dimensions that vary: of the samples, and of some more in another size
_TOKENS = 2  # numbers below it fit every table


def as_functional(model: keras.Model, input_signature: Any = None) -> keras.Model:
    """The model itself, or one around a class of its own.

    Args:
        model: any.
        input_signature: of a class of its own, what it takes: a ``keras.InputSpec`` or ``tf.TensorSpec``, or a list or
            dict of them.

    Raises:
        ModelError: it cannot be built from that, or nothing was said.
    """
    if input_signature is None:
        if isinstance(model, keras.Sequential) and model.built:
            return keras.Model(model.inputs, model.outputs, name=model.name)
        if getattr(model, "inputs", None):  # which only a functional model has
            return model
        raise ModelError(
            f"{model.name} does not say what it takes: give input_signature, for example "
            '[keras.InputSpec(shape=(None, 32), dtype="float32")].'
        )
    number = iter(range(1, 1000))

    def make_input(spec: Any) -> Any:
        name = getattr(spec, "name", None) or f"input{next(number)}"
        dtype = getattr(spec.dtype, "name", spec.dtype) or "float32"
        return keras.Input(tuple(spec.shape)[1:], dtype=dtype, name=_plain(name))

    inputs = keras.tree.map_structure(make_input, input_signature)
    if isinstance(inputs, list) and len(inputs) == 1:
        inputs = inputs[0]
    try:
        return keras.Model(inputs, model(inputs), name=model.name)
    except Exception as error:  # whatever its author's code raises
        raise ModelError(f"{model.name} cannot be built for {input_signature}: {error}") from error


def signature_of(model: keras.Model, provenance: dict[str, Any]) -> Signature:
    """Inputs under the names of their layers, outputs under their keys or the names of the layers that give them."""
    taken: set[str] = set()
    inputs = [_tensor(one, _free(one.name, taken)) for one in model.inputs]
    paths = keras.tree.flatten_with_path(model.output)
    names = [str(path[-1]) if path and isinstance(path[-1], str) else "" for path, _ in paths]
    layers = getattr(model, "output_names", [])
    given = [name or (layers[place] if place < len(layers) else "output") for place, name in enumerate(names)]
    outputs = [_tensor(one, _free(name, taken)) for one, name in zip(model.outputs, given, strict=True)]
    return tensors(inputs, outputs, provenance)


def _tensor(given: Any, name: str) -> Tensor:
    shape: list[int | str] = ["batch"]
    shape += [f"{name}_{axis}" if size is None else size for axis, size in enumerate(given.shape[1:], start=1)]
    return Tensor(name, str(given.dtype), tuple(shape))


def _free(name: str, taken: set[str]) -> str:
    base, number = _plain(name), 2
    free = base
    while free in taken:
        free, number = f"{base}_{number}", number + 1
    taken.add(free)
    return free


def _plain(name: str) -> str:
    """As Python, TensorFlow's signatures and ONNX all take it."""
    return re.sub(r"\W", "_", name) or "tensor"


def draw_samples(model: keras.Model, signature: Signature, *, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Random inputs: some together, one alone, and where dimensions vary some of another size."""
    random = np.random.default_rng(seed)
    tables = [layer.input_dim for layer in layers_of(model) if isinstance(layer, keras.layers.Embedding)]

    def draw(tensor: Tensor, size: int) -> np.ndarray:
        shape = (_SAMPLES, *(size if isinstance(side, str) else side for side in tensor.shape[1:]))
        dtype = np.dtype(tensor.dtype)
        if dtype.kind == "f":
            return random.normal(size=shape).astype(dtype)
        highest = 2 if dtype.kind == "b" else 256 if dtype == np.uint8 else min(tables, default=_TOKENS)
        return random.integers(0, highest, shape).astype(dtype)

    several = {tensor.name: draw(tensor, _SIZES[0]) for tensor in signature.inputs}
    drawn = [several, {name: values[:1] for name, values in several.items()}]
    if any(isinstance(side, str) for tensor in signature.inputs for side in tensor.shape[1:]):
        drawn.append({tensor.name: draw(tensor, _SIZES[1]) for tensor in signature.inputs})
    return drawn


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """All of its layers, those inside of others too."""
    return [layer for layer in model._flatten_layers() if layer is not model]


def layer_of(node: str, names: Iterable[str]) -> str:
    """The layer that a node of a graph comes from, by its path, whose parts may have numbers at their ends; else the
    path itself."""
    known = set(names)
    for part in reversed(node.split("/")):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in known:
                return name
    return node


def check_traced(function: Any, model: keras.Model) -> None:
    """Traces a function, and refuses one that calls back into Python: whoever loads it has no such Python.

    Raises:
        ModelError: a layer cannot be traced, or an operator of it runs Python; the layer is named.
    """
    names = [layer.name for layer in layers_of(model)]
    try:
        graph = function.get_concrete_function().graph
    except Exception as error:  # whatever its author's code raises
        raise ModelError(f"{model.name} cannot be exported. {explain(str(error), model)}") from error
    for operation in _operations(graph):
        if operation.type in ("PyFunc", "EagerPyFunc", "PyFuncStateless"):
            raise ModelError(
                f"{layer_of(operation.name, names)} of {model.name} runs Python code (tf.py_function or "
                "tf.numpy_function), which no exported file can hold: write it with keras.ops."
            )


def explain(message: str, model: keras.Model) -> str:
    """Which layer does not do it, and why, in one line of Keras's many."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    found = re.search(r"Exception encountered when calling (\w+)\.call\(\)\.\s+(.+)", plain)
    if found is None:
        return f"{model.name}: {plain.strip().splitlines()[-1].strip()}"
    names = [layer.name for layer in layers_of(model) if type(layer).__name__ == found[1]]
    return f"{' or '.join(names) or model.name} ({found[1]}): {found[2].strip()}"


def _operations(graph: Any) -> Iterable[Any]:
    yield from graph.get_operations()
    for function in graph._functions.values() if isinstance(graph._functions, dict) else ():
        yield from getattr(getattr(function, "graph", None), "get_operations", list)()


def samples_of(
    model: keras.Model, signature: Signature, samples: np.ndarray | Mapping[str, np.ndarray] | None
) -> list[dict[str, np.ndarray]]:
    """The given inputs, together and the first alone; random ones where there are none.

    Raises:
        ValueError: they do not fit the signature.
    """
    if samples is None:
        return draw_samples(model, signature)
    named = {signature.inputs[0].name: samples} if isinstance(samples, np.ndarray) else dict(samples)
    for tensor in signature.inputs:
        if tensor.name not in named:
            raise ValueError(f"samples must have {tensor.name}, an input of {model.name}; got {', '.join(named)}.")
        tensor.check(named[tensor.name])
    several = {tensor.name: named[tensor.name] for tensor in signature.inputs}
    return [several, {name: values[:1] for name, values in several.items()}]
