"""Paired permutation tests against scipy and by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from reports.statistics.permutation import EXACT, FLIPS, paired_permutation, pseudo_values


@pytest.mark.parametrize("units", [1, 3, 9, 12])
def test_exact_agrees_with_enumeration_and_scipy(units: int) -> None:
    differences = np.random.default_rng(units).normal(0.4, 1, units)
    found = paired_permutation(differences, np.random.default_rng(0))
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=units)]
    assert found == np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    if units > 1:
        truth = stats.permutation_test(
            (differences, np.zeros(units)),
            lambda a, b: np.mean(a - b),
            permutation_type="samples",
            n_resamples=np.inf,
        )
        assert found == pytest.approx(truth.pvalue)


def test_ties_count_as_extreme() -> None:
    assert paired_permutation(np.array([0.1, 0.2, 0.3]), np.random.default_rng(0)) == 0.25
    assert paired_permutation(np.zeros(5), np.random.default_rng(0)) == 1.0
    assert math.isnan(paired_permutation(np.empty(0), np.random.default_rng(0)))


def test_random_flips_agree_with_scipy_and_never_give_zero() -> None:
    differences = np.random.default_rng(5).normal(0.3, 1, 40)
    assert len(differences) > EXACT
    found = paired_permutation(differences, np.random.default_rng(0))
    truth = stats.permutation_test(
        (differences, np.zeros(40)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=FLIPS,
        vectorized=True,
        rng=np.random.default_rng(1),
    )
    assert found == pytest.approx(truth.pvalue, abs=0.015)
    assert paired_permutation(np.ones(40), np.random.default_rng(0)) == 1 / (1 + FLIPS)
    again = paired_permutation(differences, np.random.default_rng(0))
    assert found == again


def test_pseudo_values_of_a_mean_are_the_values() -> None:
    values = np.array([0.1, 0.5, 0.9, 0.3])
    left_out = (values.sum() - values) / 3
    assert pseudo_values(values.mean(), left_out) == pytest.approx(values)
