"""Intervals that respect how the data came about: over seeds, over identities, over both.

A test has images of some identities (classes), and pairs of images share them, so that neither images nor pairs are
independent draws; identities are. Every evaluated run therefore brings its metric under resamples of the identities
(``replicates``) and without each of them (``left_out``). Here these become standard errors. What is used, and what was
tried and left, was decided by the coverage simulation (``python -m tests.simulations.coverage``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

LEVEL = 0.95  # of every interval; tests reject at 1 - LEVEL
MIN_REPLICATES = 100  # fewer defined replicates give no standard error
MIN_IDENTITIES = 5  # fewer give no degrees of freedom worth the name
KEPT_OF_JACKKNIFE = 0.75  # least share of the jackknife's variance that a correction leaves

Floats = NDArray[np.float64]
Covers = Literal["nothing", "seeds", "identities", "seeds and identities"]


@dataclass(frozen=True)
class Draws:
    """What the resamples of the identities gave for one metric.

    Attributes
    ----------
    replicates : (S, R) of S runs on the same resamples of the same identities.
    left_out : (S, U) without each identity.
    """

    replicates: Floats
    left_out: Floats

    def __sub__(self, other: Draws) -> Draws:
        """Resample by resample, identity by identity."""
        return Draws(self.replicates - other.replicates, self.left_out - other.left_out)

    def usable(self) -> Draws | None:
        """Without resamples and identities where a run has no value; None where too few are left."""
        replicates = self.replicates[:, np.isfinite(self.replicates).all(axis=0)]
        left_out = self.left_out[:, np.isfinite(self.left_out).all(axis=0)]
        enough = replicates.shape[1] >= MIN_REPLICATES and left_out.shape[1] >= MIN_IDENTITIES
        # The resamples that do give a value are not a sample of all: most of them must.
        most = 2 * replicates.shape[1] > self.replicates.shape[1]
        return Draws(replicates, left_out) if enough and most else None


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes
    ----------
    mean, low, high : in the unit of the values; the ends are NaN where the data give none.
    n : seeds that counted.
    covers : the draws that the interval speaks of.
    error : standard error of the mean, in the unit of the values.
    df : degrees of freedom of the Student t behind it.
    """

    mean: float
    low: float
    high: float
    n: int
    covers: Covers
    error: float
    df: float

    @property
    def half(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that the mean is zero (Student t).

        1 where all values are zero, 0 where they are equal and not zero, NaN without a standard
        error.
        """
        if np.isnan(self.error):
            return float("nan")
        # Equal values leave rounding noise as their only spread: no t-value can be had from it.
        if self.error <= 1e-12 * max(1.0, abs(self.mean)):
            return 1.0 if abs(self.mean) <= 1e-12 else 0.0
        return float(2 * special.stdtr(self.df, -abs(self.mean) / self.error))


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Two-sided Student-t quantile: 12.706 for one degree of freedom, 4.303 for two; NaN for none."""
    return float(special.stdtrit(df, 0.5 + level / 2)) if df > 0 else float("nan")


def degrees_of_freedom(quantile: float, level: float = LEVEL) -> float:
    """The degrees of freedom whose two-sided Student-t quantile is `quantile`; at least 1."""
    if quantile <= t_quantile(1e6, level):
        return 1e6
    return float(optimize.brentq(lambda df: t_quantile(df, level) - quantile, 1 - 1e-9, 1e6))


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
    array = np.asarray(values, dtype=float)
    found = array[~np.isnan(array)]
    if len(found) < 2:
        mean = float(found[0]) if len(found) else float("nan")
        return _without_error(mean, len(found))
    error = float(found.std(ddof=1)) / np.sqrt(len(found))
    return _student(float(found.mean()), error, len(found) - 1, len(found), "seeds", level, False)


def interval(
    values: ArrayLike,
    draws: Draws | None,
    *,
    own_identities: bool = False,
    rate: bool = False,
    few_accepts: bool = False,
    level: float = LEVEL,
) -> Interval:
    """The mean over seeds with an interval over all the draws that the data know of.

    - Several seeds that judged the same identities (`draws` given): the variance of the mean is
      s²/S + V, with s² the variance between seeds and V the variance that the identities give to
      all seeds alike (`identity_variance`). The t-quantile is the mean of those of the two
      variances, weighted by them (Cochran and Cox 1957, §4.14): Satterthwaite's degrees of freedom
      covered too little with three seeds.
    - Several seeds, each with its own draw of identities (`own_identities`): what differs between
      seeds contains the identities already; Student t over seeds.
    - One seed with `draws`: identities alone. Several seeds without: seeds alone.

    Parameters
    ----------
    values : (S,) one per seed, none NaN where `draws` is given.
    draws : of the same seeds in the same order.
    rate : the values are shares in [0, 1]: an interval with `draws` is formed on the logit scale
        (Agresti 2002, §3.1), so that it stays inside and is wider towards ½. Where no identity has
        an error (or none a success), no spread is seen: the open end is that of Clopper and Pearson
        (1934) for so many identities.
    few_accepts : the metric is a rate at a threshold that few false accepts set; see
        `identity_variance`.

    Returns
    -------
    Interval; ``covers`` says which of these it was.
    """
    array = np.asarray(values, dtype=float)
    usable = draws.usable() if draws is not None else None
    if usable is None or np.isnan(array).any():
        found = mean_interval(array, level)
        covers: Covers = (
            "nothing" if found.n < 2 else "seeds and identities" if own_identities else "seeds"
        )
        return Interval(found.mean, found.low, found.high, found.n, covers, found.error, found.df)
    seeds = len(array)
    variance, df = identity_variance(usable, few_accepts)
    covers = "identities"
    if seeds > 1:
        between = float(array.var(ddof=1)) / seeds
        if between + variance > 0:
            parts = between * t_quantile(seeds - 1) + variance * t_quantile(df)
            df = degrees_of_freedom(parts / (between + variance))
        variance, covers = between + variance, "seeds and identities"
    found = _student(float(array.mean()), np.sqrt(variance), df, seeds, covers, level, rate)
    return _open_end(found, usable.left_out.shape[1], level) if rate else found


def identity_variance(draws: Draws, few_accepts: bool = False) -> tuple[float, float]:
    """Variance that the draw of identities gives to a mean over seeds, and its degrees of freedom.

    With one seed this is the bootstrap variance, times U/(U-1) as a bootstrap of U identities is
    narrow by that. With several it is the mean covariance between the seeds' replicates: what an
    identity does to all seeds alike; what it does to one seed is already in the variance between
    seeds (two-way random effects; Searle, Casella and McCulloch 1992, §4).

    A resample weighs an impostor pair by w_c · w_d. That is right for what identities contribute
    one by one and three times too much for what is peculiar to each pair (Owen 2007); leaving one
    out is twice too much (Efron and Stein 1981). The peculiar part matters where few false accepts
    set a threshold (`few_accepts`); there it is removed, 2 V(jackknife) - V(bootstrap), kept above
    `KEPT_OF_JACKKNIFE` of the jackknife's.

    The degrees of freedom are 2U / (κ - 1), at most U - 1, with κ the kurtosis of the identities'
    influences: a variance from few identities is itself uncertain, and more so where some weigh
    far more than others (the variance of a variance, matched as by Satterthwaite 1946).

    Returns
    -------
    variance, df : both 0 or more, df at least 1.
    """
    count = draws.left_out.shape[1]
    bootstrap = _shared(draws.replicates) * count / (count - 1)
    variance = bootstrap
    if few_accepts:
        # The jackknife's variance is (U-1)/U Σ d² = (U-1)²/U times the sample variance.
        jackknife = _shared(draws.left_out) * (count - 1) ** 2 / count
        highest = max(bootstrap, jackknife)
        variance = float(np.clip(2 * jackknife - bootstrap, KEPT_OF_JACKKNIFE * jackknife, highest))
    influence = draws.left_out.mean(axis=0)
    influence = influence - influence.mean()
    second = float((influence**2).mean())
    kurtosis = float((influence**4).mean()) / second**2 if second > 0 else 3.0
    return variance, float(np.clip(2 * count / max(kurtosis - 1, 1e-12), 1, count - 1))


def _shared(samples: Floats) -> float:
    """Variance of one row (1, R), or the mean covariance between rows (S, R); at least 0."""
    rows = len(samples)
    of_mean = float(samples.mean(axis=0).var(ddof=1))
    if rows == 1:
        return of_mean
    mean_of = float(samples.var(axis=1, ddof=1).mean())
    return max((rows * of_mean - mean_of) / (rows - 1), 0.0)


def _student(
    mean: float, error: float, df: float, n: int, covers: Covers, level: float, rate: bool
) -> Interval:
    half = t_quantile(df, level) * float(error)
    low, high = mean - half, mean + half
    if rate and 0 < mean < 1:
        center, reach = special.logit(mean), half / (mean * (1 - mean))
        low, high = float(special.expit(center - reach)), float(special.expit(center + reach))
    return Interval(mean, low, high, n, covers, float(error), float(df))


def _open_end(found: Interval, identities: int, level: float) -> Interval:
    """A rate of 0 or 1 with an interval on its inner side; other rates as they are."""
    if found.mean not in (0.0, 1.0):
        return found
    reach = 1 - ((1 - level) / 2) ** (1 / identities)
    return replace(found, low=max(found.mean - reach, 0.0), high=min(found.mean + reach, 1.0))


def _without_error(mean: float, n: int) -> Interval:
    nan = float("nan")
    return Interval(mean, nan, nan, n, "nothing", nan, nan)


def over_identities(values: ArrayLike, draws: list[Draws], *, rate: bool = False) -> Interval:
    """The mean over seeds with an interval over identities alone, as if these models were the only ones.

    Parameters
    ----------
    values : (S,) one per seed.
    draws : one of all S runs that judged the same identities, or S of one run each that drew its
        own; then the means of S independent draws are averaged.
    rate : see `interval`.
    """
    array = np.asarray(values, dtype=float)
    usable = [each for each in (item.usable() for item in draws) if each is not None]
    if not usable or len(usable) < len(draws):
        return _without_error(float(np.mean(array)), len(array))
    # Over all the runs' identities at once their means are one run's replicates.
    single = [Draws(d.replicates.mean(axis=0)[None], d.left_out.mean(axis=0)[None]) for d in usable]
    parts = [identity_variance(each) for each in single]
    error = np.sqrt(sum(variance for variance, _ in parts)) / len(parts)
    df = sum(df for _, df in parts)
    found = _student(float(array.mean()), error, df, len(array), "identities", LEVEL, rate)
    units = sum(each.left_out.shape[1] for each in single)
    return _open_end(found, units, LEVEL) if rate else found
