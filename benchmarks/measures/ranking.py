"""Retrieval on any scores: what each query finds, from the ranks of the references it should find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.neighbours import REMOVED, TIE, cosine_blocks, keys_of

OUT = -2.0  # below all cosines: who is not in the list
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
    relevance = _Relevance(
        query_labels, reference_labels, same_set, query_cameras, reference_cameras
    )
    table = np.full((len(scores), 5), np.nan)
    for query, row in enumerate(scores):
        relevant, removed = relevance.of(query)
        if len(relevant):
            wanted = np.zeros(len(row), dtype=bool)
            wanted[relevant] = True
            last = {"stable": np.arange(len(row)), "pessimistic": wanted, "optimistic": ~wanted}
            order = np.lexsort((last[ties], -row))  # stable: equal in both, the lowest index first
            order = order[~np.isin(order, removed)]
            table[query] = _measures([np.flatnonzero(wanted[order]) + 1])
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

    Memory: both sets in float64 and one block of keys (some 16 to 50 MB), whatever Q is. Time: the product and a sort of
    the references that score at least the worst relevant one.

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
    relevance = _Relevance(
        query_labels, reference_labels, same_set, query_cameras, reference_cameras
    )
    table = np.full((len(queries), 5), np.nan)
    unit = unit_rows(references, np.float64)
    for rows, cosines in cosine_blocks(unit if same_set else unit_rows(queries, np.float64), unit):
        found: dict[int, np.ndarray] = {}
        for query, row in zip(rows.tolist(), cosines, strict=True):
            relevant, removed = relevance.of(query)
            if len(relevant):
                found[query] = _ranks(row, relevant, removed)
        if found:
            table[list(found)] = _measures(list(found.values()))
    return Retrieved(*table.T)


def _ranks(row: np.ndarray, relevant: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The rising ranks (M,) of the `relevant` (M,) among all references but the `removed` by cosines `row` (R,)."""
    wanted = np.sort(row[relevant])
    row[removed] = OUT
    reached = row.compress(row >= wanted[0] - TIE)  # half the time of an index
    reached.sort()
    low = reached.searchsorted(wanted - TIE)
    if (reached.searchsorted(wanted + TIE, side="right") - low > 1).any():
        # Some stand so close to others that rounding or the position decides: by keys, which differ.
        keys = keys_of(row, np.arange(len(row)))
        wanted = np.sort(keys[relevant])
        keys[removed] = REMOVED
        reached = np.sort(keys[keys >= wanted[0]])
        low = reached.searchsorted(wanted)
    return (len(reached) - low)[::-1]


def relevant_counts(
    query_labels: np.ndarray,
    reference_labels: np.ndarray,
    *,
    same_set: bool,
    query_cameras: np.ndarray | None = None,
    reference_cameras: np.ndarray | None = None,
) -> np.ndarray:
    """How many relevant references each query has: int64 (Q,); arguments as in `retrieve_by_scores`."""
    relevance = _Relevance(
        query_labels, reference_labels, same_set, query_cameras, reference_cameras
    )
    return np.array([len(relevance.of(query)[0]) for query in range(len(query_labels))], np.int64)


class _Relevance:
    """Which references each query should find, and which are taken out of its list."""

    def __init__(
        self,
        query_labels: np.ndarray,
        reference_labels: np.ndarray,
        same_set: bool,
        query_cameras: np.ndarray | None,
        reference_cameras: np.ndarray | None,
    ) -> None:
        if same_set and not np.array_equal(query_labels, reference_labels):
            raise ProtocolError("same_set: queries and references have different labels")
        if (query_cameras is None) != (reference_cameras is None):
            raise ProtocolError("cameras are needed of queries and references, or of neither")
        if query_cameras is not None and reference_cameras is not None:
            if same_set:
                raise ProtocolError("same_set: cameras are for separate queries and references")
            if len(query_cameras) != len(query_labels):
                raise ProtocolError(f"{len(query_cameras)} cameras of {len(query_labels)} queries")
            if len(reference_cameras) != len(reference_labels):
                raise ProtocolError(
                    f"{len(reference_cameras)} cameras of {len(reference_labels)} references"
                )
        self.same_set = same_set
        self.query_cameras, self.reference_cameras = query_cameras, reference_cameras
        self.order = np.argsort(reference_labels, kind="stable")
        ordered = reference_labels[self.order]
        self.start = np.searchsorted(ordered, query_labels, side="left")
        self.stop = np.searchsorted(ordered, query_labels, side="right")

    def of(self, query: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the relevant references of a query, and of those removed."""
        same = self.order[self.start[query] : self.stop[query]]
        if self.same_set:
            junk = same == query
        elif self.query_cameras is not None and self.reference_cameras is not None:
            junk = self.reference_cameras[same] == self.query_cameras[query]
        else:
            junk = np.zeros(len(same), dtype=bool)
        return same[~junk], same[junk]


def _measures(ranks: Sequence[np.ndarray]) -> np.ndarray:
    """The fields of ``Retrieved`` (Q, 5) of queries, from the rising ranks (M,) of the relevant references of each, M >= 1.

    Queries with as many are computed together; every sum is that of one query alone, bit for bit.
    """
    table = np.empty((len(ranks), 5))
    counts = np.array([len(each) for each in ranks])
    for count in np.unique(counts):
        of = np.flatnonzero(counts == count)
        group = np.stack([ranks[place] for place in of.tolist()])  # (n, M)
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
