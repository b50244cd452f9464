"""Losses over several data sets: average ranks, their tests, and the interquartile mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from reports.statistics.intervals import LEVEL, Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """How losses rank over data sets (Demšar 2006, §3.2).

    Attributes
    ----------
    ranks : (K,) mean rank of each loss; 1 is best, ties share the mean of their ranks.
    chi2, f : Friedman's χ² and the less conservative F of Iman and Davenport (1980).
    p : of F, under K - 1 and (K - 1)(N - 1) degrees of freedom; where all data sets agree, F is
        infinite whatever N, and p is the exact chance that N random rankings agree.
    critical_difference : mean ranks that differ by less cannot be told apart (Nemenyi 1963, 5 %).
    sets : N, data sets that counted.
    """

    ranks: Floats
    chi2: float
    f: float
    p: float
    critical_difference: float
    sets: int


def ranking(scores: ArrayLike, higher_is_better: bool) -> Ranking:
    """Rank losses over data sets.

    Parameters
    ----------
    scores : (K, N) of K losses on N data sets; a data set where any loss has NaN is left out.

    Returns
    -------
    Ranking; its tests are NaN for fewer than two losses or two data sets.
    """
    table = np.asarray(scores, dtype=float)
    table = table[:, ~np.isnan(table).any(axis=0)]
    losses, sets = table.shape
    nan = float("nan")
    if sets == 0:
        return Ranking(np.full(losses, nan), nan, nan, nan, nan, 0)
    placed = stats.rankdata(-table if higher_is_better else table, axis=0)
    ranks = placed.mean(axis=1)
    if losses < 2 or sets < 2:
        return Ranking(ranks, nan, nan, nan, nan, sets)
    # Over the ranks' own variance, which ties make smaller: Friedman's χ² with its correction.
    variance = float(((placed - (losses + 1) / 2) ** 2).sum()) / (losses - 1)
    between = sets * float(((ranks - (losses + 1) / 2) ** 2).sum())
    chi2 = sets * between / variance if variance > 0 else 0.0
    f = iman_davenport(chi2, losses, sets)
    p = float(stats.f.sf(f, losses - 1, (losses - 1) * (sets - 1)))
    if np.isinf(f):
        # As a logarithm: of 171 losses there are more orders than a float can hold.
        tied = np.unique(placed[:, 0], return_counts=True)[1]
        orders = special.gammaln(losses + 1) - special.gammaln(tied + 1).sum()
        p = float(np.exp((1 - sets) * orders))
    return Ranking(ranks, chi2, f, p, critical_difference(losses, sets), sets)


def iman_davenport(chi2: float, losses: int, sets: int) -> float:
    """The F of Iman and Davenport (1980) from Friedman's χ²; infinite where all data sets agree.

    Examples
    --------
    >>> round(iman_davenport(9.28, 4, 14), 2)
    3.69
    """
    rest = sets * (losses - 1) - chi2
    return (sets - 1) * chi2 / rest if rest > 1e-9 else float("inf")


def critical_difference(losses: int, sets: int, level: float = LEVEL) -> float:
    """Nemenyi's critical difference of mean ranks, q √(K (K + 1) / 6N) (Demšar 2006, §3.2.2).

    q is the quantile of the studentized range for infinite degrees of freedom, over √2.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    q = float(stats.studentized_range.ppf(level, losses, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(losses * (losses + 1) / (6 * sets)))


def cliques(ranks: ArrayLike, difference: float) -> list[tuple[float, float]]:
    """The bars of a critical-difference diagram (Demšar 2006, figure 1).

    Parameters
    ----------
    ranks : (K,) mean ranks in any order.
    difference : the critical difference.

    Returns
    -------
    Least and greatest rank of every largest group of two or more neighbours that lie less than the
    critical difference apart, from left to right.

    Examples
    --------
    >>> cliques([3.5, 1.0, 2.0, 2.5], 1.6)
    [(1.0, 2.5), (2.0, 3.5)]
    """
    ordered = np.sort(np.asarray(ranks, dtype=float))
    found: list[tuple[float, float]] = []
    reached = 0  # places already inside the last bar
    for first, rank in enumerate(ordered):
        end = int(np.searchsorted(ordered, rank + difference, side="left"))
        if end - first > 1 and end > reached:
            found.append((float(rank), float(ordered[end - 1])))
            reached = end
    return found


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half (Agarwal et al. 2021); NaN of no values.

    A quarter of the values, rounded down, is cut at either end, as by `scipy.stats.trim_mean`.

    Examples
    --------
    >>> iqm([0.0, 1.0, 2.0, 100.0])
    1.5
    """
    flat = np.sort(np.asarray(values, dtype=float).ravel())
    flat = flat[~np.isnan(flat)]
    cut = len(flat) // 4
    return float(flat[cut : len(flat) - cut].mean()) if len(flat) else float("nan")


def iqm_interval(
    runs: list[Floats], generator: np.random.Generator, resamples: int = 2000, level: float = LEVEL
) -> Interval:
    """Interquartile mean over all runs, with the percentile interval of a stratified bootstrap.

    Runs are drawn with replacement within each data set (Agarwal et al. 2021, §4.1).

    Parameters
    ----------
    runs : of each data set the values (S,) of its seeds; NaN: no value.
    """
    known = [each[~np.isnan(each)] for each in runs]
    known = [each for each in known if len(each)]
    count = sum(map(len, known))
    nan = float("nan")
    mean = iqm(np.concatenate(known)) if known else nan
    if not any(len(each) > 1 for each in known):
        return Interval(mean, nan, nan, count, "nothing", nan, nan)
    drawn = np.concatenate(
        [generator.choice(each, size=(resamples, len(each))) for each in known], axis=1
    )
    drawn.sort(axis=1)
    cut = count // 4
    means = drawn[:, cut : count - cut].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), count, "seeds", float(means.std(ddof=1)), nan)
