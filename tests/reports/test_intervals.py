"""Intervals over seeds, identities and both: by hand, against scipy, and their properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from reports.statistics.intervals import (
    Draws,
    degrees_of_freedom,
    identity_variance,
    interval,
    mean_interval,
    over_identities,
    t_quantile,
)


def test_mean_interval_by_hand() -> None:
    # sd = 2, n = 4, t(3, 97.5 %) = 3.182446
    found = mean_interval([8.0, 10.0, 10.0, 12.0, np.nan])
    assert found.n == 4
    assert found.mean == 10.0
    assert found.half == pytest.approx(3.182446 * math.sqrt(8 / 3) / 2, rel=1e-6)
    assert (found.low + found.high) / 2 == pytest.approx(10.0)
    assert found.covers == "seeds"


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


def means(effects: np.ndarray, resamples: int = 4000, seed: int = 0) -> Draws:
    """Draws of means over identities with these effects (S, U)."""
    units = effects.shape[1]
    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), resamples)
    left_out = (effects.sum(axis=1, keepdims=True) - effects) / (units - 1)
    return Draws(effects @ drawn.T / units, left_out)


def test_identities_of_one_seed_give_the_standard_error_of_a_mean() -> None:
    effects = np.random.default_rng(1).normal(0.5, 0.1, (1, 60))
    variance, df = identity_variance(means(effects))
    # The bootstrap of a mean, times U/(U-1), is the usual variance of a mean.
    assert variance == pytest.approx(effects.var(ddof=1) / 60, rel=0.08)
    jackknife, _ = identity_variance(means(effects), few_accepts=True)
    assert jackknife == pytest.approx(effects.var(ddof=1) / 60, rel=0.12)
    kurtosis = stats.kurtosis(effects[0], fisher=False)
    assert df == pytest.approx(2 * 60 / (kurtosis - 1))
    found = interval(effects.mean(axis=1), means(effects))
    assert found.covers == "identities"
    assert found.error == pytest.approx(math.sqrt(variance))
    assert found.half == pytest.approx(t_quantile(df) * math.sqrt(variance))


def test_few_heavy_identities_cost_degrees_of_freedom() -> None:
    light = np.tile([-1.0, 1.0], 20)[None]
    heavy = np.array([[10.0, *[0.0] * 39]])
    assert identity_variance(means(light))[1] == 39
    assert identity_variance(means(heavy))[1] < 3


def test_rates_stay_inside() -> None:
    effects = np.zeros((1, 50))
    effects[0, :3] = 1.0
    plain = interval([0.06], means(effects))
    rate = interval([0.06], means(effects), rate=True)
    assert plain.low < 0 < rate.low < 0.06 < rate.high < 1
    reach = plain.half / (0.06 * 0.94)
    assert rate.high == pytest.approx(special.expit(special.logit(0.06) + reach))


def test_shared_identities_add_to_the_seeds() -> None:
    rng = np.random.default_rng(2)
    seeds, units = 4, 80
    common = rng.normal(0, 0.2, units)
    own = rng.normal(0, 0.2, (seeds, units))
    level = rng.normal(0.5, 0.01, (seeds, 1))
    effects = level + common + own
    values = effects.mean(axis=1)
    draws = means(effects)
    found = interval(values, draws)
    assert found.covers == "seeds and identities"
    # What identities do to one seed alone stands in the variance between seeds, not twice.
    covariance = np.cov(effects)
    shared = (covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)) / units
    expected = values.var(ddof=1) / seeds + shared
    assert found.error**2 == pytest.approx(expected, rel=0.06)
    assert found.half > mean_interval(values).half / t_quantile(3) * 2
    # The quantile lies between those of the seeds and of the identities.
    assert t_quantile(79) < found.half / found.error < t_quantile(3)


def test_own_identities_are_in_the_seeds_already() -> None:
    values = [0.1, 0.2, 0.4]
    found = interval(values, None, own_identities=True)
    assert found.covers == "seeds and identities"
    assert found.half == mean_interval(values).half
    assert interval(values, None).covers == "seeds"
    assert interval([0.1], None, own_identities=True).covers == "nothing"


def test_unusable_draws_are_left() -> None:
    broken = Draws(np.full((3, 500), np.nan), np.full((3, 50), 0.1))
    assert interval([0.1, 0.2, 0.3], broken).covers == "seeds"
    few = Draws(np.full((1, 500), 0.1), np.full((1, 2), 0.1))
    assert interval([0.1], few).covers == "nothing"
    some = means(np.random.default_rng(0).normal(size=(1, 40)))
    some.replicates[0, :9] = np.nan
    assert interval([0.1], some).covers == "identities"
    some.replicates[0, : some.replicates.shape[1] // 2 + 1] = np.nan  # the rest is no sample of all
    assert interval([0.1], some).covers == "nothing"


def test_no_spread_at_all() -> None:
    same = Draws(np.full((2, 200), 1.0), np.full((2, 30), 1.0))
    assert interval([1.0, 1.0], same).p == 0.0
    # No error in 30 identities does not show that there are none.
    found = interval([1.0, 1.0], same, rate=True)
    expected = stats.binomtest(30, 30).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, 1.0))
    assert interval([0.0, 0.0], Draws(same.replicates * 0, same.left_out * 0)).p == 1.0


def test_pair_specific_variance_is_removed() -> None:
    rng = np.random.default_rng(3)
    units = 60
    noise = np.triu(rng.normal(size=(units, units)), 1)  # of pairs alone: no identity matters
    drawn = rng.multinomial(units, np.full(units, 1 / units), 3000)
    pairs = units * (units - 1) / 2

    def statistic(weights: np.ndarray) -> np.ndarray:
        products = np.einsum("rc,cd,rd->r", weights, noise, weights, optimize=True)
        norm = np.einsum("rc,cd,rd->r", weights, np.triu(np.ones_like(noise), 1), weights)
        return products / norm

    draws = Draws(statistic(drawn)[None], statistic(1.0 - np.eye(units))[None])
    truth = 1 / pairs
    assert 2.4 < identity_variance(draws)[0] / truth < 3.6
    assert 1.2 < identity_variance(draws, few_accepts=True)[0] / truth < 2.0


def test_over_identities_alone() -> None:
    rng = np.random.default_rng(4)
    effects = rng.normal(0.5, 0.1, (3, 50))
    shared = over_identities(effects.mean(axis=1), [means(effects)])
    assert shared.covers == "identities"
    assert shared.error == pytest.approx(effects.mean(axis=0).std(ddof=1) / math.sqrt(50), rel=0.05)
    single = [means(row[None]) for row in effects]
    own = over_identities(effects.mean(axis=1), single)
    errors = [math.sqrt(identity_variance(each)[0]) for each in single]
    assert own.error == pytest.approx(math.sqrt(sum(e**2 for e in errors)) / 3)
    assert math.isnan(over_identities([0.1, 0.2], []).half)


def test_degrees_of_freedom_are_those_of_the_quantile() -> None:
    for df in (1, 2.5, 30):
        assert degrees_of_freedom(t_quantile(df)) == pytest.approx(df)
    assert degrees_of_freedom(1.9) == 1e6
