"""Verification of listed pairs: scores, the numbers of their ROC, k folds, and the intervals of these."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures import compatibility
from benchmarks.measures.detection_cost import min_dcf
from benchmarks.measures.kfold import kfold_accuracy
from benchmarks.measures.listed_resamples import resampled_rates
from benchmarks.measures.pair_lists import FoundPairs
from benchmarks.measures.resampling import resample
from benchmarks.measures.roc import Roc, auc, eer, roc, tar_at_far, thin
from benchmarks.protocols.judged import Outcome, Settings, embedding_problem
from benchmarks.protocols.verification import MIN_EXPECTED_IMPOSTORS, far_text

VERSION = 1  # of the numbers named pairs/… and compatibility/…
SCORES = ("cosine", "euclidean")
FLIPS = ("none", "sum", "concat")
COMPATIBILITY_FAR = 1e-3
BLOCK = 2**16  # pairs scored at a time

WHOLE = ("pairs/auc", "pairs/eer", "pairs/min_dcf")
FOLDED = tuple(f"pairs/kfold_{name}" for name in ("accuracy", "std", "sem", "low", "high"))
INTERPOLATED = f"compatibility/tar_at_interpolated_threshold_{far_text(COMPATIBILITY_FAR)}"
FOLDED_ELSEWHERE = (
    "compatibility/accuracy_400_distances",
    "compatibility/accuracy_youden",
    "compatibility/accuracy_mean_subtracted",
    INTERPOLATED,
)
ORACLE = "compatibility/accuracy_oracle_threshold"


def fuse(embeddings: np.ndarray, flipped: np.ndarray | None, flip: str) -> np.ndarray:
    """One embedding of an image out of its own (N, D) and its mirror image's (N, D), unnormalised.

    Parameters
    ----------
    flip : "none" ignores the mirror images; "sum" adds (insightface, NormFace); "concat" puts them
        side by side (SphereFace, CosFace): (N, 2 D).

    Raises
    ------
    ProtocolError : no mirror images, or not one for each image, where they are asked for.
    """
    if flip not in FLIPS:
        raise ProtocolError(f"flip: {flip!r}; allowed: {', '.join(FLIPS)}")
    if flip == "none":
        return embeddings
    if flipped is None:
        raise ProtocolError(
            f"flip {flip} needs the array 'flipped', embeddings of the mirror images"
        )
    if flipped.shape != embeddings.shape:
        raise ProtocolError(f"flipped is {flipped.shape}, the embeddings are {embeddings.shape}")
    return embeddings + flipped if flip == "sum" else np.concatenate([embeddings, flipped], axis=1)


def pair_scores(
    embeddings: np.ndarray, left: np.ndarray, right: np.ndarray, score: str = "cosine"
) -> np.ndarray:
    """Similarities of listed pairs: (P,) float64.

    Parameters
    ----------
    embeddings : (N, D) finite.
    left, right : (P,) int, positions.
    score : "cosine", where a zero vector has cosine 0 with everything, or "euclidean", the negated
        distance of the embeddings as they are.

    Raises
    ------
    ProtocolError : an unknown score.
    """
    if score not in SCORES:
        raise ProtocolError(f"score: {score!r}; allowed: {', '.join(SCORES)}")
    found = np.empty(len(left))
    for start in range(0, len(left), BLOCK):
        block = slice(start, start + BLOCK)
        a, b = (embeddings[side[block]].astype(np.float64) for side in (left, right))
        if score == "euclidean":
            found[block] = -np.linalg.norm(a - b, axis=1)
        else:
            lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            dots = np.einsum("pd,pd->p", a, b)
            found[block] = np.clip(dots / np.where(lengths > 0, lengths, 1.0), -1.0, 1.0)
    return found


def listed_pairs(
    embeddings: np.ndarray,
    pairs: FoundPairs,
    settings: Settings,
    score: str = "cosine",
    labels: np.ndarray | None = None,
) -> Outcome:
    """Judge the pairs of a list.

    ``pairs/``: numbers of genuine, impostor and skipped pairs, AUC, EER, minDCF (prior 0.01, costs
    1), TAR at the given FARs (each refused where FAR × impostor pairs < 10), and `kfold_accuracy` with its spread where the list has
    folds. ``compatibility/``: the same pairs, by cosine, under the protocols of other code bases.

    Parameters
    ----------
    embeddings : (N, D), fused if so wished.
    score : of the metrics under ``pairs/``.
    labels : (N,) int, who is on the image; None: no intervals over identities.

    Raises
    ------
    ProtocolError : an unknown score.
    """
    outcome = Outcome()
    genuine, impostor = int(pairs.same.sum()), int((~pairs.same).sum())
    counts = {"genuine": genuine, "impostor": impostor, "skipped": len(pairs.skipped)}
    outcome.metrics.update({f"pairs/{kind}_pairs": float(n) for kind, n in counts.items()})
    problem = embedding_problem(embeddings[np.union1d(pairs.left, pairs.right)])
    if problem is None and not (genuine and impostor):
        problem = f"there are no {'impostor' if genuine else 'genuine'} pairs"
    if problem is not None:
        rates = [name for far in settings.fars for name in _rate_names(far)]
        outcome.refuse([*WHOLE, *rates, *FOLDED], problem)
        outcome.refuse([*FOLDED_ELSEWHERE, ORACLE], problem)
        return outcome
    scores = pair_scores(embeddings, pairs.left, pairs.right, score)
    curve = roc(scores[pairs.same], scores[~pairs.same])
    whole = (auc(curve), eer(curve), min_dcf(curve))
    outcome.metrics.update(zip(WHOLE, whole, strict=True))
    supported = {}
    for far in settings.fars:
        if far * impostor < MIN_EXPECTED_IMPOSTORS:
            outcome.refuse(_rate_names(far), _too_few(far, impostor))
            continue
        point = tar_at_far(curve, far)
        tar_name, achieved_name = _rate_names(far)
        outcome.metrics.update({tar_name: point.tar, achieved_name: point.far})
        supported[tar_name] = far
    _folded(outcome, pairs, scores)
    cosines = scores if score == "cosine" else pair_scores(embeddings, pairs.left, pairs.right)
    _elsewhere(outcome, embeddings, pairs, cosines)
    outcome.curves.update(_curves(curve, score))
    if labels is not None and settings.resamples:
        _over_identities(outcome, scores, pairs, labels, settings.resamples, supported)
    return outcome


def _folded(outcome: Outcome, pairs: FoundPairs, scores: np.ndarray) -> None:
    try:
        if pairs.folds is None:
            raise ProtocolError("the list has no folds")
        found = kfold_accuracy(scores, pairs.same, pairs.folds)
    except ProtocolError as error:
        outcome.refuse(FOLDED, str(error))
        return
    values = (found.mean, found.std, found.sem, found.mean_low, found.mean_high)
    outcome.metrics.update(zip(FOLDED, values, strict=True))
    outcome.curves.update({"pairs/fold_accuracy": found.per_fold})
    outcome.curves.update({"pairs/fold_threshold": found.thresholds})


def _elsewhere(
    outcome: Outcome, embeddings: np.ndarray, pairs: FoundPairs, cosines: np.ndarray
) -> None:
    """The compatibility metrics, each of which may be refused on its own."""
    outcome.metrics[ORACLE] = compatibility.accuracy_oracle_threshold(cosines, pairs.same)
    if pairs.folds is None:
        outcome.refuse(FOLDED_ELSEWHERE, "the list has no folds")
        return
    same, folds = pairs.same, pairs.folds
    ways: tuple[Callable[[], float], ...] = (
        lambda: compatibility.accuracy_400_distances(cosines, same, folds).mean,
        lambda: compatibility.accuracy_youden(cosines, same, folds).mean,
        lambda: (
            compatibility.accuracy_mean_subtracted(
                embeddings[pairs.left], embeddings[pairs.right], same, folds
            ).mean
        ),
        lambda: (
            compatibility.tar_at_interpolated_threshold(cosines, same, folds, COMPATIBILITY_FAR)[
                0
            ].mean
        ),
    )
    impostor = int((~same).sum())
    for name, way in zip(FOLDED_ELSEWHERE, ways, strict=True):
        if name == INTERPOLATED and COMPATIBILITY_FAR * impostor < MIN_EXPECTED_IMPOSTORS:
            outcome.refuse([name], _too_few(COMPATIBILITY_FAR, impostor))
            continue
        try:
            outcome.metrics[name] = way()
        except ProtocolError as error:
            outcome.refuse([name], str(error))


def _over_identities(
    outcome: Outcome,
    scores: np.ndarray,
    pairs: FoundPairs,
    labels: np.ndarray,
    resamples: int,
    fars: dict[str, float],
) -> None:
    """Replicates over the identities that stand in the list."""
    sides = labels[pairs.left], labels[pairs.right]
    drawn = resample(np.concatenate(sides), resamples)
    units = drawn.units[: len(scores)], drawn.units[len(scores) :]
    folds = pairs.folds if outcome.metrics["pairs/kfold_accuracy"] is not None else None
    count = drawn.counts.shape[1]
    for kind, weights in (
        (outcome.replicates, drawn.counts),
        (outcome.left_out, 1 - np.eye(count, dtype=np.int64)),
    ):
        kind.update(resampled_rates(scores, pairs.same, folds, units, weights, fars))
    outcome.identities["pairs"] = np.unique(np.concatenate(sides))


def _too_few(far: float, impostor: int) -> str:
    return (
        f"FAR {far:g} of {impostor:,} impostor pairs is fewer than "
        f"{MIN_EXPECTED_IMPOSTORS} false accepts"
    )


def _rate_names(far: float) -> tuple[str, str]:
    return f"pairs/tar_at_far_{far_text(far)}", f"pairs/achieved_far_{far_text(far)}"


def _curves(curve: Roc, score: str) -> dict[str, np.ndarray]:
    far, tar = thin(curve)
    curves = {"pairs/far": far, "pairs/tar": tar}
    span = (-1.0, 1.0) if score == "cosine" else (float(curve.thresholds[-1]), 0.0)
    for name in ("genuine", "impostor"):
        number = np.diff(getattr(curve, name))
        histogram, edges = np.histogram(curve.thresholds[1:], 200, span, weights=number)
        curves[f"pairs/{name}_histogram"] = histogram
        curves["pairs/score_edges"] = edges
    return curves
