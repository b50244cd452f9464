"""Retrieval: does a query find the images of its class? Images of unknown classes."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.ranking import relevant_counts, retrieve_by_cosine
from benchmarks.measures.resampling import left_out_mean, resample, resampled_mean
from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem

KS = (1, 2, 4, 5, 8, 10)
"""Ranks of recall@k: 1, 2, 4, 8 as in fine-grained retrieval, 1, 5, 10 as in re-identification."""

CURVE_RANKS = 100
NAMES = (*(f"recall_at_{k}" for k in KS), "r_precision", "map_at_r", "map", "minp")


def retrieval(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Recall@k, R-precision, MAP@R, mAP and mINP among the unknown images of `side`, by cosine.

    Where ``judged.query`` tells queries from gallery, queries are ranked against the gallery, and gallery images of the
    query's class and camera are removed where ``judged.cameras`` is given (Market-1501). Otherwise each image is a query
    against all others, whatever their cameras. A query without a relevant image is left out and counted in
    ``retrieval/left_out``; ``retrieval/queries`` are those that count.

    Resampling weighs the queries of an identity; the images they are ranked against stay.

    Curves: ``k`` (K,) and ``recall`` (K,), up to rank 100.
    """
    rows = judged.rows(f"unknown_{side}")
    embeddings, labels = judged.embeddings[rows], judged.labels[rows]
    query = None if judged.query is None else judged.query[rows].astype(bool)
    cameras = None if judged.cameras is None or query is None else judged.cameras[rows]
    asked = np.ones(len(rows), dtype=bool) if query is None else query
    known = asked if query is None else ~query  # as references
    sides = {
        "query_labels": labels[asked],
        "reference_labels": labels[known],
        "same_set": query is None,
        "query_cameras": None if cameras is None else cameras[asked],
        "reference_cameras": None if cameras is None else cameras[known],
    }
    outcome = Outcome()
    names = [f"retrieval/{name}" for name in NAMES]
    counted = int((relevant_counts(**sides) > 0).sum())
    outcome.metrics["retrieval/queries"] = float(counted)
    outcome.metrics["retrieval/left_out"] = float(asked.sum() - counted)
    problem = embedding_problem(embeddings)
    if problem is None and counted == 0:
        problem = "no class has two images" if query is None else "no query has a relevant image"
    if problem is not None:
        outcome.refuse(names, problem)
        return outcome

    found = retrieve_by_cosine(embeddings[asked], embeddings[known], **sides)
    drawn = resample(labels, settings.resamples)
    for name, values in found.values(KS).items():
        of_images = np.full(len(rows), np.nan)  # a gallery image has no value
        of_images[asked] = values
        outcome.metrics[f"retrieval/{name}"] = float(np.nanmean(values))
        if settings.resamples:
            outcome.replicates[f"retrieval/{name}"] = resampled_mean(of_images, drawn)
            outcome.left_out[f"retrieval/{name}"] = left_out_mean(of_images, drawn)
    ranks = np.arange(1, min(CURVE_RANKS, int(known.sum())) + 1)
    outcome.curves["retrieval/k"] = ranks
    first = np.sort(found.first[found.counted])
    outcome.curves["retrieval/recall"] = np.searchsorted(first, ranks, side="right") / counted
    return outcome
