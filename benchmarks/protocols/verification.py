"""Open-set verification: are two images of one class? All pairs of images of unknown classes."""

from __future__ import annotations

import numpy as np

from benchmarks.measures.detection_cost import min_dcf
from benchmarks.measures.pairs import pair_counts, verify_pairs
from benchmarks.measures.rate_grid import rate_grid
from benchmarks.measures.resampling import resample
from benchmarks.measures.roc import Roc, auc, eer, tar_at_far, thin
from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem

MIN_EXPECTED_IMPOSTORS = 10
"""A TAR whose FAR is fewer false accepts rests on a handful of pairs and is refused."""

NUMBERS = ("verification/auc", "verification/eer", "verification/min_dcf")


def far_text(far: float) -> str:
    """A FAR as it stands in metric names: 0.001 -> "1e-03", 0.025 -> "2.5e-02"."""
    for digits in range(17):
        text = f"{far:.{digits}e}"
        if float(text) == far:
            break
    return text


def verification(judged: Judged, side: str, settings: Settings) -> Outcome:
    """All pairs of the unknown images of `side`: AUC, EER, least detection cost, TAR at the FARs.

    The score is the cosine (``benchmarks.measures.pair_blocks``). ``achieved_far`` is the FAR at the
    threshold behind ``tar_at_far``. A TAR is refused where FAR × impostor pairs < 10. Replicates and
    left-out values: ``auc``, ``eer``, ``min_dcf`` and every ``tar_at_far`` with a value.

    Curves: ``far``, ``tar`` (points of the ROC, evenly spaced in log FAR); over 200 equal bins of
    [-1, 1], ``score_edges`` (201,), ``genuine_histogram`` and ``impostor_histogram`` (200,) in pairs;
    over bins of one degree, ``genuine_angles`` and ``impostor_angles`` (180,) in pairs. With resamples
    also the ROC at the FARs of ``rate_grid``: ``replicate_far`` (G,), ``grid_tar`` (G,) of all pairs,
    ``replicate_tar`` (R, G) under the resamples, ``left_out_tar`` (U, G) without each identity.
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
        names = [name for far in settings.fars for name in _rate_names(far)]
        outcome.refuse([*NUMBERS, *names], problem)
        return outcome

    fars = [far for far in settings.fars if far * impostor >= MIN_EXPECTED_IMPOSTORS]
    drawn = resample(labels, settings.resamples) if settings.resamples else None
    grid = rate_grid(impostor if drawn is not None else 0)
    verified = verify_pairs(
        embeddings, labels, fars, drawn=drawn, curve_fars=grid.tolist(), device=settings.device
    )
    curve = verified.curve
    for name, value in zip(NUMBERS, (auc(curve), eer(curve), min_dcf(curve)), strict=True):
        outcome.metrics[name] = value
    for far in settings.fars:
        tar_name, achieved_name = _rate_names(far)
        if far not in fars:
            reason = (
                f"FAR {far:g} of {impostor:,} impostor pairs is fewer than "
                f"{MIN_EXPECTED_IMPOSTORS} false accepts"
            )
            outcome.refuse([tar_name, achieved_name], reason)
            continue
        point = tar_at_far(curve, far)
        outcome.metrics[tar_name] = point.tar
        outcome.metrics[achieved_name] = point.far
    names = [*NUMBERS, *(_rate_names(far)[0] for far in fars)]
    outcome.curves.update(_curves(curve))
    if verified.replicates is not None and verified.left_out is not None:
        count = len(names)
        outcome.replicates.update(zip(names, verified.replicates[:, :count].T, strict=True))
        outcome.left_out.update(zip(names, verified.left_out[:, :count].T, strict=True))
        drawn_curves = {
            "replicate_far": grid,
            "grid_tar": np.array([tar_at_far(curve, far).tar for far in grid]),
            "replicate_tar": verified.replicates[:, count:].astype(np.float32),
            "left_out_tar": verified.left_out[:, count:].astype(np.float32),
        }
        outcome.curves.update({f"verification/{key}": item for key, item in drawn_curves.items()})
    return outcome


def _rate_names(far: float) -> tuple[str, str]:
    return f"verification/tar_at_far_{far_text(far)}", f"verification/achieved_far_{far_text(far)}"


def _curves(curve: Roc) -> dict[str, np.ndarray]:
    far, tar = thin(curve)
    curves = {"verification/far": far, "verification/tar": tar}
    cosines = np.clip(curve.thresholds[1:], -1.0, 1.0)
    angles = np.degrees(np.arccos(cosines))
    for name in ("genuine", "impostor"):
        pairs = np.diff(getattr(curve, name))
        histogram, edges = np.histogram(cosines, 200, (-1.0, 1.0), weights=pairs)
        curves[f"verification/{name}_histogram"] = histogram
        curves["verification/score_edges"] = edges
        curves[f"verification/{name}_angles"] = np.histogram(
            angles, 180, (0.0, 180.0), weights=pairs
        )[0]
    return curves
