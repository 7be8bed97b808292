"""The SavedModel in TensorFlow, without Keras."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from dlapp.exporting.runtimes import Graph, Outputs, Place, Runtime, of_graphs
from dlapp.inference.bundle import SAVED_MODEL


def load(place: Place) -> Runtime:
    """By its signatures."""
    if place.threads:
        tf.config.threading.set_intra_op_parallelism_threads(place.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    # the functions live only as long as the object that was loaded
    loaded = tf.saved_model.load(str(place.folder / SAVED_MODEL))

    def graph(name: str) -> Graph:
        def call(given: Mapping[str, np.ndarray]) -> Outputs:
            outputs = loaded.signatures[name](**{key: tf.constant(value) for key, value in given.items()})
            return {key: value.numpy() for key, value in outputs.items()}

        return call

    return of_graphs(place.signature, graph("serving_default"), graph("step"), adjustable=graph("with_thresholds"))


def version() -> str:
    """Of TensorFlow."""
    return tf.__version__
