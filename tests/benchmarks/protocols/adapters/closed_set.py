"""Adapters of the metric vectors: closed_set."""

from benchmarks.measures.classifiers import nearest_class_mean, top_k

PROTOCOL = "closed_set"


def top1(case):
    return {
        ties: top_k(case.input("logits"), case.input("y"), ties=ties).mean()
        for ties in case.row["expected"]
    }


def nearest_centroid_top1(case):
    found = nearest_class_mean(
        case.input("train"), case.input("train_y"), case.input("test"), case.param("metric")
    )
    return {"top1": (found == case.input("test_y")).mean()}


ADAPTERS = {"top1": top1, "nearest_centroid_top1": nearest_centroid_top1}
