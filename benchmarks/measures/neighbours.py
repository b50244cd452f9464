"""Who is nearest, in order: cosines in float64, block by block, with ties that are stated.

A cosine is rounded to the nearest multiple of 2**-40 (1e-12), far above the rounding error of its product (about 1e-15)
and far below what float32 embeddings can tell apart. Pairs that are equal in exact arithmetic, such as those with
duplicates, thereby tie whatever kernel computed them (unless the exact value stands within that error of the middle
between two multiples: one in a thousand of such pairs). Ties go to the lowest position.

The rounded cosine and the position share one integer, the key: it orders references totally, so that sorting, selecting
and counting need no second look at ties.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import unit_rows

LEVELS_PER_UNIT = 2**40
"""A cosine c is the integer level round(c * LEVELS_PER_UNIT)."""

TIE = 2.0 / LEVELS_PER_UNIT
"""Cosines that differ by more, before they are rounded, stand at different levels."""

MAX_REFERENCES = 2**22
"""Positions below this fit into a key beside the level."""

REMOVED = np.iinfo(np.int64).min
"""A key below all keys: who is not in the list."""

BLOCK_SCORES = (
    2**21
)  # 16 MB of keys: enough rows for a fast product, and near the cores in most machines ...
MIN_ROWS, MAX_ROWS = 64, 256  # ... unless that is too few rows

# Adding 1.5 * 2**12 to a float64 of size below 2**11 leaves steps of 2**-40: rounded to nearest, ties to even, with the
# level in the low bits of the mantissa; the shift drops all above them.
_ROUNDER = 1.5 * 2.0**12
_SHIFT = 22


def key_blocks(
    queries: np.ndarray, references: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The order of all references for every query, block of queries by block.

    Parameters and errors as of `cosine_blocks`.

    Yields
    ------
    Positions of the block's queries (n,) and keys (n, R) int64: the larger, the nearer; equal keys do not occur.
    The keys may be changed.
    """
    position = np.arange(len(references))
    for rows, cosines in cosine_blocks(queries, references):
        yield rows, keys_of(cosines, position)


def cosine_blocks(
    queries: np.ndarray, references: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The cosines of all references for every query, not rounded yet, block of queries by block.

    Parameters
    ----------
    queries, references : (Q, D) and (R, D) float64, unit or zero rows (``cosine.unit_rows``).

    Yields
    ------
    Positions of the block's queries (n,) and cosines (n, R) float64, which may be changed.

    Raises
    ------
    ProtocolError : more than ``MAX_REFERENCES`` references.
    """
    count = len(references)
    if count > MAX_REFERENCES:
        raise ProtocolError(f"{count:,} references; at most {MAX_REFERENCES:,} can be ranked")
    step = int(np.clip(BLOCK_SCORES // max(count, 1), MIN_ROWS, MAX_ROWS))
    for start in range(0, len(queries), step):
        rows = np.arange(start, min(start + step, len(queries)))
        yield rows, queries[rows] @ references.T


def keys_of(cosines: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The keys of `cosines` (..., R), in their memory, which they overwrite; `position` (R,) of the references."""
    cosines += _ROUNDER
    keys = cosines.view(np.int64)
    keys <<= _SHIFT
    keys -= position
    return keys


def nearest(queries: np.ndarray, references: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` references with the largest cosines to each query, the nearest first.

    Parameters
    ----------
    queries, references : (Q, D) and (R, D) finite, any length; a zero row has cosine 0 with everything.
    k : in 1..R.

    Returns
    -------
    Positions (Q, k) and cosines as levels (Q, k) int64, of which sums are exact; ties go to the lowest position.

    Raises
    ------
    ProtocolError : `k` is not in 1..R.
    """
    if not 1 <= k <= len(references):
        raise ProtocolError(f"{k} nearest of {len(references)} references cannot be given")
    best = np.empty((len(queries), k), dtype=np.int64)
    unit = unit_rows(queries, np.float64), unit_rows(references, np.float64)
    for rows, keys in key_blocks(*unit):
        if k == 1:
            best[rows, 0] = keys.max(axis=1)
            continue
        if k < keys.shape[1]:
            keys.partition(keys.shape[1] - k, axis=1)
        best[rows] = np.sort(keys[:, -k:], axis=1)[:, ::-1]
    position = -best & (MAX_REFERENCES - 1)
    return position, (best + position) >> _SHIFT
