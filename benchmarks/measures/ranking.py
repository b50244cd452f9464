"""Retrieval on any scores: what each query finds, from the ranks of the references it should find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.cosine_ranks import cosine_ranks
from benchmarks.measures.relevance import Relevance

TIES = ("stable", "pessimistic", "optimistic")


@dataclass(frozen=True)
class Retrieved:
    """How well each query found its relevant references: (Q,) float64 each, NaN for a query that has none.

    With M relevant references at the ranks r_1 < ... < r_M (the best-scored reference has rank 1), and the precision
    i / r_i at each of them:

    Attributes
    ----------
    first : r_1; the query counts for recall@k where it is at most k.
    r_precision : share of relevant ones among the first M.
    average_precision_at_r : sum of the precisions over the r_i <= M, divided by M (MAP@R: Musgrave et al. 2020).
    average_precision : mean of the precisions over all M, without interpolation.
    inverse_penalty : M / r_M, the precision at the hardest one (mINP: Ye et al. 2021).
    """

    first: np.ndarray
    r_precision: np.ndarray
    average_precision_at_r: np.ndarray
    average_precision: np.ndarray
    inverse_penalty: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """Queries with a relevant reference: bool (Q,)."""
        return ~np.isnan(self.first)

    def recall(self, k: int) -> np.ndarray:
        """1 where a relevant reference is among the first `k`, else 0: (Q,) float64, NaN for queries left out.

        Raises
        ------
        ProtocolError : `k` is not a whole number above 0.
        """
        if k != int(k) or k < 1:
            raise ProtocolError(f"recall@{k}: k must be a whole number above 0")
        return np.where(self.counted, self.first <= k, np.nan)

    def values(self, ks: Sequence[int]) -> dict[str, np.ndarray]:
        """What is averaged over the queries, (Q,) by the name of the average."""
        return {f"recall_at_{k}": self.recall(k) for k in ks} | {
            "r_precision": self.r_precision,
            "map_at_r": self.average_precision_at_r,
            "map": self.average_precision,
            "minp": self.inverse_penalty,
        }


def retrieve_by_scores(
    scores: np.ndarray,
    query_labels: np.ndarray,
    reference_labels: np.ndarray,
    *,
    same_set: bool,
    ties: str = "stable",
    query_cameras: np.ndarray | None = None,
    reference_cameras: np.ndarray | None = None,
) -> Retrieved:
    """Rank all references for every query by given scores.

    Parameters
    ----------
    scores : (Q, R) similarities, any but NaN.
    query_labels, reference_labels : (Q,) and (R,) int.
    same_set : the queries are the references; each is removed from its own list.
    ties : "stable": the lowest reference index first; "pessimistic": relevant references last; "optimistic": first.
    query_cameras, reference_cameras : (Q,) and (R,) int: references of the query's class and of its camera are removed
        from its list (Zheng et al. 2015); not with `same_set`.

    Raises
    ------
    ProtocolError : shapes that do not fit, NaN, no query or no reference, an unknown rule for ties.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not (len(query_labels) and len(reference_labels)):
        raise ProtocolError("there are no queries or no references")
    if scores.shape != (len(query_labels), len(reference_labels)):
        raise ProtocolError(
            f"scores of shape {scores.shape} for {len(query_labels)} queries and {len(reference_labels)} references"
        )
    if np.isnan(scores).any():
        raise ProtocolError(f"{int(np.isnan(scores).sum())} scores are not a number")
    if ties not in TIES:
        raise ProtocolError(f"ties: {ties!r}; allowed: {', '.join(TIES)}")
    relevance = Relevance(
        query_labels, reference_labels, same_set, query_cameras, reference_cameras
    )
    table = np.full((len(scores), 5), np.nan)
    for query, row in enumerate(scores):
        relevant, removed = relevance.of(np.array([query])).of(0)
        if len(relevant):
            wanted = np.zeros(len(row), dtype=bool)
            wanted[relevant] = True
            last = {"stable": np.arange(len(row)), "pessimistic": wanted, "optimistic": ~wanted}
            order = np.lexsort((last[ties], -row))  # stable: equal in both, the lowest index first
            order = order[~np.isin(order, removed)]
            ranks = np.flatnonzero(wanted[order])[::-1] + 1
            table[query] = _measures(ranks[None], np.array([len(ranks)]))
    return Retrieved(*table.T)


def retrieve_by_cosine(
    queries: np.ndarray,
    references: np.ndarray,
    query_labels: np.ndarray,
    reference_labels: np.ndarray,
    *,
    same_set: bool,
    query_cameras: np.ndarray | None = None,
    reference_cameras: np.ndarray | None = None,
) -> Retrieved:
    """Rank all references for every query by the cosine of embeddings (``neighbours``), ties to the lowest position.

    Parameters
    ----------
    queries, references : (Q, D) and (R, D) finite, any length; the same rows with `same_set`.
    query_labels, reference_labels, same_set, query_cameras, reference_cameras : as in `retrieve_by_scores`.

    Memory: both sets in float64 and float32 and one block of cosines (some 10 to 50 MB), whatever Q is. Time: the product
    and a sort of the references that score at least the worst relevant one.

    Raises
    ------
    ProtocolError : lengths that do not fit, no query or no reference.
    """
    for name, rows, labels in (
        ("queries", queries, query_labels),
        ("references", references, reference_labels),
    ):
        if len(rows) != len(labels):
            raise ProtocolError(f"{len(labels)} labels for {len(rows)} {name}")
        if len(rows) == 0:
            raise ProtocolError(f"there are no {name}")
    relevance = Relevance(
        query_labels, reference_labels, same_set, query_cameras, reference_cameras
    )
    table = np.full((len(queries), 5), np.nan)
    unit = unit_rows(references, np.float64)
    own = unit if same_set else unit_rows(queries, np.float64)
    for rows, ranks in cosine_ranks(own, unit, relevance):
        table[rows] = _measures(ranks, relevance.of(rows).counts)
    return Retrieved(*table.T)


def relevant_counts(
    query_labels: np.ndarray,
    reference_labels: np.ndarray,
    *,
    same_set: bool,
    query_cameras: np.ndarray | None = None,
    reference_cameras: np.ndarray | None = None,
) -> np.ndarray:
    """How many relevant references each query has: int64 (Q,); arguments as in `retrieve_by_scores`."""
    relevance = Relevance(
        query_labels, reference_labels, same_set, query_cameras, reference_cameras
    )
    return relevance.counts()


def _measures(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The fields of ``Retrieved`` (Q, 5) of queries, from the falling ranks of the relevant references of each.

    Queries with as many are computed together; every sum is that of one query alone, bit for bit.

    Parameters
    ----------
    ranks : (Q, M) from 1, of each query in the first places.
    counts : (Q,), its relevant references; NaN are the fields of a query with none.
    """
    table = np.full((len(ranks), 5), np.nan)
    for count in np.unique(counts[counts > 0]):
        of = np.flatnonzero(counts == count)
        group = np.ascontiguousarray(ranks[of, :count][:, ::-1])  # (n, count), rising
        precision = np.arange(1, count + 1) / group
        within = (group <= count).sum(axis=1)
        at_r = np.zeros(len(of))
        for number in np.unique(within):
            same = within == number
            at_r[same] = precision[same, :number].sum(axis=1)
        fields = (
            group[:, 0],
            within / count,
            at_r / count,
            precision.sum(axis=1) / count,
            count / group[:, -1],
        )
        table[of] = np.stack(fields, axis=1)
    return table
