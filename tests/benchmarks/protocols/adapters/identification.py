"""Adapters of the metric vectors: identification."""

from benchmarks.measures.search import cmc, tpir_at_fpir

PROTOCOL = "identification"


def _scores(case):
    return case.input("S"), case.input("probe_ids"), case.input("gallery_ids")


def _option(case, name, default):
    return case.param(name) if name in case.row["params"] else default


def cmc_at_ranks(case):
    ranks = case.param("ks")
    rates = cmc(*_scores(case), ranks, _option(case, "ties", "pessimistic"))
    return {f"rank{rank}": rate for rank, rate in zip(ranks, rates, strict=True)}


def operating_point(case):
    rank, ties = _option(case, "rank", 1), _option(case, "ties", "pessimistic")
    point = tpir_at_fpir(*_scores(case), case.param("target"), rank, ties)
    return {"tpir": point.tpir, "fpir_achieved": point.fpir, "threshold": point.threshold}


ADAPTERS = {"cmc": cmc_at_ranks, "tpir_at_fpir": operating_point}
