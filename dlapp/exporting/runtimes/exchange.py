"""Asking ``runner.mjs``, wherever it runs, in JSON."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlapp.errors import NotInstalled, NotSupported
from dlapp.exporting.runtimes import NODE_MODULES, Graph, Outputs, Place, Runtime
from dlapp.exporting.runtimes.onnx_files import load_graphs

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class Exchange:
    """The ONNX files of a bundle, behind a function that passes requests on."""

    def __init__(self, place: Place, ask: Ask) -> None:
        self._place, self._ask = place, ask
        self._seconds, self._opened = 0.0, 0

    def runtime(self) -> Runtime:
        """What ``verify`` replays."""
        return load_graphs(self._place, self._open)._replace(last_s=lambda: self._seconds)

    def _open(self, path: Path) -> Graph:
        self._opened += 1
        name = f"{self._opened}-{path.name}"
        self._answer({"open": name, "path": str(path.resolve())})

        def run(given: Mapping[str, np.ndarray]) -> Outputs:
            inputs = {key: _encode(values) for key, values in given.items()}
            answer = self._answer({"run": name, "inputs": inputs})
            self._seconds = answer["seconds"]
            return {key: _decode(tensor) for key, tensor in answer["outputs"].items()}

        return run

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._ask(request)
        if "error" in answer:
            raise NotSupported(answer["error"])
        return answer


def installed_version(package: str) -> str:
    """Of a package of Node's in dlapp's folder.

    Raises:
        NotInstalled: it is not there.
    """
    about = NODE_MODULES / package / "package.json"
    if not about.is_file():
        raise NotInstalled(f"{package} is missing")
    return json.loads(about.read_text(encoding="utf-8"))["version"]


def _encode(values: np.ndarray) -> dict[str, Any]:
    content = np.ascontiguousarray(values).tobytes()
    return {"dtype": values.dtype.name, "shape": values.shape, "data": base64.b64encode(content).decode()}


def _decode(tensor: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(tensor["data"]), tensor["dtype"]).reshape(tensor["shape"])
