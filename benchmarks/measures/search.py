"""Searches of a gallery (1:N identification), from scores: ISO/IEC 19795-1, as IJB reports it.

A probe is *mated* where its identity stands in the gallery. An identity's score is that of its best gallery item. The
rank of a mated probe is the place of its own identity among the identities by falling score; with equal scores the own
identity comes last ("pessimistic") or first ("optimistic").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.detection import Detections, check_rate, check_scores, detections

TIES = ("pessimistic", "optimistic")


@dataclass(frozen=True)
class Searches:
    """What the searches of P probes found.

    Attributes
    ----------
    ranks : (P,) int64, 1 is the first; 0 for a non-mated probe.
    scores : (P,) float64, of the own identity; of the best identity for a non-mated probe.
    """

    ranks: np.ndarray
    scores: np.ndarray

    @property
    def mated(self) -> np.ndarray:
        """Whose identity stands in the gallery: bool (P,)."""
        return self.ranks > 0

    def hits(self, rank: int) -> np.ndarray:
        """Mated probes whose own identity is among the first `rank`: bool (P,)."""
        return self.mated & (self.ranks <= rank)


class IdentificationPoint(NamedTuple):
    """A threshold and its rates; +inf and 0 where no observed score keeps the promised FPIR."""

    threshold: float
    tpir: float
    fpir: float


def searches(
    scores: np.ndarray,
    probe_ids: np.ndarray,
    gallery_ids: np.ndarray,
    ties: str = "pessimistic",
) -> Searches:
    """The searches behind `scores` (P, M) of P probes with M >= 1 gallery items.

    Parameters
    ----------
    probe_ids, gallery_ids : (P,), (M,) int.
    ties : "pessimistic" or "optimistic".

    Raises
    ------
    ProtocolError : shapes that do not fit, an empty gallery, scores that are not numbers, an unknown `ties`.
    """
    if ties not in TIES:
        raise ProtocolError(f"ties {ties!r}: must be one of {', '.join(TIES)}")
    if scores.shape != (len(probe_ids), len(gallery_ids)):
        raise ProtocolError(
            f"scores are {scores.shape} for {len(probe_ids)} probes and {len(gallery_ids)} gallery items"
        )
    if len(gallery_ids) == 0:
        raise ProtocolError("the gallery is empty")
    check_scores("gallery", scores)
    identities, sizes = np.unique(gallery_ids, return_counts=True)
    if len(identities) < len(gallery_ids) or (identities != gallery_ids).any():
        by_identity = scores[:, np.argsort(gallery_ids, kind="stable")]
        scores = np.maximum.reduceat(by_identity, np.cumsum(sizes) - sizes, axis=1)
    column = np.searchsorted(identities, probe_ids).clip(max=len(identities) - 1)
    mated = identities[column] == probe_ids
    best = scores.max(axis=1)
    own = np.where(mated, scores[np.arange(len(scores)), column], best)
    before = np.greater_equal if ties == "pessimistic" else np.greater  # the former counts itself
    place = before(scores, own[:, None]).sum(axis=1) + (ties == "optimistic")
    return Searches(np.where(mated, place, 0), own.astype(np.float64))


def cmc(
    scores: np.ndarray,
    probe_ids: np.ndarray,
    gallery_ids: np.ndarray,
    ranks: Sequence[int],
    ties: str = "pessimistic",
) -> np.ndarray:
    """Cumulative match characteristic: share of the mated probes found at each rank or before.

    Non-mated probes are left out. Arguments as of `searches`; `ranks` are at least 1.

    Returns
    -------
    (K,) float64 in [0, 1]; NaN where no probe is mated.

    Raises
    ------
    ProtocolError : as `searches`; a rank below 1.
    """
    return match_rates(searches(scores, probe_ids, gallery_ids, ties), ranks)


def match_rates(found: Searches, ranks: Sequence[int]) -> np.ndarray:
    """The CMC of `found` at `ranks`, as `cmc` gives it."""
    for rank in ranks:
        check_rank(rank)
    if not found.mated.any():
        return np.full(len(ranks), np.nan)
    reached = np.sort(found.ranks[found.mated])
    return np.searchsorted(reached, np.asarray(ranks), side="right") / len(reached)


def tpir_at_fpir(
    scores: np.ndarray,
    probe_ids: np.ndarray,
    gallery_ids: np.ndarray,
    target: float,
    rank: int = 1,
    ties: str = "pessimistic",
) -> IdentificationPoint:
    """True positive identification rate (DIR) at a false positive identification rate.

    FPIR is the share of the non-mated probes whose best score reaches the threshold. The threshold is the lowest
    observed one, a score of a hit or of a non-mated probe, whose FPIR does not exceed `target`. TPIR is the share of all
    mated probes whose own identity is at `rank` or before with a score that reaches it.

    Arguments as of `searches`; `target` in [0, 1], `rank` at least 1.

    Returns
    -------
    Threshold, TPIR and the achieved FPIR; all NaN where there are no mated or no non-mated probes.

    Raises
    ------
    ProtocolError : as `searches`; a target that is no rate, a rank below 1.
    """
    check_rate("FPIR", target)
    found = searches(scores, probe_ids, gallery_ids, ties)
    curve = dir_curve(found, rank)
    if curve is None:
        return IdentificationPoint(np.nan, np.nan, np.nan)
    return point_at(curve, target)


def dir_curve(found: Searches, rank: int = 1) -> Detections | None:
    """TPIR (``hit_rate``) and FPIR (``alarm_rate``) at every observed threshold.

    None where there are no mated or no non-mated probes.
    """
    check_rank(rank)
    mated = found.mated
    if mated.all() or not mated.any():
        return None
    return detections(found.scores[found.hits(rank)], int(mated.sum()), found.scores[~mated])


def point_at(curve: Detections, target: float) -> IdentificationPoint:
    """The lowest threshold of a `dir_curve` whose FPIR does not exceed `target`."""
    index = curve.reaching(target)
    if index < 0:
        return IdentificationPoint(np.inf, 0.0, 0.0)
    return IdentificationPoint(
        float(curve.thresholds[index]),
        float(curve.hit_rate[index]),
        float(curve.alarm_rate[index]),
    )


def check_rank(rank: int) -> None:
    """Raise ProtocolError where `rank` is below 1."""
    if rank < 1:
        raise ProtocolError(f"rank {rank}: must be at least 1")
