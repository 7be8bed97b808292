"""Labels that are most likely wrong, by the confidence of classifiers that did not see them.

Northcutt, C. G., Jiang, L. and Chuang, I. L. (2021), Confident learning: estimating uncertainty in
dataset labels, JAIR 70. https://arxiv.org/abs/1911.00068
"""

import dataclasses

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

_FOLDS = 5
_LEAST = _FOLDS  # examples of a class
_MOST = 10_000  # rows; more take minutes
_TREES = 200
_BETTER = 0.5  # of the way from always guessing the largest class to no mistake


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """An example whose label is most likely wrong.

    Attributes:
        index: of the example.
        given, suggested: classes.
        confidence: the out-of-fold probability of ``suggested``.
    """

    index: int
    given: int
    suggested: int
    confidence: float


def out_of_fold(features: np.ndarray, targets: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which rows were classified, and their probabilities (rows, classes): extremely randomized trees in five folds.

    Classes with fewer than 5 examples are left out, and of more than 10,000 rows a draw is taken.
    """
    counts = np.bincount(targets)
    rows = np.flatnonzero(counts[targets] >= _LEAST)
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST])
        counts = np.bincount(targets[rows], minlength=len(counts))
        rows = rows[counts[targets[rows]] >= _LEAST]
    probabilities = np.zeros((len(rows), len(counts)))
    present = np.unique(targets[rows])
    if len(present) < 2:
        return rows[:0], probabilities[:0]
    trees = ExtraTreesClassifier(_TREES, random_state=seed, n_jobs=2)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    found = cross_val_predict(trees, features[rows], targets[rows], cv=folds, method="predict_proba")
    probabilities[:, present] = found
    return rows, probabilities


def suspicious_labels(targets: np.ndarray, probabilities: np.ndarray) -> tuple[Suspicion, ...]:
    """Examples that confident learning counts to another class than their label says, surest first.

    An example belongs to a class if its probability is at least what examples labelled so have on average.
    Nothing is suspected where the probabilities are hardly better than guessing.

    Args:
        targets: (n,) classes as they are labelled.
        probabilities: (n, classes) of a classifier that did not see the label.
    """
    if not len(targets):
        return ()
    counts = np.bincount(targets, minlength=probabilities.shape[1])
    guessed = counts.max() / len(targets)
    right = (probabilities.argmax(axis=1) == targets).mean()
    if right < guessed + _BETTER * (1 - guessed):
        return ()
    confident = np.array(
        [probabilities[targets == k, k].mean() if counts[k] else np.inf for k in range(probabilities.shape[1])]
    )
    likely = np.where(probabilities >= confident, probabilities, -1.0)
    suggested = likely.argmax(axis=1)
    rows = np.arange(len(targets))
    wrong = (likely.max(axis=1) >= 0) & (suggested != targets)
    margin = probabilities[rows, suggested] - probabilities[rows, targets]
    order = np.flatnonzero(wrong)[np.argsort(-margin[wrong], kind="stable")]
    return tuple(
        Suspicion(int(k), int(targets[k]), int(suggested[k]), float(probabilities[k, suggested[k]])) for k in order
    )
