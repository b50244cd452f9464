"""Who is nearest, in order: cosines in float64, block by block, with ties that are stated.

A cosine is rounded to the nearest multiple of 2**-40 (1e-12), far above the rounding error of its product (about 1e-15)
and far below what float32 embeddings can tell apart. Pairs that are equal in exact arithmetic, such as those with
duplicates, thereby tie whatever kernel computed them (unless the exact value stands within that error of the middle
between two multiples: one in a thousand of such pairs). Ties go to the lowest position.

The rounded cosine and the position share one integer, the key: it orders references totally, so that sorting, selecting
and counting need no second look at ties.

A float32 product costs half of a float64 one, and its error has a proven bound. It tells the order of all references but
those that score nearly the same (`SingleBlocks`); only these are looked at in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import product_error, unit_rows

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

PART = 64  # references of which the largest cosine is taken, in the search for the nearest
FEW_PARTS, MOST_CANDIDATES = 4, 8  # for each of the k nearest

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
    for rows in _row_blocks(len(queries), len(references)):
        yield rows, queries[rows] @ references.T


def _row_blocks(queries: int, references: int) -> Iterator[np.ndarray]:
    if references > MAX_REFERENCES:
        raise ProtocolError(f"{references:,} references; at most {MAX_REFERENCES:,} can be ranked")
    step = int(np.clip(BLOCK_SCORES // max(references, 1), MIN_ROWS, MAX_ROWS))
    for start in range(0, queries, step):
        yield np.arange(start, min(start + step, queries))


class SingleBlocks:
    """Cosines by a float32 product, block of queries by block, and the keys of chosen pairs.

    Parameters
    ----------
    queries, references : (Q, D) and (R, D) float64, unit or zero rows (``cosine.unit_rows``).

    Attributes
    ----------
    gap : float32; references whose cosines to a query differ by more are in the order of their keys.
    """

    def __init__(self, queries: np.ndarray, references: np.ndarray) -> None:
        self._queries, self._references = queries, references
        self._single = [rows.astype(np.float32) for rows in (queries, references)]
        # Two cosines, each with its error; 2**-22 for rounding this and what is compared with it.
        self.gap = np.float32(2 * product_error(queries.shape[1]) + TIE + 2.0**-22)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `cosine_blocks`, but (n, R) float32."""
        queries, references = self._single
        for rows in _row_blocks(len(queries), len(references)):
            yield rows, queries[rows] @ references.T

    def keys(self, queries: np.ndarray, references: np.ndarray) -> np.ndarray:
        """The keys (n,) of the pairs of positions `queries` (n,) and `references` (n,)."""
        rows, others = self._queries[queries], self._references[references]
        return keys_of(np.einsum("nd,nd->n", rows, others), references)


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
    unit = unit_rows(queries, np.float64), unit_rows(references, np.float64)
    best = np.empty((len(queries), k), dtype=np.int64)
    done = 0
    if len(references) >= FEW_PARTS * k * PART:
        blocks = SingleBlocks(*unit)
        for rows, cosines in blocks:
            found = _largest_keys(blocks, rows, cosines, k)
            if found is None:
                break  # the other blocks are likely to be as close
            best[rows], done = found, rows[-1] + 1
    for rows, keys in key_blocks(unit[0][done:], unit[1]):
        if k == 1:
            best[rows + done, 0] = keys.max(axis=1)
            continue
        if k < keys.shape[1]:
            keys.partition(keys.shape[1] - k, axis=1)
        best[rows + done] = np.sort(keys[:, -k:], axis=1)[:, ::-1]
    position = -best & (MAX_REFERENCES - 1)
    return position, (best + position) >> _SHIFT


def _largest_keys(
    blocks: SingleBlocks, rows: np.ndarray, cosines: np.ndarray, k: int
) -> np.ndarray | None:
    """The `k` largest keys (n, k), falling, of a block; None where so many cosines are close that this is slow."""
    parts = cosines.shape[1] // PART
    # Each part has a reference of its largest cosine: the k-th largest of these is not above the k-th of all.
    largest = cosines[:, : parts * PART].reshape(len(rows), PART, parts).max(axis=1)
    largest.partition(parts - k, axis=1)
    candidate = np.flatnonzero(cosines >= largest[:, parts - k, None] - blocks.gap)
    if len(candidate) > MOST_CANDIDATES * k * len(rows):
        return None
    query, reference = np.divmod(candidate, cosines.shape[1])
    keys = blocks.keys(rows[query], reference)
    order = np.lexsort((-keys, query))
    first = np.searchsorted(query, np.arange(len(rows)))
    return keys[order[first[:, None] + np.arange(k)]]
