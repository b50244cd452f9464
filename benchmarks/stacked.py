"""Modules of one structure as one: written for one model, run for k.

The parameters and buffers of the modules are stacked, and ``vmap`` of ``torch.func`` runs a method of all of them at
once; where it cannot, or is slower, a loop does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

State = dict[str, Tensor]
ALL = slice(None)


class _Method(nn.Module):
    """Gives one method of a module to `functional_call`, which only knows how to call modules."""

    def __init__(self, module: nn.Module, method: str) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *inputs: Tensor) -> Any:
        return getattr(self.module, self.method)(*inputs)


class _Stacked:
    """k modules of one structure whose parameters and buffers are stacked along a new first axis.

    Parameters
    ----------
    modules : k modules of one class with equal shapes; their own tensors are copied.
    device : where the stacked tensors live.
    dtype : floating type of the stacked tensors (float32; float64 for tests of exactness).
    """

    def __init__(self, modules: list[Any], device: torch.device, dtype: torch.dtype) -> None:
        self.name = type(modules[0]).__name__
        parameters, buffers = stack_module_state(modules)

        def place(tensor: Tensor) -> Tensor:
            return tensor.detach().to(
                device=device, dtype=dtype if tensor.dtype == torch.float32 else None
            )

        self.parameters = {
            name: place(tensor).requires_grad_() for name, tensor in parameters.items()
        }
        self.buffers = {name: place(tensor) for name, tensor in buffers.items()}

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


class StackedModule(_Stacked):
    """k modules computed at once, by ``vmap``; see `_Stacked` for what it is made of.

    Attributes
    ----------
    template : a module of their structure, whose own parameters are never read.
    """

    def __init__(self, modules: list[Any], device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(modules, device, dtype)
        # Class weights of millions of classes are not kept twice.
        shapes = {
            id(own): nn.Parameter(own.detach().to("meta"), own.requires_grad)
            for own in modules[0].parameters()
        }
        self.template: nn.Module = deepcopy(modules[0], shapes)

    def call(self, *inputs: Tensor, method: str = "forward", shared: bool = False) -> Any:
        """Call `method` on every module.

        Parameters
        ----------
        inputs : (k, ...), or (...) for all where `shared`.

        Returns
        -------
        What `method` does, every tensor with a leading k.
        """
        bound = _Method(self.template, method)

        def one(parameters: State, buffers: State, *items: Tensor) -> Any:
            state = {f"module.{name}": tensor for name, tensor in {**parameters, **buffers}.items()}
            result = functional_call(bound, state, items)
            return () if result is None else result

        axes = (0, 0, *[None if shared else 0] * len(inputs))
        # BatchNorm and the losses change buffers in place; each module owns its slice of the stacked buffer.
        return vmap(one, in_dims=axes, randomness="error")(self.parameters, self.buffers, *inputs)

    @property
    def first(self) -> Any:
        """One of the modules, for what is the same in all: a method that reads no tensor of theirs."""
        return self.template


class LoopedModule(_Stacked):
    """k modules with stacked tensors, computed one after the other: where `vmap` cannot, or is slower.

    It takes the modules over: their parameters and buffers become views of the stacked ones, so what one changes in
    place or notes down in Python stays its own. A backward pass leaves the gradients at the stacked parameters.

    Attributes
    ----------
    template : the modules.
    """

    def __init__(self, modules: list[Any], device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(modules, device, dtype)
        self.template = nn.ModuleList(modules)
        for index, module in enumerate(modules):
            for name, stacked in self.parameters.items():
                own = nn.Parameter(stacked.detach()[index])
                own.register_post_accumulate_grad_hook(_gradient_to(stacked, index))
                _replace(module, name, own)
            for name, stacked in self.buffers.items():
                _replace(module, name, stacked[index])

    @property
    def first(self) -> Any:
        """See `StackedModule.first`."""
        return next(self.template.children())

    def call(self, *inputs: Iterable[Tensor], method: str = "forward", members: slice = ALL) -> Any:
        """Call `method` on every module, or on `members` alone.

        Parameters
        ----------
        inputs : (k, ...), or k of (...); for `members`, theirs alone.

        Returns
        -------
        What `method` does, every tensor with a leading k.
        """
        modules = list(self.template.children())[members]
        return _stacked(
            [
                getattr(module, method)(*items)
                for module, *items in zip(modules, *inputs, strict=True)
            ]
        )


Modules = StackedModule | LoopedModule


def _replace(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in the place of a parameter or buffer of that full name."""
    path, _, key = name.rpartition(".")
    setattr(module.get_submodule(path), key, tensor)


def _gradient_to(stacked: Tensor, index: int) -> Callable[[Tensor], None]:
    """A hook that moves the gradient of one module's parameter to its row of the stacked parameter's."""

    def move(own: Tensor) -> None:
        gradient, own.grad = own.grad, None
        if gradient is None:
            return
        if stacked.grad is None:
            stacked.grad = torch.zeros_like(stacked)
        stacked.grad[index] += gradient

    return move


def _stacked(results: list[Any]) -> Any:
    first = results[0]
    if isinstance(first, Tensor):
        return torch.stack(results)
    if isinstance(first, Mapping):
        return {key: _stacked([result[key] for result in results]) for key in first}
    if isinstance(first, tuple):
        return tuple(_stacked(list(parts)) for parts in zip(*results, strict=True))
    return ()
