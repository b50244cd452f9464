"""Geometry: how classes and images lie in the space of the embeddings. Images of unknown classes, and training images."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.angles import (
    ClassAngles,
    angles,
    angular_fisher,
    class_angles,
    nearest_angles,
)
from benchmarks.measures.resampling import left_out_mean, resample, resampled_mean
from benchmarks.measures.spread import (
    alignment,
    effective_rank,
    singular_values,
    spectral_decay,
    uniformity,
)
from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem

CURVE_POINTS = 400
NORM_BINS = 100
QUANTILES = {"norm_q05": 0.05, "norm_q50": 0.5, "norm_q95": 0.95}
ONE_CLASS = "there is one class only"


def geometry(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Angles, lengths and spread of the unknown images of `side`; angles of the training images and class weights.

    Angles in degrees: ``intra``, ``inter`` (unknown images), ``train_intra``, ``train_inter`` (training images), ``w_ec``
    (class weight to the centre of its training images) and ``w_inter`` (class weight to the nearest other). Unknown images
    alone: ``angular_fisher_score``, ``norm_mean``, ``norm_sd``, ``norm_q05``, ``norm_q50``, ``norm_q95``,
    ``spectral_decay``, ``effective_rank``, ``alignment``, ``uniformity``.

    Curves: ``singular_values`` (K,) as shares of their sum, falling; ``norm_edges`` (101,) and ``norm_histogram`` (100,);
    over training ``angle_epochs`` (E,), ``target_angles`` and ``other_angles`` (E, 180) where the run kept them.
    """
    rows = judged.rows(f"unknown_{side}")
    outcome = Outcome()
    _unknown(outcome, judged.embeddings[rows], judged.labels[rows], settings)
    _training(outcome, judged)
    for name in ("angle_epochs", "target_angles", "other_angles"):
        kept = getattr(judged, name)
        if kept is not None:
            outcome.curves[f"geometry/{name}"] = kept
    return outcome


def _unknown(
    outcome: Outcome, embeddings: np.ndarray, labels: np.ndarray, settings: Settings
) -> None:
    problem = embedding_problem(embeddings)
    if problem is not None:
        names = ("intra", "inter", "angular_fisher_score", "norm_mean", "norm_sd", *QUANTILES)
        spread = ("spectral_decay", "effective_rank", "alignment", "uniformity")
        outcome.refuse([f"geometry/{name}" for name in (*names, *spread)], problem)
        return
    found = class_angles(embeddings, labels)
    _angles(outcome, "", found)
    fisher = angular_fisher(embeddings, labels).score
    _value(outcome, "angular_fisher_score", fisher, "the class means have one direction")
    _norms(outcome, embeddings)
    _spectrum(outcome, embeddings)
    sums, pairs = alignment(embeddings, labels)
    mean = sums.sum() / pairs.sum() if pairs.any() else np.nan
    _value(outcome, "alignment", mean, "no class has two images")
    if len(embeddings) > 1:
        outcome.metrics["geometry/uniformity"] = uniformity(embeddings)
    else:
        outcome.refuse(["geometry/uniformity"], "there is one image only")

    if settings.resamples:
        drawn = resample(labels, settings.resamples)
        outcome.replicates["geometry/intra"] = resampled_mean(found.intra, drawn)
        outcome.left_out["geometry/intra"] = left_out_mean(found.intra, drawn)
        if pairs.any():
            units = drawn.units[np.unique(labels, return_index=True)[1]]  # of the classes
            size = drawn.counts.shape[1]
            sums = np.bincount(units, weights=sums, minlength=size)
            pairs = np.bincount(units, weights=pairs, minlength=size)
            with np.errstate(invalid="ignore"):
                outcome.replicates["geometry/alignment"] = (drawn.counts @ sums) / (
                    drawn.counts @ pairs
                )
                outcome.left_out["geometry/alignment"] = (sums.sum() - sums) / (pairs.sum() - pairs)


def _training(outcome: Outcome, judged: Judged) -> None:
    train = judged.rows("train")
    embeddings = judged.embeddings[train]
    found = None
    problem = embedding_problem(embeddings) if len(train) else "there are no training images"
    if problem is None:
        found = class_angles(embeddings, judged.labels[train])
        _angles(outcome, "train_", found)
    else:
        outcome.refuse(["geometry/train_intra", "geometry/train_inter"], problem)

    weights = judged.class_weights
    reason = None
    if weights is None:
        reason = "the loss has no class weights"
    elif weights.shape != (len(judged.known_classes), embeddings.shape[1]):
        reason = f"class weights of shape {weights.shape} are not one per class in the space of the embeddings"
    elif not np.isfinite(weights).all():
        reason = "the class weights are not finite"
    if reason is not None or weights is None:
        outcome.refuse(["geometry/w_ec", "geometry/w_inter"], str(reason))
        return
    _value(outcome, "w_inter", float(nearest_angles(weights).mean()), ONE_CLASS)
    if found is None:
        outcome.refuse(["geometry/w_ec"], str(problem))
        return
    classes, own, centre = np.intersect1d(judged.known_classes, found.classes, return_indices=True)
    mean = angles(weights[own], found.centres[centre]).mean() if len(classes) else np.nan
    _value(outcome, "w_ec", mean, "no known class has training images")


def _angles(outcome: Outcome, prefix: str, found: ClassAngles) -> None:
    outcome.metrics[f"geometry/{prefix}intra"] = float(found.intra.mean())
    _value(outcome, f"{prefix}inter", float(found.inter.mean()), ONE_CLASS)


def _norms(outcome: Outcome, embeddings: np.ndarray) -> None:
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    outcome.metrics["geometry/norm_mean"] = float(norms.mean())
    outcome.metrics["geometry/norm_sd"] = float(norms.std())
    for name, share in QUANTILES.items():
        outcome.metrics[f"geometry/{name}"] = float(np.quantile(norms, share))
    # from 0: a histogram of equal lengths needs a width
    top = float(norms.max()) or 1.0
    histogram, edges = np.histogram(norms, NORM_BINS, (0.0, top))
    outcome.curves["geometry/norm_edges"] = edges
    outcome.curves["geometry/norm_histogram"] = histogram


def _spectrum(outcome: Outcome, embeddings: np.ndarray) -> None:
    spectrum = singular_values(embeddings)
    used = int((spectrum > 0).sum())
    if not used:
        names = ["geometry/spectral_decay", "geometry/effective_rank"]
        outcome.refuse(names, "all embeddings are zero")
        return
    decay = spectral_decay(spectrum) if len(spectrum) > 1 else np.nan
    reason = f"the embeddings span {used} of {len(spectrum)} directions: it is infinite"
    if len(spectrum) == 1:
        reason = "there is one direction only"
    _value(outcome, "spectral_decay", decay, reason)
    outcome.metrics["geometry/effective_rank"] = effective_rank(spectrum)
    kept = np.unique(np.linspace(0, len(spectrum) - 1, CURVE_POINTS).round().astype(int))
    outcome.curves["geometry/singular_values"] = (spectrum / spectrum.sum())[kept]


def _value(outcome: Outcome, name: str, value: float, reason: str) -> None:
    """Record a number, or the reason why it is not one."""
    if np.isfinite(value):
        outcome.metrics[f"geometry/{name}"] = float(value)
    else:
        outcome.refuse([f"geometry/{name}"], reason)
