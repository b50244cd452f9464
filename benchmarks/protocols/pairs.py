"""The scores of all pairs of images, tile by tile: never an N × N matrix in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.protocols.cosine import LEVELS_PER_UNIT, cosine_levels, unit_rows
from benchmarks.protocols.roc import Roc, roc_from_counts

TILE_ROWS = 256
TILE_COLUMNS = 8192  # 8 MB of scores; fixed, so that the scores depend on the embeddings alone


def pair_counts(labels: np.ndarray) -> tuple[int, int]:
    """Numbers of genuine and impostor pairs of different images with `labels` (N,)."""
    sizes = np.unique(labels, return_counts=True)[1].astype(object)  # Python integers: no overflow
    images = len(labels)
    genuine = int((sizes * (sizes - 1)).sum()) // 2
    return genuine, images * (images - 1) // 2 - genuine


def pair_levels(
    embeddings: np.ndarray, labels: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cosines of every unordered pair of different images.

    Parameters
    ----------
    embeddings : (N, D) finite.
    labels : (N,) int.

    Yields
    ------
    For each tile, the int32 levels (``benchmarks.protocols.cosine``) of its genuine and of its
    impostor pairs.
    """
    order = np.argsort(labels, kind="stable")
    unit, labels = unit_rows(embeddings[order]), labels[order]
    class_end = np.searchsorted(labels, labels, side="right")
    none = np.empty(0, dtype=np.int32)
    for start in range(0, len(labels), TILE_ROWS):
        rows = np.arange(start, min(start + TILE_ROWS, len(labels)))
        # Images are in order of class: past the end of the last row's class, every pair is an
        # impostor.
        mixed_end = int(class_end[rows[-1]])
        for left, right in _spans(start, mixed_end):
            columns = np.arange(left, right)
            levels = cosine_levels(unit[rows], unit[left:right])
            later = columns > rows[:, None]
            same = columns < class_end[rows, None]
            yield levels[later & same], levels[later & ~same]
        for left, right in _spans(mixed_end, len(labels)):
            yield none, cosine_levels(unit[rows], unit[left:right]).ravel()


def pair_roc(embeddings: np.ndarray, labels: np.ndarray) -> Roc:
    """The exact ROC over all unordered pairs of different images; arguments as in `pair_levels`.

    Memory: two histograms over the 2**21 + 1 levels (32 MB), one tile (25 MB) and the curve (up to
    48 MB), whatever N is. Time: N²/2 scores at 60-90 million a second on one core (D = 64).

    Raises
    ------
    ProtocolError : no genuine or no impostor pair.
    """
    genuine = np.zeros(2 * LEVELS_PER_UNIT + 1, dtype=np.int64)
    impostor = np.zeros_like(genuine)
    for genuine_levels, impostor_levels in pair_levels(embeddings, labels):
        _count(genuine, genuine_levels)
        _count(impostor, impostor_levels)
    scores = np.arange(-LEVELS_PER_UNIT, LEVELS_PER_UNIT + 1) / LEVELS_PER_UNIT
    return roc_from_counts(scores, genuine, impostor)


def _count(histogram: np.ndarray, levels: np.ndarray) -> None:
    # add.at, not bincount: a tile may hold a few thousand scores, and a bincount visits all 2**21
    # bins.
    np.add.at(histogram, np.add(levels, LEVELS_PER_UNIT, dtype=np.int64), 1)


def _spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for left in range(start, stop, TILE_COLUMNS):
        yield left, min(left + TILE_COLUMNS, stop)
