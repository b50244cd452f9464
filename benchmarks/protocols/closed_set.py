"""Closed-set classification: which known class is this? Held-out images of the known classes."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.calibration import reliability
from benchmarks.measures.classifiers import class_recall, nearest_class_mean, nearest_neighbours
from benchmarks.measures.resampling import Resamples, left_out_mean, resample, resampled_mean
from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem

NEIGHBOURS = 5
CURVE_POINTS = 400
NO_CLASSIFIER = "the loss has no classifier"


def closed_set(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Shares of the known images of `side` that are given their own class, in [0, 1].

    By the classifier's own scores, without margin, ties as the run resolved them when it wrote its best classes:
    ``top1``, ``top5``, ``macro_recall`` (mean over the classes), ``worst_recall`` (the worst class), and the calibration
    errors ``ece`` and ``ece_equal_mass``. By the training embeddings, which every loss has: ``ncm_top1``,
    ``ncm_macro_recall``, ``ncm_worst_recall`` (nearest class mean) and ``knn_top1`` (five nearest training images).

    Curves: ``reliability_confidence``, ``reliability_accuracy``, ``reliability_count`` (15,) and ``class_recall``,
    ``ncm_class_recall`` (C,), in rising order, thinned to 400 classes.
    """
    rows = judged.rows(f"known_{side}")
    outcome = Outcome()
    drawn = None
    if settings.resamples and len(rows):
        drawn = resample(judged.labels[rows], settings.resamples)
    _by_classifier(outcome, judged, rows, drawn)
    _by_training_images(outcome, judged, rows, drawn)
    return outcome


def _by_training_images(
    outcome: Outcome, judged: Judged, rows: np.ndarray, drawn: Resamples | None
) -> None:
    train, labels = judged.rows("train"), judged.labels[rows]
    embeddings, known = judged.embeddings[rows], judged.embeddings[train]
    problem = embedding_problem(embeddings)
    if problem is None:
        problem = embedding_problem(known) if len(train) else "there are no training images"
    if problem is not None:
        names = ("ncm_top1", "knn_top1", "ncm_macro_recall", "ncm_worst_recall")
        outcome.refuse([f"closed_set/{name}" for name in names], problem)
        return
    hits = nearest_class_mean(known, judged.labels[train], embeddings) == labels
    _share(outcome, "ncm_top1", hits, drawn)
    _recalls(outcome, "ncm_", hits, labels, drawn)
    voted = nearest_neighbours(known, judged.labels[train], embeddings, NEIGHBOURS)
    _share(outcome, "knn_top1", voted == labels, drawn)


def _by_classifier(
    outcome: Outcome, judged: Judged, rows: np.ndarray, drawn: Resamples | None
) -> None:
    calibration = ["closed_set/ece", "closed_set/ece_equal_mass"]
    names = ["closed_set/top1", "closed_set/macro_recall", "closed_set/worst_recall"]
    problem = None
    if judged.top_classes is None:
        problem = NO_CLASSIFIER
    elif len(rows) == 0:
        problem = "the split has no such images"
    elif judged.top_scores is not None and np.isnan(judged.top_scores[rows]).any():
        problem = "the classifier's scores are not numbers"
    if problem is not None or judged.top_classes is None:
        outcome.refuse([*names, "closed_set/top5", *calibration], str(problem))
        return
    labels, best = judged.labels[rows], judged.top_classes[rows]
    hits = best[:, 0] == labels
    _share(outcome, "top1", hits, drawn)
    _recalls(outcome, "", hits, labels, drawn)

    classes = len(judged.known_classes)
    if classes <= 5:
        outcome.refuse(["closed_set/top5"], f"of {classes} classes all are among the best five")
    elif best.shape[1] < 5:
        outcome.refuse(["closed_set/top5"], f"the run kept the best {best.shape[1]} classes")
    else:
        _share(outcome, "top5", (best[:, :5] == labels[:, None]).any(axis=1), drawn)

    if judged.top_scores is None or judged.logsumexp is None:
        outcome.refuse(calibration, "the run kept no scores of the classifier")
        return
    with np.errstate(invalid="ignore", over="ignore"):
        margin = judged.top_scores[rows, 0].astype(np.float64) - judged.logsumexp[rows]
        confidence = np.minimum(np.exp(margin), 1.0)  # above 1 by rounding alone
    if np.isnan(confidence).any():
        outcome.refuse(calibration, "the classifier's scores are not finite")
        return
    widths = reliability(confidence, hits)
    outcome.metrics["closed_set/ece"] = widths.error
    outcome.metrics["closed_set/ece_equal_mass"] = reliability(
        confidence, hits, mass="equal_mass"
    ).error
    for name in ("confidence", "accuracy", "count"):
        outcome.curves[f"closed_set/reliability_{name}"] = getattr(widths, name)
    if drawn is not None:
        replicates, left_out = widths.resampled_error(drawn)
        outcome.replicates["closed_set/ece"] = replicates
        outcome.left_out["closed_set/ece"] = left_out


def _share(outcome: Outcome, name: str, values: np.ndarray, drawn: Resamples | None) -> None:
    """The mean of per-image (or per-class) `values`, under every draw of identities too."""
    key = f"closed_set/{name}"
    values = values.astype(np.float64)
    outcome.metrics[key] = float(values.mean())
    if drawn is not None:
        outcome.replicates[key] = resampled_mean(values, drawn)
        outcome.left_out[key] = left_out_mean(values, drawn)


def _recalls(
    outcome: Outcome, prefix: str, hits: np.ndarray, labels: np.ndarray, drawn: Resamples | None
) -> None:
    recalls = class_recall(hits, labels)[1]
    if drawn is not None:  # a class as an image of its unit
        first = np.unique(labels, return_index=True)[1]
        drawn = Resamples(drawn.units[first], drawn.counts)
    _share(outcome, f"{prefix}macro_recall", recalls, drawn)
    outcome.metrics[f"closed_set/{prefix}worst_recall"] = float(recalls.min())
    kept = np.unique(np.linspace(0, len(recalls) - 1, CURVE_POINTS).round().astype(int))
    outcome.curves[f"closed_set/{prefix}class_recall"] = np.sort(recalls)[kept]
