"""Verification over all pairs of images: exact numbers in memory that does not grow with the pairs.

Two passes over the tiles. The first counts genuine and impostor pairs by level: the whole curve, for
drawing and for the AUC. It tells which levels can hold the operating points; the second computes the
exact scores of the pairs in those, and counts pairs for the resampled identities. EER, TAR at a FAR,
least detection cost and their thresholds equal those of all exact scores sorted at once, bit for
bit. Where a window of levels holds too many pairs (collapsed embeddings, few distinct scores), more
passes narrow it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.pair_blocks import PairBlocks, Tile, pair_scores
from benchmarks.measures.pair_resamples import Resampled
from benchmarks.measures.pair_windows import Ladder
from benchmarks.measures.resampling import Resamples
from benchmarks.measures.roc import Roc

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Verified", "pair_counts", "pair_scores", "verify_pairs"]

KEPT_SCORES = 2**20
"""Exact scores kept at once, or a thousandth of all pairs where that is more."""
SCORED_AT_ONCE = 2**18


@dataclass(frozen=True)
class Verified:
    """What the pairs of one set of images say.

    Attributes
    ----------
    curve : the ROC: exact at the operating points and around, elsewhere by level (1.5e-5 wide for
        cosines).
    auc_error : how far its AUC can be from that of all exact scores, at most.
    replicates : (R, 3 + F + G), AUC, EER, least detection cost and the TAR at each FAR, then at
        each FAR of the curve, under the resampled identities; None where nothing was drawn.
    left_out : (U, 3 + F + G), the same without each unit; None likewise.
    """

    curve: Roc
    auc_error: float
    replicates: np.ndarray | None = None
    left_out: np.ndarray | None = None


def pair_counts(labels: np.ndarray) -> tuple[int, int]:
    """Numbers of genuine and impostor pairs of different images with `labels` (N,)."""
    sizes = np.unique(labels, return_counts=True)[1].astype(object)  # Python integers: no overflow
    images = len(labels)
    genuine = int((sizes * (sizes - 1)).sum()) // 2
    return genuine, images * (images - 1) // 2 - genuine


def verify_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    fars: Sequence[float],
    *,
    score: str = "cosine",
    drawn: Resamples | None = None,
    curve_fars: Sequence[float] = (),
    device: str = "cpu",
) -> Verified:
    """The ROC over all unordered pairs of different images, exact where numbers are read from it.

    Memory: the embeddings in float64 and twice in float32, a tile (some 40 MB), 16 MB of exact
    scores (more beyond 10⁹ pairs); with resamples 100 MB more. Time: N² / 2 products, twice.

    Parameters
    ----------
    embeddings : (N, D) finite.
    labels : (N,) int.
    fars : false accept rates at which the curve has to be exact, beside the EER and the least
        detection cost.
    score : "cosine", or "euclidean": the negative distance of the embeddings as they are.
    drawn : the resampled identities of these labels.
    curve_fars : G more rates at which the TAR is wanted under the resamples.
    device : where the products are computed, as torch names it.

    Raises
    ------
    ProtocolError : no genuine or no impostor pair, embeddings that are not finite, labels of another
        length, an unknown score.
    """
    import torch

    if len(embeddings) != len(labels):
        raise ProtocolError(f"{len(labels)} labels for {len(embeddings)} embeddings")
    if not np.isfinite(embeddings).all():
        raise ProtocolError("embeddings that are not finite have no scores")
    pairs = pair_counts(labels)
    for name, count in zip(("genuine", "impostor"), pairs, strict=True):
        if count == 0:
            raise ProtocolError(f"there are no {name} pairs")
    units = None if drawn is None else drawn.units
    blocks = PairBlocks(embeddings, labels, units, score, device)
    genuine, impostor = level_counts(blocks)
    ladder = Ladder(blocks, genuine, impostor, fars, max(KEPT_SCORES, sum(pairs) // 1000))
    resampled = None
    if drawn is not None:
        resampled = Resampled(blocks, drawn.counts, genuine, impostor, fars, curve_fars)
    open_levels = torch.from_numpy(ladder.open_levels).to(blocks.device)
    first = True
    while ladder.pending:
        counted = resampled if first else None
        # Wide tiles, since the resamples make a product for every tile and unit of its rows.
        for tile in blocks.tiles(wide=counted is not None):
            _add_open(blocks, ladder, tile, open_levels)
            if counted is not None:
                counted.add(tile)
        ladder.close()
        first = False
    curve = ladder.roc()
    if resampled is None:
        return Verified(curve, ladder.auc_error())
    return Verified(curve, ladder.auc_error(), *resampled.statistics(curve))


def level_counts(blocks: PairBlocks) -> tuple[np.ndarray, np.ndarray]:
    """Genuine and impostor pairs at each level, rising: int64 (L,) each."""
    import torch

    count = blocks.levels
    found = torch.zeros(2 * count + 1, dtype=torch.int64, device=blocks.device)
    for tile in blocks.tiles():
        if tile.pairs is None:
            found[count:-1] += tile.levels.bincount(minlength=count)
            continue
        rows = blocks.labels_there[tile.start : tile.stop, None]
        apart = (rows != blocks.labels_there[tile.left : tile.right]).flatten()
        # What is no pair is counted in a place of its own: to take the pairs out takes longer.
        place = (tile.levels + count * apart.int()).where(tile.pairs, 2 * count)
        found += place.bincount(minlength=2 * count + 1)
    genuine, impostor = found[:-1].cpu().numpy().reshape(2, count)
    return genuine, impostor


def _add_open(blocks: PairBlocks, ladder: Ladder, tile: Tile, open_levels: Tensor) -> None:
    """Give the ladder the exact scores of the tile's pairs at open levels."""
    chosen = open_levels.index_select(0, tile.levels)
    if tile.pairs is not None:
        chosen &= tile.pairs
    # On a CPU NumPy finds the few much faster than torch.
    place = (
        np.flatnonzero(chosen.numpy())
        if chosen.device.type == "cpu"
        else chosen.nonzero().flatten().cpu().numpy()
    )
    width = tile.right - tile.left
    for begin in range(0, len(place), SCORED_AT_ONCE):
        rows, columns = np.divmod(place[begin : begin + SCORED_AT_ONCE], width)
        rows += tile.start
        columns += tile.left
        ladder.add(blocks.exact(rows, columns), blocks.labels[rows] == blocks.labels[columns])
