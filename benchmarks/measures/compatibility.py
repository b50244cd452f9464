"""The same pairs under the LFW protocols of other well-known code bases, so that old tables can be placed.

Each function is named after what it does, and says whose convention it is and how it differs from
``benchmarks.measures.kfold.kfold_accuracy``. On the same scores they differ by about a tenth of a
point around 99 %, which is as much as many tables of losses span. Folds are those of the pair list;
the code bases below cut every list into ten parts in its own order, which is the same for LFW's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.kfold import checked, correct_above, over_folds

DISTANCE_GRID = np.arange(0, 4, 0.01)
FINE_DISTANCE_GRID = np.arange(0, 4, 0.001)
YOUDEN_STEPS = 1000
COSINE_GRID = np.arange(-10_000, 10_001) / 10_000


@dataclass(frozen=True)
class FoldedRate:
    """A rate of each fold (K,), the threshold that gave it, the mean and its standard error."""

    per_fold: np.ndarray
    thresholds: np.ndarray
    mean: float
    sem: float


def accuracy_400_distances(
    cosines: np.ndarray, same: np.ndarray, folds: np.ndarray, grid: np.ndarray = DISTANCE_GRID
) -> FoldedRate:
    """Folds with a threshold out of 400 on the squared distance of embeddings of length 1.

    facenet's and insightface's protocol: thresholds 0, 0.01 … 3.99; a pair is accepted when its
    squared distance 2 - 2·cosine is below; of equally good thresholds the smallest distance, that
    is the strictest, is taken. Against `kfold_accuracy`: a coarse grid, and ties go the other way.

    Parameters
    ----------
    cosines : (P,) of the pairs.
    same, folds : as in `kfold_accuracy`.
    grid : (T,) squared distances, rising.
    """
    cosines, same, folds = checked(cosines, same, folds)
    distances = 2 - 2 * cosines

    def choose(chosen: np.ndarray) -> float:
        # distance < t is -distance > -t
        return float(grid[correct_above(-distances[chosen], same[chosen], -grid).argmax()])

    return _folded(folds, choose, lambda own, t: (distances[own] < t) == same[own])


def accuracy_youden(
    cosines: np.ndarray, same: np.ndarray, folds: np.ndarray, steps: int = YOUDEN_STEPS
) -> FoldedRate:
    """Folds with the threshold of the largest TAR - FAR (Youden 1950) on the others.

    FaceX-Zoo's protocol: `steps` equal steps from the lowest to the highest score of the other
    folds; the first, lowest, of the best is taken; a pair that scores exactly the threshold is wrong
    either way. Against `kfold_accuracy`: with unequal numbers of genuine and impostor pairs another
    aim, and a coarser grid. (FaceX-Zoo keeps scores in float32; here they are float64.)

    Raises
    ------
    ProtocolError : besides `kfold_accuracy`'s, other folds that hold one kind of pair alone.
    """
    cosines, same, folds = checked(cosines, same, folds)

    def choose(chosen: np.ndarray) -> float:
        scores, kinds = cosines[chosen], same[chosen]
        if kinds.all() or not kinds.any():
            raise ProtocolError("the other folds hold pairs of one kind alone")
        low, high = scores.min(), scores.max()
        grid = low + (high - low) / steps * np.arange(1, steps + 1)
        return float(grid[(_above(scores[kinds], grid) - _above(scores[~kinds], grid)).argmax()])

    return _folded(folds, choose, lambda own, t: _decided(cosines[own], same[own], t))


def accuracy_oracle_threshold(cosines: np.ndarray, same: np.ndarray) -> float:
    """The best accuracy that any threshold reaches on all pairs.

    OpenSphere's "ACC": no folds; the threshold is chosen on the pairs that it judges. Never below
    `kfold_accuracy`, by about 0.1 points at 6,000 pairs.

    Parameters
    ----------
    cosines : (P,) of the pairs; any other similarity will do.
    same : (P,) bool or 0/1.

    Raises
    ------
    ProtocolError : no pairs, lengths that differ, scores that are not numbers.
    """
    cosines, same, _ = checked(cosines, same, np.arange(len(cosines)))
    cuts = np.concatenate([[-np.inf], np.unique(cosines)])
    return float(correct_above(cosines, same, cuts).max() / len(cosines))


def accuracy_mean_subtracted(
    left: np.ndarray, right: np.ndarray, same: np.ndarray, folds: np.ndarray
) -> FoldedRate:
    """Folds whose embeddings are first freed of the mean of the other folds.

    SphereFace's ``evaluation.m``, where an embedding is that of the image and of its mirror image,
    concatenated: the mean over both sides of all pairs of the other folds is subtracted, the result
    is brought to length 1; thresholds on the cosine are -1, -0.9999 … 1, and the mean of all equally
    good ones is taken; a pair that scores exactly the threshold is wrong either way. Against
    `kfold_accuracy`: other scores, which depend on the fold.

    Parameters
    ----------
    left, right : (P, D) embeddings of the two sides, not brought to length 1.
    same, folds : as in `kfold_accuracy`.

    Raises
    ------
    ProtocolError : as `kfold_accuracy`; sides that differ in shape.
    """
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if left.shape != right.shape:
        raise ProtocolError(f"the sides of the pairs differ in shape: {left.shape}, {right.shape}")
    finite = np.isfinite(left).all(axis=1) & np.isfinite(right).all(axis=1)
    _, same, folds = checked(np.where(finite, 0.0, np.nan), same, folds)
    per_fold, thresholds = [], []
    for fold in np.unique(folds):
        own = folds == fold
        mean = (left[~own].mean(axis=0) + right[~own].mean(axis=0)) / 2
        scores = np.einsum(
            "pd,pd->p", unit_rows(left - mean, np.float64), unit_rows(right - mean, np.float64)
        )
        training, kinds = scores[~own], same[~own]
        # A genuine score above the threshold, an impostor's below it.
        wrong = np.searchsorted(np.sort(training[kinds]), COSINE_GRID, side="right")
        right_ones = np.searchsorted(np.sort(training[~kinds]), COSINE_GRID, side="left") - wrong
        thresholds.append(float(COSINE_GRID[right_ones == right_ones.max()].mean()))
        per_fold.append(float(_decided(scores[own], same[own], thresholds[-1]).mean()))
    mean_rate, _, sem = over_folds(np.array(per_fold))
    return FoldedRate(np.array(per_fold), np.array(thresholds), mean_rate, sem)


def tar_at_interpolated_threshold(
    cosines: np.ndarray, same: np.ndarray, folds: np.ndarray, far: float
) -> tuple[FoldedRate, float]:
    """TAR of each fold at the threshold that has about this FAR on the other folds, and the mean FAR.

    "VAL@FAR" of facenet and insightface: 4,000 thresholds on the squared distance; the threshold is
    interpolated linearly between the last one whose FAR on the other folds does not exceed `far` and
    the next; where all are below, nobody is accepted. It is no TAR@FAR: the promised rate is that of
    other pairs, and an LFW fold has 300 impostor pairs, 0.3 expected false accepts at FAR 0.001.
    (Their interpolation over repeated FARs is not defined and fails in today's SciPy; this is the
    reading of ``numpy.interp``.)

    Raises
    ------
    ProtocolError : as `accuracy_youden`; a fold of one kind of pairs alone; `far` is no rate.
    """
    cosines, same, folds = checked(cosines, same, folds)
    if not 0.0 < far < 1.0:
        raise ProtocolError(f"FAR {far}: must be in (0, 1)")
    distances, grid = 2 - 2 * cosines, FINE_DISTANCE_GRID
    for fold in np.unique(folds):
        if len(np.unique(same[folds == fold])) < 2:
            raise ProtocolError("a fold holds pairs of one kind alone")

    def choose(chosen: np.ndarray) -> float:
        rates = _above(-distances[chosen & ~same], -grid)
        return float(np.interp(far, rates, grid)) if rates.max() >= far else 0.0

    accepted = _folded(folds, choose, lambda own, t: distances[own & same] < t)
    wrongly = [
        float((distances[(folds == fold) & ~same] < threshold).mean())
        for fold, threshold in zip(np.unique(folds), accepted.thresholds, strict=True)
    ]
    return accepted, float(np.mean(wrongly))


def _folded(
    folds: np.ndarray,
    choose: Callable[[np.ndarray], float],
    judge: Callable[[np.ndarray, float], np.ndarray],
) -> FoldedRate:
    """`choose` a threshold on the mask of the other folds, `judge` a fold's pairs by it."""
    per_fold, thresholds = [], []
    for fold in np.unique(folds):
        own = folds == fold
        thresholds.append(choose(~own))
        per_fold.append(float(judge(own, thresholds[-1]).mean()))
    mean, _, sem = over_folds(np.array(per_fold))
    return FoldedRate(np.array(per_fold), np.array(thresholds), mean, sem)


def _above(scores: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Share of the scores (n,) above each threshold (T,); NaN-free: 0 of none."""
    above = len(scores) - np.searchsorted(np.sort(scores), grid, side="right")
    return above / max(1, len(scores))


def _decided(scores: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """Pairs decided rightly when the threshold itself is right for neither kind (P,) bool."""
    return np.where(same, scores > threshold, scores < threshold)
