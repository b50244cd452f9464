"""Hit rates at many alarm rates at once: `detection.accepted` for whole curves.

That one walks over the images once for each rate and stops early, which is fast for a few low ones;
this one finds all rates of a weighting in one running sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.measures.detection import BLOCK, UnitScores, allowed_alarms, falling


def accepted_along(
    hits: UnitScores,
    negatives: UnitScores,
    hit_weights: np.ndarray,
    negative_weights: np.ndarray,
    targets: Sequence[float] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of the accepted hits and negatives, (R, F) each: all as `detection.accepted`."""
    hits, negatives = falling(hits), falling(negatives)
    bounds = np.append(negatives.scores, -np.inf)
    found = np.empty((2, len(negative_weights), len(targets)))
    step = max(1, BLOCK // (len(hits.scores) + len(negatives.scores) + 1))
    for start in range(0, len(negative_weights), step):
        rows = slice(start, start + step)
        weight = _running(negatives.units, negative_weights[rows])
        total = weight[:, -1]
        allowed = allowed_alarms(total, targets)
        first = _beyond(weight[:, 1:], allowed)
        # All scores above that of the first negative too many are accepted: ties move together.
        above, below = (
            np.searchsorted(-scores, -bounds[first], side="left")
            for scores in (hits.scores, negatives.scores)
        )
        own = hit_weights if len(hit_weights) == 1 else hit_weights[rows]
        gained = np.broadcast_to(_running(hits.units, own), (len(total), len(hits.scores) + 1))
        found[0, rows] = np.take_along_axis(gained, above, axis=1)
        found[1, rows] = np.take_along_axis(weight, below, axis=1)
        found[:, rows][:, total == 0] = np.nan
    return found[0], found[1]


def _running(units: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the first 0, 1, … n images, of each row of ``weights`` (R, U): (R, n + 1) int32."""
    total = np.zeros(
        (len(weights), len(units) + 1), dtype=np.int32
    )  # half the memory to walk through
    np.cumsum(weights.astype(np.int32)[:, units], axis=1, out=total[:, 1:])
    return total


def _beyond(running: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Of each row of ``running`` (R, n), rising, the first position above ``allowed`` (R, F); n: none."""
    rows = zip(running, allowed.astype(np.int32), strict=True)
    return np.array([np.searchsorted(row, most, side="right") for row, most in rows])
