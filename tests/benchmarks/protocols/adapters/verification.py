"""Adapters of the metric vectors: verification."""

from benchmarks.measures.pairs import pair_scores
from benchmarks.measures.roc import auc, eer, eer_midpoint, eer_threshold, roc, tar_at_far

PROTOCOL = "verification"


def curve_of(case):
    scores, same = case.input("scores"), case.input("same").astype(bool)
    return roc(scores[same], scores[~same])


def whole_curve(case):
    curve = curve_of(case)
    return {
        "threshold": curve.thresholds,
        "tar": curve.tar,
        "far": curve.far,
        "auc": auc(curve),
        "eer": eer(curve),
        "eer_midpoint": eer_midpoint(curve),
        "eer_threshold": eer_threshold(curve),
    }


def operating_point(case):
    point = tar_at_far(curve_of(case), case.param("target"))
    return {
        "tar": point.tar,
        "far_achieved": point.far,
        "n_impostor_accepted": point.impostors,
        "threshold": point.threshold,
    }


def all_pairs(case):
    scores, same = pair_scores(case.input("X"), case.input("y"))
    return {"scores": scores, "same": same}


ADAPTERS = {
    "roc, auc, eer": whole_curve,
    "tar_at_far": operating_point,
    "all_pairs": all_pairs,
}
