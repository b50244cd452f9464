"""Intervals, paired tests and rank correlation over seeds. Array in, array out; nothing here knows
a study.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.95  # of every interval; tests reject at 1 - LEVEL
MIN_SEEDS = 3  # fewer common seeds carry no claim about a difference

Mark = Literal["best", "indistinguishable", "worse", "too few seeds", "no value"]


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; `half` is NaN (and low, high too) where one value or none was
    given.
    """

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """Lower end, in the unit of the values."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end, in the unit of the values."""
        return self.mean + self.half


def t_quantile(n: int, level: float = LEVEL) -> float:
    """Two-sided Student-t quantile for the mean of `n` values: 12.706 for n = 2, 4.303 for n = 3;
    NaN for n < 2.
    """
    return float(special.stdtrit(n - 1, 0.5 + level / 2)) if n > 1 else float("nan")


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Mean over seeds and its Student-t interval, mean ± t(n-1) · sd / √n (Student 1908).

    Parameters
    ----------
    values : (n,) one value per seed; NaN means "no value" and is left out.
    level : coverage, in (0, 1).

    Returns
    -------
    Interval with ``n`` the number of values that counted.

    Examples
    --------
    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> interval.mean, round(interval.half, 3), interval.n
    (2.0, 2.484, 3)
    """
    found = _finite(values)
    if len(found) == 0:
        return Interval(float("nan"), float("nan"), 0)
    if len(found) == 1:
        return Interval(float(found[0]), float("nan"), 1)
    error = found.std(ddof=1) / np.sqrt(len(found))
    return Interval(float(found.mean()), t_quantile(len(found), level) * float(error), len(found))


@dataclass(frozen=True)
class Difference:
    """A paired comparison: mean difference with its interval, and the paired t-test's p."""

    interval: Interval
    p: float


def paired_difference(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> Difference:
    """Compare two cells seed by seed (paired t-test, Student 1908).

    Seeds share split, initial backbone and batches, so that the differences vary less than the
    values.

    Parameters
    ----------
    first, second : (n,) values of the same seeds in the same order; a seed with a NaN on either
    side is left out.
    level : coverage of the interval of the mean difference ``first - second``.

    Returns
    -------
    Difference; ``p`` is NaN for fewer than two common seeds, 1 where all differences are zero, and
    0 where they are
    all equal and not zero.
    """
    gaps = _finite(np.asarray(first, dtype=float) - np.asarray(second, dtype=float))
    interval = mean_interval(gaps, level)
    if len(gaps) < 2:
        return Difference(interval, float("nan"))
    spread = gaps.std(ddof=1)
    # Equal differences leave rounding noise as their only spread: no t-value can be had from it.
    if spread <= 1e-12 * max(1.0, float(np.abs(gaps).max())):
        return Difference(interval, 1.0 if abs(interval.mean) <= 1e-12 else 0.0)
    t = abs(interval.mean) / (spread / np.sqrt(len(gaps)))
    return Difference(interval, float(2 * special.stdtr(len(gaps) - 1, -t)))


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
class Comparison:
    """Every cell against the best one: ``marks`` and, for the others, difference (cell - best) and
    corrected p.
    """

    best: int | None
    marks: list[Mark]
    differences: list[Difference | None]
    corrected: NDArray[np.float64]


def compare_with_best(
    values: ArrayLike, higher_is_better: bool, level: float = LEVEL
) -> Comparison:
    """Which cells cannot be told from the best one.

    The best cell has the best mean among the cells with at least `MIN_SEEDS` values (among all
    where none has that
    many). Each other cell is compared with it over their common seeds (`paired_difference`); the
    p-values are corrected
    by `holm`. A cell is indistinguishable where the corrected test does not reject. A cell, the
    best one included, whose
    (common) seeds number fewer than `MIN_SEEDS` is marked "too few seeds": nothing can be claimed
    about it.

    Parameters
    ----------
    values : (cells, seeds), NaN where a run has no value.
    higher_is_better : direction of the metric.

    Returns
    -------
    Comparison, in the order of the cells; ``best`` is None where no cell has a value; of
    equal means the first is best.
    """
    table = np.asarray(values, dtype=float)
    counts = np.sum(~np.isnan(table), axis=1)
    marks: list[Mark] = ["no value"] * len(table)
    differences: list[Difference | None] = [None] * len(table)
    candidates = np.flatnonzero(counts >= (MIN_SEEDS if np.any(counts >= MIN_SEEDS) else 1))
    if len(candidates) == 0:
        return Comparison(None, marks, differences, np.full(len(table), np.nan))
    means = np.array([mean_interval(table[cell]).mean for cell in candidates])
    best = int(candidates[np.argmax(np.round(means if higher_is_better else -means, 12))])
    raw = np.full(len(table), np.nan)
    for cell in np.flatnonzero(counts):
        if cell != best:
            difference = paired_difference(table[cell], table[best], level)
            differences[cell] = difference
            raw[cell] = difference.p if difference.interval.n >= MIN_SEEDS else np.nan
    corrected = holm(raw)
    for cell in np.flatnonzero(counts):
        if cell == best:
            marks[cell] = "best" if counts[cell] >= MIN_SEEDS else "too few seeds"
        elif np.isnan(raw[cell]):
            marks[cell] = "too few seeds"
        else:
            marks[cell] = "worse" if corrected[cell] < 1 - level else "indistinguishable"
    return Comparison(best, marks, differences, corrected)


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
    return stack.mean(axis=0), t_quantile(len(stack)) * stack.std(axis=0, ddof=1) / np.sqrt(
        len(stack)
    )


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=float)
    return array[~np.isnan(array)]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks
