"""The ranks of the relevant references of every query, by cosine, ties to the lowest position (``neighbours``)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.measures.neighbours import REMOVED, TIE, SingleBlocks, cosine_blocks, keys_of
from benchmarks.measures.relevance import Relevance, SameClass

OUT = -2.0  # below all cosines: who is not in the list
MOST_OPEN = 8
"""Pairs of a query that float32 leaves open, in the mean of a block: with more, float64 is the faster way. This bounds the
memory, too: in collapsed embeddings all pairs are open."""


def cosine_ranks(
    queries: np.ndarray, references: np.ndarray, relevance: Relevance
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The ranks of what each query should find, block of queries by block.

    Parameters
    ----------
    queries, references : (Q, D) and (R, D) float64, unit or zero rows (``cosine.unit_rows``).
    relevance : of these queries and references.

    Yields
    ------
    Positions of the block's queries (n,) and ranks (n, M) from 1, falling; a query with fewer than M relevant references
    has its own in the first places.
    """
    done = 0
    blocks = SingleBlocks(queries, references)
    for rows, single in blocks:
        found = _ranks_by_single(blocks, rows, single, relevance.of(rows))
        if found is None:
            break  # the other blocks are likely to be as close
        yield rows, found
        done = rows[-1] + 1
    for rows, cosines in cosine_blocks(queries[done:], references):
        related = relevance.of(rows + done)
        ranks = np.zeros(related.place.shape, dtype=np.int64)
        for number, count in enumerate(related.counts.tolist()):
            if count:
                ranks[number, :count] = _ranks(cosines[number], *related.of(number))
        yield rows + done, ranks


def _ranks_by_single(
    blocks: SingleBlocks, rows: np.ndarray, cosines: np.ndarray, related: SameClass
) -> np.ndarray | None:
    """The ranks of a block by its float32 cosines (n, R); None where too many of them need float64."""
    line = np.arange(len(rows))[:, None]
    query, slot = related.removed.nonzero()
    cosines[query, related.place[query, slot]] = OUT
    wanted = np.where(related.relevant, cosines[line, related.place], np.float32(np.inf))
    order = wanted.argsort(axis=1)
    wanted, place = wanted[line, order], related.place[line, order]
    # Above `high` is before a wanted one, below `low` after it.
    low, high = wanted - blocks.gap, wanted + blocks.gap
    least = low.min(axis=1, initial=np.inf)
    counts = np.empty(len(rows), dtype=np.int64)
    near, before = (np.empty(wanted.shape, dtype=np.int64) for _ in range(2))
    for number, row in enumerate(cosines):
        reached = row.compress(row >= least[number])  # half the time of an index
        reached.sort()
        counts[number] = len(reached)
        near[number] = reached.searchsorted(low[number])
        before[number] = reached.searchsorted(high[number], side="right")
    near = before - near  # those between, the wanted one among them
    ranks = counts[:, None] - before + 1
    query, slot = (near > 1).nonzero()
    if near[query, slot].sum() > MOST_OPEN * len(rows):
        return None
    others = [
        np.flatnonzero((cosines[row] >= low[row, each]) & (cosines[row] <= high[row, each]))
        for row, each in zip(query.tolist(), slot.tolist(), strict=True)
    ]
    if others:
        pair = np.repeat(np.arange(len(query)), near[query, slot])
        other, asked = np.concatenate(others), rows[query[pair]]
        own_key = blocks.keys(asked, place[query[pair], slot[pair]])
        first = blocks.keys(asked, other) > own_key
        ranks[query, slot] += np.bincount(pair[first], minlength=len(query))
        ranks[:] = -np.sort(-ranks, axis=1)
    return ranks


def _ranks(row: np.ndarray, relevant: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The falling ranks (M,) of the `relevant` (M,) among all references but the `removed` by cosines `row` (R,)."""
    wanted = np.sort(row[relevant])
    row[removed] = OUT
    reached = row.compress(row >= wanted[0] - TIE)
    reached.sort()
    low = reached.searchsorted(wanted - TIE)
    if (reached.searchsorted(wanted + TIE, side="right") - low > 1).any():
        # Some stand so close to others that rounding or the position decides: by keys, which differ.
        keys = keys_of(row, np.arange(len(row)))
        wanted = np.sort(keys[relevant])
        keys[removed] = REMOVED
        reached = np.sort(keys[keys >= wanted[0]])
        low = reached.searchsorted(wanted)
    return len(reached) - low
