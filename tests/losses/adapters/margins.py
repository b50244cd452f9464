"""Softmax, multiplicative and additive margins."""

from __future__ import annotations

import numpy as np
import torch

from losses.schema import Value
from tests.losses.adapters.common import Adapter, Results, classifier
from tests.losses.stacks import make
from tests.losses.vectors import Case


def softmax(case: Case, dtype: torch.dtype) -> Results:
    return classifier(case, dtype, "softmax", {}, {"W": "weight", "b": "bias"})


def norm_softmax(case: Case, dtype: torch.dtype) -> Results:
    if case.row["params"]:
        return classifier(case, dtype, "norm_softmax", {"scale": case.param("s")}, {"W": "weight"})
    hyper: dict[str, Value] = {"scale": float(case.input("s")), "learnable_scale": True}
    return classifier(case, dtype, "norm_softmax", hyper, {"W": "weight", "s": "scale"})


def sphereface(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "base": 0.0,
        "lambda_min": case.param("lam"),
    }
    return classifier(case, dtype, "sphereface", hyper, {"W": "weight"})


def annealing(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        key: case.param(key) for key in ("base", "gamma", "power", "lambda_min")
    }
    loss = make("sphereface", hyper)
    values = []
    for step in case.input("t"):
        loss.steps.fill_(int(step) - 1)
        values.append(loss.annealing().item())
    return {"lam": np.array(values)}


def cosface(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {"margin": case.param("m"), "scale": case.param("s")}
    return classifier(case, dtype, "cosface", hyper, {"W": "weight"})


def arcface(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "scale": case.param("s"),
        "rule": case.param("rule"),
        "gradient": case.param("mode") if "mode" in case.row["params"] else "exact",
    }
    return classifier(case, dtype, "arcface", hyper, {"W": "weight"})


ADAPTERS = {
    "softmax_ce": Adapter("softmax", softmax),
    "normface": Adapter("norm_softmax", norm_softmax),
    "asoftmax": Adapter("sphereface", sphereface),
    "lambda_schedule": Adapter("sphereface", annealing),
    "cosface": Adapter("cosface", cosface),
    "arcface": Adapter("arcface", arcface),
}
