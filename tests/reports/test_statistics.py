"""Statistics against scipy, against hand-computed values, and their properties."""

from __future__ import annotations

import doctest
import math
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from reports import collect, metrics
from reports.statistics import correlation as statistics
from reports.statistics import intervals, permutation, ranks
from reports.statistics.correlation import average_curve, holm, spearman
from reports.tables import latex


@pytest.mark.parametrize(
    "module", [statistics, intervals, permutation, ranks, metrics, latex, collect]
)
def test_docstring_examples(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_holm_by_hand() -> None:
    # sorted: .005·4 = .02, .01·3 = .03, .03·2 = .06, .04·1 = .04 → .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.01, np.nan, 0.02])[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(holm([np.nan, 0.5])[0])


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
