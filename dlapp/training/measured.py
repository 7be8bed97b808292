"""A model on its own data: its answers, its errors, and what the raw examples are like."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from dlapp.data import Data, Examples
from dlapp.data.facts import SIDE, gather
from dlapp.data.facts import Facts as Audited
from dlapp.data.pipelines import naming_unreadable
from dlapp.data.preprocessing import preprocess
from dlapp.signature import Preprocessing
from dlapp.training.answering import Answers, answer, errors_of
from dlapp.training.model_folder import ModelFolder
from dlapp.training.preparing import load_own_data

_NGRAMS = 5000  # sequences of characters
_DIRECTIONS = 50  # that they are reduced to


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A model's answers on its own data, and what the raw examples are like.

    Attributes:
        data: in the splits of the run.
        answers: by split.
        errors: by split: (n,) 1 for a mistake and 0 for none, absolute errors in the target's unit, 1 - F1, the share
            of wrong tags, or bits a character; of a running text for each part of it.
        audited: by split: hashes, thumbnails, brightness and sizes.
        features: by split: (n, d) inputs in few numbers, for classifiers that compare splits.
        feature_names: (d,) of the columns; empty text for the points of a thumbnail.
        min_score: of the boxes that a detector tells.
    """

    data: Data
    answers: Mapping[str, Answers]
    errors: Mapping[str, np.ndarray]
    audited: Mapping[str, Audited]
    features: Mapping[str, np.ndarray]
    feature_names: tuple[str, ...]
    min_score: float = 0.0


def measure_model(folder: ModelFolder) -> Measured:
    """Runs the kept weights over every split in inference mode, and looks at the raw examples: two passes.

    Raises:
        SourceError: the data have changed since the training.
    """
    signature = folder.read_signature()
    data = load_own_data(folder)
    network = folder.load_model()
    answers, audited, features = {}, {}, {}
    for name, part in data.splits().items():
        with naming_unreadable(part):
            answers[name] = answer(network, part, signature)
        audited[name] = gather(part)
        if not part.are_texts:
            features[name] = in_few_numbers(part, audited[name], signature.preprocessing)
    if data.train.are_texts:
        features = texts_in_few_numbers(data)
    errors = {name: errors_of(part, answers[name], signature) for name, part in data.splits().items()}
    names = _feature_names(signature.preprocessing, features["train"].shape[1])
    min_score = 0.0 if signature.detection is None else signature.detection.min_score
    return Measured(data, answers, errors, audited, features, names, min_score)


def in_few_numbers(examples: Examples, audited: Audited, preprocessing: Preprocessing) -> np.ndarray:
    """(n, d): what the network sees of a row; of a picture a thumbnail, brightness, contrast, colour and size."""
    if examples.channels == 0:
        return preprocess(tf.constant(examples.inputs), preprocessing).numpy()
    sizes = np.log(np.maximum(audited.sizes, 1))
    return np.column_stack([audited.thumbnails, audited.brightness, audited.contrast, audited.colour, sizes])


def texts_in_few_numbers(data: Data) -> dict[str, np.ndarray]:
    """By split (n, d): what sequences of up to 4 characters texts are made of, and how long they are.

    Deerwester, S. et al. (1990), Indexing by latent semantic analysis. https://doi.org/10.1002/asi.4630410602
    """
    if len(data.train) == 1:  # one running text is like no other
        return {name: np.zeros((len(part), 1)) for name, part in data.splits().items()}
    told = {
        name: [text if isinstance(text, str) else " ".join(text) for text in part.inputs]
        for name, part in data.splits().items()
    }
    counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), max_features=_NGRAMS, sublinear_tf=True)
    known = counts.fit_transform(told["train"])
    reduced = TruncatedSVD(min(_DIRECTIONS, *(size - 1 for size in known.shape)) or 1, random_state=0).fit(known)
    return {
        name: np.column_stack([reduced.transform(counts.transform(some)), np.log1p([len(text) for text in some])])
        for name, some in told.items()
    }


def _feature_names(preprocessing: Preprocessing, width: int) -> tuple[str, ...]:
    """One for each of ``width`` columns of :func:`in_few_numbers` or :func:`texts_in_few_numbers`, in its order."""
    if preprocessing.vocabulary is not None:
        return ("",) * (width - 1) + ("length",)
    if preprocessing.size is not None:
        return ("",) * SIDE**2 + ("brightness", "contrast", "red", "green", "blue", "height", "width")
    columns = preprocessing.columns
    if not columns:
        return tuple(f"column {place + 1}" for place in range(len(preprocessing.mean)))
    numbers = [column.name for column in columns if column.categories is None]
    flags = [column.name for column in columns if column.missing]
    slots = [name for c in columns if c.categories is not None for name in [c.name] * (len(c.categories) + 1)]
    return (*numbers, *flags, *slots)
