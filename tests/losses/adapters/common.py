"""How a loss is run on a case of the vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from losses.base import Loss
from losses.schema import Value
from tests.losses.stacks import make
from tests.losses.vectors import Case

Results = dict[str, np.ndarray]
"""Computed arrays, by the case's own keys: ``loss``, ``per``, ``grad_X``, ``info_s``, ``centers`` …"""


@dataclass(frozen=True)
class Adapter:
    """Runs a loss of the catalog on a case.

    Attributes
    ----------
    loss : str
        Name in the catalog.
    run : function (case, dtype) -> Results
        Every expected key of the case but those of `without`.
    without : tuple of str
        Expected keys that our code does not compute (only ``per`` and ``info_…``).
    """

    loss: str
    run: Callable[[Case, torch.dtype], Results]
    without: tuple[str, ...] = ()


def tensors(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The embeddings X, with gradient, and the labels y."""
    embeddings = torch.tensor(case.input("X"), dtype=dtype, requires_grad=True)
    return embeddings, torch.tensor(case.input("y"), dtype=torch.int64)


def differentiate(value: Tensor, inputs: Mapping[str, Tensor]) -> Results:
    """``loss`` and the gradients ``grad_<key>`` of it with respect to the inputs."""
    gradients = torch.autograd.grad(value, list(inputs.values()), allow_unused=True)
    results = {"loss": value.detach().numpy()}
    for (key, tensor), gradient in zip(inputs.items(), gradients, strict=True):
        found = torch.zeros_like(tensor) if gradient is None else gradient
        results[f"grad_{key}"] = found.detach().numpy()
    return results


def classifier(
    case: Case,
    dtype: torch.dtype,
    name: str,
    hyper: Mapping[str, Value],
    parameters: Mapping[str, str],
    prepare: Callable[[Any], None] = lambda loss: None,
) -> Results:
    """A loss whose batch value is the mean over samples.

    Parameters
    ----------
    parameters : dict of str to str
        Input of the case -> parameter of the loss, as ``{"W": "weight"}``.
    prepare : function (loss) -> None
        Sets state that the case gives.
    """
    num_classes = int(case.input("W").shape[0])
    embeddings, labels = tensors(case, dtype)
    loss = make(
        name, hyper, num_classes=num_classes, embedding_dim=embeddings.shape[1], dtype=dtype
    )
    set_parameters(loss, case, parameters)
    prepare(loss)
    inputs = {"X": embeddings, **{key: getattr(loss, name) for key, name in parameters.items()}}
    results = differentiate(loss(embeddings, labels), inputs)
    singles = [loss(embeddings[i : i + 1], labels[i : i + 1]).item() for i in range(len(labels))]
    return {**results, "per": np.array(singles)}


def set_parameters(loss: Loss, case: Case, parameters: Mapping[str, str]) -> None:
    """Copy inputs of the case into parameters of the loss."""
    with torch.no_grad():
        for key, name in parameters.items():
            parameter = getattr(loss, name)
            parameter.copy_(torch.tensor(case.input(key)).reshape(parameter.shape))
