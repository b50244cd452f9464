"""Losses with a memory of each class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from tests.losses.adapters.common import Adapter, Results, differentiate, tensors
from tests.losses.stacks import make
from tests.losses.vectors import Case


def center_loss(case: Case, dtype: torch.dtype, reduction: str, rate: float = 0.5) -> Any:
    """Center loss of weight 1 with zero class weights: its cross-entropy is ln C, without slope."""
    num_classes, dim = case.input("centers").shape
    loss = make(
        "center",
        {"center_weight": 1.0, "center_rate": rate, "reduction": reduction},
        num_classes=num_classes,
        embedding_dim=dim,
        dtype=dtype,
    )
    with torch.no_grad():
        loss.weight.zero_()
        loss.centers.copy_(torch.tensor(case.input("centers")))
    return loss


def center(case: Case, dtype: torch.dtype) -> Results:
    loss = center_loss(case, dtype, case.param("reduction"))
    embeddings, labels = tensors(case, dtype)
    centers = loss.centers.clone().requires_grad_()
    value = functional_call(loss, {"centers": centers}, (embeddings, labels))
    value = value - math.log(loss.num_classes)
    return {
        **differentiate(value, {"X": embeddings, "centers": centers}),
        "per": loss.center_term(embeddings, labels).detach().numpy(),
    }


def center_update(case: Case, dtype: torch.dtype) -> Results:
    loss = center_loss(case, dtype, "mean", case.param("alpha"))
    batches = torch.tensor(case.input("X"), dtype=dtype)
    labels = torch.tensor(case.input("y"), dtype=torch.int64)
    after = []
    for batch in batches if batches.ndim == 3 else batches[None]:
        loss.after_step(batch, labels)
        after.append(loss.centers.numpy().copy())
    sequence = case.expected("centers").ndim == 3
    moved = (case.input("centers") - after[-1]) / case.param("alpha")
    return {"centers": np.stack(after) if sequence else after[-1], "delta": moved}


ADAPTERS = {
    "center_loss": Adapter("center", center),
    "center_update": Adapter("center", center_update),
}
