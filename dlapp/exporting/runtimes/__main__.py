"""``python -m dlapp.exporting.runtimes REQUEST.json``: one runtime in a process that may crash."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dlapp.errors import BundleError, NotInstalled
from dlapp.exporting import recording
from dlapp.exporting.replaying import replay
from dlapp.exporting.runtimes import Place, load, version_of
from dlapp.inference.bundle import SIGNATURE
from dlapp.signature import Signature


def main(path: Path) -> None:
    """Writes what the runtime answered beside the request: ``answer.json`` and ``outputs.npz``."""
    request = json.loads(path.read_text(encoding="utf-8"))
    (path.parent / "answer.json").write_text(json.dumps(_answer(request, path.parent)), encoding="utf-8")


def _answer(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    bundle = Path(request["folder"])
    signature = Signature.read(bundle / SIGNATURE)
    model = None if request["model"] is None else Path(request["model"])
    place = Place(bundle, signature, request["onnx"], model, request["threads"], request["foreign"])
    cases, steps = recording.read(bundle, signature), recording.read_steps(bundle, signature)
    try:
        version = version_of(request["runtime"])  # its libraries are imported before the clock starts
        started = time.perf_counter()
        runtime = load(request["runtime"], place)
        load_s = time.perf_counter() - started
        limits = {"budget_s": request["budget_s"], "timed": request["timed"]}
        found = replay(runtime, version, load_s, cases, steps, **limits)
    except BundleError as error:
        return {"status": "refused", "message": str(error)}
    except NotInstalled as error:
        return {"status": "not installed", "message": str(error)}
    except Exception as error:  # each library has classes of its own
        # a bundle is passed on, and where it lay says nothing
        return {"status": "not supported", "message": str(error).replace(f"{bundle}{os.sep}", "")}
    arrays = {f"{number}/{name}": v for number, given in enumerate(found.outputs) for name, v in given.items()}
    if found.steps is not None:
        arrays["steps/probabilities"] = found.steps[0]
        arrays |= {f"steps/{number}": state for number, state in enumerate(found.steps[1])}
    np.savez(folder / "outputs.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return {"status": "run", "version": version, "load_s": load_s, "latency_s": found.latency_s}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
