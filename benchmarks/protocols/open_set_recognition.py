"""Open-set recognition: known or not, and which? Held-out images of the known classes against unknown classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.measures.detection import (
    MIN_EXPECTED_ALARMS,
    UnitScores,
    accepted,
    thin,
    weighted_area,
    wins,
)
from benchmarks.measures.detection_grid import accepted_along
from benchmarks.measures.oscr import auroc, oscr_area, oscr_curve, point_at
from benchmarks.measures.rate_grid import rate_grid
from benchmarks.measures.resampling import Resamples, resample
from benchmarks.protocols.judged import Judged, Outcome, Settings
from benchmarks.protocols.known_scores import ANSWERING, SCORES, Scored, scored
from benchmarks.protocols.verification import far_text

BINS = 100
GRID_SCORE = "nearest_mean"
"""The score whose OSCR curve is resampled: every loss has it."""


def open_set_recognition(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Known images of `side` against its unknown images, by each of ``known_scores.SCORES``.

    ``auroc_<score>``: known against unknown. For the scores that come with an answer also ``accuracy_<score>``
    (closed-set), ``oscr_<score>`` (area), ``ccr_at_fpr_<score>_<f>`` and ``achieved_fpr_<score>_<f>``; a CCR is refused
    where f × unknown images < 10, or where no threshold reaches f.

    Resamples draw the known and the unknown identities independently. Left-out values leave out one unknown identity
    each; the known images stay. The accuracies have neither: ``closed_set`` has them.

    Curves: ``<score>_edges`` (101,), ``<score>_known`` and ``<score>_unknown`` (100,) histograms in images, and
    ``<score>_fpr``, ``<score>_ccr`` (points of the OSCR curve, evenly spaced in log FPR). With resamples, of
    `GRID_SCORE` alone, at the FPRs ``<score>_replicate_fpr`` (F,) of ``rate_grid``: ``<score>_grid_ccr`` (F,) as the test
    is, ``<score>_replicate_ccr`` (R, F) and ``<score>_left_out_ccr``.
    """
    known, unknown = judged.rows(f"known_{side}"), judged.rows(f"unknown_{side}")
    outcome = Outcome()
    outcome.metrics[_name("known_images")] = float(len(known))
    outcome.metrics[_name("unknown_images")] = float(len(unknown))
    if len(known) and len(unknown):
        found = scored(judged, known, unknown)
    else:
        missing = "unknown" if len(known) else "known"
        found = dict.fromkeys(SCORES, f"the split has no images of {missing} classes")
    draws = None
    if settings.resamples and len(known) and len(unknown):
        draws = (
            resample(judged.labels[known], settings.resamples),
            resample(judged.labels[unknown], settings.resamples),
        )
    for score, item in found.items():
        if isinstance(item, str):
            outcome.refuse([_name(f"auroc_{score}")], item)
            if score in ANSWERING:
                outcome.refuse(_answer_names(score, settings.fpirs), item)
            continue
        outcome.metrics[_name(f"auroc_{score}")] = auroc(item.known, item.unknown)
        outcome.curves.update(_histograms(score, item))
        fpirs: list[float] = []
        if item.correct is not None:
            fpirs = _answers(outcome, score, item, item.correct, settings.fpirs)
        if draws is not None:
            _uncertainty(outcome, score, item, fpirs, *draws)
            if score == GRID_SCORE and item.correct is not None:
                _grid(outcome, item, item.correct, *draws)
    return outcome


def _answers(
    outcome: Outcome, score: str, item: Scored, correct: np.ndarray, fpirs: Sequence[float]
) -> list[float]:
    """Record accuracy, OSCR and CCRs; the rates at which there is a CCR."""
    outcome.metrics[_name(f"accuracy_{score}")] = float(correct.mean())
    outcome.metrics[_name(f"oscr_{score}")] = oscr_area(item.known, correct, item.unknown)
    curve = oscr_curve(item.known, correct, item.unknown)
    outcome.curves[_name(f"{score}_fpr")], outcome.curves[_name(f"{score}_ccr")] = thin(curve)
    valued = []
    for fpir in fpirs:
        names = _rate_names(score, fpir)
        point = point_at(curve, fpir)
        if fpir * curve.negatives < MIN_EXPECTED_ALARMS:
            reason = (
                f"FPR {fpir:g} of {curve.negatives:,} unknown images is fewer than "
                f"{MIN_EXPECTED_ALARMS} false positives"
            )
            outcome.refuse(names, reason)
        elif np.isnan(point.ccr):
            outcome.refuse(names, f"no threshold reaches FPR {fpir:g}")
        else:
            outcome.metrics.update(zip(names, (point.ccr, point.fpr), strict=True))
            valued.append(fpir)
    return valued


