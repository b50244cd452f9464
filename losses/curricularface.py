"""Angular margin with a curriculum over the hard negatives (CurricularFace)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.blocks import EXCLUDED
from losses.class_blocks import Found
from losses.cross_entropy import HardRule, hard_negatives
from losses.functional import additive_angle, angle_sum_cosine
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
        self.in_blocks = not self.t_has_gradient  # whose gradient is a sum over the whole table
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

    def hard_rule(self, cosine: Tensor, target: Tensor) -> tuple[HardRule, Log]:
        """s·cosθ_j·(t + cosθ_j) for the hard negatives."""
        scale, t = self.scale.to(cosine.dtype), self.advance(cosine)
        if self.hard_reference == "raw":
            target = angle_sum_cosine(cosine, self.margin.to(cosine.dtype))
        return HardRule(scale * target, bend, (scale, t)), {"t": t.detach()}

    def entropies(
        self,
        vectors: Tensor,
        directions: Tensor,
        labels: Tensor,
        target: Tensor,
        rule: HardRule | None,
    ) -> Found:
        """With the gradient of t, where it has one, by autograd."""
        if rule is None or not self.t_has_gradient:
            return super().entropies(vectors, directions, labels, target, rule)
        scale, t = rule.numbers
        cosines = self.class_logits(vectors, directions)  # times s
        index = labels.unsqueeze(-1)
        largest = cosines.detach().scatter(-1, index, EXCLUDED).amax(dim=-1)
        logits = cosines.scatter(-1, index, target.unsqueeze(-1))
        hard = hard_negatives(logits, labels, rule.threshold)
        losses = self.per_sample(logits * (1 + hard * (t + logits / scale - 1)), labels)
        return Found(losses, largest, hard.sum())

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


def bend(logits: Tensor, hard: Tensor, scale: Tensor, t: Tensor) -> Tensor:
    """Make logits l·(t + l/s) where ``hard`` is 1, in place; the derivative. Changes ``hard``."""
    cosine = (logits * (1 / scale)).mul_(hard)
    factor = hard.mul_(t - 1).add_(cosine).add_(1)
    logits.mul_(factor)
    return cosine.add_(factor)
