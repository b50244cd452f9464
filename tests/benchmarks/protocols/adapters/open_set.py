"""Adapters of the metric vectors: open_set."""

from benchmarks.measures.oscr import answers, auroc, ccr_at_fpr, oscr, oscr_area

PROTOCOL = "open_set_recognition"


def _scores(case):
    return case.input("known_scores"), case.input("known_y"), case.input("unknown_scores")


def known_or_not(case):
    return {"auroc": auroc(case.input("known"), case.input("unknown"))}


def curve(case):
    found = oscr(*_scores(case), case.param("ccr_op"), case.param("thresholds"))
    accuracy = answers(*_scores(case)).correct.mean()
    return {
        "threshold": found.thresholds,
        "fpr": found.alarm_rate,
        "ccr": found.hit_rate,
        "closed_set_accuracy": accuracy,
    }


def curve_and_area(case):
    return {**curve(case), "area": oscr_area(*answers(*_scores(case)))}


def operating_point(case):
    point = ccr_at_fpr(*answers(*_scores(case)), case.param("target"))
    return {"ccr": point.ccr, "fpr_achieved": point.fpr, "threshold": point.threshold}


ADAPTERS = {
    "osr_auroc": known_or_not,
    "oscr_curve": curve,
    "oscr_curve, oscr_area": curve_and_area,
    "ccr_at_fpr": operating_point,
}
