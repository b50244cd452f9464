"""Losses with a memory of each class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from losses.schema import Value
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


def oim_loss(case: Case, dtype: torch.dtype, **hyper: Value) -> Any:
    """OIM with the table and the queue of the case."""
    classes, dim = case.input("lut").shape
    queue = torch.tensor(case.input("queue"))
    loss = make(
        "oim",
        {"queue_size": len(queue), "normalize": case.param("normalise"), **hyper},
        num_classes=classes,
        embedding_dim=dim,
        dtype=dtype,
    )
    loss.lut.copy_(torch.tensor(case.input("lut")))
    if len(queue):
        loss.queue.copy_(queue)
    return loss


def oim(case: Case, dtype: torch.dtype) -> Results:
    loss = oim_loss(case, dtype, temperature=case.param("temperature"))
    embeddings, labels = tensors(case, dtype)
    labelled = [i for i, label in enumerate(labels) if label >= 0]
    singles = [loss(embeddings[i : i + 1], labels[i : i + 1]).item() for i in labelled]
    results = differentiate(loss(embeddings, labels), {"X": embeddings})
    return {**results, "per": np.array(singles)}


def oim_update(case: Case, dtype: torch.dtype) -> Results:
    loss = oim_loss(case, dtype, momentum=case.param("momentum"))
    loss.pointer.fill_(case.param("pointer"))
    labels = torch.tensor(case.input("y"), dtype=torch.int64)
    results = {}
    for step in (1, 2):
        loss.after_step(torch.tensor(case.input(f"X{step}"), dtype=dtype), labels)
        state = {"lut": loss.lut, "queue": loss.queue, "pointer": loss.pointer}
        results |= {f"{key}{step}": value.numpy().copy() for key, value in state.items()}
    return results


ADAPTERS = {
    "center_loss": Adapter("center", center),
    "center_update": Adapter("center", center_update),
    "oim": Adapter("oim", oim),
    "oim_update": Adapter("oim", oim_update),
}
