"""How sure is a run that an image is of a known class? The scores that open-set recognition compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.measures.classifiers import class_means
from benchmarks.measures.cosine import unit_rows
from benchmarks.measures.neighbours import LEVELS_PER_UNIT, nearest
from benchmarks.protocols.judged import Judged, embedding_problem

SCORES = ("max_logit", "max_softmax", "max_cosine", "nearest_mean", "mean_distance")
BLOCK_SCORES = 2**20  # scores held at a time: 8 MB
ANSWERING = ("max_logit", "nearest_mean")
"""Scores that come with an answer, which class it is."""


@dataclass(frozen=True)
class Scored:
    """Scores of known (n,) and unknown (m,) images, larger where more likely known.

    `correct` (n,) bool: whether the known images are answered right; None for a score without answer.
    """

    known: np.ndarray
    unknown: np.ndarray
    correct: np.ndarray | None = None


def scored(judged: Judged, known: np.ndarray, unknown: np.ndarray) -> dict[str, Scored | str]:
    """Each of `SCORES` for the images at `known` (n,) and `unknown` (m,), or why there is none; n, m >= 1.

    ``max_logit``, ``max_softmax``: the classifier's best score, and its log probability. ``max_cosine``: the largest
    cosine with a class weight. ``nearest_mean``: the largest cosine with a class's mean direction over the training
    images (as ``closed_set/ncm_top1``). ``mean_distance``: the negative Euclidean distance to the nearest mean of a
    class's training embeddings as they are; in units of the largest of their entries.
    """
    found: dict[str, Scored | str] = {**_classifier_scores(judged, known, unknown)}
    rows = np.concatenate([known, unknown])
    images, n = judged.embeddings[rows], len(known)
    problem = embedding_problem(images)
    if problem is not None:
        return found | dict.fromkeys(SCORES[2:], problem)

    if judged.class_weights is None:
        found["max_cosine"] = "the loss has no class weights"
    elif judged.class_weights.shape[1:] != images.shape[1:]:
        found["max_cosine"] = "the class weights are not in the space of the embeddings"
    elif embedding_problem(judged.class_weights) is not None:
        found["max_cosine"] = "the class weights are not finite"
    else:
        _, best = _largest_cosine(images, judged.class_weights)
        found["max_cosine"] = Scored(best[:n], best[n:])

    train = judged.rows("train")
    embeddings, labels = judged.embeddings[train], judged.labels[train]
    problem = embedding_problem(embeddings)
    if problem is not None:
        problem = f"training images: {problem}"
        return found | {"nearest_mean": problem, "mean_distance": problem}
    classes, means = class_means(unit_rows(embeddings, np.float64), labels)
    place, best = _largest_cosine(images, means)
    right = classes[place[:n]] == judged.labels[known]
    found["nearest_mean"] = Scored(best[:n], best[n:], right)
    # By the largest entry: the squares of very long embeddings leave the range of float64.
    images, embeddings = images.astype(np.float64), embeddings.astype(np.float64)
    peak = max(float(np.abs(images).max()), float(np.abs(embeddings).max())) or 1.0
    score = -least_distance(images / peak, class_means(embeddings / peak, labels)[1])
    found["mean_distance"] = Scored(score[:n], score[n:])
    return found


def least_distance(images: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Euclidean distance of each of `images` (N, D) to the nearest of `points` (C, D) float64: (N,) float64.

    Entries are of size 1 or less. Distances are rounded to the grid of ``neighbours``, so that equal ones tie.
    """
    centre = points.mean(axis=0)  # the products of points far from 0 would not tell them apart
    points = points - centre
    half = (points**2).sum(axis=1) / 2
    least = np.empty(len(images))
    step = max(1, BLOCK_SCORES // len(points))
    for start in range(0, len(images), step):
        block = np.asarray(images[start : start + step], dtype=np.float64) - centre
        place = (half - block @ points.T).argmin(axis=1)
        # Not from the squares: they cancel where an image lies close to its point.
        least[start : start + step] = np.linalg.norm(block - points[place], axis=1)
    return np.rint(least * LEVELS_PER_UNIT) / LEVELS_PER_UNIT


def _largest_cosine(images: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction (C, D) with the largest cosine to each of `images` (N, D), and that cosine: (N,) each."""
    place, level = nearest(images, directions, 1)
    return place[:, 0], level[:, 0] / LEVELS_PER_UNIT


def _classifier_scores(
    judged: Judged, known: np.ndarray, unknown: np.ndarray
) -> dict[str, Scored | str]:
    names = ("max_logit", "max_softmax")
    if judged.top_classes is None or judged.top_scores is None:
        return dict.fromkeys(names, "the loss has no classifier")
    rows, n = np.concatenate([known, unknown]), len(known)
    top = judged.top_scores[rows].astype(np.float64)
    if not np.isfinite(top).all():
        return dict.fromkeys(names, "the classifier's scores are not finite")
    right = judged.top_classes[known, 0] == judged.labels[known]
    found: dict[str, Scored | str] = {"max_logit": Scored(top[:n, 0], top[n:, 0], right)}
    if judged.logsumexp is None or not np.isfinite(judged.logsumexp[rows]).all():
        found["max_softmax"] = "the classifier's scores have no finite log-sum-exp"
    else:
        sure = log_max_softmax(top, judged.logsumexp[rows])
        found["max_softmax"] = Scored(sure[:n], sure[n:])
    return found


def log_max_softmax(top_scores: np.ndarray, logsumexp: np.ndarray) -> np.ndarray:
    """Log probability of the best class, (N,) float64 <= 0, from the k best scores (N, k) and the log-sum-exp (N,).

    In the log domain, where probabilities next to 1 stay apart. Runs store the log-sum-exp in float32, in which the
    other classes vanish beside a large best score; then the other stored scores bound the log probability from above.
    """
    top = np.asarray(top_scores, dtype=np.float64)
    stored = top[:, 0] - np.asarray(logsumexp, dtype=np.float64)
    others = np.exp(top[:, 1:] - top[:, :1]).sum(axis=1)
    return np.minimum(stored, -np.log1p(others))
