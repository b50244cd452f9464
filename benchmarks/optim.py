"""Optimizers and schedules over stacked parameters: one learning rate, weight decay and clip norm for each model.

Each model's update is the one torch.optim.SGD or torch.optim.AdamW would make for it alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK, BLOCK_GPU = 2**20, 2**27
"""Numbers that are updated at a time: temporary tensors are no larger, and a processor's cache holds them."""


@dataclass(frozen=True)
class Slot:
    """One stacked parameter (k, ...) and the members of the stack it belongs to."""

    parameter: Tensor  # (k, ...), a leaf that requires grad
    members: slice  # k members of the stack
    decays: bool  # weight decay applies
    is_class_weight: bool  # the learning-rate multiplier of class weights applies


class StackedOptimizer:
    """SGD with momentum, or AdamW, for K models at once.

    Parameters
    ----------
    kind : ``sgd`` or ``adamw``.
    slots : the stacked parameters.
    learning_rate, weight_decay, class_learning_rate, clip_norm : (K,); `class_learning_rate` multiplies the
        learning rate of class weights and proxies; `clip_norm` bounds the Euclidean norm of one model's whole
        gradient, 0 means no bound, None none for any model.
    momentum : of SGD; beta1 of AdamW (beta2 is 0.999, epsilon 1e-8).
    """

    def __init__(
        self,
        kind: str,
        slots: list[Slot],
        *,
        learning_rate: Tensor,
        weight_decay: Tensor,
        class_learning_rate: Tensor,
        clip_norm: Tensor | None,
        momentum: float,
    ) -> None:
        self.kind, self.slots, self.momentum = kind, slots, momentum
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.class_learning_rate = class_learning_rate
        self.clip_norm = (
            None if clip_norm is None else torch.where(clip_norm > 0, clip_norm, torch.inf)
        )
        # A tensor, so that a recorded step counts on when it is replayed.
        self.steps = torch.zeros((), dtype=torch.float64, device=learning_rate.device)
        moments = 1 if kind == "sgd" else 2
        self.moments = [
            [torch.zeros_like(slot.parameter, requires_grad=False) for _ in range(moments)]
            for slot in slots
        ]

    @torch.no_grad()
    def step(self, factor: float | Tensor) -> None:
        """One update with the learning rates times `factor` (the schedule), then the gradients are dropped."""
        self.steps += 1
        clip = None if self.clip_norm is None else self._clip_factors(self.clip_norm)
        for slot, moments in zip(self.slots, self.moments, strict=True):
            gradient = slot.parameter.grad
            if gradient is None:
                continue

            def own(values: Tensor, slot: Slot = slot) -> Tensor:
                return values[slot.members].view(-1, *[1] * (slot.parameter.dim() - 1))

            rate = own(self.learning_rate) * factor
            if slot.is_class_weight:
                rate = rate * own(self.class_learning_rate)
            decay = own(self.weight_decay) if slot.decays else None
            update = self._sgd if self.kind == "sgd" else self._adamw
            for parameter, part, *state in _blocks(slot.parameter, gradient, *moments):
                part = part if clip is None else part * own(clip)
                update(parameter, part, *state, rate=rate, decay=decay)
            slot.parameter.grad = None

    def drop_gradients(self) -> None:
        """Forget gradients that are not to be used."""
        for slot in self.slots:
            slot.parameter.grad = None

    def _sgd(
        self,
        parameter: Tensor,
        gradient: Tensor,
        velocity: Tensor,
        *,
        rate: Tensor,
        decay: Tensor | None,
    ) -> None:
        if decay is not None:
            gradient = torch.addcmul(gradient, decay, parameter)
        velocity.mul_(self.momentum).add_(gradient)
        parameter.addcmul_(rate, velocity, value=-1)

    def _adamw(
        self,
        parameter: Tensor,
        gradient: Tensor,
        first: Tensor,
        second: Tensor,
        *,
        rate: Tensor,
        decay: Tensor | None,
    ) -> None:
        beta1, beta2 = self.momentum, 0.999
        if decay is not None:
            parameter.mul_(1 - rate * decay)
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        scale = (second / (1 - beta2**self.steps)).sqrt_().add_(1e-8)
        parameter.sub_(rate / (1 - beta1**self.steps) * first / scale)

    def _clip_factors(self, bounds: Tensor) -> Tensor:
        squares = torch.zeros_like(bounds)
        for slot in self.slots:
            if slot.parameter.grad is not None:
                for (block,) in _blocks(slot.parameter.grad):
                    squares[slot.members] += block.reshape(len(block), -1).square().sum(1)
        return (bounds / (squares.sqrt() + 1e-6)).clamp(max=1)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs: the moments and the number of steps."""
        return {"steps": int(self.steps), "moments": self.moments}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.steps.fill_(state["steps"])
        for own, stored in zip(self.moments, state["moments"], strict=True):
            for target, source in zip(own, stored, strict=True):
                target.copy_(source)

    def member_state(self, index: int) -> dict[str, Any]:
        """What one model needs to go on among others: copies of its moments, in the order of its slots, on the CPU."""
        moments = [
            [tensor[index - slot.members.start].cpu().clone() for tensor in own]
            for slot, own in self._slots_of(index)
        ]
        return {"steps": int(self.steps), "moments": moments}

    def restore_member(self, index: int, state: Mapping[str, Any]) -> None:
        """Inverse of `member_state`; the models must have gone equally far."""
        # But for those given up earlier, whose steps count no more.
        self.steps.clamp_(min=state["steps"])
        for (slot, own), stored in zip(self._slots_of(index), state["moments"], strict=True):
            for target, source in zip(own, stored, strict=True):
                target[index - slot.members.start].copy_(source)

    def _slots_of(self, index: int) -> list[tuple[Slot, list[Tensor]]]:
        """The slots of one model, each with its moments."""
        return [
            (slot, own)
            for slot, own in zip(self.slots, self.moments, strict=True)
            if slot.members.start <= index < slot.members.stop
        ]


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one shape (k, n, ...) in the same blocks of n; those of shape (k,) whole."""
    first = tensors[0]
    block = BLOCK_GPU if first.is_cuda else BLOCK
    if first.numel() <= block or first.dim() == 1:
        return iter([tensors])
    count = max(1, block * first.shape[1] // first.numel())
    return zip(*(tensor.split(count, dim=1) for tensor in tensors), strict=True)


def schedule(recipe: Mapping[str, Any], step: int, steps_per_epoch: int) -> float:
    """Learning-rate factor at `step` (0-based): linear warm-up, then cosine to 0, steps, or constant.

    `milestones` are shares of the whole training; at each the factor is multiplied by `decay`.
    """
    total = recipe["epochs"] * steps_per_epoch
    warmup = recipe["warmup_epochs"] * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if recipe["schedule"] == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    if recipe["schedule"] == "step":
        return float(
            recipe["decay"] ** sum(step >= share * total for share in recipe["milestones"])
        )
    return 1.0
