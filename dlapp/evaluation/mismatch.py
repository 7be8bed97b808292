"""Do two splits come from one distribution? A classifier that tries to tell them apart says so."""

import dataclasses
from typing import Literal

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from dlapp.evaluation.intervals import Interval, of_auc

_LEAST = 30  # examples a side
_MOST = 2000  # rows a side; more make the interval narrower than any difference that matters
_FOLDS = 5
_TREES = 200
_WIDER = 1.5  # than DeLong's interval: folds share their rows; without a difference the spread is 1.4 times as large


@dataclasses.dataclass(frozen=True)
class Separation:
    """How well two splits can be told apart.

    Attributes:
        auc: area under the ROC curve of scores that were cross-validated; 0.5 is guessing.
        verdict: ``yes``, they differ, where the interval lies above 0.5; ``no``; or ``cannot tell``.
        features: those that tell them apart best, as column numbers, best first; none unless they differ.
    """

    auc: Interval
    verdict: Literal["yes", "no", "cannot tell"]
    features: tuple[int, ...] = ()


def adversarial_validation(a: np.ndarray, b: np.ndarray, *, seed: int = 0) -> Separation:
    """Tries to tell the rows of ``a`` from those of ``b``: extremely randomized trees, in five folds.

    Args:
        a, b: (n, d) features of two splits; NaN where one is missing.
        seed: of the draw of at most 2,000 rows a side, the folds and the trees.
    """
    if min(len(a), len(b)) < _LEAST:
        return Separation(Interval(0.5, 0.0, 1.0), "cannot tell")
    chance = np.random.default_rng(seed)
    sides = [rows[chance.permutation(len(rows))[:_MOST]] for rows in (a, b)]
    features = np.concatenate(sides)
    targets = np.repeat([0, 1], [len(side) for side in sides])
    trees = ExtraTreesClassifier(
        _TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=2, max_features="sqrt"
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(trees, features, targets, cv=folds, method="predict_proba")[:, 1]
    auc = _widen(of_auc(targets, scores))
    if auc.low <= 0.5:
        return Separation(auc, "no")
    importances = trees.fit(features, targets).feature_importances_
    best = np.argsort(-importances, kind="stable")[:5]
    enough = min(2 / features.shape[1], importances[best[0]])  # of two columns, none has twice its share
    return Separation(auc, "yes", tuple(int(place) for place in best if importances[place] >= enough))


def _widen(auc: Interval) -> Interval:
    low, high = auc.value - _WIDER * (auc.value - auc.low), auc.value + _WIDER * (auc.high - auc.value)
    return Interval(auc.value, max(low, 0.0), min(high, 1.0))
