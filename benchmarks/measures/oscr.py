"""Open-set recognition, from scores: is this image of a known class, and of which?

An image's score is that of its best class. A known image answered right counts at a threshold that its score reaches
(correct classification rate, CCR, over all known images); an unknown image whose score reaches it is a false positive
(FPR). The curve of CCR over FPR is OSCR: Dhamija, Günther and Boult 2018. As its inventors insist, a misclassified known
image never counts, so that CCR at FPR 1 is the closed-set accuracy, and (0, 0) is no point of the curve: thresholds are
observed scores, of unknown images and of known images answered right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.errors import ProtocolError
from benchmarks.measures.detection import Detections, check_rate, check_scores, detections

CCR_OPS = ("ge", "gt")
THRESHOLDS = ("all", "unknown")


class Answers(NamedTuple):
    """Best scores of known (n,) and unknown (m,) images, and whether the known ones are answered right (n,) bool."""

    known: np.ndarray
    correct: np.ndarray
    unknown: np.ndarray


class OscrPoint(NamedTuple):
    """A threshold and its rates; all NaN where no observed score keeps the promised FPR."""

    threshold: float
    ccr: float
    fpr: float


def answers(known_scores: np.ndarray, labels: np.ndarray, unknown_scores: np.ndarray) -> Answers:
    """Answers out of class scores: the best class of each image, ties to the lowest.

    Parameters
    ----------
    known_scores, unknown_scores : (n, C), (m, C) float.
    labels : (n,) int, own class of each known image, a column of the scores.

    Raises
    ------
    ProtocolError : shapes that do not fit, no image or class, scores that are not numbers.
    """
    for name, scores in (("known", known_scores), ("unknown", unknown_scores)):
        if scores.ndim != 2 or scores.size == 0:
            raise ProtocolError(f"{name} scores are {scores.shape}: need images and classes")
        check_scores(name, scores)
    if known_scores.shape[1] != unknown_scores.shape[1]:
        raise ProtocolError(
            f"known images have {known_scores.shape[1]} class scores, unknown ones {unknown_scores.shape[1]}"
        )
    if len(labels) != len(known_scores):
        raise ProtocolError(f"{len(labels)} labels for {len(known_scores)} known images")
    right = known_scores.argmax(axis=1) == labels
    return Answers(known_scores.max(axis=1), right, unknown_scores.max(axis=1))


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Probability that a known image (n,) scores above an unknown one (m,), ties counting ½, in [0, 1].

    Raises
    ------
    ProtocolError : no known or no unknown score, or a score that is not a number.
    """
    _check(known, np.ones(len(known), dtype=bool), unknown)
    return _mean_wins(known, unknown) / len(known)


def oscr_curve(
    known: np.ndarray,
    correct: np.ndarray,
    unknown: np.ndarray,
    ccr_op: str = "ge",
    thresholds: str = "all",
) -> Detections:
    """The OSCR curve: CCR (``hit_rate``) and FPR (``alarm_rate``) at falling thresholds.

    Parameters
    ----------
    known, correct, unknown : as in `Answers`.
    ccr_op : "ge": a right answer counts from its own score on (Dhamija et al.); "gt": only above the threshold. FPR is
        always "ge".
    thresholds : "all": scores of the unknown images and of the right answers; "unknown": of the unknown images alone.

    Raises
    ------
    ProtocolError : an empty side, arrays of different length, scores that are not numbers, an unknown option.
    """
    if ccr_op not in CCR_OPS:
        raise ProtocolError(f"ccr_op {ccr_op!r}: must be one of {', '.join(CCR_OPS)}")
    if thresholds not in THRESHOLDS:
        raise ProtocolError(f"thresholds {thresholds!r}: must be one of {', '.join(THRESHOLDS)}")
    right = _check(known, correct, unknown)
    return detections(
        known[right],
        len(known),
        unknown,
        strict=ccr_op == "gt",
        at_negatives=thresholds == "unknown",
    )


def oscr(
    known_scores: np.ndarray,
    labels: np.ndarray,
    unknown_scores: np.ndarray,
    ccr_op: str = "ge",
    thresholds: str = "all",
) -> Detections:
    """`oscr_curve` from class scores (n, C), own classes (n,) and class scores (m, C)."""
    return oscr_curve(*answers(known_scores, labels, unknown_scores), ccr_op, thresholds)


def oscr_area(known: np.ndarray, correct: np.ndarray, unknown: np.ndarray) -> float:
    """Probability that a known image is answered right and scores above an unknown one, ties counting ½, in [0, 1].

    The counting form of the area under the curve, which the inventors do not define. Arguments and errors as of
    `oscr_curve`.
    """
    right = _check(known, correct, unknown)
    return _mean_wins(known[right], unknown) / len(known)


def ccr_at_fpr(
    known: np.ndarray, correct: np.ndarray, unknown: np.ndarray, target: float
) -> OscrPoint:
    """CCR at the lowest observed threshold whose FPR does not exceed `target` (in [0, 1]).

    Arguments and errors as of `oscr_curve`; NaN where no threshold reaches the target.
    """
    check_rate("FPR", target)
    return point_at(oscr_curve(known, correct, unknown), target)


def point_at(curve: Detections, target: float) -> OscrPoint:
    """The lowest threshold of an `oscr_curve` whose FPR does not exceed `target`."""
    index = curve.reaching(target)
    if index < 0:
        return OscrPoint(np.nan, np.nan, np.nan)
    return OscrPoint(
        float(curve.thresholds[index]),
        float(curve.hit_rate[index]),
        float(curve.alarm_rate[index]),
    )


def _mean_wins(known: np.ndarray, unknown: np.ndarray) -> float:
    """Pairs won by `known`, ties counting ½, per unknown image."""
    rising = np.sort(unknown)
    twice = sum(int(np.searchsorted(rising, known, side=side).sum()) for side in ("left", "right"))
    return twice / (2 * len(unknown))


def _check(known: np.ndarray, correct: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """`correct` as bool, after the checks."""
    for name, scores in (("known", known), ("unknown", unknown)):
        if len(scores) == 0:
            raise ProtocolError(f"there are no {name} scores")
        check_scores(name, scores)
    if len(correct) != len(known):
        raise ProtocolError(f"{len(correct)} answers for {len(known)} known scores")
    return np.asarray(correct, dtype=bool)
