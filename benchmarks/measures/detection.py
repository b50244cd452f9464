"""A hit rate against a false alarm rate: what identification (TPIR at FPIR) and open-set recognition (OSCR) share.

Positives are images with a right answer. Those answered right are *hits*; they count at a threshold when their score
reaches it, the other positives never. Negatives have no right answer; a negative whose score reaches the threshold is a
*false alarm*. Thresholds are observed scores: those of the hits and of the negatives, equal scores moving together.
A rate is compared with a target as a share of whole images, never interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.errors import ProtocolError

MIN_EXPECTED_ALARMS = 10
"""A hit rate whose alarm rate allows fewer false alarms rests on a handful of images; protocols refuse it."""

BLOCK = 2**21  # numbers held at a time: 16 MB
STRIDE = 64


@dataclass(frozen=True)
class Detections:
    """Hits and false alarms at falling thresholds.

    Attributes
    ----------
    thresholds : (T,) float64, falling, distinct.
    hits, alarms : (T,) int64, hits and negatives accepted there, not falling.
    positives, negatives : how many there are in all.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray
    positives: int
    negatives: int

    @property
    def hit_rate(self) -> np.ndarray:
        """Accepted hits as a share of all positives (T,)."""
        return self.hits / self.positives

    @property
    def alarm_rate(self) -> np.ndarray:
        """Accepted share of the negatives (T,)."""
        return self.alarms / self.negatives

    def reaching(self, target: float) -> int:
        """Position of the lowest threshold whose alarm rate does not exceed `target`; -1: there is none."""
        return int(np.searchsorted(self.alarm_rate, target, side="right")) - 1


def detections(
    hits: np.ndarray,
    positives: int,
    negatives: np.ndarray,
    *,
    strict: bool = False,
    at_negatives: bool = False,
) -> Detections:
    """The curve of `hits` (H,) and `negatives` (N,) scores, H <= `positives`.

    Parameters
    ----------
    strict : a hit counts only above the threshold, not at it.
    at_negatives : thresholds are the scores of the negatives alone.

    Raises
    ------
    ProtocolError : no positive, no negative, or a score that is not a number.
    """
    check_scores("hits", hits)
    check_scores("negatives", negatives)
    if positives < 1 or len(negatives) < 1:
        raise ProtocolError(f"there are no {'negatives' if positives else 'positives'}")
    observed = negatives if at_negatives else np.concatenate([hits, negatives])
    thresholds = np.unique(observed.astype(np.float64))[::-1]
    below = np.searchsorted(np.sort(hits), thresholds, side="right" if strict else "left")
    rejected = np.searchsorted(np.sort(negatives), thresholds, side="left")
    return Detections(
        thresholds, len(hits) - below, len(negatives) - rejected, positives, len(negatives)
    )


def check_rate(name: str, target: float) -> None:
    """Raise ProtocolError where `target` is no rate in [0, 1]."""
    if not 0.0 <= target <= 1.0:
        raise ProtocolError(f"{name} {target}: must be in [0, 1]")


def check_scores(name: str, scores: np.ndarray) -> None:
    """Raise ProtocolError where a score is not a number."""
    broken = int(np.isnan(scores).sum())
    if broken:
        raise ProtocolError(f"{name}: {broken} scores are not a number")


