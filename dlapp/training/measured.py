"""A model on its own data: its answers, its errors, and what the raw examples are like."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from dlapp.architectures.heads import with_final_output
from dlapp.data import Data, Examples
from dlapp.data.facts import SIDE, gather
from dlapp.data.facts import Facts as Audited
from dlapp.data.pipelines import naming_unreadable
from dlapp.data.preprocessing import preprocess
from dlapp.evaluation.classification import predict_classes
from dlapp.signature import Preprocessing, Target
from dlapp.training.finishing import predict
from dlapp.training.model_folder import ModelFolder
from dlapp.training.preparing import load_own_data


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A model's answers on its own data, and what the raw examples are like.

    Attributes:
        data: in the splits of the run.
        answers: by split: probabilities (n, classes) or values (n, 1).
        errors: by split: (n,) 1 for a mistake and 0 for none, or absolute errors in the target's unit.
        audited: by split: hashes, thumbnails, brightness and sizes.
        features: by split: (n, d) inputs in few numbers, for classifiers that compare splits.
        feature_names: (d,) of the columns; empty text for the points of a thumbnail.
    """

    data: Data
    answers: Mapping[str, np.ndarray]
    errors: Mapping[str, np.ndarray]
    audited: Mapping[str, Audited]
    features: Mapping[str, np.ndarray]
    feature_names: tuple[str, ...]


def measure_model(folder: ModelFolder) -> Measured:
    """Runs the kept weights over every split in inference mode, and looks at the raw examples: two passes.

    Raises:
        SourceError: the data have changed since the training.
    """
    signature = folder.read_signature()
    data = load_own_data(folder)
    network = with_final_output(folder.load_model(), signature.target)
    answers, audited, features = {}, {}, {}
    for name, part in data.splits().items():
        with naming_unreadable(part):
            answers[name] = predict(network, part, signature.preprocessing)
        audited[name] = gather(part)
        features[name] = in_few_numbers(part, audited[name], signature.preprocessing)
    errors = {name: errors_of(part, answers[name], signature.target) for name, part in data.splits().items()}
    return Measured(data, answers, errors, audited, features, _feature_names(signature.preprocessing))


def errors_of(examples: Examples, answers: np.ndarray, target: Target | None) -> np.ndarray:
    """(n,) float64: 1 where the class is wrong and 0 where it is right; or absolute errors."""
    if target is None:
        return (predict_classes(answers) != examples.targets).astype(np.float64)
    return np.abs(answers[:, 0].astype(np.float64) - examples.targets)


def in_few_numbers(examples: Examples, audited: Audited, preprocessing: Preprocessing) -> np.ndarray:
    """(n, d): what the network sees of a row; of a picture a thumbnail, brightness, contrast, colour and size."""
    if examples.channels == 0:
        return preprocess(tf.constant(examples.inputs), preprocessing).numpy()
    sizes = np.log(np.maximum(audited.sizes, 1))
    return np.column_stack([audited.thumbnails, audited.brightness, audited.contrast, audited.colour, sizes])


def _feature_names(preprocessing: Preprocessing) -> tuple[str, ...]:
    """One for each of :func:`in_few_numbers`, in its order."""
    if preprocessing.size is not None:
        return ("",) * SIDE**2 + ("brightness", "contrast", "red", "green", "blue", "height", "width")
    columns = preprocessing.columns
    if not columns:
        return tuple(f"column {place + 1}" for place in range(len(preprocessing.mean)))
    numbers = [column.name for column in columns if column.categories is None]
    flags = [column.name for column in columns if column.missing]
    slots = [name for c in columns if c.categories is not None for name in [c.name] * (len(c.categories) + 1)]
    return (*numbers, *flags, *slots)
