"""The losses against values and gradients that were computed independently from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from losses.base import Loss
from losses.center import CenterLoss
from losses.schema import Value
from tests.losses.stacks import make
from tests.losses.vectors import Case, cases

DTYPES = {"float64": torch.float64, "float32": torch.float32}
Adapter = Callable[[Case], tuple[str, dict[str, Value]]]

# Oracle of the vectors -> (loss of the catalog, its hyper-parameters).
CLASSIFIERS: dict[str, Adapter] = {
    "softmax_ce": lambda case: ("softmax", {}),
    "normface": lambda case: (
        "norm_softmax",
        {"scale": case.param("s")}
        if case.row["params"]
        else {"scale": float(case.input("s")), "learnable_scale": True},
    ),
    "asoftmax": lambda case: (
        "sphereface",
        {"margin": case.param("m"), "base": 0.0, "lambda_min": case.param("lam")},
    ),
    "cosface": lambda case: ("cosface", {"margin": case.param("m"), "scale": case.param("s")}),
    "arcface": lambda case: (
        "arcface",
        {
            "margin": case.param("m"),
            "scale": case.param("s"),
            "rule": case.param("rule"),
            "gradient": case.param("mode") if "mode" in case.row["params"] else "exact",
        },
    ),
}


def select(*oracles: str) -> list[Any]:
    found = [pytest.param(case, id=case.name) for case in cases() if case.row["oracle"] in oracles]
    absent = pytest.mark.skip(reason="the vectors are not at ../shared/reference/vectors")
    return found or [pytest.param(None, id="absent", marks=absent)]


def tensors(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    embeddings = torch.tensor(case.input("X"), dtype=dtype, requires_grad=True)
    return embeddings, torch.tensor(case.input("y"), dtype=torch.int64)


def set_parameters(loss: Loss, case: Case) -> None:
    with torch.no_grad():
        for name, key in {"weight": "W", "bias": "b"}.items():
            if hasattr(loss, name):
                getattr(loss, name).copy_(torch.tensor(case.input(key)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", select(*CLASSIFIERS))
def test_classifier(case: Case, dtype: str) -> None:
    name, hyper = CLASSIFIERS[case.row["oracle"]](case)
    embeddings, labels = tensors(case, DTYPES[dtype])
    num_classes, dim = case.input("W").shape
    loss = make(name, hyper, num_classes=num_classes, embedding_dim=dim, dtype=DTYPES[dtype])
    set_parameters(loss, case)

    value = loss(embeddings, labels)
    value.backward()
    case.assert_equal("loss", value.detach().numpy(), dtype)
    singles = [loss(embeddings[i : i + 1], labels[i : i + 1]).item() for i in range(len(labels))]
    case.assert_equal("per", np.array(singles), dtype)
    parameters = {"W": "weight", "b": "bias", "s": "scale"}
    for key in case.row["expected"]:
        if key.startswith("grad_"):
            letter = key.removeprefix("grad_")
            tensor = embeddings if letter == "X" else getattr(loss, parameters[letter])
            assert tensor.grad is not None
            case.assert_equal(key, tensor.grad.numpy(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", select("triplet_batch_hard"))
def test_triplet(case: Case, dtype: str) -> None:
    hyper: dict[str, Value] = {
        "soft_margin": case.param("soft"),
        "squared": case.param("squared"),
        "normalize": case.param("normalise"),
    }
    if not case.param("soft"):
        hyper["margin"] = case.param("margin")
    embeddings, labels = tensors(case, DTYPES[dtype])
    loss = make("triplet", hyper, embedding_dim=embeddings.shape[1], dtype=DTYPES[dtype])
    value, log = loss.compute(embeddings, labels)
    value.backward()
    assert embeddings.grad is not None
    case.assert_equal("loss", value.detach().numpy(), dtype)
    case.assert_equal("grad_X", embeddings.grad.numpy(), dtype)
    assert log["active"].item() == case.expected("info_n_anchors")


def center_loss(case: Case, reduction: str, rate: float, dtype: torch.dtype) -> CenterLoss:
    """Center loss of weight 1 with zero class weights: its cross-entropy is ln C, without slope."""
    num_classes, dim = case.input("centers").shape
    hyper: dict[str, Value] = {
        "center_weight": 1.0,
        "center_rate": rate,
        "reduction": reduction,
    }
    loss = make("center", hyper, num_classes=num_classes, embedding_dim=dim, dtype=dtype)
    assert isinstance(loss, CenterLoss)
    with torch.no_grad():
        loss.weight.zero_()
        loss.centers.copy_(torch.tensor(case.input("centers")))
    return loss


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", select("center_loss"))
def test_center(case: Case, dtype: str) -> None:
    loss = center_loss(case, case.param("reduction"), 0.5, DTYPES[dtype])
    embeddings, labels = tensors(case, DTYPES[dtype])
    centers = loss.centers.clone().requires_grad_()
    value = functional_call(loss, {"centers": centers}, (embeddings, labels))
    value.backward()
    assert embeddings.grad is not None
    assert centers.grad is not None
    case.assert_equal("loss", value.detach().numpy() - math.log(loss.num_classes), dtype)
    case.assert_equal("per", loss.center_term(embeddings, labels).detach().numpy(), dtype)
    case.assert_equal("grad_X", embeddings.grad.numpy(), dtype)
    case.assert_equal("grad_centers", centers.grad.numpy(), dtype)


@pytest.mark.parametrize("case", select("center_update"))
def test_center_update(case: Case) -> None:
    loss = center_loss(case, "mean", case.param("alpha"), torch.float64)
    batches = torch.tensor(case.input("X"))
    labels = torch.tensor(case.input("y"), dtype=torch.int64)
    after = []
    for batch in batches if batches.ndim == 3 else batches[None]:
        loss.after_step(batch, labels)
        after.append(loss.centers.numpy().copy())
    sequence = case.expected("centers").ndim == 3
    case.assert_equal("centers", np.stack(after) if sequence else after[-1])
    if "delta" in case.row["expected"]:
        moved = (case.input("centers") - after[-1]) / case.param("alpha")
        case.assert_equal("delta", moved)


@pytest.mark.parametrize("case", select("lambda_schedule"))
def test_annealing(case: Case) -> None:
    hyper: dict[str, Value] = {
        key: case.param(key) for key in ("base", "gamma", "power", "lambda_min")
    }
    loss = make("sphereface", hyper)
    got = []
    for step in case.input("t"):
        loss.steps.fill_(int(step) - 1)
        got.append(loss.annealing().item())
    case.assert_equal("lam", np.array(got))
