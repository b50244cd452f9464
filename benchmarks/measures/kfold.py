"""Verification accuracy by k folds, as on LFW: the threshold of a fold is chosen on the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError


@dataclass(frozen=True)
class FoldedAccuracy:
    """Accuracies over K folds, in [0, 1].

    Attributes
    ----------
    per_fold : (K,) accuracy of each fold, folds in rising order of their numbers.
    thresholds : (K,) the threshold that judged each fold; ±inf: all or no pairs are accepted.
    mean, std : over the folds; `std` divides by K.
    sem : standard error of the mean, which divides by K - 1 before the root: std / sqrt(K - 1).
    mean_low, mean_high : least and largest mean that thresholds equally good on the other folds
        could give. What lies outside was not chosen on the other folds alone.
    """

    per_fold: np.ndarray
    thresholds: np.ndarray
    mean: float
    std: float
    sem: float
    mean_low: float
    mean_high: float


def kfold_accuracy(scores: np.ndarray, same: np.ndarray, folds: np.ndarray) -> FoldedAccuracy:
    """Share of the pairs decided rightly, each fold by the threshold that is best on the others.

    Huang et al. 2007 (Labeled Faces in the Wild, View 2). A pair is accepted when its score reaches
    the threshold. Candidates are -inf, the mid-points between neighbouring distinct scores of the
    other folds, and +inf; of equally good ones the lowest is taken.

    Parameters
    ----------
    scores : (P,) similarities.
    same : (P,) bool or 0/1, genuine pairs.
    folds : (P,) int, the fold of each pair; at least two different numbers.

    Raises
    ------
    ProtocolError : lengths that differ, fewer than two folds, scores that are not numbers.
    """
    scores, same, folds = checked(scores, same, folds)
    per_fold, thresholds, low, high = [], [], [], []
    for fold in np.unique(folds):
        own = folds == fold
        # Accepting what scores above x, for every score x: all decisions that a threshold can make.
        cuts = np.concatenate([[-np.inf], np.unique(scores)])
        training = correct_above(scores[~own], same[~own], cuts)
        judged = correct_above(scores[own], same[own], cuts) / own.sum()
        best = training == training.max()
        thresholds.append(_middle(cuts[int(best.argmax())], scores[~own]))
        per_fold.append(float(((scores[own] >= thresholds[-1]) == same[own]).mean()))
        low.append(judged[best].min())
        high.append(judged[best].max())
    mean, std, sem = over_folds(np.array(per_fold))
    return FoldedAccuracy(
        np.array(per_fold),
        np.array(thresholds),
        mean,
        std,
        sem,
        float(np.mean(low)),
        float(np.mean(high)),
    )


def over_folds(per_fold: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation (divides by K) and standard error of the mean of K >= 2 values."""
    std = float(per_fold.std())
    return float(per_fold.mean()), std, std / float(np.sqrt(len(per_fold) - 1))


def contiguous_folds(pairs: int, folds: int = 10) -> np.ndarray:
    """Fold numbers (pairs,) of a list cut into `folds` parts in its own order, the first ones longer.

    What insightface and facenet do with every list (scikit-learn's ``KFold`` without shuffling). A
    list sorted by kind gives folds of one kind, whose accuracy says little.

    Raises
    ------
    ProtocolError : fewer than two folds, or fewer pairs than folds.
    """
    if not 2 <= folds <= pairs:
        raise ProtocolError(f"{folds} folds of {pairs} pairs: 2 to {pairs} are possible")
    sizes = np.full(folds, pairs // folds)
    sizes[: pairs % folds] += 1
    return np.repeat(np.arange(folds), sizes)


def correct_above(scores: np.ndarray, same: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Pairs decided rightly when those that score above x are accepted, for each x of `cuts`."""
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    accepted = len(genuine) - np.searchsorted(genuine, cuts, side="right")
    return accepted + np.searchsorted(impostor, cuts, side="right")


def checked(
    scores: np.ndarray, same: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arguments as (P,) float64, bool and int arrays.

    Raises
    ------
    ProtocolError : lengths that differ, fewer than two folds, scores that are not numbers.
    """
    scores, same, folds = np.asarray(scores, np.float64), np.asarray(same), np.asarray(folds)
    if not len(scores) == len(same) == len(folds):
        raise ProtocolError(
            f"{len(scores)} scores, {len(same)} answers, {len(folds)} folds: must be one a pair"
        )
    if np.isnan(scores).any():
        raise ProtocolError(f"{int(np.isnan(scores).sum())} scores are not a number")
    if len(np.unique(folds)) < 2:
        raise ProtocolError("the pairs must be in at least two folds")
    return scores, same.astype(bool), folds


def _middle(below: float, scores: np.ndarray) -> float:
    """The middle between the score `below` (or -inf) and the next higher one of `scores`."""
    higher = scores[scores > below]
    if len(higher) == 0:
        return float("inf")
    above = float(higher.min())
    middle = below / 2 + above / 2 if np.isfinite(below) else -np.inf
    # Between neighbouring floats the middle is one of them; it must not accept the lower one.
    return float(middle if middle > below or below == -np.inf else above)
