"""Cosines between embeddings, on a grid.

A cosine is computed in float32 and rounded to the nearest multiple of 2**-20 (1e-6). The grid is
coarser than the rounding error of the product (a few 1e-7), so that pairs that are equal in exact
arithmetic are ties here, however the product was blocked; without it, collapsed embeddings would be
ranked by the kernel that happened to compute each pair. It also makes the ROC of any number of
pairs exact from two histograms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

LEVELS_PER_UNIT = 2**20
"""A cosine c is the integer level round(c * LEVELS_PER_UNIT)."""

# Adding 1.5 * 2**23 leaves a float32 of size below 2**22 without fraction bits: rounded to nearest,
# ties to even, with the integer in the low bits of the mantissa. One pass, where rint and a
# conversion take two slow ones.
_ROUNDER = np.float32(1.5 * 2**23)


def unit_rows(embeddings: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """The rows of `embeddings` (N, D) at length 1, in `dtype`: (N, D); zero rows stay zero."""
    rows = np.asarray(embeddings, dtype=np.float64)
    # By the largest entry first: the square of a very long or short row leaves the float64 range.
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows = rows / np.where(peak > 0, peak, 1.0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1.0)).astype(dtype)


def cosine_levels(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosines of unit rows (n, D) and (m, D) as levels: int32 (n, m) in ±LEVELS_PER_UNIT."""
    product = (left * np.float32(LEVELS_PER_UNIT)) @ right.T  # the factor is a power of two: exact
    product += _ROUNDER
    levels = product.view(np.int32)
    levels -= _ROUNDER.view(np.int32)
    return np.clip(levels, -LEVELS_PER_UNIT, LEVELS_PER_UNIT, out=levels)
