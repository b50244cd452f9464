"""Open-set verification: are two images of one class? All pairs of images of unknown classes."""

from __future__ import annotations

import numpy as np

from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem
from benchmarks.protocols.pairs import pair_counts, pair_roc
from benchmarks.protocols.roc import Roc, auc, eer, tar_at_far, thin

MIN_EXPECTED_IMPOSTORS = 10
"""A TAR whose FAR is fewer false accepts rests on a handful of pairs and is refused."""


def far_text(far: float) -> str:
    """A FAR as it stands in metric names: 0.001 -> "1e-03", 0.025 -> "2.5e-02"."""
    for digits in range(17):
        text = f"{far:.{digits}e}"
        if float(text) == far:
            break
    return text


def verification(judged: Judged, side: str, settings: Settings) -> Outcome:
    """All pairs of the unknown images of `side`: AUC, EER and TAR at the given FARs.

    The score is the cosine, on the grid of ``benchmarks.protocols.cosine``. ``achieved_far`` is the
    FAR at the threshold behind ``tar_at_far``. A TAR is refused where FAR × impostor pairs < 10.

    Curves: ``far``, ``tar`` (points of the ROC, evenly spaced in log FAR) and, over 200 equal bins
    of [-1, 1], ``score_edges`` (201,), ``genuine_histogram`` and ``impostor_histogram`` (200,) in
    pairs.
    """
    rows = judged.rows(f"unknown_{side}")
    embeddings, labels = judged.embeddings[rows], judged.labels[rows]
    outcome = Outcome()
    genuine, impostor = pair_counts(labels)
    outcome.metrics["verification/genuine_pairs"] = float(genuine)
    outcome.metrics["verification/impostor_pairs"] = float(impostor)
    problem = embedding_problem(embeddings)
    if problem is None and not (genuine and impostor):
        problem = f"there are no {'impostor' if genuine else 'genuine'} pairs"
    if problem is not None:
        names = ["verification/auc", "verification/eer"]
        outcome.refuse(
            names + [name for far in settings.fars for name in _rate_names(far)], problem
        )
        return outcome

    curve = pair_roc(embeddings, labels)
    outcome.metrics["verification/auc"] = auc(curve)
    outcome.metrics["verification/eer"] = eer(curve)
    for far in settings.fars:
        tar_name, achieved_name = _rate_names(far)
        if far * impostor < MIN_EXPECTED_IMPOSTORS:
            reason = (
                f"FAR {far:g} of {impostor:,} impostor pairs is fewer than "
                f"{MIN_EXPECTED_IMPOSTORS} false accepts"
            )
            outcome.refuse([tar_name, achieved_name], reason)
            continue
        point = tar_at_far(curve, far)
        outcome.metrics[tar_name] = point.tar
        outcome.metrics[achieved_name] = point.far
    outcome.curves.update(_curves(curve))
    return outcome


def _rate_names(far: float) -> tuple[str, str]:
    return f"verification/tar_at_far_{far_text(far)}", f"verification/achieved_far_{far_text(far)}"


def _curves(curve: Roc) -> dict[str, np.ndarray]:
    far, tar = thin(curve)
    curves = {"verification/far": far, "verification/tar": tar}
    for name in ("genuine", "impostor"):
        pairs = np.diff(getattr(curve, name))
        histogram, edges = np.histogram(curve.thresholds[1:], 200, (-1.0, 1.0), weights=pairs)
        curves[f"verification/{name}_histogram"] = histogram
        curves["verification/score_edges"] = edges
    return curves
