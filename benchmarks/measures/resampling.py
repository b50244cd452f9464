"""The draw of identities: which ones a test happened to have, and how a metric would have moved with others.

Pairs share people and images share classes, so that pairs or images are no independent draws; identities are. A
bootstrap draws as many identities as there are, with replacement (Efron 1979), and an identity drawn k times counts
k-fold: an image of it with weight k, a genuine pair of it with weight k, an impostor pair of identities c and d with
weight k_c · k_d (Snijders and Borgatti 1999; Bolle, Ratha and Pankanti 2004). Metrics are computed anew from weights on
counts, not from scores drawn again.

The draw depends on the identities alone: all runs that judge the same classes share it, so that losses are compared on
the same resamples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

MAX_UNITS = 1000
"""More identities than this are drawn in so many random groups: a group is a unit as an identity is."""


@dataclass(frozen=True)
class Resamples:
    """The resampled units (identities, or groups of them) of one set of images.

    Attributes
    ----------
    units : (N,) int, unit of each image, 0..U-1.
    counts : (R, U) int, how often each unit was drawn.
    """

    units: np.ndarray
    counts: np.ndarray


def generator(purpose: str, labels: np.ndarray) -> np.random.Generator:
    """A generator that depends on `purpose` and on which classes stand in `labels` (N,), on nothing else."""
    classes = np.unique(labels).astype("<i8")
    digest = hashlib.sha256(purpose.encode() + b"\0" + classes.tobytes()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype="<u4"))


def resample(labels: np.ndarray, resamples: int) -> Resamples:
    """Draw the identities of `labels` (N,) int `resamples` times.

    Each draw takes U of the U units with replacement.
    """
    classes, position = np.unique(labels, return_inverse=True)
    rng = generator("identities", labels)
    count = min(len(classes), MAX_UNITS)
    group = np.arange(len(classes))
    if count < len(classes):
        group = rng.permutation(len(classes)) % count
    draws = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples)
    return Resamples(group[position], draws)


def resampled_mean(values: np.ndarray, drawn: Resamples) -> np.ndarray:
    """Means of per-image `values` (N,) float under each draw: (R,); NaN where a draw has none of the images.

    Images whose value is NaN do not count.
    """
    sums, sizes = _by_unit(values, drawn)
    with np.errstate(invalid="ignore"):
        return (drawn.counts @ sums) / (drawn.counts @ sizes)


def left_out_mean(values: np.ndarray, drawn: Resamples) -> np.ndarray:
    """Means of per-image `values` (N,) without the images of each unit: (U,); NaN where none is left."""
    sums, sizes = _by_unit(values, drawn)
    with np.errstate(invalid="ignore"):
        return (sums.sum() - sums) / (sizes.sum() - sizes)


def _by_unit(values: np.ndarray, drawn: Resamples) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the values and number of the images that count, by unit: (U,) float64 each."""
    units = drawn.counts.shape[1]
    counted = ~np.isnan(values)
    sums = np.bincount(drawn.units[counted], weights=values[counted], minlength=units)
    return sums, np.bincount(drawn.units[counted], minlength=units).astype(np.float64)
