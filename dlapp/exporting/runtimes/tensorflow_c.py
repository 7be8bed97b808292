"""The SavedModel by TensorFlow's C API, out of the libraries of the wheel; Python's TensorFlow is not imported.

https://www.tensorflow.org/install/lang_c, tensorflow/c/c_api.h
"""

import ctypes
import importlib.util
from collections.abc import Mapping
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from dlapp.errors import NotInstalled, NotSupported
from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime, of_graphs
from dlapp.inference.bundle import SAVED_MODEL

_DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 6: np.int8, 9: np.int64, 10: np.bool_}
_NUMBERS = {np.dtype(dtype): number for number, dtype in _DTYPES.items()}
# fields of meta_graph.proto
_SIGNATURES, _KEY, _VALUE, _INPUTS, _OUTPUTS, _NAME = 5, 1, 2, 1, 2, 1


class _Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("free", c_void_p))


def load(place: Place) -> Runtime:
    """With operations that are named by the SignatureDefs of the file."""
    tf = _library()
    status = tf.TF_NewStatus()
    options, graph, described = tf.TF_NewSessionOptions(), tf.TF_NewGraph(), tf.TF_NewBuffer()
    if place.threads:  # ConfigProto: intra_op_parallelism_threads is field 2, inter_op_parallelism_threads field 5
        config = bytes([0x10, min(place.threads, 127), 0x28, 1])
        tf.TF_SetConfig(options, config, len(config), status)
    session = tf.TF_LoadSessionFromSavedModel(
        options, None, str(place.folder / SAVED_MODEL).encode(), (c_char_p * 1)(b"serve"), 1, graph, described, status
    )
    _check(tf, status)
    about = ctypes.string_at(described.contents.data, described.contents.length)
    endpoints = _read_signatures(about)

    def find(tensor: str) -> _Output:
        name, _, index = tensor.partition(":")
        operation = tf.TF_GraphOperationByName(graph, name.encode())
        if not operation:
            raise NotSupported(f"the signature names {name}, which the graph does not have")
        return _Output(operation, int(index or 0))

    def call(name: str) -> Graph:
        inputs, outputs = endpoints[name]
        targets = (_Output * len(outputs))(*map(find, outputs.values()))

        def run(given: Mapping[str, np.ndarray]) -> Outputs:
            sources = (_Output * len(given))(*(find(inputs[key]) for key in given))
            fed = (c_void_p * len(given))(*(_to_tensor(tf, values) for values in given.values()))
            fetched = (c_void_p * len(outputs))()
            counts = len(given), len(outputs)
            tf.TF_SessionRun(
                session, None, sources, fed, counts[0], targets, fetched, counts[1], None, 0, None, status
            )  # fmt: skip
            for tensor in fed:
                tf.TF_DeleteTensor(tensor)
            _check(tf, status)
            return {key: _from_tensor(tf, tensor) for key, tensor in zip(outputs, fetched, strict=True)}

        return run

    graphs = {name: call(name) for name in endpoints if not name.startswith("__")}
    return of_graphs(
        place.signature, graphs["serving_default"], graphs.get("step"), adjustable=graphs.get("with_thresholds")
    )


def version() -> str:
    """Of the library."""
    return _library().TF_Version().decode()


def _library() -> Any:
    found = importlib.util.find_spec("tensorflow")
    folder = Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else Path()
    if not (folder / "libtensorflow_cc.so.2").is_file():
        raise NotInstalled("libtensorflow_cc.so.2 is missing")
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    tf = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    for name in ("NewStatus", "NewSessionOptions", "NewGraph", "LoadSessionFromSavedModel", "AllocateTensor"):
        getattr(tf, f"TF_{name}").restype = c_void_p
    for name in ("GraphOperationByName", "TensorData"):
        getattr(tf, f"TF_{name}").restype = c_void_p
    for name in ("Version", "Message"):
        getattr(tf, f"TF_{name}").restype = c_char_p
    for name in ("Dim", "TensorByteSize"):
        getattr(tf, f"TF_{name}").restype = c_int64
    tf.TF_NewBuffer.restype = POINTER(_Buffer)
    # Python's numbers would be passed as C's int, which is too short for a pointer
    pointers = c_void_p, c_void_p
    tf.TF_GetCode.argtypes = tf.TF_Message.argtypes = tf.TF_DeleteTensor.argtypes = (c_void_p,)
    tf.TF_TensorData.argtypes = tf.TF_TensorByteSize.argtypes = (c_void_p,)
    tf.TF_TensorType.argtypes = tf.TF_NumDims.argtypes = (c_void_p,)
    tf.TF_Dim.argtypes = (c_void_p, c_int)
    tf.TF_GraphOperationByName.argtypes = (c_void_p, c_char_p)
    tf.TF_SetConfig.argtypes = (c_void_p, c_char_p, c_size_t, c_void_p)
    tf.TF_AllocateTensor.argtypes = (c_int, POINTER(c_int64), c_int, c_size_t)
    tf.TF_LoadSessionFromSavedModel.argtypes = (
        *pointers, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p,
    )  # fmt: skip
    tf.TF_SessionRun.argtypes = (
        *pointers, POINTER(_Output), POINTER(c_void_p), c_int, POINTER(_Output), POINTER(c_void_p), c_int,
        c_void_p, c_int, *pointers,
    )  # fmt: skip
    return tf


def _check(tf: Any, status: int) -> None:
    if tf.TF_GetCode(status):
        raise NotSupported(tf.TF_Message(status).decode(errors="replace"))


def _read_signatures(about: bytes) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """From a MetaGraphDef the names of input and output tensors of each signature.

    Without the generated classes, which live in Python's TensorFlow.
    """
    found = {}
    for entry in _fields(about, _SIGNATURES):
        (name,), (signature,) = _fields(entry, _KEY), _fields(entry, _VALUE)
        tensors = []
        for kind in (_INPUTS, _OUTPUTS):
            named = {}
            for tensor in _fields(signature, kind):
                (key,), (info,) = _fields(tensor, _KEY), _fields(tensor, _VALUE)
                for place in _fields(info, _NAME):
                    named[key.decode()] = place.decode()
            tensors.append(named)
        found[name.decode()] = (tensors[0], tensors[1])
    return found


def _fields(message: bytes, number: int) -> list[bytes]:
    return [field.data for field in UnknownFieldSet(Empty.FromString(message)) if field.field_number == number]


def _to_tensor(tf: Any, values: np.ndarray) -> int:
    values = np.asarray(values, order="C")
    dimensions = (c_int64 * values.ndim)(*values.shape)
    tensor = tf.TF_AllocateTensor(_NUMBERS[values.dtype], dimensions, values.ndim, values.nbytes)
    ctypes.memmove(tf.TF_TensorData(tensor), values.ctypes.data, values.nbytes)
    return tensor


def _from_tensor(tf: Any, tensor: int) -> np.ndarray:
    shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
    content = ctypes.string_at(tf.TF_TensorData(tensor), tf.TF_TensorByteSize(tensor))
    values = np.frombuffer(content, _DTYPES[tf.TF_TensorType(tensor)]).reshape(shape)
    tf.TF_DeleteTensor(tensor)
    return values
