"""Correction for many tests, rank correlation, average curves. Array in, array out; nothing here knows a study."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from reports.statistics.intervals import LEVEL, t_quantile


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Step-down correction of p-values for many comparisons (Holm 1979).

    Parameters
    ----------
    p : (k,) p-values in [0, 1]; NaN means "not tested": it stays NaN and does not count.

    Returns
    -------
    (k,) corrected p-values; comparing them with 5 % keeps the chance of any false rejection at 5 %.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, dtype=float)
    corrected = np.full(raw.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(raw))
    order = tested[np.argsort(raw[tested], kind="stable")]
    steps = raw[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ with its interval; all NaN where it is not defined."""

    rho: float
    low: float
    high: float
    n: int


def spearman(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Correlation:
    """Rank correlation with the interval of Bonett and Wright (2000): Fisher's z with variance (1 +
    ρ²/2) / (n - 3).

    Ties share the mean of their ranks. The interval assumes independent points: give it one point
    per cell, not the
    seeds of a cell as separate points.

    Parameters
    ----------
    first, second : (n,) paired values; a pair with a NaN is left out.
    level : coverage of the interval.

    Returns
    -------
    Correlation; ρ is NaN for fewer than three points or a constant side, the interval for fewer
    than five points or
    where |ρ| = 1 (Fisher's z is infinite there).
    """
    pairs = np.column_stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    nan = float("nan")
    if len(pairs) < 3 or np.any(np.ptp(pairs, axis=0) == 0):
        return Correlation(nan, nan, nan, len(pairs))
    rho = float(np.corrcoef(_ranks(pairs[:, 0]), _ranks(pairs[:, 1]))[0, 1])
    if len(pairs) < 5 or 1 - abs(rho) < 1e-12:
        return Correlation(rho, nan, nan, len(pairs))
    half = float(special.ndtri(0.5 + level / 2)) * np.sqrt((1 + rho**2 / 2) / (len(pairs) - 3))
    z = np.arctanh(rho)
    return Correlation(rho, float(np.tanh(z - half)), float(np.tanh(z + half)), len(pairs))


def ellipse(
    first: ArrayLike, second: ArrayLike, points: int = 64, level: float = LEVEL
) -> NDArray[np.float64]:
    """The outline of an ellipse around the means of two paired quantities.

    Its shadow on either axis is that quantity's own Student-t interval; its tilt shows how the two
    vary together (Friendly, Monette and Fox 2013, "Elliptical insights", §2). Both means together it
    covers less often: `joint_coverage`.

    Parameters
    ----------
    first, second : (n,) paired values; a pair with a NaN is left out.

    Returns
    -------
    (points, 2) closed outline; (0, 2) for fewer than three pairs.
    """
    pairs = np.column_stack([np.asarray(first, dtype=float), np.asarray(second, dtype=float)])
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs) < 3:
        return np.empty((0, 2))
    variances, axes = np.linalg.eigh(np.cov(pairs.T) / len(pairs))
    turn = np.linspace(0, 2 * np.pi, points)
    radii = t_quantile(len(pairs) - 1, level) * np.sqrt(np.maximum(variances, 0))
    circle = np.column_stack([np.cos(turn), np.sin(turn)])  # (points, 2)
    outline: NDArray[np.float64] = pairs.mean(axis=0) + (circle * radii) @ axes.T
    return outline


def joint_coverage(n: int, level: float = LEVEL) -> float:
    """How often the ellipse of n >= 3 normal pairs covers both true means at once (Hotelling 1931).

    >>> round(joint_coverage(5), 2)
    0.8
    """
    t2 = t_quantile(n - 1, level) ** 2
    return float(special.fdtr(2, n - 2, t2 * (n - 2) / (2 * (n - 1))))


def average_curve(
    curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]], grid: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vertical averaging of curves (Fawcett 2006, algorithm 3) with a pointwise Student-t interval
    over them.

    Parameters
    ----------
    curves : one (x, y) per seed, each (points,); x rises, and of equal x the largest y counts.
    Between points y is
        interpolated linearly.
    grid : (G,) common x positions.

    Returns
    -------
    mean : (G,)
    half : (G,) half width of the interval; NaN for a single curve.
    """
    positions = np.asarray(grid, dtype=float)
    rows = []
    for x, y in curves:
        unique, start = np.unique(np.asarray(x, dtype=float), return_index=True)
        rows.append(
            np.interp(positions, unique, np.maximum.reduceat(np.asarray(y, dtype=float), start))
        )
    stack = np.array(rows)
    if len(stack) == 1:
        return stack[0], np.full(len(positions), np.nan)
    return stack.mean(axis=0), t_quantile(len(stack) - 1) * stack.std(axis=0, ddof=1) / np.sqrt(
        len(stack)
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks
