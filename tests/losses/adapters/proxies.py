"""Binary losses and proxies."""

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

MARGINS = {"C": "margin", "A": "angular_margin", "M": "multiple"}


def binary(case: Case, dtype: torch.dtype, name: str, hyper: dict[str, Value]) -> Results:
    """A head with a bias, which the cases hold as (1,)."""
    results = classifier(case, dtype, name, hyper, {"W": "weight", "b": "bias"})
    return {**results, "grad_b": results["grad_b"].reshape(1)}


def sphereface2(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "form": case.param("kind"),
        MARGINS[case.param("kind")]: case.param("m"),
        "scale": case.param("r"),
        "power": case.param("t"),
        "positive_weight": case.param("lam"),
        "gradient": case.param("mode"),
    }
    return binary(case, dtype, "sphereface2", hyper)


def sphereface2_initial_bias(case: Case, dtype: torch.dtype) -> Results:
    columns = [name.strip() for name in case.param("columns").split(",")]
    biases = []
    for numbers in case.input("rows"):
        row = dict(zip(columns, numbers.tolist(), strict=True))
        hyper: dict[str, Value] = {
            "form": case.param("kind"),
            MARGINS[case.param("kind")]: row["m"],
            "scale": row["r"],
            "power": row["t"],
            "positive_weight": row["lam"],
        }
        loss = make("sphereface2", hyper, num_classes=int(row["C"]), dtype=dtype)
        biases.append(loss.initial_bias())
    return {"b": np.array(biases)}


def uniface(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {"margin": case.param("m"), "scale": case.param("s")}
    return binary(case, dtype, "uniface", hyper)


def circle_class(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "margin": case.param("m"),
        "scale": case.param("gamma"),
        "detach": case.param("detach"),
    }
    return classifier(case, dtype, "circle_class", hyper, {"W": "weight"})


def proxy_nca(case: Case, dtype: torch.dtype) -> Results:
    hyper: dict[str, Value] = {
        "scale": case.param("scale"),
        "denominator": case.param("denominator"),
    }
    return classifier(case, dtype, "proxy_nca", hyper, {"W": "weight"})


def proxy_anchor(case: Case, dtype: torch.dtype) -> Results:
    """``per`` holds a row of the proxies' positive and one of their negative terms."""
    num_classes = int(case.input("W").shape[0])
    embeddings, labels = tensors(case, dtype)
    loss = make(
        "proxy_anchor",
        {"scale": case.param("alpha"), "margin": case.param("delta")},
        num_classes=num_classes,
        embedding_dim=embeddings.shape[1],
        dtype=dtype,
    )
    set_parameters(loss, case, {"W": "weight"})
    value, log = loss.compute(embeddings, labels)
    logits = loss.logits(embeddings).detach()
    own = logits.gather(1, labels[:, None])[:, 0]
    positive = torch.zeros(num_classes, dtype=dtype)
    positive[labels] = loss.positive_terms(own, labels)
    per = torch.stack([positive, loss.negative_terms(logits, labels)])
    return {
        **differentiate(value, {"X": embeddings, "W": loss.weight}),
        "per": per.numpy(),
        "info_n_pos": log["positive_proxies"].numpy(),
    }


def soft_triple(case: Case, dtype: torch.dtype) -> Results:
    """The rows of ``W`` are centers, those of a class together; ``per`` has no regulariser."""
    rows, dim = case.input("W").shape
    centers = int(case.param("K"))
    embeddings, labels = tensors(case, dtype)
    given = case.row["params"]
    hyper: dict[str, Value] = {
        "centers": centers,
        "scale": case.param("lam"),
        "temperature": case.param("gamma"),
        "margin": case.param("delta"),
        "regularization": case.param("tau") if "tau" in given else 0.0,
        "epsilon": case.param("eps") if "eps" in given else 0.0,
    }
    loss = make("soft_triple", hyper, num_classes=rows // centers, embedding_dim=dim, dtype=dtype)
    set_parameters(loss, case, {"W": "weight"})
    value, log = loss.compute(embeddings, labels)
    results = differentiate(value, {"X": embeddings, "W": loss.weight})
    regularizer = log["regularizer"].item()
    singles = [loss(embeddings[i : i + 1], labels[i : i + 1]).item() for i in range(len(labels))]
    return {
        **results,
        "grad_W": results["grad_W"].reshape(rows, dim),
        "per": np.array(singles) - regularizer,
        "info_reg": np.array(regularizer),
    }


ADAPTERS = {
    "sphereface2": Adapter("sphereface2", sphereface2),
    "sphereface2_initial_bias": Adapter("sphereface2", sphereface2_initial_bias),
    "uniface": Adapter("uniface", uniface),
    "circle_class": Adapter("circle_class", circle_class),
    "proxy_nca": Adapter("proxy_nca", proxy_nca),
    "proxy_anchor": Adapter("proxy_anchor", proxy_anchor),
    "soft_triple": Adapter("soft_triple", soft_triple),
}
