"""Ranks over data sets: Demšar's published example, scipy, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics.ranks import critical_difference, iman_davenport, iqm, iqm_interval, ranking

# Demšar 2006, table 6: AUC of C4.5 and three variants on 14 data sets (voting: the published ranks
# tell apart what three digits do not).
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
).T


def test_published_example() -> None:
    found = ranking(DEMSAR, higher_is_better=True)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    # His χ² has no correction for ties; ours has, as scipy's.
    plain = 12 * 14 / (4 * 5) * (np.sum(found.ranks**2) - 4 * 25 / 4)
    assert plain == pytest.approx(9.28, abs=5e-3)
    assert iman_davenport(plain, 4, 14) == pytest.approx(3.69, abs=5e-3)
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*DEMSAR).statistic)
    assert found.chi2 > plain
    assert found.p < 0.05


def test_agrees_with_scipy_without_ties() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 9))
    found = ranking(scores, higher_is_better=False)
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*scores).statistic)
    assert found.ranks == pytest.approx(stats.rankdata(scores, axis=0).mean(axis=1))


def test_critical_difference_is_the_published_table() -> None:
    # Demšar 2006, table 5: q at 5 % for 2, 4 and 10 classifiers.
    for losses, q in ((2, 1.960), (4, 2.569), (10, 3.164)):
        expected = q * math.sqrt(losses * (losses + 1) / (6 * 20))
        assert critical_difference(losses, 20) == pytest.approx(expected, rel=5e-4)


def test_odd_tables() -> None:
    agree = ranking([[3.0, 3.0], [2.0, 2.0], [1.0, 1.0]], higher_is_better=True)
    assert agree.ranks.tolist() == [1, 2, 3]
    assert (agree.f, agree.p) == (
        math.inf,
        pytest.approx(1 / 6),
    )  # six orders, of which the second set has one
    tied = ranking([[3.0] * 3, [3.0] * 3, [1.0] * 3], higher_is_better=True)
    assert tied.p == pytest.approx(1 / 9)  # three places for the loser
    equal = ranking(np.ones((3, 4)), higher_is_better=True)
    assert (equal.chi2, equal.p) == (0.0, 1.0)
    partly = ranking([[1.0, np.nan], [2.0, 5.0]], higher_is_better=True)
    assert partly.sets == 1
    assert math.isnan(partly.p)
    assert ranking([[np.nan], [1.0]], True).sets == 0


def test_interquartile_mean() -> None:
    values = np.random.default_rng(0).normal(size=21)
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25))
    assert iqm([np.nan, 1.0, 2.0, 3.0, 90.0]) == 2.5
    assert math.isnan(iqm([]))
    rng = np.random.default_rng(1)
    runs = [rng.normal(0.5, 0.02, 10), rng.normal(0.9, 0.02, 10), np.array([np.nan])]
    found = iqm_interval(runs, np.random.default_rng(2))
    assert found.low < found.mean < found.high
    assert found.n == 20
    # Strata stay: no resample can draw one data set more often than the other.
    assert found.high - found.low < 0.2
    assert math.isnan(iqm_interval([np.array([0.4])], rng).low)