def thin(curve: Detections, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Alarm rate (P,) and hit rate (P,) at up to `points` points, evenly spaced in log alarm rate."""
    grid = np.geomspace(1.0 / curve.negatives, 1.0, points - 1)
    grid[-1] = 1.0
    rate = curve.alarm_rate
    kept = np.searchsorted(rate, np.concatenate([[0.0], grid]), side="right") - 1
    kept = np.unique(kept[kept >= 0])
    return rate[kept], curve.hit_rate[kept]


class UnitScores(NamedTuple):
    """Scores (n,) float64 of images, and the unit (an identity, see ``resampling``) of each: (n,) int."""

    scores: np.ndarray
    units: np.ndarray


def wins(hits: UnitScores, negatives: UnitScores, shape: tuple[int, int]) -> np.ndarray:
    """Pairs of a hit and a negative in which the hit scores higher, ties counting ½, by unit.

    Parameters
    ----------
    hits, negatives : H and N >= 1 scores.
    shape : (U, V), numbers of units.

    Returns
    -------
    (U, V) float64. Its sum over H · N is the area under the ROC (Mann and Whitney 1947).
    """
    order = np.argsort(negatives.scores, kind="stable")
    rising, units = negatives.scores[order], negatives.units[order]
    # A hit beats the negatives before its lower end and ties with those from there to its upper end: half of each.
    ends = np.concatenate(
        [np.searchsorted(rising, hits.scores, side=side) for side in ("left", "right")]
    )
    row = np.tile(hits.units, 2)
    # The negatives before an end: whole strides by a matrix product, the rest one by one.
    stride, rest = np.divmod(ends, STRIDE)
    strides = len(rising) // STRIDE + 1
    inside = np.bincount(
        np.arange(len(units)) // STRIDE * shape[1] + units, minlength=strides * shape[1]
    )
    inside = inside.reshape(strides, shape[1])
    before = np.cumsum(inside, axis=0) - inside
    reaching = np.bincount(row * strides + stride, minlength=shape[0] * strides)
    twice = reaching.reshape(shape[0], strides).astype(np.float64) @ before
    offsets = np.arange(STRIDE)
    step = BLOCK // STRIDE
    for start in range(0, len(ends), step):
        part = slice(start, start + step)
        end, offset = np.nonzero(offsets < rest[part, None])
        column = units[stride[part][end] * STRIDE + offset]
        pairs = np.bincount(row[part][end] * shape[1] + column, minlength=twice.size)
        twice += pairs.reshape(shape)
    return twice / 2.0


def weighted_area(
    won: np.ndarray,
    positives: np.ndarray,
    negatives: np.ndarray,
    positive_weights: np.ndarray,
    negative_weights: np.ndarray,
) -> np.ndarray:
    """The area under the curve where units count with weights: (R,); NaN where a side has none.

    Parameters
    ----------
    won : (U, V), of `wins`.
    positives, negatives : (U,), (V,), images of each unit (positives: right or wrong).
    positive_weights, negative_weights : (R, U) or (1, U), and (R, V).
    """
    gained = ((positive_weights @ won) * negative_weights).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return gained / ((positive_weights @ positives) * (negative_weights @ negatives))


def accepted(
    hits: UnitScores,
    negatives: UnitScores,
    hit_weights: np.ndarray,
    negative_weights: np.ndarray,
    targets: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the accepted hits and negatives, the threshold chosen anew under each weighting.

    The threshold is the lowest observed one at which the negatives' weighted alarm rate does not exceed the target.

    Parameters
    ----------
    hits, negatives : finite scores.
    hit_weights, negative_weights : (R, U) or (1, U), and (R, V) whole numbers, how often each unit counts.
    targets : F rates in [0, 1].

    Returns
    -------
    Two (R, F) float64: hits and negatives; both 0 where no observed score reaches the target, NaN where no negative
    has weight.
    """
    ordered = falling(negatives)
    sizes = np.bincount(ordered.units, minlength=negative_weights.shape[1])
    total = negative_weights @ sizes
    first = _first_excess(ordered.units, negative_weights, allowed_alarms(total, targets))
    # All scores above that of the first negative too many are accepted, so that ties move together.
    bound = np.append(ordered.scores, -np.inf)[first]
    found = []
    for group, weights in ((falling(hits), hit_weights), (ordered, negative_weights)):
        above = np.searchsorted(-group.scores, -bound, side="left")
        found.append(_prefix_weight(group.units, above, weights))
        found[-1][total == 0] = np.nan
    return found[0], found[1]


def falling(group: UnitScores) -> UnitScores:
    """The same images, the highest score first."""
    order = np.argsort(-group.scores, kind="stable")
    return UnitScores(group.scores[order], group.units[order])


def allowed_alarms(total: np.ndarray, targets: Sequence[float] | np.ndarray) -> np.ndarray:
    """Largest count k with k / total <= target: (R, F)."""
    whole, rates = np.maximum(total, 1)[:, None], np.asarray(targets)
    count = np.floor(whole * rates)  # may be off by one through rounding
    count += (count + 1) / whole <= rates
    count -= count / whole > rates
    return count


def _first_excess(units: np.ndarray, weights: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Position of the first image at which the running weight exceeds `allowed` (R, F); N: none."""
    by_unit = np.ascontiguousarray(weights.T)  # (V, R): a row an image
    first = np.zeros(allowed.shape, dtype=np.int64)
    running = np.zeros(len(weights), dtype=by_unit.dtype)
    highest = allowed.max(axis=1)
    step = max(64, BLOCK // 8 // max(1, len(weights)))
    for start in range(0, len(units), step):
        weight = np.cumsum(by_unit[units[start : start + step]], axis=0) + running
        for column in range(allowed.shape[1]):
            first[:, column] += (weight <= allowed[:, column]).sum(axis=0)
        running = weight[-1]
        if (running > highest).all():
            break
    return first


def _prefix_weight(units: np.ndarray, positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the first ``positions[r, f]`` images under ``weights[r]``: (R, F)."""
    places, row = np.unique(positions, return_inverse=True)
    # The images between two neighbouring places, counted by unit; then all before each place.
    between = np.searchsorted(places, np.arange(len(units)), side="right")
    inside = between < len(places)
    count = weights.shape[1]
    before = np.bincount(
        between[inside] * count + units[inside], minlength=len(places) * count
    ).reshape(len(places), count)
    before = np.cumsum(before, axis=0)
    row = row.reshape(positions.shape)
    columns = [
        np.einsum("ru,ru->r", weights, before[row[:, column]], dtype=np.float64)
        for column in range(positions.shape[1])
    ]
    return np.stack(columns, axis=1)
