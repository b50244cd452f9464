"""Adaptive margins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from losses.class_blocks import Found
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


def observed(
    case: Case,
    dtype: torch.dtype,
    name: str,
    hyper: Mapping[str, Value],
    prepare: Callable[[Any], None] = lambda loss: None,
) -> tuple[Results, dict[str, float]]:
    """Loss, gradients and cross-entropies in one pass, where the samples share state; the log."""
    embeddings, labels = tensors(case, dtype)
    classes, dim = case.input("W").shape
    loss = make(name, hyper, num_classes=classes, embedding_dim=dim, dtype=dtype)
    set_parameters(loss, case, {"W": "weight"})
    prepare(loss)
    seen: list[Tensor] = []
    entropies = loss.entropies

    def spy(*inputs: Any) -> Found:
        found = entropies(*inputs)
        seen.append(found.losses)
        return found

    loss.entropies = spy
    value, log = loss.compute(embeddings, labels)
    results = differentiate(value, {"X": embeddings, "W": loss.weight})
    results["per"] = seen[0].detach().numpy()
    return results, {key: value.item() for key, value in log.items()}


def subcenter_arcface(case: Case, dtype: torch.dtype) -> Results:
    """The case keeps all sub-centers in one matrix, those of a class beside each other."""
    embeddings, labels = tensors(case, dtype)
    rows, dim = case.input("W").shape
    count = case.param("K")
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "scale": case.param("s"),
        "sub_centers": count,
        "rule": case.param("rule"),
    }
    classes = rows // count
    loss = make("subcenter_arcface", hyper, num_classes=classes, embedding_dim=dim, dtype=dtype)
    set_parameters(loss, case, {"W": "weight"})
    results = differentiate(loss(embeddings, labels), {"X": embeddings, "W": loss.weight})
    results["grad_W"] = results["grad_W"].reshape(rows, dim)
    singles = [loss(embeddings[i : i + 1], labels[i : i + 1]).item() for i in range(len(labels))]
    return {**results, "per": np.array(singles)}


def curricularface(case: Case, dtype: torch.dtype) -> Results:
    params = case.row["params"]
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "scale": case.param("s"),
        "rule": case.param("rule"),
    }
    if "hard_ref" in params:
        hyper["hard_reference"] = {"T": "target", "raw": "raw"}[case.param("hard_ref")]
    if "t_prev" in params:
        start = case.param("t_prev")
        hyper |= {"update": "first", "gradient": "exact", "t_rate": case.param("weight_new")}
    else:
        start = case.param("t")
        hyper["update"] = "after"
    results, log = observed(case, dtype, "curricularface", hyper, lambda loss: loss.t.fill_(start))
    pairs = len(case.input("y")) * (len(case.input("W")) - 1)
    hard = round(log["hard_share"] * pairs)
    return {**results, "info_t": np.array(log["t"]), "info_n_hard": np.array(hard)}


def curricularface_sequence(case: Case, dtype: torch.dtype) -> Results:
    results: Results = {}
    classes, dim = case.input("W").shape
    for update in ("first", "after"):
        hyper: dict[str, Value] = {
            "margin": case.param("m"),
            "scale": case.param("s"),
            "rule": case.param("rule"),
            "t_rate": case.param("weight_new"),
            "update": update,
        }
        loss = make("curricularface", hyper, num_classes=classes, embedding_dim=dim, dtype=dtype)
        set_parameters(loss, case, {"W": "weight"})
        values, means = [], [loss.t.item()]
        for x, y in zip(case.input("X"), case.input("y"), strict=True):
            batch = torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=torch.int64)
            values.append(loss(*batch).item())
            with torch.no_grad():
                loss.after_step(*batch)
            means.append(loss.t.item())
        results |= {f"loss_update_{update}": np.array(values), "t": np.array(means)}
    return results


def magface(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "scale": case.param("s"),
        "rule": case.param("rule"),
        "gradient": case.param("mode") if "mode" in case.row["params"] else "exact",
        **{key: case.param(key) for key in ("l_a", "u_a", "l_m", "u_m", "lambda_g")},
    }
    results = classifier(case, dtype, "magface", hyper, {"W": "weight"})
    entropy, log = observed(case, dtype, "magface", hyper)
    results["info_ce"] = entropy["per"].mean()
    results["info_g"] = np.array(log["length_penalty"])
    return results


def adaface(case: Case, dtype: torch.dtype) -> Results:
    """Weight 0 for the batch: the statistics are those given."""
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "scale": case.param("s"),
        "h": case.param("h"),
        "t_alpha": 0.0,
        "rule": case.param("rule"),
        "gradient": case.param("mode"),
    }

    def prepare(loss: Any) -> None:
        loss.norm_mean.fill_(case.param("mu"))
        loss.norm_deviation.fill_(case.param("sigma"))

    return classifier(case, dtype, "adaface", hyper, {"W": "weight"}, prepare)


def adaface_statistics(case: Case, dtype: torch.dtype) -> Results:
    """The population's standard deviation is what the mean of squares gives; the loss has no use
    for it."""
    rate = case.param("weight_new")
    norms = torch.tensor(case.input("norms"), dtype=dtype)
    loss = make("adaface", {"t_alpha": rate}, embedding_dim=1, dtype=dtype)
    loss.norm_mean.fill_(case.param("mu_prev"))
    loss.norm_deviation.fill_(case.param("sigma_prev"))
    loss.after_step(norms.unsqueeze(1), torch.zeros(len(norms), dtype=torch.int64))
    unbiased = loss.norm_deviation.item()
    kept = (1 - rate) * case.param("sigma_prev")
    population = kept + (unbiased - kept) * np.sqrt((len(norms) - 1) / len(norms))
    return {
        "mu": np.array(loss.norm_mean.item()),
        "sigma_unbiased": np.array(unbiased),
        "sigma_population": np.array(population),
    }


def elasticface(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {"scale": case.param("s"), "kind": case.param("kind")}
    if case.param("kind") == "arc":
        hyper["rule"] = case.param("rule")
    margins = torch.tensor(case.input("margins"), dtype=torch.float64)

    def prepare(loss: Any) -> None:
        loss.draw = lambda count: margins

    return observed(case, dtype, "elasticface", hyper, prepare)[0]


def elastic_plus(case: Case, dtype: torch.dtype) -> Results:
    loss = make("elasticface", {"plus": True}, dtype=dtype)
    loss.draw = lambda count: torch.tensor(case.input("margins"), dtype=torch.float64)
    return {"margins": loss.margins(torch.tensor(case.input("cos_target"), dtype=dtype)).numpy()}


ADAPTERS = {
    "subcenter_arcface": Adapter("subcenter_arcface", subcenter_arcface),
    "curricularface": Adapter("curricularface", curricularface),
    "curricularface_t_update": Adapter("curricularface", curricularface_sequence),
    "magface": Adapter("magface", magface),
    "adaface": Adapter("adaface", adaface),
    "adaface_stats_update": Adapter("adaface", adaface_statistics),
    "elasticface": Adapter("elasticface", elasticface),
    "elastic_plus_margins": Adapter("elasticface", elastic_plus),
}
