"""Closed-set classification: which known class is this? Held-out images of the known classes."""

from __future__ import annotations

import numpy as np

from benchmarks.protocols.cosine import unit_rows
from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem

BLOCK_SCORES = 2**22  # scores held at a time: 32 MB


def nearest_class_mean(
    train: np.ndarray, train_labels: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """The class whose mean direction is nearest to each image.

    A class mean is the average of its training embeddings, each first brought to length 1; the
    image takes the class with the largest cosine between embedding and mean, in float64; ties go to
    the lowest class id, and a zero vector has cosine 0 with everything.

    Parameters
    ----------
    train : (M, D) finite embeddings, M >= 1.
    train_labels : (M,) int.
    images : (N, D) finite embeddings.

    Returns
    -------
    (N,) class ids out of `train_labels`.
    """
    classes, position = np.unique(train_labels, return_inverse=True)
    order = np.argsort(position, kind="stable")
    starts = np.searchsorted(position[order], np.arange(len(classes)))
    means = unit_rows(
        np.add.reduceat(unit_rows(train, np.float64)[order], starts, axis=0), np.float64
    )  # (C, D)
    nearest = np.empty(len(images), dtype=np.int64)
    step = max(1, BLOCK_SCORES // len(classes))
    for start in range(0, len(images), step):
        block = slice(start, start + step)
        nearest[block] = (unit_rows(images[block], np.float64) @ means.T).argmax(axis=1)
    return classes[nearest]


def closed_set(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Shares of the known images of `side` that are given their own class, in [0, 1].

    ``closed_set/top1``: by the classifier's own scores, without margin; ties as the run resolved
    them when it wrote its best classes. ``closed_set/ncm_top1``: by the nearest class mean of the
    training embeddings, which every loss has.
    """
    del settings  # has no operating points
    rows, train = judged.rows(f"known_{side}"), judged.rows("train")
    labels = judged.labels[rows]
    outcome = Outcome()

    problem = embedding_problem(judged.embeddings[rows]) or embedding_problem(
        judged.embeddings[train]
    )
    if problem is None:
        nearest = nearest_class_mean(
            judged.embeddings[train], judged.labels[train], judged.embeddings[rows]
        )
        outcome.metrics["closed_set/ncm_top1"] = float((nearest == labels).mean())
    else:
        outcome.refuse(["closed_set/ncm_top1"], problem)

    if judged.top_classes is None:
        problem = "the loss has no classifier"
    elif len(rows) == 0:
        problem = "the split has no such images"
    elif judged.top_scores is not None and np.isnan(judged.top_scores[rows, 0]).any():
        problem = "the classifier's scores are not numbers"
    else:
        best = judged.top_classes[rows, 0]
        outcome.metrics["closed_set/top1"] = float((best == labels).mean())
        return outcome
    outcome.refuse(["closed_set/top1"], problem)
    return outcome
