"""The rates at which a curve is kept under every resample of the identities."""

from __future__ import annotations

import numpy as np

PER_DECADE = (
    5  # 1, 0.63, 0.4, 0.25, 0.16, 0.1: in every grid, so that runs of any size share points
)
LEAST_COUNT = 10
"""A rate of fewer images or pairs than this rests on a handful of them, and is left out."""


def rate_grid(count: int) -> np.ndarray:
    """Rates (G,) float64, rising evenly in log to 1; the lowest is that of at least 10 of `count`.

    Powers of ten come out exactly as they are written. Empty for a `count` below 10.

    >>> rate_grid(100).tolist()
    [0.1, 0.1584893, 0.2511886, 0.3981072, 0.6309573, 1.0]
    """
    if count < LEAST_COUNT:
        return np.zeros(0)
    steps = int(np.floor(PER_DECADE * np.log10(count / LEAST_COUNT) + 1e-9))
    rates = 10.0 ** (-np.arange(steps, -1, -1) / PER_DECADE)
    return np.array([float(f"{rate:.7g}") for rate in rates])
