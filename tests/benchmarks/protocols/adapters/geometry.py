"""Adapters of the metric vectors: geometry."""

from benchmarks.measures.angles import angles, angular_fisher, class_angles, nearest_angles

PROTOCOL = "geometry"


def angle_statistics(case):
    weights = case.input("W")
    found = class_angles(case.input("X"), case.input("y"))
    values = {
        "intra": found.intra.mean(),
        "inter": found.inter.mean(),
        "w_ec": angles(weights[found.classes], found.centres).mean(),
        "w_inter": nearest_angles(weights).mean(),
    }
    return {key: values[key] for key in case.row["expected"]}


def angular_fisher_score(case):
    found = angular_fisher(case.input("X"), case.input("y"))
    values = {"afs": found.score, "s_w": found.within, "s_b": found.between}
    return {key: values[key] for key in case.row["expected"]}


ADAPTERS = {"angle_statistics": angle_statistics, "angular_fisher_score": angular_fisher_score}
