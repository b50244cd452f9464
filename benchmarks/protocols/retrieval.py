"""Retrieval: is the nearest other image of the same class? Images of unknown classes."""

from __future__ import annotations

import numpy as np

from benchmarks.protocols.cosine import cosine_levels, unit_rows
from benchmarks.protocols.judged import Judged, Outcome, ProtocolError, Settings, embedding_problem

BLOCK_SCORES = 2**21  # scores held at a time: 8 MB


def recall_at_1(
    scores: np.ndarray, query_labels: np.ndarray, reference_labels: np.ndarray, *, same_set: bool
) -> tuple[float, int]:
    """Share of the queries whose best-scored reference is of their class.

    Parameters
    ----------
    scores : (Q, R) similarities; ties go to the lowest reference index.
    query_labels, reference_labels : (Q,) and (R,) int.
    same_set : the queries are the references; each is removed from its own list.

    Returns
    -------
    The share in [0, 1] over the queries that have a relevant reference, and how many queries were
    left out.

    Raises
    ------
    ProtocolError : no query has a relevant reference.
    """
    own = np.arange(len(query_labels)) if same_set else None
    hits = reference_labels[_best(scores, own)] == query_labels
    return _share(hits, query_labels, reference_labels, same_set)


def nearest_other(embeddings: np.ndarray) -> np.ndarray:
    """The position of the other embedding with the largest cosine: int64 (N,).

    `embeddings` (N, D) are finite, N >= 2. Cosines are on the grid of
    ``benchmarks.protocols.cosine``; ties go to the lowest position.
    """
    unit = unit_rows(embeddings)
    nearest = np.empty(len(unit), dtype=np.int64)
    step = max(1, min(256, BLOCK_SCORES // len(unit)))
    for start in range(0, len(unit), step):
        own = np.arange(start, min(start + step, len(unit)))
        nearest[own] = _best(cosine_levels(unit[own], unit), own)
    return nearest


def retrieval(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Recall@1 among the unknown images of `side`, by cosine.

    A query is removed from its own list; an image that is alone in its class is left out as a query
    and counted in ``retrieval/left_out`` (it remains a reference); ``retrieval/queries`` are those
    that count.
    """
    del settings  # has no operating points
    rows = judged.rows(f"unknown_{side}")
    embeddings, labels = judged.embeddings[rows], judged.labels[rows]
    outcome = Outcome()
    left_out = int((~_has_relevant(labels, labels, same_set=True)).sum())
    outcome.metrics["retrieval/queries"] = float(len(rows) - left_out)
    outcome.metrics["retrieval/left_out"] = float(left_out)
    problem = embedding_problem(embeddings)
    if problem is None and left_out == len(rows):
        problem = "no class has two images"
    if problem is None:
        hits = labels[nearest_other(embeddings)] == labels
        outcome.metrics["retrieval/recall_at_1"] = _share(hits, labels, labels, True)[0]
    else:
        outcome.refuse(["retrieval/recall_at_1"], problem)
    return outcome


def _best(scores: np.ndarray, own: np.ndarray | None) -> np.ndarray:
    """Lowest position of the largest score of each row, leaving out column ``own[row]``."""
    if own is not None:
        scores = scores.copy()
        lowest = -np.inf if scores.dtype.kind == "f" else np.iinfo(scores.dtype).min
        scores[np.arange(len(scores)), own] = lowest
    return scores.argmax(axis=1)


def _has_relevant(
    query_labels: np.ndarray, reference_labels: np.ndarray, same_set: bool
) -> np.ndarray:
    classes, sizes = np.unique(reference_labels, return_counts=True)
    common = classes[sizes > 1] if same_set else classes
    return np.isin(query_labels, common)


def _share(
    hits: np.ndarray, query_labels: np.ndarray, reference_labels: np.ndarray, same_set: bool
) -> tuple[float, int]:
    counted = _has_relevant(query_labels, reference_labels, same_set)
    if not counted.any():
        raise ProtocolError("no query has a relevant reference")
    return float(hits[counted].mean()), int((~counted).sum())
