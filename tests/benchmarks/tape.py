"""What a CUDA graph does, on a CPU: operations are written down once and repeated on the same memory.

Whatever Python decided while they were written down stays as it was: a number that Python counts stands still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
MASKS = (torch.bool, torch.uint8)


class Tape(TorchDispatchMode):
    """Notes every operation below autograd and vmap with the tensors it read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[Any, Any, Any, list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args):
            raise RuntimeError(f"{func}: the host waits for what the device finds")
        result = func(*args, **(kwargs or {}))
        self.notes.append(_alias((func, args, kwargs or {}, tree_leaves(result))))
        return result

    def replay(self) -> None:
        """Do it all again with what now stands in the memory that was read."""
        for func, args, kwargs, outputs in self.notes:
            found = func(*_alias(args), **_alias(kwargs))
            for place, value in zip(outputs, tree_leaves(found), strict=True):
                if isinstance(place, Tensor) and _storage(place) != _storage(value):
                    place.copy_(value)


def waits(func: Any, args: Any) -> bool:
    """Whether an operation's result or its size is known to the host only when the device is done."""
    if torch.Tag.data_dependent_output in func.tags:
        return True
    if func in INDEXED:  # only masks have a size that depends on their values
        return any(index is not None and index.dtype in MASKS for index in args[1])
    return torch.Tag.dynamic_output_shape in func.tags


def _alias(items: Any) -> Any:
    """The same memory by other tensors, since some operations change a tensor's shape in place."""
    return tree_map(lambda item: item.detach() if isinstance(item, Tensor) else item, items)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def record(function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Stands for `benchmarks.graphs.record`."""
    tape = Tape()
    with tape:
        result = function()
    return result, torch.no_grad()(tape.replay)
