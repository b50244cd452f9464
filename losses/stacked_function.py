"""Autograd functions that are written for a stack, and under ``vmap`` see plain tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class StackedFunction(torch.autograd.Function):
    """A function whose tensors, inputs and outputs, all have a first axis of models.

    ``vmap`` folds its own axis into that one and calls the function once more. So the function may
    do what ``vmap`` does not know, such as writing into a buffer, and a stack of one is a view.
    """

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """The rule of ``vmap``, see `torch.autograd.Function.vmap`."""

        def fold(value: Any, dim: int | None) -> Any:
            if not isinstance(value, Tensor):
                return value
            whole = (
                value.expand(info.batch_size, *value.shape)
                if dim is None
                else value.movedim(dim, 0)
            )
            return whole.flatten(0, 1)

        folded = [fold(value, dim) for value, dim in zip(inputs, in_dims, strict=True)]
        outputs = cls.apply(*folded)
        return tuple(each.unflatten(0, (info.batch_size, -1)) for each in outputs), (0,) * len(
            outputs
        )


def call_for_one(function: type[StackedFunction], *inputs: Any) -> tuple[Tensor, ...]:
    """Call a function for one model: its tensors without the axis of models, results too."""
    stacked = [each.unsqueeze(0) if isinstance(each, Tensor) else each for each in inputs]
    outputs: tuple[Tensor, ...] = function.apply(*stacked)
    return tuple(each.squeeze(0) for each in outputs)
