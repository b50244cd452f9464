"""Statistics against scipy, against hand-computed values, and their properties."""

from __future__ import annotations

import doctest
import math
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from reports import collect, metrics, render, statistics
from reports.statistics import (
    average_curve,
    compare_with_best,
    holm,
    mean_interval,
    paired_difference,
    spearman,
)


@pytest.mark.parametrize("module", [statistics, metrics, render, collect])
def test_docstring_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_mean_interval_by_hand() -> None:
    # sd = 2, n = 4, t(3, 97.5 %) = 3.182446
    interval = mean_interval([8.0, 10.0, 10.0, 12.0, np.nan])
    assert interval.n == 4
    assert interval.mean == 10.0
    assert interval.half == pytest.approx(3.182446 * math.sqrt(8 / 3) / 2, rel=1e-6)
    assert (interval.low, interval.high) == (
        interval.mean - interval.half,
        interval.mean + interval.half,
    )


def test_mean_interval_of_one_and_none() -> None:
    one = mean_interval([0.3])
    assert (one.mean, one.n) == (0.3, 1)
    assert math.isnan(one.half)
    assert mean_interval([np.nan]).n == 0
    assert math.isnan(mean_interval([]).mean)


def test_mean_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(size=7)
    low, high = stats.t.interval(0.9, 6, values.mean(), stats.sem(values))
    interval = mean_interval(values, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = [
        abs((interval := mean_interval(rng.normal(size=5))).mean) <= interval.half
        for _ in range(4000)
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.011)


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


def test_holm_by_hand() -> None:
    # sorted: .005·4 = .02, .01·3 = .03, .03·2 = .06, .04·1 = .04 → .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.01, np.nan, 0.02])[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(holm([np.nan, 0.5])[0])


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


def test_spearman_agrees_with_scipy_with_ties() -> None:
    first = np.array([1.0, 2.0, 2.0, 4.0, 5.0, 3.0, 7.0])
    second = np.array([2.0, 1.0, 3.0, 3.0, 6.0, 2.0, 5.0])
    found = spearman(first, second)
    assert found.rho == pytest.approx(stats.spearmanr(first, second).statistic)
    half = 1.959964 * math.sqrt((1 + found.rho**2 / 2) / 4)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.rho) - half), rel=1e-6)
    assert found.high == pytest.approx(math.tanh(math.atanh(found.rho) + half), rel=1e-6)


def test_spearman_where_it_is_not_defined() -> None:
    assert math.isnan(spearman([1, 2], [1, 2]).rho)
    assert math.isnan(spearman([1, 1, 1, 1], [1, 2, 3, 4]).rho)
    perfect = spearman([1, 2, 3, 4, 5], [1, 2, 3, 4, 9])
    assert perfect.rho == pytest.approx(1)
    assert math.isnan(perfect.low)


def test_average_curve_by_hand() -> None:
    one = (
        np.array([0.0, 0.0, 0.5, 1.0]),
        np.array([0.0, 0.4, 0.8, 1.0]),
    )  # a step at 0: 0.4 counts
    two = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    mean, half = average_curve([one, two], [0.0, 0.25, 1.0])
    assert mean == pytest.approx([0.2, 0.425, 1.0])
    # sd of (0.4, 0) is 0.2828, / sqrt 2 = 0.2, t(1) = 12.7062
    assert half[0] == pytest.approx(0.2 * 12.7062, rel=1e-5)
    assert np.isnan(average_curve([one], [0.5])[1]).all()
