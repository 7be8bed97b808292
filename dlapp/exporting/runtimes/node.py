"""ONNX Runtime in Node.js."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from dlapp.errors import NotInstalled
from dlapp.exporting.runtimes import NODE_MODULES, Place, Runtime
from dlapp.exporting.runtimes.exchange import Exchange, installed_version

_PACKAGE = "onnxruntime-node"


def load(place: Place) -> Runtime:
    """One process of Node for the bundle, which ends with this one."""
    node = _node()
    installed_version(_PACKAGE)
    script = Path(__file__).with_name("node_runner.mjs")
    process = subprocess.Popen(
        [node, str(script), str(NODE_MODULES.parent), str(place.threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"node ended with status {process.wait()}")
        return json.loads(line)

    return Exchange(place, ask).runtime()


def version() -> str:
    """Of the package, where there is a Node.js to run it."""
    _node()
    return installed_version(_PACKAGE)


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        raise NotInstalled("node is missing: install Node.js 20 or newer")
    return found
