"""Paired permutation tests: what sign flips of the differences would have given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXACT = 16  # up to so many units every pattern of signs is tried
FLIPS = 9_999

Floats = NDArray[np.float64]


def paired_permutation(differences: Floats, generator: np.random.Generator) -> float:
    """Two-sided p-value of a paired permutation test (Fisher 1935, §21; Good 2005, §3).

    Were two losses alike, each unit's difference would be as likely with the other sign. The
    p-value is the share of sign patterns whose mean is at least as far from zero as the observed
    one: of all 2ⁿ patterns up to `EXACT` units, else (1 + count) / (1 + `FLIPS`) of random ones
    (Phipson and Smyth 2010).

    Parameters
    ----------
    differences : (n,) of n units.
    generator : draws the random patterns.

    Returns
    -------
    p-value; NaN for no units.

    Examples
    --------
    >>> paired_permutation(np.array([1.0, 2.0, 3.0]), np.random.default_rng(0))
    0.25
    """
    return p_value(differences, patterns(len(differences), generator))


def patterns(units: int, generator: np.random.Generator) -> Floats:
    """Patterns of signs as (P, units): 1 where a unit's sign flips; all 2ⁿ up to `EXACT` units."""
    if units <= EXACT:
        return ((np.arange(2**units)[:, None] >> np.arange(units)) & 1).astype(float)
    return generator.integers(0, 2, size=(FLIPS, units), dtype=np.int8).astype(float)


def p_value(differences: Floats, flipped: Floats) -> float:
    """The p-value of differences (n,) under these `patterns` (P, n); see `paired_permutation`."""
    return float(p_values(differences[None], flipped)[0])


def p_values(differences: Floats, flipped: Floats) -> Floats:
    """The p-values (K,) of K losses' differences (K, n) under the same `patterns` (P, n)."""
    comparisons, units = differences.shape
    if units == 0:
        return np.full(comparisons, np.nan)
    observed = differences.sum(axis=1)
    # Flipping a set of units takes twice their sum away.
    sums = observed[:, None] - 2 * (differences @ flipped.T)  # (K, P)
    # Equal patterns must tie whatever the order of their additions.
    slack = 1e-12 * np.abs(differences).sum(axis=1)
    counts = (np.abs(sums) >= (np.abs(observed) - slack)[:, None]).sum(axis=1)
    exact = units <= EXACT
    found: Floats = counts / len(flipped) if exact else (1 + counts) / (1 + len(flipped))
    return found


def pseudo_values(value: float, left_out: Floats) -> Floats:
    """What each identity adds to a metric, on the metric's scale (Tukey 1958).

    ``P_c = U · θ - (U - 1) · θ without c``; their mean is the jackknife's estimate of the metric.

    Parameters
    ----------
    value : θ.
    left_out : (U,) θ without each identity.
    """
    units = len(left_out)
    return units * value - (units - 1) * left_out
