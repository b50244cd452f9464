"""Modules of one structure as one: written for one model, run for k.

The parameters and buffers of the modules are stacked, and ``vmap`` of ``torch.func`` runs a method of all of them at
once; where it cannot, a loop does.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

State = dict[str, Tensor]


class _Method(nn.Module):
    """Gives one method of a module to `functional_call`, which only knows how to call modules."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *inputs: Tensor) -> Any:
        return getattr(self.module, self.method)(*inputs)


class StackedModule:
    """k modules of one structure whose parameters and buffers are stacked along a new first axis.

    Parameters
    ----------
    modules : k modules of one class with equal shapes; their own tensors are copied.
    device : where the stacked tensors live.
    dtype : floating type of the stacked tensors (float32; float64 for tests of exactness).
    """

    def __init__(self, modules: list[Any], device: torch.device, dtype: torch.dtype) -> None:
        self.name = type(modules[0]).__name__
        self.template: nn.Module = deepcopy(modules[0]).to(device=device, dtype=dtype)
        parameters, buffers = stack_module_state(modules)

        def place(tensor: Tensor) -> Tensor:
            return tensor.detach().to(
                device=device, dtype=dtype if tensor.dtype == torch.float32 else None
            )

        self.parameters = {
            name: place(tensor).requires_grad_() for name, tensor in parameters.items()
        }
        self.buffers = {name: place(tensor) for name, tensor in buffers.items()}

    def call(self, *inputs: Tensor, method: str = "forward", shared: bool = False) -> Any:
        """Call `method` on every module: inputs (k, ...), or (...) for all where `shared`; results gain a leading k."""
        bound = _Method(self.template, method)

        def one(parameters: State, buffers: State, *items: Tensor) -> Any:
            state = {f"module.{name}": tensor for name, tensor in {**parameters, **buffers}.items()}
            result = functional_call(bound, state, items)
            return () if result is None else result

        axes = (0, 0, *[None if shared else 0] * len(inputs))
        # BatchNorm and the losses change buffers in place; each module owns its slice of the stacked buffer.
        return vmap(one, in_dims=axes, randomness="error")(self.parameters, self.buffers, *inputs)

    def state(self) -> dict[str, State]:
        """The stacked tensors, not copied."""
        return {
            "parameters": {name: tensor.detach() for name, tensor in self.parameters.items()},
            "buffers": self.buffers,
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, State]) -> None:
        """Inverse of `state`, in place."""
        for own, stored in (
            (self.parameters, state["parameters"]),
            (self.buffers, state["buffers"]),
        ):
            for name, tensor in own.items():
                tensor.copy_(stored[name])

    def one(self, index: int) -> State:
        """Parameters and buffers of one module, by name, on the CPU."""
        tensors = {**self.parameters, **self.buffers}
        return {name: tensor.detach()[index].cpu().contiguous() for name, tensor in tensors.items()}


class LoopedModule(StackedModule):
    """k modules with stacked tensors, computed one after the other: for code that `vmap` cannot run.

    Each keeps its own object, so that what a module notes down in Python stays its own. See `StackedModule`.
    """

    def __init__(self, modules: list[Any], device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(modules, device, dtype)
        self.template = nn.ModuleList(
            deepcopy(module).to(device=device, dtype=dtype) for module in modules
        )

    def call(self, *inputs: Tensor, method: str = "forward", shared: bool = False) -> Any:
        """See `StackedModule.call`."""
        modules = list(self.template.children())
        tensors = {**self.parameters, **self.buffers}
        rows = {f"module.{name}": tensor.unbind(0) for name, tensor in tensors.items()}
        arrays = [[array] * len(modules) if shared else array.unbind(0) for array in inputs]
        results = []
        for index, module in enumerate(modules):
            state = {name: own[index] for name, own in rows.items()}
            items = tuple(array[index] for array in arrays)
            results.append(functional_call(_Method(module, method), state, items))
        return _stacked(results)


def _stacked(results: list[Any]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        return torch.stack(results)
    if isinstance(first, Mapping):
        return {key: _stacked([result[key] for result in results]) for key in first}
    if isinstance(first, tuple):
        return tuple(_stacked(list(parts)) for parts in zip(*results, strict=True))
    return ()
