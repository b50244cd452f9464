"""Verification metrics under resampled identities, from the pairs' levels, without scoring again.

With weights w of the units (``benchmarks.measures.resampling``) a genuine pair of unit c weighs
w_c, an impostor pair of units c and d weighs w_c · w_d, and an impostor pair inside a unit (a group
of classes) w_c. The weighted FAR and TAR are followed at some 200 thresholds, dense around the
operating points: each block of pairs is counted by unit × unit × threshold and at once contracted
with the weights of all resamples, so that no table of all units is kept. Between two thresholds a
weighted curve has the shape of the unweighted one. What this loses is the same with and without
weights, nearly: the difference to the exact value is taken where all weights are 1, and added
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measures.detection_cost import Costs, min_dcf
from benchmarks.measures.pair_blocks import PairBlocks, Tile, full_precision
from benchmarks.measures.roc import Roc, auc, eer, eer_index, tar_at_far

if TYPE_CHECKING:
    from torch import Tensor

Condition = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of (FAR, TAR), whether it holds."""

MAX_THRESHOLDS = 255
COARSE = 0.02
"""Where the levels give another value than the exact scores by more than this, as in embeddings that
differ by less than a level, they cannot tell how it varies."""
COARSE_AUC = 1e-4
"""The same of the AUC, and then of no number: it is 1e-5 where scores span some hundred levels."""
CELLS = 2**22  # counts of one block of units × units × thresholds: 32 MB


