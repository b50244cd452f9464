"""The numbers of a list of pairs under weights of the identities: no pair is scored or sorted again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.measures.detection_cost import Costs

BLOCK_WEIGHTS = 2**19  # weights of pairs held at a time: 4 MB


def resampled_rates(
    scores: np.ndarray,
    same: np.ndarray,
    folds: np.ndarray | None,
    units: tuple[np.ndarray, np.ndarray],
    counts: np.ndarray,
    fars: Mapping[str, float],
) -> dict[str, np.ndarray]:
    """``pairs/auc``, ``pairs/eer``, ``pairs/min_dcf``, TARs and ``pairs/kfold_accuracy`` under each row of weights.

    A genuine pair weighs as its identity, an impostor pair as the product of its two. Thresholds are
    chosen anew under each row: of the TARs on all pairs, of the folds on the other folds.

    Parameters
    ----------
    scores, same : (P,) float and bool.
    folds : (P,) int, or None: no ``pairs/kfold_accuracy``.
    units : of the left and of the right images, (P,) int each.
    counts : (R, U) int, weights of the units.
    fars : rate by the name of its metric.

    Returns
    -------
    (R,) for each metric; NaN where a row leaves no genuine or no impostor pair, or an empty fold.
    """
    order = np.argsort(scores, kind="stable")
    left, right, same = (array[order] for array in (*units, same))
    ranked = scores[order]
    starts = np.unique(ranked, return_index=True)[1]
    counts = counts.astype(np.int32)  # half the memory to walk through
    parts = [] if folds is None else [folds[order] == fold for fold in np.unique(folds)]
    names = [
        "pairs/auc",
        "pairs/eer",
        "pairs/min_dcf",
        *fars,
        *(["pairs/kfold_accuracy"] if parts else []),
    ]
    found = {name: np.full(len(counts), np.nan) for name in names}
    step = max(1, BLOCK_WEIGHTS // len(scores))
    for start in range(0, len(counts), step):
        rows = slice(start, start + step)
        weights = counts[rows][:, left] * np.where(same, 1, counts[rows][:, right])
        genuine = _below(weights * same, starts)
        impostor = _below(weights * ~same, starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            for name, block in _rates(genuine, impostor, fars).items():
                found[name][rows] = block
            if parts:
                signed = np.where(same, weights, -weights)
                folded = [_fold(weights, signed, own, ranked) for own in parts]
                found["pairs/kfold_accuracy"][rows] = np.mean(folded, axis=0)
    return found


def _below(weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Weight (R, T + 1) of the pairs that score at most -inf, and at most each distinct score.

    `starts` (T,) are the positions where distinct scores begin among the pairs (P,).
    """
    sums = weights.cumsum(axis=1)
    if len(starts) < sums.shape[1]:
        sums = sums[:, np.append(starts[1:], sums.shape[1]) - 1]
    return np.concatenate([np.zeros_like(sums[:, :1]), sums], axis=1)


def _rates(
    genuine: np.ndarray, impostor: np.ndarray, fars: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """From the strictest threshold to the most lenient, as ``benchmarks.measures.roc``."""
    tar = (genuine[:, -1:] - genuine)[:, ::-1] / genuine[:, -1:]
    far = (impostor[:, -1:] - impostor)[:, ::-1] / impostor[:, -1:]
    defined = (genuine[:, -1] > 0) & (impostor[:, -1] > 0)
    rows = np.arange(len(far))
    excess = far + tar - 1.0
    after = np.maximum((excess >= 0).argmax(axis=1), 1)
    low, high = excess[rows, after - 1], excess[rows, after]
    step = far[rows, after] - far[rows, after - 1]
    found = {
        "pairs/auc": (np.diff(far) * (tar[:, 1:] + tar[:, :-1])).sum(axis=1) / 2,
        "pairs/eer": far[rows, after - 1] - low / (high - low) * step,
        "pairs/min_dcf": Costs().of(far, tar).min(axis=1),
    }
    for name, target in fars.items():
        found[name] = tar[rows, (far <= target).sum(axis=1) - 1]
    return {name: np.where(defined, values, np.nan) for name, values in found.items()}


def _fold(
    weights: np.ndarray, signed: np.ndarray, own: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """Accuracy (R,) of the pairs `own` by the best threshold on the others, as `kfold_accuracy`.

    Pairs are in rising order of their scores. `signed` are the weights, those of impostors negative:
    less the sum of what scores at most x is, but for a constant, what is decided rightly when the
    pairs above x are accepted.
    """
    others, judged = np.flatnonzero(~own), np.flatnonzero(own)
    values, starts = np.unique(scores[others], return_index=True)
    best = _below(signed[:, others], starts).argmin(axis=1)
    above = _next_held(weights, others, np.append(starts, len(others))[best])
    low = np.concatenate([[-np.inf], values])[best]
    high = np.append(scores[others], np.inf)[above]
    middle = np.where(np.isfinite(low), low / 2 + high / 2, -np.inf)
    threshold = np.where((middle > low) | (low == -np.inf), middle, high)
    threshold = np.where(above < len(others), threshold, np.inf)
    below = np.searchsorted(scores[judged], threshold, side="left")
    rejected = _below(signed[:, judged], np.arange(len(judged)))
    total = weights[:, judged].sum(axis=1)
    genuine = (total + rejected[:, -1]) / 2
    right = genuine - rejected[np.arange(len(below)), below]
    defined = (total > 0) & (weights.sum(axis=1) > total)
    return np.where(defined, right / total, np.nan)


def _next_held(weights: np.ndarray, pairs: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The first place from `start` (R,) on in `pairs` (T,) whose pair has a weight; T where none has."""
    place = start.copy()
    waiting = np.arange(len(place))
    while len(waiting):
        waiting = waiting[place[waiting] < len(pairs)]
        waiting = waiting[weights[waiting, pairs[place[waiting]]] == 0]
        place[waiting] += 1
    return place
