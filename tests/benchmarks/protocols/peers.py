"""What installed peers say of the same data."""

from __future__ import annotations

import numpy as np
import sklearn.metrics
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from benchmarks.measures.classifiers import class_recall, top_k
from benchmarks.measures.oscr import auroc
from benchmarks.measures.ranking import retrieve_by_cosine, retrieve_by_scores
from benchmarks.measures.roc import auc, roc, tar_at_far

RETRIEVAL = {
    "precision_at_1": "recall_at_1",
    "r_precision": "r_precision",
    "mean_average_precision_at_r": "map_at_r",
    "mean_average_precision": "map",
}
Gap = tuple[str, str, float]  # protocol, peer, largest difference


def differences() -> list[Gap]:
    """Largest differences between our numbers and a peer's over several random data sets."""
    found: dict[tuple[str, str], float] = {}
    for seed in range(5):
        for protocol, peer, gap in _once(np.random.default_rng(seed)):
            found[protocol, peer] = max(gap, found.get((protocol, peer), 0.0))
    return [(*key, gap) for key, gap in found.items()]


def _once(rng: np.random.Generator) -> list[Gap]:
    return [
        *_verification(rng),
        *_open_set(rng),
        *_closed_set(rng),
        *_retrieval(rng),
    ]


def _scores(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Genuine and impostor scores, two thirds of them tied."""
    genuine, impostor = rng.normal(1, 1, 400), rng.normal(0, 1, 3000)
    return np.concatenate([genuine[:100], genuine[100:].round(1)]), np.concatenate(
        [impostor[:1000], impostor[1000:].round(1)]
    )


def _verification(rng: np.random.Generator) -> list[Gap]:
    genuine, impostor = _scores(rng)
    same = np.repeat([1, 0], [len(genuine), len(impostor)])
    every = np.concatenate([genuine, impostor])
    far, tar, thresholds = sklearn.metrics.roc_curve(same, every, drop_intermediate=False)
    curve = roc(genuine, impostor)
    points = max(np.abs(curve.far - far).max(), np.abs(curve.tar - tar).max())
    points = max(points, np.abs(curve.thresholds[1:] - thresholds[1:]).max())
    area = abs(auc(curve) - sklearn.metrics.roc_auc_score(same, every))
    rates = max(abs(tar_at_far(curve, f).tar - tar[far <= f].max()) for f in (0.2, 0.01, 0.001))
    return [
        ("verification", "sklearn.roc_curve", points),
        ("verification", "sklearn.roc_auc_score", area),
        ("verification", "TAR@FAR from sklearn.roc_curve", rates),
    ]


def _open_set(rng: np.random.Generator) -> list[Gap]:
    known, unknown = _scores(rng)
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    theirs = sklearn.metrics.roc_auc_score(truth, np.concatenate([known, unknown]))
    gap = abs(auroc(known, unknown) - theirs)
    return [("open_set_recognition", "sklearn.roc_auc_score", gap)]


def _closed_set(rng: np.random.Generator) -> list[Gap]:
    labels, scores = rng.integers(0, 20, 500), rng.normal(size=(500, 20))
    scores[np.arange(500), labels] += 1
    gap = 0.0
    for k in (1, 5):
        theirs = sklearn.metrics.top_k_accuracy_score(labels, scores, k=k)
        gap = max(gap, abs(top_k(scores, labels, k).mean() - theirs))
    recall = class_recall(top_k(scores, labels), labels)[1].mean()
    theirs = sklearn.metrics.balanced_accuracy_score(labels, scores.argmax(axis=1))
    return [
        ("closed_set", "sklearn.top_k_accuracy_score", gap),
        ("closed_set", "sklearn.balanced_accuracy_score", abs(recall - theirs)),
    ]


def _retrieval(rng: np.random.Generator) -> list[Gap]:
    labels = rng.integers(0, 25, 400)
    embeddings = rng.normal(size=(25, 16))[labels] + rng.normal(size=(400, 16))
    ours = retrieve_by_cosine(embeddings, embeddings, labels, labels, same_set=True).values([1])
    theirs = retrieval_peer(embeddings, labels)
    gap = max(abs(np.nanmean(ours[name]) - theirs[other]) for other, name in RETRIEVAL.items())
    scores = rng.normal(size=(60, 300))
    query, reference = rng.integers(0, 6, 60), rng.integers(0, 6, 300)
    found = retrieve_by_scores(scores, query, reference, same_set=False).average_precision
    average = [
        sklearn.metrics.average_precision_score(reference == label, row)
        for label, row in zip(query, scores, strict=True)
    ]
    return [
        ("retrieval", "pytorch-metric-learning AccuracyCalculator", gap),
        ("retrieval", "sklearn.average_precision_score", float(np.abs(found - average).max())),
    ]


def retrieval_peer(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """pytorch-metric-learning's retrieval metrics by cosine, over the whole ranking.

    It casts embeddings to float32, which swaps near neighbours now and then; so it is given neighbours found in
    float64.
    """
    unit = torch.from_numpy(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))

    def neighbours(_: torch.Tensor, k: int, *__: object) -> tuple[torch.Tensor, torch.Tensor]:
        found = (unit @ unit.T).fill_diagonal_(-2).topk(k, dim=1)
        return found.values, found.indices

    calculator = AccuracyCalculator(
        include=tuple(RETRIEVAL),
        k=None,
        device=torch.device("cpu"),
        knn_func=neighbours,
    )
    values: dict[str, float] = calculator.get_accuracy(
        torch.from_numpy(embeddings), torch.from_numpy(labels)
    )
    return values
