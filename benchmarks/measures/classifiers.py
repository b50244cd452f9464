"""Which class is this? By given scores, by the nearest class mean, by the nearest training images."""

from __future__ import annotations

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.neighbours import nearest

BLOCK_SCORES = 2**20  # scores held at a time: 8 MB
TIES = ("first", "pessimistic", "optimistic")
METRICS = ("cosine", "euclidean")


def top_k(scores: np.ndarray, labels: np.ndarray, k: int = 1, ties: str = "first") -> np.ndarray:
    """Whether the own class is among the `k` best-scored ones: bool (N,).

    Parameters
    ----------
    scores : (N, C), any but NaN.
    labels : (N,) int, columns of `scores`.
    k : at least 1; with k >= C every image is right.
    ties : "first": of equal scores the lowest column is the best; "pessimistic": the own class is the worst of its
        equals; "optimistic": the best.

    Raises
    ------
    ProtocolError : shapes that do not fit, NaN, a label that is no column, k < 1, an unknown rule for ties.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if scores.ndim != 2 or len(scores) != len(labels):
        raise ProtocolError(f"scores of shape {scores.shape} for {len(labels)} labels")
    if np.isnan(scores).any():
        raise ProtocolError(f"{int(np.isnan(scores).sum())} scores are not a number")
    if ((labels < 0) | (labels >= scores.shape[1])).any():
        raise ProtocolError(f"labels must be columns of the scores, 0 to {scores.shape[1] - 1}")
    if k < 1:
        raise ProtocolError(f"k: {k}; at least 1 is needed")
    if ties not in TIES:
        raise ProtocolError(f"ties: {ties!r}; allowed: {', '.join(TIES)}")
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = (scores > own).sum(axis=1)
    equal = scores == own
    if ties == "first":
        before += (equal & (np.arange(scores.shape[1]) < labels[:, None])).sum(axis=1)
    elif ties == "pessimistic":
        before += equal.sum(axis=1) - 1
    return np.asarray(before < k)


def nearest_class_mean(
    train: np.ndarray, train_labels: np.ndarray, images: np.ndarray, metric: str = "cosine"
) -> np.ndarray:
    """The class whose mean is nearest to each image.

    Parameters
    ----------
    train : (M, D) finite embeddings, M >= 1.
    train_labels : (M,) int.
    images : (N, D) finite embeddings.
    metric : "cosine": a class mean is the average of its embeddings, each first brought to length 1, and the largest
        cosine is the nearest (``neighbours``: a zero vector has cosine 0 with everything); "euclidean": the plain
        average and distance. Ties go to the lowest class id.

    Returns
    -------
    (N,) class ids out of `train_labels`.

    Raises
    ------
    ProtocolError : no training image, lengths that differ, an unknown metric.
    """
    _check_training(train, train_labels)
    if metric not in METRICS:
        raise ProtocolError(f"metric: {metric!r}; allowed: {', '.join(METRICS)}")
    if metric == "cosine":
        classes, means = class_means(unit_rows(train, np.float64), train_labels)
        return np.asarray(classes[nearest(images, means, 1)[0][:, 0]])
    classes, means = class_means(train, train_labels)
    half_squares = (means**2).sum(axis=1) / 2
    found = np.empty(len(images), dtype=np.int64)
    step = max(1, BLOCK_SCORES // len(classes))
    for start in range(0, len(images), step):
        block = np.asarray(images[start : start + step], dtype=np.float64)
        # |x - c|² = |x|² - 2 (x·c - |c|²/2), of which |x|² is the same for all classes
        found[start : start + step] = (block @ means.T - half_squares).argmax(axis=1)
    return np.asarray(classes[found])


def nearest_neighbours(
    train: np.ndarray, train_labels: np.ndarray, images: np.ndarray, k: int
) -> np.ndarray:
    """The class of most of the `k` training images with the largest cosine to each image: (N,) class ids.

    Equal numbers of votes are decided by the larger sum of cosines, equal sums by the lowest class id. Where the k-th
    and the next training image tie, the lower position votes. With fewer than `k` training images all vote.

    Parameters
    ----------
    train, train_labels, images : as in `nearest_class_mean`.
    k : at least 1.

    Raises
    ------
    ProtocolError : no training image, lengths that differ, k < 1.
    """
    _check_training(train, train_labels)
    position, level = nearest(images, train, min(k, len(train)))
    classes = train_labels[position]  # (N, k)
    same = classes[:, :, None] == classes[:, None, :]
    votes = same.sum(axis=2)
    cosines = (same * level[:, None, :]).sum(axis=2)  # whole numbers: exact
    best = np.lexsort((classes, -cosines, -votes), axis=1)[:, :1]
    return np.asarray(np.take_along_axis(classes, best, axis=1)[:, 0])


def class_recall(hits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of hits among the images of each class.

    Parameters
    ----------
    hits : (N,) bool.
    labels : (N,) int.

    Returns
    -------
    Class ids (C,) in rising order and shares (C,) in [0, 1]; their mean is the macro-averaged recall.

    Raises
    ------
    ProtocolError : no image, or lengths that differ.
    """
    if len(hits) != len(labels) or not len(hits):
        raise ProtocolError(f"{len(hits)} hits for {len(labels)} labels")
    classes, position = np.unique(labels, return_inverse=True)
    return classes, np.bincount(position, weights=hits) / np.bincount(position)


def class_means(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class ids (C,) in rising order, and the mean of the rows of each (C, D) float64."""
    classes, position, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(position, kind="stable")
    rows = np.asarray(embeddings, dtype=np.float64)[order]
    sums = np.add.reduceat(rows, np.cumsum(sizes) - sizes, axis=0)
    return classes, sums / sizes[:, None]


def _check_training(train: np.ndarray, train_labels: np.ndarray) -> None:
    if len(train) != len(train_labels) or not len(train):
        raise ProtocolError(f"{len(train_labels)} labels for {len(train)} training images")
