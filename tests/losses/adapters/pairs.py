"""Losses of pairs and triplets."""

from __future__ import annotations

import torch

from losses.schema import Value
from tests.losses.adapters.common import Adapter, Results, differentiate, tensors
from tests.losses.stacks import make
from tests.losses.vectors import Case


def batch_hard(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "soft_margin": case.param("soft"),
        "squared": case.param("squared"),
        "normalize": case.param("normalise"),
    }
    if not case.param("soft"):
        hyper["margin"] = case.param("margin")
    embeddings, labels = tensors(case, dtype)
    loss = make("triplet", hyper, embedding_dim=embeddings.shape[1], dtype=dtype)
    value, log = loss.compute(embeddings, labels)
    return {**differentiate(value, {"X": embeddings}), "info_n_anchors": log["active"].numpy()}


ADAPTERS = {"triplet_batch_hard": Adapter("triplet", batch_hard, without=("per",))}
