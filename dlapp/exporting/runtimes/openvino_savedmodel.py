"""OpenVINO, which reads the SavedModel; its signature ``serving_default`` alone."""

from collections.abc import Mapping

import numpy as np

from dlapp.errors import NotSupported
from dlapp.exporting.runtimes import Outputs, Place, Runtime, openvino_onnx
from dlapp.inference.bundle import SAVED_MODEL

version = openvino_onnx.version


def load(place: Place) -> Runtime:
    """Without the thresholds and the step, which are signatures of their own."""
    graph = openvino_onnx.compile_model(place.folder / SAVED_MODEL, place.threads)

    def run(inputs: Mapping[str, np.ndarray], *, min_score: float | None = None) -> Outputs:
        if min_score is not None:
            raise NotSupported("OpenVINO reads the signature serving_default alone, which takes no thresholds")
        return graph(inputs)

    return Runtime(run)