def _uncertainty(
    outcome: Outcome,
    score: str,
    item: Scored,
    fpirs: Sequence[float],
    known: Resamples,
    unknown: Resamples,
) -> None:
    """Record the replicates and left-out values of one score's metrics."""
    count, other = known.counts.shape[1], unknown.counts.shape[1]
    known_sizes = np.bincount(known.units, minlength=count)
    unknown_sizes = np.bincount(unknown.units, minlength=other)
    negatives = UnitScores(item.unknown, unknown.units)
    groups = {f"auroc_{score}": UnitScores(item.known, known.units)}
    if item.correct is not None:
        hits = UnitScores(item.known[item.correct], known.units[item.correct])
        groups[f"oscr_{score}"] = hits
    won = {name: wins(group, negatives, (count, other)) for name, group in groups.items()}
    for store, known_weights, unknown_weights in (
        (outcome.replicates, known.counts, unknown.counts),
        (outcome.left_out, np.ones((1, count), int), 1 - np.eye(other, dtype=int)),
    ):
        for name, pairs in won.items():
            store[_name(name)] = weighted_area(
                pairs, known_sizes, unknown_sizes, known_weights, unknown_weights
            )
        if fpirs:
            told = accepted(hits, negatives, known_weights, unknown_weights, fpirs)
            values = _ccrs(told, known_weights, known_sizes)
            for column, fpir in enumerate(fpirs):
                store[_rate_names(score, fpir)[0]] = values[:, column]


def _grid(
    outcome: Outcome, item: Scored, correct: np.ndarray, known: Resamples, unknown: Resamples
) -> None:
    """Record the OSCR curve of `GRID_SCORE` under the resamples and without each unknown identity."""
    count, other = known.counts.shape[1], unknown.counts.shape[1]
    sizes = np.bincount(known.units, minlength=count)
    hits = UnitScores(item.known[correct], known.units[correct])
    negatives = UnitScores(item.unknown, unknown.units)
    fprs = rate_grid(len(item.unknown))
    once = np.ones((1, count), int)
    curves = {"replicate_fpr": fprs}
    for kind, *weights in (
        ("grid", once, np.ones((1, other), int)),
        ("replicate", known.counts, unknown.counts),
        ("left_out", once, 1 - np.eye(other, dtype=int)),
    ):
        told = accepted_along(hits, negatives, weights[0], weights[1], fprs)
        values = _ccrs(told, weights[0], sizes)
        curves[f"{kind}_ccr"] = values[0] if kind == "grid" else values.astype(np.float32)
    for key, array in curves.items():
        outcome.curves[_name(f"{GRID_SCORE}_{key}")] = array


def _ccrs(
    told: tuple[np.ndarray, np.ndarray], weights: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """CCR (R, F) of accepted hits and negatives (R, F); NaN where no observed score reaches the rate.

    `weights` (R, U) and `sizes` (U,): of the units of the known images.
    """
    right, wrong = told
    right[right + wrong == 0] = np.nan
    found: np.ndarray = right / (weights @ sizes)[:, None]
    return found


def _name(metric: str) -> str:
    return f"open_set_recognition/{metric}"


def _rate_names(score: str, fpir: float) -> tuple[str, str]:
    rate = f"{score}_{far_text(fpir)}"
    return _name(f"ccr_at_fpr_{rate}"), _name(f"achieved_fpr_{rate}")


def _answer_names(score: str, fpirs: Sequence[float]) -> list[str]:
    names = [_name(f"accuracy_{score}"), _name(f"oscr_{score}")]
    return names + [name for fpir in fpirs for name in _rate_names(score, fpir)]


def _histograms(score: str, item: Scored) -> dict[str, np.ndarray]:
    every = np.concatenate([item.known, item.unknown])
    edges = np.histogram_bin_edges(every, BINS)
    return {
        _name(f"{score}_edges"): edges,
        _name(f"{score}_known"): np.histogram(item.known, edges)[0],
        _name(f"{score}_unknown"): np.histogram(item.unknown, edges)[0],
    }
