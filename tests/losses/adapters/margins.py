"""Softmax, multiplicative and additive margins."""

from __future__ import annotations

import numpy as np
import torch

from losses.schema import Value
from tests.losses.adapters.common import (
    Adapter,
    Results,
    classifier,
    differentiate,
    set_parameters,
    tensors,
)
from tests.losses.stacks import make
from tests.losses.vectors import Case

Hyper = dict[str, Value]


def gradient(case: Case) -> Hyper:
    """The case's mode; its default is the exact gradient."""
    return {"gradient": case.param("mode") if "mode" in case.row["params"] else "exact"}


def softmax(case: Case, dtype: torch.dtype) -> Results:
    return classifier(case, dtype, "softmax", {}, {"W": "weight", "b": "bias"})


def norm_softmax(case: Case, dtype: torch.dtype) -> Results:
    if case.row["params"]:
        return classifier(case, dtype, "norm_softmax", {"scale": case.param("s")}, {"W": "weight"})
    hyper: Hyper = {"scale": float(case.input("s")), "learnable_scale": True}
    return classifier(case, dtype, "norm_softmax", hyper, {"W": "weight", "s": "scale"})


def adacos(case: Case, dtype: torch.dtype) -> Results:
    """Samples alone have another scale than in the batch: ``per`` is taken at the batch's."""
    num_classes, dim = case.input("W").shape
    embeddings, labels = tensors(case, dtype)
    dynamic = "s_prev" in case.row["params"]
    hyper: Hyper = {"mode": "dynamic", "median": case.param("median")} if dynamic else {}
    loss = make(
        "adacos",
        hyper or {"mode": "fixed"},
        num_classes=num_classes,
        embedding_dim=dim,
        dtype=dtype,
    )
    set_parameters(loss, case, {"W": "weight"})
    if dynamic:
        loss.scale.fill_(case.param("s_prev"))
    value, log = loss.compute(embeddings, labels)
    results = differentiate(value, {"X": embeddings, "W": loss.weight})
    loss.after_step(embeddings, labels)
    per = loss.per_sample(loss.logits(embeddings), labels).detach().numpy()
    return {**results, "per": per, "info_s": log["scale"].numpy()}


def adacos_update(case: Case, dtype: torch.dtype) -> Results:
    num_classes, dim = case.input("W").shape
    loss = make(
        "adacos",
        {"median": case.param("median")},
        num_classes=num_classes,
        embedding_dim=dim,
        dtype=dtype,
    )
    set_parameters(loss, case, {"W": "weight"})
    scales = [loss.scale.item()]
    embeddings, labels = tensors(case, dtype)
    for batch in zip(embeddings.detach(), labels, strict=True):
        loss.compute(*batch)
        loss.after_step(*batch)
        scales.append(loss.scale.item())
    return {"s": np.array(scales)}


def l_softmax(case: Case, dtype: torch.dtype) -> Results:
    hyper: Hyper = {"margin": case.param("m"), "base": 0.0, "lambda_min": case.param("lam")}
    return classifier(case, dtype, "l_softmax", hyper, {"W": "weight"})


def sphereface(case: Case, dtype: torch.dtype) -> Results:
    hyper: Hyper = {"margin": case.param("m"), "base": 0.0, "lambda_min": case.param("lam")}
    return classifier(case, dtype, "sphereface", hyper, {"W": "weight"})


def annealing(case: Case, dtype: torch.dtype) -> Results:
    hyper: Hyper = {key: case.param(key) for key in ("base", "gamma", "power", "lambda_min")}
    loss = make("sphereface", hyper)
    values = []
    for step in case.input("t"):
        loss.steps.fill_(int(step) - 1)
        values.append(loss.annealing().item())
    return {"lam": np.array(values)}


def sphereface_r(case: Case, dtype: torch.dtype) -> Results:
    hyper = {"margin": case.param("m"), "scale": case.param("s"), "rule": case.param("rule")}
    return classifier(case, dtype, "sphereface_r", {**hyper, **gradient(case)}, {"W": "weight"})


def cosface(case: Case, dtype: torch.dtype) -> Results:
    hyper: Hyper = {"margin": case.param("m"), "scale": case.param("s")}
    return classifier(case, dtype, "cosface", hyper, {"W": "weight"})


def arcface(case: Case, dtype: torch.dtype) -> Results:
    hyper = {"margin": case.param("m"), "scale": case.param("s"), "rule": case.param("rule")}
    return classifier(case, dtype, "arcface", {**hyper, **gradient(case)}, {"W": "weight"})


def combined(case: Case, dtype: torch.dtype) -> Results:
    hyper: Hyper = {
        "angle_factor": case.param("m1"),
        "angle_margin": case.param("m2"),
        "cosine_margin": case.param("m3"),
        "scale": case.param("s"),
        "rule": case.param("rule"),
    }
    return classifier(case, dtype, "combined", {**hyper, **gradient(case)}, {"W": "weight"})


def cosine_over_ten(case: Case, dtype: torch.dtype) -> Results:
    hyper: Hyper = {"margin": case.param("m"), "scale": case.param("s")}
    return classifier(case, dtype, "cosine_over_ten", hyper, {"W": "weight"})


ADAPTERS = {
    "softmax_ce": Adapter("softmax", softmax),
    "normface": Adapter("norm_softmax", norm_softmax),
    "adacos": Adapter("adacos", adacos),
    "adacos_update": Adapter("adacos", adacos_update),
    "lsoftmax": Adapter("l_softmax", l_softmax),
    "asoftmax": Adapter("sphereface", sphereface),
    "lambda_schedule": Adapter("sphereface", annealing),
    "sphereface_arccos": Adapter("sphereface_r", sphereface_r),
    "cosface": Adapter("cosface", cosface),
    "arcface": Adapter("arcface", arcface),
    "combined_margin": Adapter("combined", combined),
    "cosine_over_ten": Adapter("cosine_over_ten", cosine_over_ten),
}
