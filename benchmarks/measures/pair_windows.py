"""Which scores must be known exactly, so that the operating points are.

Pairs are counted in cells of nearby scores, from the highest score down: first by their float32
level, whose distance from the exact score is bounded; where that leaves too many pairs, by finer
cells of exact scores. An operating point is a rank among the scores, and ranks move by no more than
the scores do: the point lies within the bound of the cell that holds its rank.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.measures.detection_cost import Costs
from benchmarks.measures.pair_blocks import PairBlocks
from benchmarks.measures.roc import Roc, eer_index

FINE_CELLS = 2**20
"""Cells of exact scores in one pass, over all windows: 32 MB."""
AUC_ERROR = 1e-3
"""More of the AUC must not rest on pairs whose order the levels leave open."""


def wanted_cells(
    genuine: np.ndarray, impostor: np.ndarray, spread: int, fars: Sequence[float]
) -> np.ndarray:
    """The cells that can hold the EER, the TARs at `fars`, the least detection cost, and their
    neighbouring thresholds: (S,) bool.

    Parameters
    ----------
    genuine, impostor : (S,) int, pairs in each cell, from the highest score down.
    spread : pairs whose cells are at least so far apart are in the order of their exact scores; 0:
        cells are in order without exception.
    """
    accepted = np.cumsum(genuine), np.cumsum(impostor)
    tar, far = accepted[0] / accepted[0][-1], accepted[1] / accepted[1][-1]
    occupied = np.flatnonzero(genuine + impostor)
    wanted = np.zeros(len(genuine), dtype=bool)
    cores = [int(np.searchsorted(far, target, side="right")) for target in fars]
    for core in [*cores, eer_index(far, tar)]:
        # The threshold is the lowest score above the core, maybe far above.
        top = core - spread
        above = int(np.searchsorted(occupied, top)) - 1
        if above >= 0:
            top = int(occupied[above]) - spread
        wanted[max(top, 0) : core + spread + 1] = True

    # A threshold in cell b accepts at least the cells before b - spread, at most those to b + spread.
    count = len(genuine)
    tar, far = np.concatenate([[0.0], tar]), np.concatenate([[0.0], far])
    cell = np.arange(count)
    before, after = np.maximum(cell - spread, 0), np.minimum(cell + 1 + spread, count)
    edge = np.arange(count + 1)
    attained = (
        Costs().of(far[np.minimum(edge + spread, count)], tar[np.maximum(edge - spread, 0)]).min()
    )
    cheap = Costs().of(far[before], tar[after]) <= attained * (1 + 1e-9) + 1e-15
    cheap[genuine + impostor == 0] = False
    return wanted | dilated(cheap, spread)


def unsettling_levels(genuine: np.ndarray, impostor: np.ndarray, spread: int) -> np.ndarray:
    """The levels to open so that ``AUC_ERROR`` is kept: (L,) bool. None but for collapsed scores."""
    share = genuine * nearby(impostor, spread) / (float(genuine.sum()) * float(impostor.sum()))
    return dilated(_unsettling(share), spread)


def unsettling_cells(cells: np.ndarray) -> np.ndarray:
    """The cells of several scores to open, as `unsettling_levels`: (S,) bool. Some 2,000 at most."""
    genuine, impostor = cells["genuine"].astype(np.float64), cells["impostor"].astype(np.float64)
    share = genuine * impostor / (genuine.sum() * impostor.sum())
    return _unsettling(np.where(cells["high"] > cells["value"], share, 0.0))


def _unsettling(share: np.ndarray) -> np.ndarray:
    """All but the smallest shares of pairs in an open order (S,), which half of the error allows."""
    order = np.argsort(share)
    left = np.cumsum(share[order]) <= AUC_ERROR / 2
    opened = np.ones(len(share), dtype=bool)
    opened[order[left]] = False
    return opened


def unsettled_order(
    genuine: np.ndarray, impostor: np.ndarray, opened: np.ndarray, spread: int
) -> float:
    """Pairs of a genuine and an impostor score, of which one is not at an opened level, that may be
    in another order than their levels."""
    return float(
        genuine @ np.where(opened, nearby(impostor * ~opened, spread), nearby(impostor, spread))
    )


def nearby(pairs: np.ndarray, spread: int) -> np.ndarray:
    """The pairs at less than `spread` levels from each level: (L,) float64."""
    below = np.concatenate([[0], np.cumsum(pairs)])
    place = np.arange(len(pairs))
    high = below[np.minimum(place + spread, len(pairs))]
    return (high - below[np.maximum(place - spread + 1, 0)]).astype(np.float64)


def dilated(mask: np.ndarray, reach: int) -> np.ndarray:
    """Whether an entry of `mask` (S,) bool within `reach` is set: (S,) bool."""
    counts = np.concatenate([[0], np.cumsum(mask)])
    place = np.arange(len(mask))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(mask))
    return counts[high] > counts[low]


class Ladder:
    """Cells of scores with their pairs, refined where it matters until the scores are exact.

    Parameters
    ----------
    blocks : the pairs.
    genuine, impostor : (L,) int, pairs at each level, rising.
    fars : the false accept rates of interest.
    limit : exact scores kept in memory at once.

    Attributes
    ----------
    pending : whether a pass over the pairs, with `add` for each tile and then `close`, is needed.
    open_levels : (L,) bool, the levels whose pairs `add` wants.
    """

    def __init__(
        self,
        blocks: PairBlocks,
        genuine: np.ndarray,
        impostor: np.ndarray,
        fars: Sequence[float],
        limit: int,
    ) -> None:
        self._blocks, self._fars, self._limit = blocks, fars, limit
        falling = wanted_cells(genuine[::-1], impostor[::-1], blocks.spread, fars)
        wanted = falling[::-1] | unsettling_levels(genuine, impostor, blocks.spread)
        # Windows close to each other are one, so that exact scores of two never interleave.
        bound = blocks.spread + 1
        opened = ~dilated(~dilated(wanted, bound), bound)
        if (genuine + impostor).sum() <= limit:
            opened[:] = True  # the whole curve is exact
        levels = np.flatnonzero((genuine + impostor > 0) & ~opened)
        self._cells = _cells(levels, blocks.value(levels), genuine[levels], impostor[levels])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], opened, [False]]).astype(np.int8)))
        first, last = edges[::2], edges[1::2] - 1
        self.open_levels = opened
        self._unsettled = unsettled_order(genuine, impostor, opened, blocks.spread)
        self._open(
            last,
            blocks.value(first - bound),
            blocks.value(last + bound),
            int((genuine + impostor)[opened].sum()),
        )

    def _open(self, level: np.ndarray, low: np.ndarray, high: np.ndarray, pairs: int) -> None:
        """The intervals (J,) of exact scores to look into, rising, and the `pairs` in them."""
        self.pending = pairs > 0
        self._level, self._low, self._high = level, low, high
        self._fine = pairs > self._limit
        self._found: list[tuple[np.ndarray, np.ndarray]] = []
        if self._fine:
            self._each = max(16, FINE_CELLS // len(low))
            shape = (len(low), self._each)
            self._counts = np.zeros((2, *shape), dtype=np.int64)
            self._least, self._most = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, scores: np.ndarray, same: np.ndarray) -> None:
        """Count pairs of the open levels: exact scores (n,), whether they are genuine (n,) bool."""
        interval = np.searchsorted(self._high, scores)
        interval[interval == len(self._high)] = 0
        inside = (scores >= self._low[interval]) & (scores <= self._high[interval])
        scores, same, interval = scores[inside], same[inside], interval[inside]
        if not self._fine:
            self._found.append((scores, same))
            return
        if len(scores) == 0:
            return
        order = np.argsort(scores)
        scores, same, interval = scores[order], same[order], interval[order]
        low, high = self._low[interval], self._high[interval]
        cell = ((scores - low) / (high - low) * self._each).astype(np.int64)
        key = interval * self._each + np.minimum(cell, self._each - 1)
        first = np.flatnonzero(np.diff(key, prepend=-1))
        last = np.append(first[1:], len(key)) - 1
        key = key[first]
        genuine = np.add.reduceat(same, first, dtype=np.int64)
        flat = self._counts.reshape(2, -1)
        flat[0, key] += genuine
        flat[1, key] += last - first + 1 - genuine
        least, most = self._least.reshape(-1), self._most.reshape(-1)
        least[key] = np.minimum(least[key], scores[first])
        most[key] = np.maximum(most[key], scores[last])

    def close(self) -> None:
        """End a pass: the intervals become cells, and those that matter but hold several scores
        the intervals of the next pass."""
        if not self._fine:
            scores = np.concatenate([scores for scores, _ in self._found])
            same = np.concatenate([same for _, same in self._found])
            self._found = []
            values, place = np.unique(scores, return_inverse=True)
            genuine = np.bincount(place, weights=same, minlength=len(values)).astype(np.int64)
            every = np.bincount(place, minlength=len(values))
            level = self._level[np.searchsorted(self._high, values)]
            self._cells = _merged(self._cells, _cells(level, values, genuine, every - genuine))
            self.pending = False
            return
        interval, cell = np.nonzero(self._counts.sum(axis=0))
        genuine, impostor = self._counts[:, interval, cell]
        least, most = self._least[interval, cell], self._most[interval, cell]
        fresh = _cells(self._level[interval], least, genuine, impostor, most)
        cells = _merged(self._cells, fresh)
        wanted = wanted_cells(cells["genuine"][::-1], cells["impostor"][::-1], 0, self._fars)[::-1]
        again = (wanted | unsettling_cells(cells)) & (cells["high"] > cells["value"])
        self._cells = cells[~again]
        opened = cells[again]
        pairs = int(opened["genuine"].sum() + opened["impostor"].sum())
        self._open(opened["level"], opened["value"], opened["high"], pairs)

    def auc_error(self) -> float:
        """How far the AUC of the curve can be from that of all exact scores, at most."""
        cells = self._cells
        genuine, impostor = cells["genuine"].astype(np.float64), cells["impostor"]
        several = cells["high"] > cells["value"]
        order = self._unsettled + float(genuine[several] @ impostor[several])
        return order / (float(genuine.sum()) * float(impostor.sum()))

    def roc(self) -> Roc:
        """The curve: exact at the operating points, elsewhere by level."""
        cells = self._cells[::-1]
        return Roc(
            np.concatenate([[np.inf], cells["value"]]),
            np.concatenate([[0], np.cumsum(cells["genuine"])]),
            np.concatenate([[0], np.cumsum(cells["impostor"])]),
        )


_CELL = np.dtype(
    [("level", "i8"), ("value", "f8"), ("high", "f8"), ("genuine", "i8"), ("impostor", "i8")]
)


def _cells(
    level: np.ndarray,
    value: np.ndarray,
    genuine: np.ndarray,
    impostor: np.ndarray,
    high: np.ndarray | None = None,
) -> np.ndarray:
    cells = np.empty(len(level), dtype=_CELL)
    cells["level"], cells["value"], cells["high"] = level, value, value if high is None else high
    cells["genuine"], cells["impostor"] = genuine, impostor
    return cells


def _merged(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Both groups of cells from the lowest score up. Cells of a window share its top level."""
    cells = np.concatenate([first, second])
    return cells[np.lexsort((cells["value"], cells["level"]))]