def thresholds_for(
    genuine: np.ndarray, impostor: np.ndarray, fars: Sequence[float], units: int
) -> np.ndarray:
    """Up to ``MAX_THRESHOLDS`` levels (T,), falling, down to the lowest that occurs.

    Parameters
    ----------
    genuine, impostor : (L,) int, pairs at each level, rising.
    units : resampled units.
    """
    level = np.flatnonzero(genuine + impostor)[::-1]
    if len(level) <= MAX_THRESHOLDS:
        return level
    tar = np.cumsum(genuine[level]) / genuine.sum()
    far = np.cumsum(impostor[level]) / impostor.sum()
    middle = eer_index(far, tar)
    cost = Costs().of(far, tar)
    # Some six standard errors of log FAR, which were 1 to 2.5 over the root of the units.
    reach = min(3.0, 12.0 / np.sqrt(units))

    def around(rate: float, count: int) -> np.ndarray:
        place = np.linspace(-1.0, 1.0, count)
        return rate * np.exp(reach * place * (0.4 + 0.6 * np.abs(place)))  # densest in the middle

    each = max(5, 96 // max(1, len(fars)) | 1)
    accepts = [around(rate, each) for rate in fars]
    accepts += [around(far[middle], 17), np.geomspace(1.0 / impostor.sum(), 1.0, 24)]
    rejects = [around(1.0 - tar[middle], 17), np.linspace(0.0, 1.0, 24)]
    # The least cost is a minimum over all thresholds: the cheapest one of every stretch.
    cheapest = max(far[np.argmin(cost)], 1.0 / impostor.sum())  # a FAR of 0 has nothing around it
    stretches = [0, *np.searchsorted(far, around(cheapest, 33)), len(level)]
    cheap = [low + np.argmin(cost[low:high]) for low, high in pairwise(stretches) if high > low]
    chosen = [
        np.searchsorted(far, np.concatenate(accepts), side="right") - 1,
        np.searchsorted(-(1.0 - tar), -np.concatenate(rejects)),
        np.array([0, *cheap, len(level) - 1]),
    ]
    kept = np.unique(np.clip(np.concatenate(chosen), 0, len(level) - 1))
    if len(kept) > MAX_THRESHOLDS:
        kept = kept[np.linspace(0, len(kept) - 1, MAX_THRESHOLDS).round().astype(int)]
    return level[kept]


class Resampled:
    """Weighted counts of pairs at the thresholds, for every resample and without every unit.

    Parameters
    ----------
    blocks : the pairs, made with the units.
    weights : (R, U) int, how often each resample has each unit.
    genuine, impostor : (L,) int, pairs at each level, rising.
    fars : false accept rates at which the TAR is wanted.
    curve_fars : more of them, that the thresholds are not crowded around.
    """

    def __init__(
        self,
        blocks: PairBlocks,
        weights: np.ndarray,
        genuine: np.ndarray,
        impostor: np.ndarray,
        fars: Sequence[float],
        curve_fars: Sequence[float] = (),
    ) -> None:
        import torch

        self._blocks, self._fars = blocks, (*fars, *curve_fars)
        thresholds = thresholds_for(genuine, impostor, fars, weights.shape[1])
        self._count = len(thresholds)
        # A level's bin is the first threshold that accepts it.
        bins = np.searchsorted(-thresholds, -np.arange(blocks.levels))
        bins = np.minimum(bins, self._count - 1).astype(np.uint8)
        self._bins = torch.from_numpy(bins).to(blocks.device)
        self._shape = _Shape(bins, genuine, impostor)
        self._units = weights.shape[1]
        # The first column is the test as it is.
        self._weights = np.concatenate([np.ones((1, self._units)), weights])
        there = torch.from_numpy(self._weights.T.astype(np.float32))
        self._columns = there.contiguous().to(blocks.device)
        shape = (self._units, self._count)
        self._genuine, self._inside, self._across = (
            torch.zeros(shape, dtype=torch.int64, device=blocks.device) for _ in range(3)
        )
        self._impostor = torch.zeros(
            (self._count, len(self._weights)), dtype=torch.float64, device=blocks.device
        )

    def add(self, tile: Tile) -> None:
        """Count the pairs of one tile."""
        blocks, start, left = self._blocks, tile.start, tile.left
        bins = self._bins.index_select(0, tile.levels).int().view(tile.stop - start, -1)
        units = blocks.units_there
        apart = None
        if tile.pairs is not None:
            pairs = tile.pairs.view_as(bins)
            apart = pairs & (units[start : tile.stop, None] != units[left : tile.right])
            self._add_inside(tile, bins, pairs & ~apart)
        first_column = int(blocks.units[left])
        width = int(blocks.units[tile.right - 1]) - first_column + 1
        keys = bins.add_(((units[left : tile.right] - first_column) * self._count).int())
        at_once = max(1, CELLS // (width * self._count))  # units of rows
        begin = start
        while begin < tile.stop:
            first_row = int(blocks.units[begin])
            end = min(int(np.searchsorted(blocks.units, first_row + at_once)), tile.stop)
            height = int(blocks.units[end - 1]) - first_row + 1
            part = slice(begin - start, end - start)
            rows = (units[begin:end, None] - first_row) * (width * self._count)
            keys[part] += rows.int()
            kept = keys[part].flatten() if apart is None else keys[part][apart[part]]
            counts = kept.bincount(minlength=height * width * self._count)
            self._contract(counts.view(height, width, self._count), first_row, first_column)
            begin = end

    def _add_inside(self, tile: Tile, bins: Tensor, chosen: Tensor) -> None:
        """Count the `chosen` pairs, both of one unit; bins and chosen: (n, m)."""
        blocks = self._blocks
        rows, columns = chosen.nonzero(as_tuple=True)
        key = blocks.units_there[rows + tile.start] * self._count + bins[rows, columns]
        same = blocks.labels_there[rows + tile.start] == blocks.labels_there[columns + tile.left]
        for table, kept in ((self._genuine, key[same]), (self._inside, key[~same])):
            table += kept.bincount(minlength=table.numel()).view_as(table)

    def _contract(self, counts: Tensor, first_row: int, first_column: int) -> None:
        """Weigh the impostor pairs (h, w, T) of units from `first_row` and `first_column` on."""
        import torch

        height, width, _ = counts.shape
        self._across[first_row : first_row + height] += counts.sum(1)
        self._across[first_column : first_column + width] += counts.sum(0)
        single = counts.float()  # below 2**24: exact
        columns = self._columns[first_column : first_column + width]
        total = torch.zeros(self._impostor.shape, device=counts.device)
        with full_precision():
            for row in range(height):
                total.addcmul_(single[row].T @ columns, self._columns[first_row + row])
        self._impostor += total

    def statistics(self, curve: Roc) -> tuple[np.ndarray, np.ndarray]:
        """AUC, EER, least detection cost and the TAR at each FAR, those of the curve last.

        Parameters
        ----------
        curve : the exact curve of all pairs.

        Returns
        -------
        (R, 3 + F) under the resamples and (U, 3 + F) without each unit; NaN where no genuine or no
        impostor pair is left, and where scores differ by so little that levels do not tell.
        """
        genuine, inside, across = (
            np.cumsum(table.cpu().numpy(), axis=1)
            for table in (self._genuine, self._inside, self._across)
        )
        impostor = np.cumsum(self._impostor.cpu().numpy().T, axis=1) + self._weights @ inside
        drawn = self._shape.statistics(self._weights @ genuine, impostor, self._fars)
        shift = exact_statistics(curve, self._fars) - drawn[0]
        # Where levels change the AUC, the others agree with the exact scores by chance.
        coarse = (np.abs(shift) > COARSE) | (abs(shift[0]) > COARSE_AUC)
        shift[coarse] = np.nan
        every = inside.sum(axis=0) + across.sum(axis=0) // 2  # each pair stands at both its units
        without = genuine.sum(axis=0) - genuine, every - across - inside
        left = self._shape.statistics(*without, self._fars)
        return np.clip(drawn[1:] + shift, 0.0, 1.0), np.clip(left + shift, 0.0, 1.0)


class _Shape:
    """Curves that are known at the thresholds, and have the shape of the unweighted curve between.

    Parameters
    ----------
    bins : (L,) int, the bin of each level.
    genuine, impostor : (L,) int, pairs at each level, rising.
    """

    def __init__(self, bins: np.ndarray, genuine: np.ndarray, impostor: np.ndarray) -> None:
        level = np.flatnonzero(genuine + impostor)[::-1]
        self._bin = bins[level].astype(np.int64)
        first = np.flatnonzero(np.diff(self._bin, prepend=-1))  # every bin holds its threshold

        def share(pairs: np.ndarray) -> np.ndarray:
            """Of the pairs of its bin, how many each level and those above it in the bin have."""
            total = np.cumsum(pairs)
            before = (total - pairs)[first][self._bin]
            all_of_bin = np.add.reduceat(pairs, first)[self._bin]
            return (total - before) / np.maximum(all_of_bin, 1)

        self._genuine, self._impostor = share(genuine[level]), share(impostor[level])
        steps = np.add.reduceat(impostor[level], first)[self._bin]
        of_genuine = np.diff(self._genuine, prepend=0.0)
        of_genuine[first] = self._genuine[first]
        wins = impostor[level] / np.maximum(steps, 1) * (self._genuine - of_genuine / 2.0)
        self._wins = np.add.reduceat(wins, first)  # AUC within each bin (T,)

    def _at(self, rates: np.ndarray, share: np.ndarray, level: np.ndarray) -> np.ndarray:
        """The `rates` (X, T + 1) at one level of each curve, (X,) from 0; -1: nothing accepted."""
        curve, bin_ = np.arange(len(rates)), self._bin[level]
        low = rates[curve, bin_]
        rate = low + share[level] * (rates[curve, bin_ + 1] - low)
        return np.where(level < 0, 0.0, rate)

    def statistics(
        self, genuine: np.ndarray, impostor: np.ndarray, fars: Sequence[float]
    ) -> np.ndarray:
        """The statistics (X, 3 + F) of X curves from the pairs accepted at the thresholds (X, T)."""
        defined = (genuine[:, -1] > 0) & (impostor[:, -1] > 0)
        tar, far = (
            np.pad(pairs[defined] / pairs[defined, -1:], ((0, 0), (1, 0)))
            for pairs in (genuine, impostor)
        )

        def rates(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self._at(far, self._impostor, level), self._at(tar, self._genuine, level)

        def first(reached: Condition) -> np.ndarray:
            """The first level at which a condition on (FAR, TAR) holds; the last where none does."""
            low, high = np.full(len(far), -1), np.full(len(far), len(self._bin) - 1)
            while (high - low).max(initial=0) > 1:
                middle = (low + high) // 2
                yes = reached(*rates(middle))
                low, high = np.where(yes, low, middle), np.where(yes, middle, high)
            return high

        area = (np.diff(far) * (tar[:, :-1] + self._wins * np.diff(tar))).sum(axis=1)
        after = first(lambda far, tar: far >= 1.0 - tar)
        (low_far, low_tar), (high_far, high_tar) = rates(after - 1), rates(after)
        low, high = low_far - (1.0 - low_tar), high_far - (1.0 - high_tar)
        equal = low_far - low / np.where(high > low, high - low, 1.0) * (high_far - low_far)
        columns = [area, equal, Costs().of(far, tar).min(axis=1)]
        for target in fars:
            columns.append(rates(first(_exceeds(target)) - 1)[1])
        values = np.full((len(genuine), len(columns)), np.nan)
        values[defined] = np.stack(columns, axis=1)
        return values


def _exceeds(target: float) -> Condition:
    return lambda far, _: far > target * (1 + 1e-9)  # the counts are sums in float32


def exact_statistics(curve: Roc, fars: Sequence[float]) -> np.ndarray:
    """AUC, EER, least detection cost and the TAR at each of `fars`: (3 + F,)."""
    tars = [tar_at_far(curve, target).tar for target in fars]
    return np.array([auc(curve), eer(curve), min_dcf(curve), *tars])
