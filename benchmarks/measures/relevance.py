"""Which references a query should find, and which are taken out of its list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.errors import ProtocolError


@dataclass(frozen=True)
class SameClass:
    """The references of the class of each query of a block; rows of unequal length are padded.

    Attributes
    ----------
    place : (n, M) int64, positions of the references; of any where there is none.
    relevant : (n, M) bool, who should be found.
    removed : (n, M) bool, who is not in the list.
    """

    place: np.ndarray
    relevant: np.ndarray
    removed: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Relevant references of each query: int64 (n,)."""
        return self.relevant.sum(axis=1)

    def of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the relevant references of one query of the block, and of those removed."""
        return self.place[row, self.relevant[row]], self.place[row, self.removed[row]]


class Relevance:
    """Relevant is who has the query's label, but for the query itself or its junk.

    Parameters
    ----------
    query_labels, reference_labels : (Q,) and (R,) int.
    same_set : the queries are the references; each is removed from its own list.
    query_cameras, reference_cameras : (Q,) and (R,) int: references of the query's class and of its camera are removed
        from its list (Zheng et al. 2015); not with `same_set`.

    Raises
    ------
    ProtocolError : arguments that do not fit together.
    """

    def __init__(
        self,
        query_labels: np.ndarray,
        reference_labels: np.ndarray,
        same_set: bool,
        query_cameras: np.ndarray | None = None,
        reference_cameras: np.ndarray | None = None,
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
        self._queries, self._same_set = len(query_labels), same_set
        self._cameras = query_cameras, reference_cameras
        self._order = np.argsort(reference_labels, kind="stable")
        ordered = reference_labels[self._order]
        self._start = np.searchsorted(ordered, query_labels, side="left")
        self._stop = np.searchsorted(ordered, query_labels, side="right")

    def of(self, queries: np.ndarray) -> SameClass:
        """What is relevant for the queries at positions `queries` (n,)."""
        start, stop = self._start[queries, None], self._stop[queries, None]
        slot = start + np.arange((stop - start).max(initial=0))  # (n, M)
        inside = slot < stop
        place = self._order[np.minimum(slot, len(self._order) - 1)]
        of_queries, of_references = self._cameras
        if self._same_set:
            junk = place == queries[:, None]
        elif of_queries is not None and of_references is not None:
            junk = of_references[place] == of_queries[queries, None]
        else:
            junk = np.zeros(place.shape, dtype=bool)
        return SameClass(place, inside & ~junk, inside & junk)

    def counts(self) -> np.ndarray:
        """Relevant references of each query: int64 (Q,)."""
        found = [np.empty(0, dtype=np.int64)]
        for start in range(0, self._queries, 256):  # not a row of all at once: classes may be large
            found.append(self.of(np.arange(start, min(start + 256, self._queries))).counts)
        return np.concatenate(found)
