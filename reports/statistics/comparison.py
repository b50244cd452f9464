"""Which cells of a table can be told from the best one, by paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reports.draws import Cell, RunDraws, joined, same_identities
from reports.statistics.correlation import holm
from reports.statistics.intervals import LEVEL, Interval, interval
from reports.statistics.permutation import p_values, patterns, pseudo_values

MIN_SEEDS = 3  # fewer common seeds carry no claim about a difference
MIN_FLIPS = 8  # common seeds from which flips can reach 1 %: the smallest p is 2 / 2ⁿ

Floats = NDArray[np.float64]
Mark = Literal["best", "indistinguishable", "worse", "too few seeds", "no value"]
Test = Literal["none", "t", "flips of seeds", "flips of identities"]


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two cells, first minus second.

    Attributes
    ----------
    interval : of the mean difference over common seeds.
    p : the largest of the p-values that the data allow.
    test : the test that gave it.
    wins : probability that the first is better; see `probability_of_better`.
    """

    interval: Interval
    p: float
    test: Test
    wins: Interval


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    first_draws: Cell | None = None,
    second_draws: Cell | None = None,
    *,
    higher_is_better: bool = True,
    few_accepts: bool = False,
    level: float = LEVEL,
) -> Difference:
    """Compare two cells over their common seeds, and common identities where the runs tell them.

    Seeds share split, initial backbone and batches, and both cells judge the same identities of a
    seed, so that the differences vary less than the values. Three tests, as far as the data allow:

    - t: the difference over its standard error (`reports.statistics.intervals.interval`);
    - flips of seeds, from `MIN_FLIPS` common seeds on: permutation of their differences
      (`reports.statistics.permutation`);
    - flips of identities, where all seeds judged the same ones: of the differences of their
      pseudo-values, averaged over seeds.

    The largest p-value counts: each test is blind to something that another sees.

    Parameters
    ----------
    first, second : (n,) values of the same seeds in the same order; a seed with a NaN on either
        side is left out.
    first_draws, second_draws : of the same seeds, or None.
    few_accepts : see `reports.statistics.intervals.identity_variance`.

    Returns
    -------
    Difference; p is NaN where nothing was tested.
    """
    pair = _pair(first, second, first_draws, second_draws, few_accepts, level)
    return _tested([pair], higher_is_better)[0]


def probability_of_better(
    advantages: Sequence[ArrayLike], generator: np.random.Generator, level: float = LEVEL
) -> Interval:
    """Probability that one loss beats another on the same seed and the same draw of identities.

    The share of (seed, resample) draws with an advantage, ties counting ½ (the paired form of
    Agarwal et al. 2021, §4.3); over the seeds themselves where a run has no resamples. The interval
    is the percentile bootstrap over seeds.

    Parameters
    ----------
    advantages : of each seed its advantage, a number or (R,) of its resamples (NaN: none).

    Returns
    -------
    Interval of the probability; without ends for fewer than `MIN_SEEDS` seeds and where all seeds
    have the same share, of which a bootstrap would make an interval without width.
    """
    shares = []
    for advantage in advantages:
        known = np.atleast_1d(np.asarray(advantage, dtype=float))
        known = known[~np.isnan(known)]
        if len(known):
            shares.append(float(((known > 0) + 0.5 * (known == 0)).mean()))
    nan = float("nan")
    if not shares:
        return Interval(nan, nan, nan, 0, "nothing", nan, nan)
    each = np.array(shares)
    low = high = nan
    if len(each) >= MIN_SEEDS and np.ptp(each) > 0:
        means = generator.choice(each, size=(2000, len(each))).mean(axis=1)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    covers: Literal["nothing", "seeds"] = "nothing" if np.isnan(low) else "seeds"
    return Interval(float(each.mean()), float(low), float(high), len(each), covers, nan, nan)


@dataclass(frozen=True)
class Comparison:
    """Every cell against the best one: ``marks`` and, for the others, difference (cell - best) and
    corrected p.
    """

    best: int | None
    marks: list[Mark]
    differences: list[Difference | None]
    corrected: Floats


