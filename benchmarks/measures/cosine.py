"""Embeddings brought to length 1, and the error of their products in float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike


def unit_rows(embeddings: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """The rows of `embeddings` (N, D) at length 1, in `dtype`: (N, D); zero rows stay zero."""
    rows = np.array(embeddings, dtype=np.float64)
    # By the largest entry first: the square of a very long or short row leaves the float64 range.
    peak = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    rows /= np.where(peak > 0, peak, 1.0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1.0)
    return rows.astype(dtype, copy=False)


def product_error(width: int) -> float:
    """How far a float32 product of rows (N, width) can be from that of the float64 rows they were rounded from.

    For rows whose absolute products sum to 1 at most, as those of unit rows do. Of any order of summation (Higham
    2002, §3.1): `width` + 2 roundings of 2**-24, and two more for what is of second order.
    """
    return (width + 4) * 2.0**-24
