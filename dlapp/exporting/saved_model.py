"""A SavedModel in TensorFlow Serving's layout."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dlapp.exporting.silence import silently
from dlapp.inference.bundle import SAVED_MODEL, SIGNATURE
from dlapp.signature import Signature


def write(
    serve: Any, signature: Signature, bundle: Path, adjustable: Any = None, step: Any = None, encoded: Any = None
) -> None:
    """Writes ``saved_model/1/`` with the signature among its assets.

    Keras finds the variables that ``serve`` uses; a model that was tracked as well would be stored twice.

    Args:
        serve: as :func:`serving_function` gives it; ``serving_default``.
        signature: of the function.
        bundle: a folder.
        adjustable: of a detector, the same with thresholds as inputs; ``with_thresholds``.
        step: as :func:`step_function` gives it; ``step``.
        encoded: of pictures, the same on JPEG and PNG files; ``serving_encoded``.
    """
    folder = bundle / SAVED_MODEL
    archive = keras.export.ExportArchive()
    endpoints = {"serving_default": serve, "with_thresholds": adjustable, "step": step, "serving_encoded": encoded}
    for name, function in endpoints.items():
        if function is not None:
            _sort_variables(function)
            archive.add_endpoint(name, function)
    with silently():
        archive.write_out(folder, verbose=False)
    _make_repeatable(folder)
    (folder / "assets").mkdir(exist_ok=True)
    signature.write(folder / "assets" / SIGNATURE)


def _sort_variables(function: Any) -> None:
    """Puts the variables of a function in the order in which it took them: TensorFlow keeps them in a set."""
    graph = function.get_concrete_function().graph
    places = {id(taken): place for place, (taken, _) in enumerate(graph.captures)}
    graph.variables = sorted(graph.variables, key=lambda variable: places[id(variable.handle)])


def _make_repeatable(folder: Path) -> None:
    """Takes out what makes two files of one model differ: numbers in names, which count all that a process ever traced,
    the order of maps, and a fingerprint with a random number in it, which may be missing."""
    path = folder / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        library = graph.graph_def.library.function
        found = [_NUMBERED.fullmatch(function.signature.name) for function in library]
        numbered = {one[0]: (one[1], int(one[2])) for one in found if one}
        order = sorted(numbered, key=lambda name: numbered[name][1])
        names = {name: f"{numbered[name][0]}_{place}" for place, name in enumerate(order)}
        for node in _nodes(graph.graph_def):
            _rename_in_node(node, names)
        for function in library:
            function.signature.name = names.get(function.signature.name, function.signature.name)
            for unused in function.signature.input_arg:
                unused.name = _REDUNDANT.sub(r"\1", unused.name)
            for argument in function.arg_attr.values():
                if argument.attr[_USER_NAME].s.isdigit():  # of a variable, nobody's name
                    del argument.attr[_USER_NAME]
        library.sort(key=lambda function: function.signature.name)
        objects = graph.object_graph_def
        for name in [name for name in objects.concrete_functions if name in names]:
            objects.concrete_functions[names[name]].CopyFrom(objects.concrete_functions[name])
            del objects.concrete_functions[name]
        for one in objects.nodes:
            for place, name in enumerate(one.function.concrete_functions if one.HasField("function") else ()):
                one.function.concrete_functions[place] = names.get(name, name)
            if one.HasField("bare_concrete_function"):
                bare = one.bare_concrete_function
                bare.concrete_function_name = names.get(bare.concrete_function_name, bare.concrete_function_name)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    (folder / "fingerprint.pb").unlink(missing_ok=True)


_USER_NAME = "_user_specified_name"
_REDUNDANT = re.compile(
    r"_\d+(___redundant_placeholder\d+)$"
)  # of loops: what the body needs and the condition does not
_NUMBERED = re.compile(r"(\w+?)_(\d+)")  # bodies of loops among them


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _rename_in_node(node: Any, names: Mapping[str, str]) -> None:
    node.op = names.get(node.op, node.op)
    for value in node.attr.values():
        called = [value.func] if value.HasField("func") else value.list.func if value.HasField("list") else ()
        for function in called:
            function.name = names.get(function.name, function.name)
