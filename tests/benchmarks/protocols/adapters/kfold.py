"""Adapters of the metric vectors: LFW folds."""

from benchmarks.measures.kfold import kfold_accuracy

PROTOCOL = "verification"


def lfw_10fold(case):
    got = kfold_accuracy(case.input("scores"), case.input("same"), case.input("folds"))
    return {key: getattr(got, key) for key in case.row["expected"]}


ADAPTERS = {"lfw_10fold": lfw_10fold}
