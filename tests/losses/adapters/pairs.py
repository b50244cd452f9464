"""Losses of pairs and triplets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from losses.contrastive import given_pairs
from losses.schema import Value
from losses.triplet import given_triplets
from tests.losses.adapters.common import Adapter, Results, differentiate, tensors
from tests.losses.stacks import make
from tests.losses.vectors import Case


def batch(
    case: Case,
    dtype: torch.dtype,
    name: str,
    hyper: Mapping[str, Value],
    info: Mapping[str, str] | None = None,
    every_term: bool = False,
) -> Results:
    """A loss of the catalog on a batch X, y; ``per`` are the terms that count, or every term.

    ``info`` says which log entries are the case's ``info_…``.
    """
    embeddings, labels = tensors(case, dtype)
    loss = make(name, hyper, embedding_dim=embeddings.shape[1], dtype=dtype)
    value, log = loss.compute(embeddings, labels)
    terms, counted = loss.unreduced(embeddings, labels)
    return {
        **differentiate(value, {"X": embeddings}),
        "per": (terms if every_term else terms[counted]).detach().numpy(),
        **{key: log[entry].numpy() for key, entry in (info or {}).items()},
    }


def distance(case: Case) -> str:
    return "squared" if case.param("squared") else "euclidean"


def batch_hard(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "soft_margin": case.param("soft"),
        "distance": distance(case),
        "normalize": case.param("normalise"),
    }
    if not case.param("soft"):
        hyper["margin"] = case.param("margin")
    return batch(case, dtype, "triplet", hyper, {"info_n_anchors": "active"})


def hinge(case: Case) -> dict[str, Value]:
    return {
        "soft_margin": False,
        "margin": case.param("margin"),
        "distance": distance(case),
        "normalize": case.param("normalise"),
    }


def batch_all(case: Case, dtype: torch.dtype) -> Results:
    reduction = "nonzero" if case.param("nonzero_mean") else "mean"
    hyper: dict[str, Value] = {**hinge(case), "mining": "all", "reduction": reduction}
    return batch(case, dtype, "triplet", hyper, {"info_n_active": "nonzero"})


def semi_hard(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        **hinge(case),
        "mining": "semi_hard",
        "variant": case.param("variant"),
    }
    return batch(case, dtype, "triplet", hyper, {"info_n": "active"})


def triplet(case: Case, dtype: torch.dtype) -> Results:
    """Given triplets."""
    margin = case.param("margin")
    return given(
        case,
        dtype,
        "APN",
        lambda a, p, n: given_triplets(a, p, n, margin=margin, distance=distance(case)),
    )


def given(case: Case, dtype: torch.dtype, keys: str, terms: Callable[..., Tensor]) -> Results:
    """A function of given pairs or triplets, one term each, reduced by mean or sum."""
    inputs = {key: torch.tensor(case.input(key), dtype=dtype, requires_grad=True) for key in keys}
    per = terms(*inputs.values())
    value = per.sum() if case.param("reduction") == "sum" else per.mean()
    return {**differentiate(value, inputs), "per": per.detach().numpy()}


def contrastive_pairs(case: Case, dtype: torch.dtype) -> Results:
    same = torch.tensor(case.input("same")).bool()
    margin = case.param("margin")
    return given(case, dtype, "AB", lambda a, b: given_pairs(a, b, same, neg_margin=margin))


def contrastive(case: Case, dtype: torch.dtype) -> Results:
    """Margins of cosines are those of the distance 1 - cosine; the squares have no factor 1/2."""
    margins = {key: case.param(key) for key in ("pos_margin", "neg_margin")}
    hyper: dict[str, Value] = {key: case.param(key) for key in ("metric", "power", "reduction")}
    if case.param("metric") == "cosine":
        hyper |= {key: 1 - margin for key, margin in margins.items()}
    else:
        hyper |= {**margins, "normalize": case.param("normalise")}
    if case.param("power") == 2:
        hyper["halve"] = False
    return batch(case, dtype, "contrastive", hyper, every_term=True)


def circle(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "scale": case.param("gamma"),
        "reduction": case.param("reduction"),
        "detach": case.param("detach"),
    }
    return batch(case, dtype, "circle", hyper, {"info_n_valid": "active"}, every_term=True)


def multi_similarity(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {key: case.param(key) for key in ("alpha", "beta", "base")}
    hyper["mining"] = case.param("eps") is not None
    if hyper["mining"]:
        hyper["epsilon"] = case.param("eps")
    info = {"info_n_pos": "positive_pairs", "info_n_neg": "negative_pairs"}
    return batch(case, dtype, "multi_similarity", hyper, info, every_term=True)


def supcon(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {key: case.param(key) for key in case.row["params"]}
    return batch(case, dtype, "supcon", hyper, {"info_n_valid": "active"})


def ntxent(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {key: case.param(key) for key in case.row["params"]}
    return batch(case, dtype, "ntxent", hyper)


def n_pairs(case: Case, dtype: torch.dtype) -> Results:
    """All anchors, then all positives, as one batch."""
    inputs = {key: torch.tensor(case.input(key), dtype=dtype, requires_grad=True) for key in "AP"}
    embeddings = torch.cat(list(inputs.values()))
    labels = torch.arange(len(embeddings)) % len(inputs["A"])
    loss = make("n_pairs", embedding_dim=embeddings.shape[1], dtype=dtype)
    terms, counted = loss.unreduced(embeddings, labels)
    return {
        **differentiate(loss(embeddings, labels), inputs),
        "per": terms[counted].detach().numpy(),
    }


ADAPTERS = {
    "contrastive_pairs": Adapter("contrastive", contrastive_pairs),
    "contrastive_batch": Adapter("contrastive", contrastive),
    "triplet": Adapter("triplet", triplet),
    "triplet_batch_hard": Adapter("triplet", batch_hard),
    "triplet_batch_all": Adapter("triplet", batch_all),
    "triplet_semihard": Adapter("triplet", semi_hard),
    "circle_pair": Adapter("circle", circle),
    "multi_similarity": Adapter("multi_similarity", multi_similarity),
    "supcon": Adapter("supcon", supcon),
    "ntxent": Adapter("ntxent", ntxent),
    "npair": Adapter("n_pairs", n_pairs),
}
