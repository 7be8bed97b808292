"""The model as it was trained, by Keras, behind its preprocessing."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from dlapp.architectures.loading import load_model
from dlapp.architectures.sliding import fully_convolutional
from dlapp.architectures.stepping import step_model
from dlapp.errors import NotInstalled
from dlapp.exporting.graph import as_structure, finish, function_inputs, name_outputs, network_of, prepare, prepare_step
from dlapp.exporting.runtimes import Outputs, Place, Run, Runtime, Step
from dlapp.signature import Signature


def load(place: Place) -> Runtime:
    """From the file that the bundle was made of."""
    if place.threads:
        tf.config.threading.set_intra_op_parallelism_threads(place.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return of(load_network(place), place.signature)


def load_network(place: Place) -> keras.Model:
    """The model that was exported, sliding where the bundle does."""
    if place.model is None:
        raise NotInstalled("the model that was exported is not below models/ any more")
    model = load_model(place.model)
    return model if place.signature.windows is None else fully_convolutional(model, approximate=True)


def of(model: keras.Model, signature: Signature) -> Runtime:
    """A model that is loaded already."""
    return Runtime(_run(model, signature), None if signature.step is None else _step(model, signature))


def version() -> str:
    """Of Keras."""
    return keras.__version__


def _run(model: keras.Model, signature: Signature) -> Run:
    """By a graph: by ``predict``, or the one that it would make, but for batches of all sizes."""
    if signature.task == "tensors":
        compute = tf.function(
            lambda *given: model(as_structure(model, given), training=False), input_signature=function_inputs(signature)
        )

        def predict(inputs: Mapping[str, np.ndarray], *, min_score: float | None = None) -> Outputs:
            found = name_outputs(compute(*(tf.constant(inputs[one.name]) for one in signature.inputs)), signature)
            return {name: np.asarray(values) for name, values in found.items()}

        return predict
    network = network_of(model, signature)
    (taken,) = network.inputs
    graphs = tf.function(lambda values: network(values, training=False))

    def run(inputs: Mapping[str, np.ndarray], *, min_score: float | None = None) -> Outputs:
        (given,) = (tf.constant(values) for values in inputs.values())
        values = tf.cast(prepare(given, signature), taken.dtype)  # as predict does
        # what the network fixes is told as it is given, so that Keras says what does not fit
        sizes = [size if fixed else None for fixed, size in zip(taken.shape, values.shape, strict=True)]
        outputs = graphs.get_concrete_function(tf.TensorSpec(sizes, values.dtype))(values)
        found = finish(outputs, given, signature, min_score)
        return {name: np.asarray(values) for name, values in found.items()}

    return run


def _step(model: keras.Model, signature: Signature) -> Step:
    network = step_model(model)

    def step(tokens: np.ndarray, states: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        given = prepare_step([tf.constant(values) for values in (tokens, *states)], signature)
        probabilities, *after = network.predict_on_batch(given)
        return probabilities, after

    return step
