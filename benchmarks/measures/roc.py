"""The ROC of a verification experiment and its numbers, exact with ties.

Scores are similarities. A pair is accepted when its score reaches the threshold, and only observed
scores (and +infinity) are thresholds, so pairs with equal scores move together. FAR is the accepted
share of the impostor pairs, TAR that of the genuine pairs, FRR = 1 - TAR (ISO/IEC 19795-1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError


@dataclass(frozen=True)
class Roc:
    """Accepted pairs at every threshold, from the strictest to the most lenient.

    Attributes
    ----------
    thresholds : (T,) float64, falling; the first is +inf.
    genuine, impostor : (T,) int64, pairs accepted there; the first are 0, the last all pairs.
    """

    thresholds: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray

    @property
    def tar(self) -> np.ndarray:
        """Accepted share of the genuine pairs (T,)."""
        return self.genuine / self.genuine[-1]

    @property
    def far(self) -> np.ndarray:
        """Accepted share of the impostor pairs (T,)."""
        return self.impostor / self.impostor[-1]

    @property
    def frr(self) -> np.ndarray:
        """Rejected share of the genuine pairs (T,); with `far` the points of the DET curve."""
        return 1.0 - self.tar


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and its rates; +inf where even the highest score accepts too many impostors.

    Attributes
    ----------
    impostors : impostor pairs accepted there.
    """

    threshold: float
    tar: float
    far: float
    impostors: int


def roc_from_counts(scores: np.ndarray, genuine: np.ndarray, impostor: np.ndarray) -> Roc:
    """The ROC from the number of pairs at each score.

    Parameters
    ----------
    scores : (S,), distinct and rising.
    genuine, impostor : (S,) int, pairs with exactly that score; scores without pairs are left out.

    Raises
    ------
    ProtocolError : no genuine or no impostor pair.
    """
    observed = np.flatnonzero(genuine + impostor)[::-1]
    accepted_genuine = np.concatenate([[0], np.cumsum(genuine[observed])])
    accepted_impostor = np.concatenate([[0], np.cumsum(impostor[observed])])
    for name, accepted in (("genuine", accepted_genuine), ("impostor", accepted_impostor)):
        if accepted[-1] == 0:
            raise ProtocolError(f"there are no {name} pairs")
    thresholds = np.concatenate([[np.inf], scores[observed]])
    return Roc(thresholds, accepted_genuine, accepted_impostor)


def roc(genuine: np.ndarray, impostor: np.ndarray) -> Roc:
    """The ROC of genuine (G,) and impostor (I,) scores.

    Raises
    ------
    ProtocolError : no genuine or no impostor pair, or a score that is not a number.
    """
    every = np.concatenate([genuine, impostor])
    if np.isnan(every).any():
        raise ProtocolError(f"{int(np.isnan(every).sum())} scores are not a number")
    scores, position = np.unique(every, return_inverse=True)
    count = len(scores)
    return roc_from_counts(
        scores,
        np.bincount(position[: len(genuine)], minlength=count),
        np.bincount(position[len(genuine) :], minlength=count),
    )


def auc(curve: Roc) -> float:
    """Probability that a genuine pair scores above an impostor pair, ties counting ½, in [0, 1]."""
    steps = np.diff(curve.impostor).astype(np.float64)
    heights = (curve.genuine[1:] + curve.genuine[:-1]).astype(np.float64)
    return float(steps @ heights / (2.0 * float(curve.genuine[-1]) * float(curve.impostor[-1])))


def eer(curve: Roc) -> float:
    """Rate at which FAR = FRR on the straight lines between the points of the ROC, in [0, 1]."""
    far, excess = curve.far, curve.far - curve.frr
    after = eer_index(far, curve.tar)
    before = after - 1
    weight = -excess[before] / (excess[after] - excess[before])
    return float(far[before] + weight * (far[after] - far[before]))


def eer_index(far: np.ndarray, tar: np.ndarray) -> int:
    """Position of the first point of a ROC, from the strictest threshold, with FAR >= FRR."""
    return int(np.searchsorted(far - (1.0 - tar), 0.0))


def eer_threshold(curve: Roc) -> tuple[float, float]:
    """The observed thresholds between which FAR = FRR, the stricter first; equal where one has it.

    The stricter is +inf where already the highest score accepts more impostors than it rejects
    genuine pairs.
    """
    after = eer_index(curve.far, curve.tar)
    for index in (after - 1, after):  # rounding may hide that FAR = FRR at the former
        if _excess(curve, index) == 0:
            return float(curve.thresholds[index]), float(curve.thresholds[index])
    return float(curve.thresholds[after - 1]), float(curve.thresholds[after])


def eer_midpoint(curve: Roc) -> float:
    """The EER as others report it: (FAR + FRR) / 2 at the threshold where they are closest.

    Of two equally close thresholds the stricter counts.
    """
    after = eer_index(curve.far, curve.tar)
    closest = min((after - 1, after), key=lambda index: abs(_excess(curve, index)))
    return float((curve.far[closest] + curve.frr[closest]) / 2.0)


def _excess(curve: Roc, index: int) -> int:
    """FAR - FRR at one point as a whole number: times genuine and impostor pairs."""
    genuine, impostor = int(curve.genuine[-1]), int(curve.impostor[-1])
    missed = genuine - int(curve.genuine[index])
    return int(curve.impostor[index]) * genuine - missed * impostor


def tar_at_far(curve: Roc, target: float) -> OperatingPoint:
    """The lowest observed threshold whose FAR does not exceed `target` (in [0, 1]), and its rates.

    Raises
    ------
    ProtocolError : `target` is no rate.
    """
    if not 0.0 <= target <= 1.0:
        raise ProtocolError(f"FAR {target}: must be in [0, 1]")
    far = curve.far
    index = int(np.searchsorted(far, target, side="right")) - 1
    tar = curve.genuine[index] / curve.genuine[-1]
    accepted = int(curve.impostor[index])
    return OperatingPoint(float(curve.thresholds[index]), float(tar), float(far[index]), accepted)


def thin(curve: Roc, points: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """FAR (P,) and TAR (P,) at up to `points` of the curve's points, evenly spaced in log FAR."""
    far, tar = curve.far, curve.tar
    if len(far) > points:
        grid = np.geomspace(1.0 / curve.impostor[-1], 1.0, points - 1)
        grid[-1] = 1.0
        kept = np.unique(np.concatenate([[0], np.searchsorted(far, grid, side="right") - 1]))
        far, tar = far[kept], tar[kept]
    return far, tar
