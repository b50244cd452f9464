"""Open-set identification: who of the gallery is this, or nobody? Galleries and probes of unknown classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.measures.detection import (
    MIN_EXPECTED_ALARMS,
    Detections,
    UnitScores,
)
from benchmarks.measures.detection_grid import accepted_along
from benchmarks.measures.rate_grid import rate_grid
from benchmarks.measures.resampling import resample
from benchmarks.measures.search import Searches, dir_curve, match_rates, point_at
from benchmarks.protocols.galleries import draw_gallery, search_gallery
from benchmarks.protocols.judged import Judged, Outcome, Settings, embedding_problem
from benchmarks.protocols.verification import far_text

RANKS = (1, 5, 10)
RANK_NAMES = tuple(f"identification/rank_{rank}" for rank in RANKS)
CURVE_RANKS, CURVE_RATES = 100, 100
GRID_RANKS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)  # at which the CMC is resampled


def identification(judged: Judged, side: str, settings: Settings) -> Outcome:
    """Searches of galleries of half of the unknown identities of `side`; the other half are the non-mated probes.

    All numbers are means over ``settings.galleries`` draws (`draw_gallery`). ``rank_<k>``: CMC. ``tpir_at_fpir_<f>``:
    TPIR at rank 1, ``achieved_fpir_<f>`` the FPIR at its threshold; refused where f × non-mated probes < 10 in some
    draw. ``<metric>_gallery_sd``: standard deviation over the draws (n - 1).

    Under a resample of the identities the galleries stay as they are; a probe counts as often as its identity was
    drawn, and the threshold is chosen anew. The value is the mean over the draws that define it.

    Curves: ``rank``, ``cmc`` (ranks up to 100) and ``fpir``, ``tpir`` (100 FPIRs, evenly spaced in log), means over the
    draws. With resamples also at the ranks ``replicate_rank`` (K,) and the FPIRs ``replicate_fpir`` (F,) of
    ``rate_grid``: ``grid_cmc`` and ``grid_tpir`` as the test is, ``replicate_cmc`` (R, K) and ``replicate_tpir``
    (R, F) under the resamples, ``left_out_cmc`` (U, K) and ``left_out_tpir`` (U, F) without each identity.
    """
    rows = judged.rows(f"unknown_{side}")
    embeddings, labels = judged.embeddings[rows], judged.labels[rows]
    outcome = Outcome()
    galleries = [draw_gallery(labels, number) for number in range(settings.galleries)]
    probes = [labels[gallery.probes] for gallery in galleries]
    enrolled = [np.unique(labels[gallery.images]) for gallery in galleries]
    mated = [int(np.isin(p, e).sum()) for p, e in zip(probes, enrolled, strict=True)]
    others = [len(p) - m for p, m in zip(probes, mated, strict=True)]
    outcome.metrics["identification/gallery_identities"] = float(
        np.mean([len(e) for e in enrolled])
    )
    outcome.metrics["identification/mated_probes"] = float(np.mean(mated))
    outcome.metrics["identification/non_mated_probes"] = float(np.mean(others))

    refused = _refused(settings.fpirs, min(others))
    names = [*RANK_NAMES, _spread_name(RANK_NAMES[0])]
    problem = embedding_problem(embeddings)
    if problem is None and min(mated) == 0:
        problem = "no identity has two images: none can be enrolled"
    if problem is not None:
        outcome.refuse(
            names + [name for fpir in settings.fpirs for name in _rate_names(fpir)], problem
        )
        return outcome
    for fpir, reason in refused.items():
        outcome.refuse(_rate_names(fpir), reason)
    fpirs = [fpir for fpir in settings.fpirs if fpir not in refused]

    found = [search_gallery(embeddings, labels, gallery) for gallery in galleries]
    rates = np.array([match_rates(each, RANKS) for each in found])  # (K, ranks)
    outcome.metrics.update(zip(RANK_NAMES, rates.mean(axis=0).tolist(), strict=True))
    _spread(outcome, RANK_NAMES[0], rates[:, 0])
    curves = [curve for each in found if (curve := dir_curve(each)) is not None]
    for fpir in fpirs:
        points = [point_at(curve, fpir) for curve in curves]
        tpir_name, achieved_name, _ = _rate_names(fpir)
        outcome.metrics[tpir_name] = float(np.mean([point.tpir for point in points]))
        outcome.metrics[achieved_name] = float(np.mean([point.fpir for point in points]))
        _spread(outcome, tpir_name, np.array([point.tpir for point in points]))
    outcome.curves.update(_curves(found, curves))

    if settings.resamples:
        drawn = resample(labels, settings.resamples)
        units = [drawn.units[gallery.probes] for gallery in galleries]
        ranks = [rank for rank in GRID_RANKS if rank <= min(len(e) for e in enrolled)]
        _uncertainty(outcome, found, units, drawn.counts, fpirs, ranks)
    return outcome


def _uncertainty(
    outcome: Outcome,
    found: Sequence[Searches],
    units: Sequence[np.ndarray],
    counts: np.ndarray,
    fpirs: Sequence[float],
    grid_ranks: Sequence[int],
) -> None:
    """Record the metrics and the curves under the resamples ``counts`` (R, U) and without each identity."""
    grid_fpirs = rate_grid(min(int((~each.mated).sum()) for each in found))
    ranks, rates = [*RANKS, *grid_ranks], [*fpirs, *grid_fpirs.tolist()]
    names = [*RANK_NAMES, *(_rate_names(fpir)[0] for fpir in fpirs)]
    every = counts.shape[1]
    curves: dict[str, np.ndarray] = {
        "replicate_rank": np.array(grid_ranks),
        "replicate_fpir": grid_fpirs,
    }
    for kind, weights, store in (
        ("grid", np.ones((1, every), dtype=np.int64), None),
        ("replicate", counts, outcome.replicates),
        ("left_out", 1 - np.eye(every, dtype=np.int64), outcome.left_out),
    ):
        values = _weighted(found, units, weights, ranks, rates)
        of_ranks, of_rates = values[:, : len(ranks)], values[:, len(ranks) :]
        metrics = np.hstack([of_ranks[:, : len(RANKS)], of_rates[:, : len(fpirs)]])
        cmc, tpir = of_ranks[:, len(RANKS) :], of_rates[:, len(fpirs) :]
        if store is None:
            curves["grid_cmc"], curves["grid_tpir"] = cmc[0], tpir[0]
            continue
        store.update(zip(names, metrics.T, strict=True))
        curves[f"{kind}_cmc"] = cmc.astype(np.float32)
        curves[f"{kind}_tpir"] = tpir.astype(np.float32)
    outcome.curves.update({f"identification/{key}": item for key, item in curves.items()})


def _weighted(
    found: Sequence[Searches],
    units: Sequence[np.ndarray],
    weights: np.ndarray,
    ranks: Sequence[int],
    fpirs: Sequence[float],
) -> np.ndarray:
    """CMC at `ranks` and TPIR at `fpirs` (R, K + F) where the probes of a unit count ``weights`` (R, U) times."""
    draws = []
    for each, of in zip(found, units, strict=True):
        mated, first = each.mated, each.hits(1)
        count = weights.shape[1]
        hits = [weights @ np.bincount(of[each.hits(rank)], minlength=count) for rank in ranks]
        if fpirs:
            told, _ = accepted_along(
                UnitScores(each.scores[first], of[first]),
                UnitScores(each.scores[~mated], of[~mated]),
                weights,
                weights,
                fpirs,
            )
            hits += list(told.T)
        searched = weights @ np.bincount(of[mated], minlength=count)
        with np.errstate(invalid="ignore"):
            draws.append(np.stack(hits, axis=1) / searched[:, None])
    values = np.stack(draws)  # (draws, R, K + F)
    defined = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.nansum(values, axis=0) / defined
    return mean


def _refused(fpirs: Sequence[float], non_mated: int) -> dict[float, str]:
    """The rates that so few non-mated probes do not support, and why."""
    return {
        fpir: (
            f"FPIR {fpir:g} of {non_mated:,} non-mated probes is fewer than "
            f"{MIN_EXPECTED_ALARMS} false alarms"
        )
        for fpir in fpirs
        if fpir * non_mated < MIN_EXPECTED_ALARMS
    }


def _rate_names(fpir: float) -> tuple[str, str, str]:
    tpir = f"identification/tpir_at_fpir_{far_text(fpir)}"
    return tpir, f"identification/achieved_fpir_{far_text(fpir)}", _spread_name(tpir)


def _spread_name(name: str) -> str:
    return f"{name}_gallery_sd"


def _spread(outcome: Outcome, name: str, values: np.ndarray) -> None:
    if len(values) > 1:
        outcome.metrics[_spread_name(name)] = float(values.std(ddof=1))
    else:
        outcome.refuse([_spread_name(name)], "one gallery draw has no spread")


def _curves(found: Sequence[Searches], curves: Sequence[Detections]) -> dict[str, np.ndarray]:
    last = max(int(each.ranks.max()) for each in found)
    ranks = np.arange(1, min(last, CURVE_RANKS) + 1)
    drawn = {
        "identification/rank": ranks,
        "identification/cmc": np.mean(
            [match_rates(each, ranks.tolist()) for each in found], axis=0
        ),
    }
    if curves:
        fpir = np.geomspace(1.0 / max(curve.negatives for curve in curves), 1.0, CURVE_RATES)
        fpir[-1] = 1.0
        tpir = [[point_at(curve, rate).tpir for rate in fpir] for curve in curves]
        drawn["identification/fpir"] = fpir
        drawn["identification/tpir"] = np.mean(tpir, axis=0)
    return drawn