def compare_with_best(
    values: ArrayLike,
    higher_is_better: bool,
    draws: Sequence[Cell] | None = None,
    *,
    few_accepts: bool = False,
    level: float = LEVEL,
) -> Comparison:
    """Which cells cannot be told from the best one.

    The best cell has the best mean among the cells with at least `MIN_SEEDS` values (among all
    where none has that many). Each other cell is compared with it over their common seeds
    (`paired_difference`); the p-values are corrected by `holm`. A cell is indistinguishable where
    the corrected test does not reject. A cell, the best one included, whose (common) seeds number
    fewer than `MIN_SEEDS` is marked "too few seeds": nothing can be claimed about it.

    Parameters
    ----------
    values : (cells, seeds), NaN where a run has no value.
    higher_is_better : direction of the metric.
    draws : of the same cells and seeds (`reports.draws.cell_draws`), or None.

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
    means = np.nanmean(table[candidates], axis=1)
    best = int(candidates[np.argmax(np.round(means if higher_is_better else -means, 12))])
    raw = np.full(len(table), np.nan)
    pairs: dict[int, _Pair] = {}
    for cell in map(int, np.flatnonzero(counts)):
        if cell != best:
            own, others = (None, None) if draws is None else (draws[cell], draws[best])
            pairs[cell] = _pair(table[cell], table[best], own, others, few_accepts, level)
    for cell, found in zip(pairs, _tested(list(pairs.values()), higher_is_better), strict=True):
        differences[cell] = found
        raw[cell] = found.p if found.interval.n >= MIN_SEEDS else np.nan
    corrected = holm(raw)
    for cell in map(int, np.flatnonzero(counts)):
        if cell == best:
            marks[cell] = "best" if counts[cell] >= MIN_SEEDS else "too few seeds"
        elif np.isnan(raw[cell]):
            marks[cell] = "too few seeds"
        else:
            marks[cell] = "worse" if corrected[cell] < 1 - level else "indistinguishable"
    return Comparison(best, marks, differences, corrected)


@dataclass(frozen=True)
class _Pair:
    """Two cells seed by seed, before any test.

    Attributes
    ----------
    gaps : (S,) first minus second of each common seed.
    runs : the same under each resample; None where a seed has none.
    interval : of the mean gap.
    pseudo : (U,) of each identity, averaged over seeds; None where seeds judged different ones.
    """

    gaps: Floats
    runs: list[RunDraws | None]
    interval: Interval
    pseudo: Floats | None


def _pair(
    first: ArrayLike,
    second: ArrayLike,
    first_draws: Cell | None,
    second_draws: Cell | None,
    few_accepts: bool,
    level: float,
) -> _Pair:
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    common = np.flatnonzero(~np.isnan(one) & ~np.isnan(two))
    gaps = one[common] - two[common]
    runs = [_minus(_at(first_draws, seed), _at(second_draws, seed)) for seed in common]
    draws, own = joined(runs)
    found = interval(gaps, draws, own_identities=own, few_accepts=few_accepts, level=level)
    usable = draws.usable() if draws is not None else None
    pseudo = None
    if usable is not None:
        values = [pseudo_values(*each) for each in zip(gaps, usable.left_out, strict=True)]
        pseudo = np.mean(values, axis=0)
    return _Pair(gaps, runs, found, pseudo)


def _tested(pairs: Sequence[_Pair], higher_is_better: bool) -> list[Difference]:
    """All tests of these pairs; the flips of all at once, which is much faster."""
    of_seeds = _flips([pair.gaps if len(pair.gaps) >= MIN_FLIPS else None for pair in pairs])
    of_identities = _flips([pair.pseudo for pair in pairs])
    sign = 1 if higher_is_better else -1
    found = []
    for pair, *flips in zip(pairs, of_seeds, of_identities, strict=True):
        names: tuple[Test, ...] = ("t", "flips of seeds", "flips of identities")
        tests = list(zip((pair.interval.p, *flips), names, strict=True))
        tests = [test for test in tests if not np.isnan(test[0])] or [(float("nan"), "none")]
        shares = [
            sign * gap if run is None else sign * run.replicates
            for gap, run in zip(pair.gaps, pair.runs, strict=True)
        ]
        wins = probability_of_better(shares, np.random.default_rng(0))
        found.append(Difference(pair.interval, *max(tests), wins))
    return found


def _flips(units: Sequence[Floats | None]) -> list[float]:
    """The p-value of each pair under flips of its units; NaN where it has none to flip."""
    found = [float("nan")] * len(units)
    for count in {len(each) for each in units if each is not None}:
        places = [i for i, each in enumerate(units) if each is not None and len(each) == count]
        table = np.array([units[i] for i in places])
        for place, p in zip(places, p_values(table, _patterns(count)), strict=True):
            found[place] = float(p)
    return found


@lru_cache(maxsize=4)
def _patterns(units: int) -> Floats:
    # The same data give the same p-value, and all cells of a table the same patterns.
    return patterns(units, np.random.default_rng(units))


def _at(draws: Cell | None, seed: np.intp) -> RunDraws | None:
    return draws[int(seed)] if draws is not None else None


def _minus(first: RunDraws | None, second: RunDraws | None) -> RunDraws | None:
    """Resample by resample; None where they are not of the same identities."""
    if first is None or second is None or not same_identities(first, second):
        return None
    return RunDraws(
        first.identities,
        first.replicates - second.replicates,
        first.left_out - second.left_out,
    )
