"""OpenVINO, which reads the SavedModel; its signature ``serving_default`` alone."""

from dlapp.exporting.runtimes import Place, Runtime, openvino_onnx
from dlapp.inference.bundle import SAVED_MODEL

version = openvino_onnx.version


def load(place: Place) -> Runtime:
    """Without the thresholds and the step, which are signatures of their own."""
    graph = openvino_onnx.compile_model(place.folder / SAVED_MODEL, place.threads)
    return Runtime(lambda inputs, *, min_score=None: graph(inputs))
