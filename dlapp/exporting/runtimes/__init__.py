"""The programs that run a bundle, one a file; each is imported only in the process that it runs in."""

import dataclasses
import importlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from dlapp.errors import NotInstalled
from dlapp.inference.bundle import ONNX, SAVED_MODEL
from dlapp.signature import THRESHOLDS, Signature

Outputs = dict[str, np.ndarray]
# the last tokens and states in; the probabilities of the next ones and new states out
Step = Callable[[np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]
Graph = Callable[[Mapping[str, np.ndarray]], Outputs]  # tensors in and out by name
_CACHE = os.environ.get("XDG_CACHE_HOME")
NODE_MODULES = Path(_CACHE or "~/.cache").expanduser() / "dlapp" / "node_modules"
_PREFIX = shlex.quote(str(NODE_MODULES.parent)) if _CACHE else "~/.cache/dlapp"
_NPM = f"ONNXRUNTIME_NODE_INSTALL=skip npm install --prefix {_PREFIX}"  # the script would fetch CUDA's libraries


class Run(Protocol):
    """Raw values in, final values out, by name; of a detector, with a threshold of the caller's."""

    def __call__(self, inputs: Mapping[str, np.ndarray], *, min_score: float | None = None) -> Outputs: ...


class Runtime(NamedTuple):
    """What was loaded.

    Attributes:
        run: the graph.
        step: the graph that goes on by one token; None where a bundle has none.
        last_s: seconds that the last run took where it ran, if that is another process; None where a clock around
            ``run`` tells as much.
    """

    run: Run
    step: Step | None = None
    last_s: Callable[[], float] | None = None


@dataclasses.dataclass(frozen=True)
class Place:
    """What a runtime loads, and how.

    Attributes:
        folder: the bundle.
        signature: of it.
        onnx: the name of the ONNX file, which may be a smaller variant.
        model: the ``.keras`` file that was exported; None where it is gone.
        threads: that compute one operator; 0 is the runtime's own choice.
        foreign: whether the ONNX file was written by somebody else, and knows nothing of the signature.
    """

    folder: Path
    signature: Signature
    onnx: str = ONNX
    model: Path | None = None
    threads: int = 0
    foreign: bool = False


@dataclasses.dataclass(frozen=True)
class Kind:
    """A runtime that dlapp knows.

    Attributes:
        module: the file in this folder with its ``load(place)`` and ``version()``.
        reads: what of a bundle it needs; empty for the model that was exported.
        install: the line that installs it.
        instead: runtimes to try where it cannot run a bundle, the nearest first.
    """

    module: str
    reads: str
    install: str
    instead: tuple[str, ...] = ()


RUNTIMES: Mapping[str, Kind] = {
    "keras": Kind("keras_model", "", "pip install tensorflow keras"),
    "savedmodel": Kind("tensorflow_python", SAVED_MODEL, "pip install tensorflow", ("onnxruntime",)),
    "tensorflow-c": Kind("tensorflow_c", SAVED_MODEL, "pip install tensorflow", ("savedmodel",)),
    "onnxruntime": Kind("onnx_runtime", ONNX, "pip install onnxruntime", ("savedmodel",)),
    "onnxruntime-node": Kind("node", ONNX, f"{_NPM} onnxruntime-node", ("onnxruntime-web", "onnxruntime")),
    "onnxruntime-web": Kind(
        "browser", ONNX, f"{_NPM} onnxruntime-web && apt-get install chromium", ("onnxruntime-node", "onnxruntime")
    ),
    "openvino": Kind("openvino_onnx", ONNX, "pip install openvino", ("openvino-savedmodel", "onnxruntime")),
    "openvino-savedmodel": Kind("openvino_savedmodel", SAVED_MODEL, "pip install openvino", ("openvino", "savedmodel")),
    "opencv": Kind("opencv", ONNX, "pip install 'opencv-python-headless>=5'", ("onnxruntime",)),
    "tract": Kind("tract_onnx", ONNX, "pip install tract", ("onnxruntime",)),
    "onnx-reference": Kind("reference", ONNX, "pip install onnx", ("onnxruntime",)),
}


def load(name: str, place: Place) -> Runtime:
    """A runtime in this process.

    Raises:
        NotInstalled: it is not on this machine.
        NotSupported: it says itself that it cannot run the bundle; its libraries raise errors of their own.
    """
    return _import(name).load(place)


def is_installed(name: str) -> bool:
    """Whether a runtime is on this machine."""
    try:
        version_of(name)
    except NotInstalled:
        return False
    return True


def version_of(name: str) -> str:
    """The version of a runtime.

    Raises:
        NotInstalled: it is not on this machine.
    """
    return _import(name).version()


def _import(name: str) -> Any:
    try:
        return importlib.import_module(f"{__name__}.{RUNTIMES[name].module}")
    except ModuleNotFoundError as error:
        raise NotInstalled(f"{error.name} is missing") from error


def of_graphs(signature: Signature, graph: Graph, step: Graph | None, *, adjustable: Graph | None = None) -> Runtime:
    """A runtime of graphs.

    Args:
        signature: of the bundle.
        graph: takes the inputs of the signature, and of a detector thresholds that may be left out.
        step: goes on by one token; None where a bundle has none.
        adjustable: where ``graph`` takes no thresholds, the same with them.
    """

    def run(inputs: Mapping[str, np.ndarray], *, min_score: float | None = None) -> Outputs:
        if min_score is None or signature.detection is None:
            return graph(inputs)
        thresholds = {"min_score": min_score, "max_overlap": signature.detection.max_overlap}
        return (adjustable or graph)(
            {**inputs, **{name: np.array(thresholds[name], np.float32) for name in THRESHOLDS}}
        )

    one = signature.step
    if one is None or step is None:
        return Runtime(run)

    def go_on(tokens: np.ndarray, states: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        given = {wanted.name: value for wanted, value in zip(one.inputs, (tokens, *states), strict=True)}
        outputs = step(given)
        probabilities, *after = (outputs[output.name] for output in one.outputs)
        return probabilities, after

    return Runtime(run, go_on)
