"""The scores of all pairs of images, tile by tile: never an N × N matrix in memory.

Two kinds of scores. The *exact* score of a pair is computed in float64 in one fixed order of
elementary operations, so that it depends on the two embeddings alone: not on how pairs are cut into
tiles, the BLAS, the number of threads or the device. The *level* of a pair is a whole number from a
float32 matrix product, fast and with a proven bound of its distance from the exact score; levels
say which few pairs need their exact score.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import product_error, unit_rows

if TYPE_CHECKING:
    from torch import Tensor

TILE_ROWS = 256
TILE_COLUMNS = 2048  # 2 MB of levels, near a core in most machines ...
WIDE = 4  # ... and of wide tiles so many times as many, where a tile costs something by itself

SCORES = ("cosine", "euclidean")
GRID = 2.0**44
"""Cosines are multiples of 1 / GRID (6e-14): coarser than the rounding error of the float64 product
(1e-15), so that pairs that are equal in exact arithmetic are ties. Without it, collapsed embeddings
would be ranked by rounding errors."""

LEVELS_PER_UNIT = 2**16
"""A key in [-1, 1] is the level round(key * LEVELS_PER_UNIT)."""
# Adding 1.5 * 2**23 leaves a float32 of size below 2**22 without fraction bits: rounded to nearest,
# with the integer in the low bits of the mantissa. One pass, where rint and a conversion take two.
ROUNDER = 1.5 * 2**23
ROUNDER_BITS = int(np.float32(ROUNDER).view(np.int32))

EXACT_ROWS = 2048  # pairs whose exact scores are computed at once: 1 MB with 64 dimensions


@dataclass(frozen=True)
class Tile:
    """The pairs of the images ``start <= i < stop`` with the images ``left <= j < right``.

    Attributes
    ----------
    start, stop, left, right : in the order of ``PairBlocks``.
    levels : (n * m,) int32, from 0; row-major.
    pairs : (n * m,) bool, which of them are pairs i < j; None: all, and none of one unit.
    """

    start: int
    stop: int
    left: int
    right: int
    levels: Tensor
    pairs: Tensor | None


class PairBlocks:
    """All unordered pairs of different images, in tiles.

    Parameters
    ----------
    embeddings : (N, D) finite.
    labels : (N,) int.
    units : (N,) int, identities or groups of them (``benchmarks.measures.resampling``); None: the
        classes. No class is in two units.
    score : "cosine", or "euclidean": the negative distance of the embeddings as they are.
    device : where tiles are computed, as torch names it.

    Attributes
    ----------
    labels, units : (N,) int64 from 0, in the order of the blocks: by unit, then by class.
    labels_there, units_there : the same as tensors on the device.
    levels : number of levels; those of exact scores are between 0 and `levels` - 1.
    spread : pairs whose levels differ by at least so much are in the order of their exact scores.

    Raises
    ------
    ProtocolError : an unknown score.
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        labels: np.ndarray,
        units: np.ndarray | None = None,
        score: str = "cosine",
        device: str = "cpu",
    ) -> None:
        import torch  # here, so that plans and reports load without it

        labels = np.unique(labels, return_inverse=True)[1]
        units = labels if units is None else units
        order = np.lexsort((labels, units))
        self.score = score
        self.labels, self.units = labels[order], units[order]
        self.rows = _exact_rows(embeddings[order], score)
        left, right, self.scale = _product_rows(self.rows, score)
        self.error = product_error(left.shape[1])
        self.spread = int(np.ceil(2 * self.error * LEVELS_PER_UNIT)) + 1
        self._zero = LEVELS_PER_UNIT + self.spread  # the level of the key 0; the keys leave [-1, 1]
        self.levels = 2 * self._zero + 1  # by the error at most
        self.device = torch.device(device)
        # The factor is a power of two: exact.
        self._left = torch.from_numpy(left * np.float32(LEVELS_PER_UNIT)).to(self.device)
        self._right = torch.from_numpy(right).to(self.device)
        self.labels_there = torch.from_numpy(self.labels).to(self.device)
        self.units_there = torch.from_numpy(self.units).to(self.device)

    def tiles(self, wide: bool = False) -> Iterator[Tile]:
        """Every unordered pair of different images, once; in `wide` tiles on a GPU in any case."""
        import torch

        columns = TILE_COLUMNS * (WIDE if wide or self.device.type != "cpu" else 1)
        images = len(self.labels)
        unit_end = np.searchsorted(self.units, self.units, side="right")
        for start in range(0, images, TILE_ROWS):
            stop = min(start + TILE_ROWS, images)
            # Past the end of the last row's unit, every pair is of two units.
            mixed_end = int(unit_end[stop - 1])
            rows = torch.arange(start, stop, device=self.device)[:, None]
            for left, right in _spans(start, mixed_end, columns):
                later = torch.arange(left, right, device=self.device) > rows
                yield self._tile(start, stop, left, right, later.flatten())
            for left, right in _spans(mixed_end, images, columns):
                yield self._tile(start, stop, left, right, None)

    def _tile(self, start: int, stop: int, left: int, right: int, pairs: Tensor | None) -> Tile:
        import torch

        with full_precision():
            product = self._left[start:stop] @ self._right[left:right].T
        levels = product.add_(ROUNDER).view(torch.int32).sub_(ROUNDER_BITS - self._zero)
        return Tile(start, stop, left, right, levels.flatten(), pairs)

    def exact(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Exact scores of the pairs of `rows` (n,) with `columns` (n,): (n,) float64."""
        scores = np.empty(len(rows))
        for begin in range(0, len(rows), EXACT_ROWS):
            part = slice(begin, begin + EXACT_ROWS)
            scores[part] = _exact(self.rows[rows[part]], self.rows[columns[part]], self.score)
        return scores

    def value(self, level: np.ndarray) -> np.ndarray:
        """The score in the middle of each level, in the units of exact scores, in float64."""
        key = (level - float(self._zero)) / LEVELS_PER_UNIT
        if self.score == "cosine":
            return key
        return -np.sqrt(np.maximum(-key, 0.0)) / self.scale


def pair_scores(
    embeddings: np.ndarray, labels: np.ndarray, score: str = "cosine"
) -> tuple[np.ndarray, np.ndarray]:
    """Exact scores of all unordered pairs i < j, row by row: memory grows with N².

    Parameters
    ----------
    embeddings : (N, D) finite.
    labels : (N,) int.
    score : "cosine", or "euclidean": the negative distance of the embeddings as they are.

    Returns
    -------
    scores (N (N - 1) / 2,) float64 and same (N (N - 1) / 2,) bool: whether the pair is genuine.

    Raises
    ------
    ProtocolError : embeddings that are not finite or not (N, D), labels of another length, an
        unknown score.
    """
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if embeddings.ndim != 2 or len(embeddings) != len(labels):
        raise ProtocolError(f"{len(labels)} labels for embeddings of shape {embeddings.shape}")
    if not np.isfinite(embeddings).all():
        raise ProtocolError("embeddings that are not finite have no scores")
    rows = _exact_rows(embeddings, score)
    parts = [np.empty(0)]
    for image in range(len(rows) - 1):
        parts.append(_exact(rows[image], rows[image + 1 :], score))
    first, second = np.triu_indices(len(rows), 1)
    return np.concatenate(parts), labels[first] == labels[second]


def _exact_rows(embeddings: np.ndarray, score: str) -> np.ndarray:
    if score not in SCORES:
        raise ProtocolError(f"unknown score {score!r}; allowed: {', '.join(SCORES)}")
    if score == "cosine":
        return unit_rows(embeddings, np.float64)
    return np.ascontiguousarray(embeddings, dtype=np.float64)


def _exact(left: np.ndarray, right: np.ndarray, score: str) -> np.ndarray:
    """Scores of rows (D,) or (n, D) with rows (n, D), in float64."""
    if score == "cosine":
        # + 0.0: no negative zeros
        return np.rint(_folded(left * right) * GRID) / GRID + 0.0
    difference = left - right
    return 0.0 - np.sqrt(_folded(np.square(difference, out=difference)))


def _folded(terms: np.ndarray) -> np.ndarray:
    """Sums of the rows of `terms` (n, D), overwritten, by folding the row in halves: (n,)."""
    width = terms.shape[1]
    while width > 1:
        half = width // 2
        terms[:, :half] += terms[:, width - half : width]
        width -= half
    return terms[:, 0]


def _product_rows(rows: np.ndarray, score: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Float32 rows (N, D') whose inner products are keys in [-1, 1], and the scale of distances.

    A key rises with the score: it is the cosine, or minus the square of (distance × scale).
    """
    if score == "cosine":
        single = rows.astype(np.float32)
        return single, single, 1.0
    centred = rows - rows.mean(axis=0)  # distances do not change, rounding errors shrink
    squares = np.square(centred).sum(axis=1)
    # The longest row at 1/2: 2ab - aa - bb has absolute terms of sum 1 at most.
    scale = 0.5 / np.sqrt(squares.max()) if squares.any() else 1.0
    centred *= scale
    squares = np.square(centred).sum(axis=1)[:, None]
    one = np.ones_like(squares)
    left = np.hstack([2.0 * centred, -squares, one]).astype(np.float32)
    right = np.hstack([centred, one, -squares]).astype(np.float32)
    return left, right, float(scale)


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 products without shortcuts (TF32, bfloat16), whatever the process has allowed."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _spans(start: int, stop: int, columns: int) -> Iterator[tuple[int, int]]:
    for left in range(start, stop, columns):
        yield left, min(left + columns, stop)
