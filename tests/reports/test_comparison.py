"""Paired comparisons and marks, over seeds and over identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.draws import RunDraws
from reports.statistics.comparison import (
    compare_with_best,
    paired_difference,
    probability_of_better,
)


def test_paired_difference_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=6), rng.normal(size=6)
    second[4] = np.nan
    keep = ~np.isnan(second)
    truth = stats.ttest_rel(first[keep], second[keep])
    found = paired_difference(first, second)
    assert found.p == pytest.approx(truth.pvalue)
    assert found.interval.n == 5
    limits = truth.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((limits.low, limits.high))


def test_pairing_sees_what_unpaired_noise_hides() -> None:
    seeds = np.array([0.0, 10.0, 20.0, 30.0])
    noise = np.array([0.01, -0.01, 0.02, -0.02])
    assert paired_difference(seeds + 1 + noise, seeds).p < 1e-4
    assert stats.ttest_ind(seeds + 1 + noise, seeds).pvalue > 0.5


def test_paired_difference_without_spread() -> None:
    assert paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]).p == 1.0
    assert paired_difference([0.3, 0.4, 0.5], [0.1, 0.2, 0.3]).p == 0.0
    assert math.isnan(paired_difference([0.3], [0.1]).p)


def test_compare_with_best_marks() -> None:
    base = np.array([0.90, 0.91, 0.92, 0.93])
    jitter = np.array([0.004, -0.003, -0.002, 0.001])
    values = np.array(
        [
            base,
            base - 0.001 + jitter,  # within noise of the best
            base - 0.05 + jitter,  # clearly worse
            [0.99, 0.99, np.nan, np.nan],  # better mean, but two seeds
            [np.nan] * 4,
        ]
    )
    found = compare_with_best(values, higher_is_better=True)
    assert found.best == 0
    assert found.marks == ["best", "indistinguishable", "worse", "too few seeds", "no value"]
    raw = [stats.ttest_rel(values[i], values[0]).pvalue for i in (1, 2)]
    assert found.corrected[[1, 2]] == pytest.approx([raw[0], 2 * raw[1]])
    assert np.isnan(found.corrected[[0, 3, 4]]).all()


def test_compare_with_best_direction_and_few_seeds() -> None:
    errors = np.array([[0.2, 0.2], [0.1, 0.1]])
    found = compare_with_best(errors, higher_is_better=False)
    assert found.best == 1
    assert found.marks == ["too few seeds", "too few seeds"]
    assert compare_with_best(errors, higher_is_better=True).best == 0
    assert compare_with_best(np.full((2, 3), np.nan), True).best is None


def test_too_few_common_seeds() -> None:
    values = np.array([[1.0, 1.1, 1.2, np.nan, np.nan], [np.nan, np.nan, 0.9, 0.8, 0.7]])
    assert compare_with_best(values, True).marks == ["best", "too few seeds"]


def test_correction_holds_the_error_rate() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        values = rng.normal(size=(4, 6))
        wrong += "worse" in compare_with_best(values, True).marks
    # Choosing the best first makes the test somewhat liberal; uncorrected it would be far worse.
    assert wrong / 400 < 0.15


def runs(effects: np.ndarray, identities: np.ndarray | None = None) -> list[RunDraws | None]:
    """What runs with these effects of identities (S, U) on a mean would store."""
    units = effects.shape[1]
    drawn = np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), 1000)
    ids = np.arange(units) if identities is None else identities
    return [
        RunDraws((ids,), drawn @ row / units, (row.sum() - row) / (units - 1)) for row in effects
    ]


def pair(gap: float, seeds: int = 4, units: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Effects of two cells: identities matter to both, the gap varies over identities."""
    rng = np.random.default_rng(7)
    common = rng.normal(0.8, 0.1, units)
    each = rng.normal(gap, 0.02, units)
    noise = rng.normal(0, 0.002, (2, seeds, 1))
    return common + each + noise[0], common + noise[1]


def test_identities_enter_the_comparison() -> None:
    first, second = pair(0.01)
    alone = paired_difference(first.mean(axis=1), second.mean(axis=1))
    both = paired_difference(first.mean(axis=1), second.mean(axis=1), runs(first), runs(second))
    assert alone.interval.covers == "seeds"
    assert both.interval.covers == "seeds and identities"
    assert both.interval.error > alone.interval.error
    # Both cells judge the same identities: the difference is not as uncertain as the values.
    assert both.interval.error < 0.5 * first.mean(axis=0).std() / math.sqrt(50)
    assert both.p >= both.interval.p
    assert both.test in ("t", "flips of identities")


def test_the_largest_p_counts() -> None:
    rng = np.random.default_rng(0)
    gaps = rng.normal(1.0, 0.1, 9)
    found = paired_difference(gaps, np.zeros(9))
    # Nine seeds: the smallest p that flips can give is 2 / 2⁹, far above the t-test's.
    assert found.interval.p < 1e-6
    assert (found.p, found.test) == (2 / 2**9, "flips of seeds")
    assert paired_difference(gaps[:7], np.zeros(7)).test == "t"
    assert paired_difference([0.1], [0.2]).test == "none"


def test_other_identities_are_not_paired() -> None:
    first, second = pair(0.01)
    others = runs(second, np.arange(100, 150))
    found = paired_difference(first.mean(axis=1), second.mean(axis=1), runs(first), others)
    assert found.interval.covers == "seeds"


def test_own_identities_of_each_seed() -> None:
    first, second = pair(0.01)
    draws = [
        [runs(cell[[seed]], np.arange(50) + 100 * seed)[0] for seed in range(4)]
        for cell in (first, second)
    ]
    found = paired_difference(first.mean(axis=1), second.mean(axis=1), *draws)
    assert found.interval.covers == "seeds and identities"
    assert found.test == "t"
    # Paired resamples within each seed still tell how often the one beats the other.
    assert 0.5 < found.wins.mean < 1


def test_probability_of_better() -> None:
    rng = np.random.default_rng(0)
    assert probability_of_better([1.0, -1.0, 0.0, 2.0], rng).mean == pytest.approx(2.5 / 4)
    found = probability_of_better([[1, 1, -1, np.nan], [0, 0, 0, 0], [1, 1, 1, 1]], rng)
    assert found.mean == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert 0.5 <= found.low < found.mean < found.high <= 1
    assert math.isnan(probability_of_better([1.0, 1.0], rng).low)
    assert math.isnan(probability_of_better([], rng).mean)
    always = probability_of_better([1.0, 2.0, 3.0], rng)
    assert (always.mean, always.covers) == (1.0, "nothing")
    assert math.isnan(always.low)  # three seeds that agree do not make it certain
    lower = paired_difference([0.1, 0.1], [0.2, 0.3], higher_is_better=False)
    assert lower.wins.mean == 1


def test_identities_can_make_a_difference_indistinguishable() -> None:
    rng = np.random.default_rng(1)
    each = rng.normal(0, 0.05, 30)
    each += 0.004 - each.mean()  # small beside what it varies by over identities
    seeds = rng.normal(0, 0.0005, (2, 4, 1))
    first, second = 0.8 + each + seeds[0], 0.8 + np.zeros(30) + seeds[1]
    values = np.array([first.mean(axis=1), second.mean(axis=1)])
    if values[0].mean() < values[1].mean():
        values, first, second = values[::-1], second, first
    assert compare_with_best(values, True).marks == ["best", "worse"]
    marks = compare_with_best(values, True, [runs(first), runs(second)]).marks
    assert marks == ["best", "indistinguishable"]
