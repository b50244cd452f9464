"""Losses by hand, in a loop and in a stack: what the contract tests share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from losses.base import Log, Loss
from losses.build import build
from losses.catalog import CATALOG, resolve
from losses.schema import Value

Tensors = dict[str, Tensor]
Result = tuple[Tensor, Log] | Tensor


def structures() -> list[tuple[str, dict[str, Value]]]:
    """Every loss of the catalog in the combinations of its structural hyper-parameters.

    All of them where they are at most 16, else each option alone beside the defaults.
    """
    return [(name, values) for name in CATALOG for values in _combinations(name)]


def _combinations(name: str) -> list[dict[str, Value]]:
    options = {
        parameter.name: parameter.choices
        or ((False, True) if isinstance(parameter.default, bool) else (parameter.default,))
        for parameter in CATALOG[name].hyperparameters
        if parameter.structural
    }
    every = [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]
    if len(every) > 16:
        every = [{}, *({key: value} for key, values in options.items() for value in values)]
    kept = [_in_effect(name, values) for values in every]
    return list({str(values): values for values in kept}.values())


def _in_effect(name: str, values: dict[str, Value]) -> dict[str, Value]:
    """The values without those that have no effect beside the others."""
    defaults = {parameter.name: parameter.default for parameter in CATALOG[name].hyperparameters}
    chosen = {**defaults, **values}
    return {
        parameter.name: values[parameter.name]
        for parameter in CATALOG[name].hyperparameters
        if parameter.name in values
        and (parameter.only_if is None or chosen[parameter.only_if[0]] in parameter.only_if[1])
    }


def structure_id(structure: tuple[str, dict[str, Value]]) -> str:
    name, values = structure
    return "-".join([name, *(f"{key}={value}" for key, value in values.items())])


def make(
    name: str,
    hyper: Mapping[str, Value] | None = None,
    *,
    num_classes: int = 5,
    embedding_dim: int = 4,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    label_smoothing: float = 0.0,
) -> Any:
    """A loss; Any, because the tests reach for the attributes of its class."""
    return build(
        name,
        hyper,
        num_classes=num_classes,
        embedding_dim=embedding_dim,
        label_smoothing=label_smoothing,
        generator=torch.Generator().manual_seed(seed),
    ).to(dtype)


def batch(
    size: int = 12,
    dim: int = 4,
    classes: int = 5,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Random embeddings, and labels that repeat."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, dim, generator=generator, dtype=torch.float64).to(dtype)
    return embeddings, torch.randint(0, classes, (size,), generator=generator)


def varied(name: str, structure: dict[str, Value], count: int) -> list[dict[str, Value]]:
    """Hyper-parameters of a stack of one structure: each number takes another value per model."""
    stack = []
    for k in range(count):
        hyper = resolve(name, structure)
        for parameter in CATALOG[name].hyperparameters:
            value = hyper.get(parameter.name)
            if parameter.structural or value is None or isinstance(value, str | bool):
                continue
            low = -math.inf if parameter.low is None else parameter.low
            numbers = parameter.choices or (value, max(value * 0.5, low), max(value * 0.9, low))
            hyper[parameter.name] = numbers[-1 - k % len(numbers)]
        stack.append(resolve(name, hyper))
    return stack


def class_rows(loss: Loss) -> Tensor | None:
    """Class vectors (C, K, D), K a class; None where the loss has none of its own."""
    rows = getattr(loss, "weight", None)
    rows = getattr(loss, "lut", None) if rows is None else rows
    return rows if rows is None or rows.dim() == 3 else rows.unsqueeze(1)


class Method(nn.Module):
    """Calls one method of a loss, so that ``functional_call`` reaches it."""

    def __init__(self, loss: Loss, name: str) -> None:
        super().__init__()
        self.loss = loss
        self.name = name

    def forward(self, *arrays: Tensor) -> Result | None:
        result: Result | None = getattr(self.loss, self.name)(*arrays)
        return result


class Stack:
    """K losses of one structure as one batched computation."""

    def __init__(self, losses: list[Loss]) -> None:
        self.template = losses[0]
        parameters, buffers = stack_module_state([Method(loss, "compute") for loss in losses])
        self.parameters = {
            key: value.detach().requires_grad_() for key, value in parameters.items()
        }
        self.buffers = buffers

    def call(self, method: str, *arrays: Tensor) -> Result:
        module = Method(self.template, method)

        def one(parameters: Tensors, buffers: Tensors, arrays: tuple[Tensor, ...]) -> Result:
            result: Result | None = functional_call(module, (parameters, buffers), arrays)
            return arrays[0].new_zeros(()) if result is None else result

        result: Result = vmap(one)(self.parameters, self.buffers, arrays)
        return result
