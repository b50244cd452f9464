"""Optimizers and schedules over stacked parameters: one learning rate, weight decay and clip norm for each model.

Each model's update is the one torch.optim.SGD or torch.optim.AdamW would make for it alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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
        gradient, 0 means no bound.
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
        clip_norm: Tensor,
        momentum: float,
    ) -> None:
        self.kind, self.slots, self.momentum = kind, slots, momentum
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.class_learning_rate = class_learning_rate
        self.clip_norm = torch.where(clip_norm > 0, clip_norm, torch.inf)
        self.clips = bool((clip_norm > 0).any())
        self.steps = 0
        moments = 1 if kind == "sgd" else 2
        self.moments = [
            [torch.zeros_like(slot.parameter, requires_grad=False) for _ in range(moments)]
            for slot in slots
        ]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One update with the learning rates times `factor` (the schedule), then the gradients are dropped."""
        self.steps += 1
        clip = self._clip_factors() if self.clips else None
        for slot, moments in zip(self.slots, self.moments, strict=True):
            gradient = slot.parameter.grad
            if gradient is None:
                continue

            def own(values: Tensor, slot: Slot = slot) -> Tensor:
                return values[slot.members].view(-1, *[1] * (slot.parameter.dim() - 1))

            rate = own(self.learning_rate) * factor
            if slot.is_class_weight:
                rate = rate * own(self.class_learning_rate)
            if clip is not None:
                gradient = gradient * own(clip)
            decay = own(self.weight_decay) if slot.decays else None
            if self.kind == "sgd":
                self._sgd(slot.parameter, gradient, moments[0], rate, decay)
            else:
                self._adamw(slot.parameter, gradient, moments[0], moments[1], rate, decay)
            slot.parameter.grad = None

    def _sgd(
        self,
        parameter: Tensor,
        gradient: Tensor,
        velocity: Tensor,
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

    def _clip_factors(self) -> Tensor:
        squares = torch.zeros_like(self.clip_norm)
        for slot in self.slots:
            if slot.parameter.grad is not None:
                squares[slot.members] += (
                    slot.parameter.grad.reshape(len(slot.parameter), -1).square().sum(1)
                )
        return (self.clip_norm / (squares.sqrt() + 1e-6)).clamp(max=1)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs: the moments and the number of steps."""
        return {"steps": self.steps, "moments": self.moments}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.steps = state["steps"]
        for own, stored in zip(self.moments, state["moments"], strict=True):
            for target, source in zip(own, stored, strict=True):
                target.copy_(source)

    def member_state(self, index: int) -> dict[str, Any]:
        """What one model needs to go on among others: copies of its moments, in the order of its slots, on the CPU."""
        moments = [
            [tensor[index - slot.members.start].cpu().clone() for tensor in own]
            for slot, own in self._slots_of(index)
        ]
        return {"steps": self.steps, "moments": moments}

    def restore_member(self, index: int, state: Mapping[str, Any]) -> None:
        """Inverse of `member_state`; the models must have gone equally far."""
        # But for those given up earlier, whose steps count no more.
        self.steps = max(self.steps, state["steps"])
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
