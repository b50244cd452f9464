"""Angular margin with a curriculum over the hard negatives (CurricularFace)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.base import Log
from losses.functional import additive_angle, angle_sum_cosine, hard_negatives
from losses.heads import CosineHead


class CurricularFace(CosineHead):
    """Adaptive curriculum learning loss. Huang et al. 2020, section 3.2. Mean over the batch.

    Target logit s·T(θ_y), T(θ_y) = cos(θ_y + m); others s·N(θ_j),
    N(θ_j) = cosθ_j where T(θ_y) >= cosθ_j (easy), else cosθ_j·(t + cosθ_j) (hard).
    t, 0 at the start, is a running mean of the target cosines: t ← (1 - a)·t + a·mean(cosθ_y).

    Logs ``t`` as used and ``hard_share``, the hard ones among all negatives.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m in radians, 0..π/2.
    scale : float
        s > 0.
    t_rate : float
        a in [0, 1], weight of the new batch in t.
    rule : {"linear", "none"}
        T where θ + m passes π; see `losses.functional.additive_angle`.
    hard_reference : {"target", "raw"}
        A negative is hard above T under its rule, as in the paper, or above cos(θ_y + m) without
        rule, as in the authors' code. They differ where θ + m passes π under rule ``linear``.
    update : {"first", "after"}
        t of a step counts its batch, as in the authors' code, or only the batches before.
    gradient : {"t_detached", "exact"}
        With ``first``: t is a constant, or the gradient flows through the batch's mean in it.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor
    t_rate: Tensor
    t: Tensor
    pending: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.5,
        scale: float = 64.0,
        t_rate: float = 0.01,
        rule: str = "linear",
        hard_reference: str = "target",
        update: str = "first",
        gradient: str = "t_detached",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.rule = rule
        self.hard_reference = hard_reference
        self.update = update
        self.t_has_gradient = update == "first" and gradient == "exact"
        self.add_hyperparameters(margin=margin, scale=scale, t_rate=t_rate)
        self.register_buffer("t", torch.zeros((), dtype=torch.float64))
        # t after this step; the class weights that its cosines belong to move before `after_step`.
        self.register_buffer("pending", torch.zeros((), dtype=torch.float64))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; t is 0 again."""
        super().reset_parameters(generator)
        self.t.zero_()
        self.pending.zero_()

    def target(self, cosine: Tensor) -> Tensor:
        """T: cos(θ + m) under the rule."""
        return additive_angle(cosine, self.margin.to(cosine.dtype), self.rule)

    def negatives(
        self, logits: Tensor, labels: Tensor, cosine: Tensor, target: Tensor
    ) -> tuple[Tensor, Log]:
        """s·cosθ_j, and s·cosθ_j·(t + cosθ_j) of the hard negatives."""
        scale = self.scale.to(logits.dtype)
        t = self.advance(cosine)
        if self.hard_reference == "raw":
            target = angle_sum_cosine(cosine, self.margin.to(cosine.dtype))
        changed, hard_logits, count = Bent.apply(logits, labels, scale * target, scale, t)[:3]
        if self.t_has_gradient:
            changed = changed + hard_logits * (t - t.detach())
        share = count / (len(labels) * (self.num_classes - 1))
        return changed, {"t": t.detach(), "hard_share": share}

    def advance(self, cosine: Tensor) -> Tensor:
        """t () for these target cosines (B,); the t that follows becomes pending."""
        rate = self.t_rate.to(cosine.dtype)
        moved = (1 - rate) * self.t.to(cosine.dtype) + rate * cosine.mean()
        self.pending.copy_(moved.detach())
        if self.update == "after":
            return self.t.to(cosine.dtype)
        return moved if self.t_has_gradient else moved.detach()

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """t moves on."""
        self.t.copy_(self.pending)


class Bent(torch.autograd.Function):
    """l·(t + l/s) of the hard logits l = s·cosθ (B, C), others as they are.

    By hand, because autograd would walk over (B, C) for each of its products. Also gives the hard
    logits with 0 for the others, and the number of the hard ones.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        logits: Tensor, labels: Tensor, threshold: Tensor, scale: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        """The values, the hard logits, their number, and the slope less 1."""
        hard = hard_negatives(logits, labels, threshold)
        count = hard.sum()
        hard_logits = hard * logits
        step = torch.addcmul(hard.mul_(t - 1), hard_logits, 1 / scale)  # t - 1 + l/s
        return (
            torch.addcmul(logits, logits, step),
            hard_logits,
            count,
            torch.addcmul(step, hard_logits, 1 / scale),
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the slope."""
        ctx.save_for_backward(output[3])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """With respect to the logits."""
        (slope,) = ctx.saved_tensors
        if gradient is not None:
            gradient = torch.addcmul(gradient, gradient, slope)
        return gradient, None, None, None, None
