"""Adapters of the metric vectors: retrieval."""

import numpy as np

from benchmarks.measures.ranking import retrieve_by_scores

PROTOCOL = "retrieval"


def retrieval(case):
    found = retrieve_by_scores(
        case.input("S"),
        case.input("query_y"),
        case.input("ref_y"),
        same_set=case.param("same_set"),
        ties=case.param("ties"),
    )
    values = {
        name.replace("recall_at_", "recall_"): np.nanmean(each) if found.counted.any() else np.nan
        for name, each in found.values(case.param("ks")).items()
    }
    values["n_excluded"] = int((~found.counted).sum())
    return {key: values[key] for key in case.row["expected"]}


ADAPTERS = {"retrieval": retrieval}
