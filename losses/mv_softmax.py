"""Margin softmax with emphasis on mis-classifying vectors (MV-Softmax)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.cross_entropy import HardRule
from losses.functional import additive_angle
from losses.heads import CosineHead


class MVSoftmax(CosineHead):
    """Mis-classified vector guided softmax. Wang et al. 2020, MV-AM and MV-Arc. Mean over batch.

    Target logit s·f(θ_y), f = cosθ_y - m (MV-AM) or cos(θ_y + m) (MV-Arc); others s·cosθ_j where
    f(θ_y) >= cosθ_j, else s·(cosθ_j + t) (``fixed``) or s·(cosθ_j + t·(cosθ_j + 1))
    (``adaptive``).

    Logs ``hard_share``, the emphasised ones among all negatives.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m, in cosine for ``am`` and in radians for ``arc``.
    scale : float
        s > 0.
    t : float
        Emphasis, >= 0; 0 is CosFace or ArcFace.
    kind : {"am", "arc"}
        Margin taken from the cosine, or added to the angle.
    emphasis : {"adaptive", "fixed"}
    rule : {"linear", "easy", "none"}
        Target logit of ``arc`` where θ + m passes π; see `losses.functional.additive_angle`.
        ``easy`` holds for both kinds: no margin where cosθ <= 0, in the target logit alone; which
        classes count as above it is decided with the margin, as in the authors' layer.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor
    t: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.35,
        scale: float = 32.0,
        t: float = 0.2,
        kind: str = "am",
        emphasis: str = "adaptive",
        rule: str = "linear",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.kind_of_margin = kind
        self.emphasis = emphasis
        self.rule = rule
        self.add_hyperparameters(margin=margin, scale=scale, t=t)

    def margin_target(self, cosine: Tensor, rule: str) -> Tensor:
        """f under a rule, (B,)."""
        margin = self.margin.to(cosine.dtype)
        if self.kind_of_margin == "arc":
            return additive_angle(cosine, margin, rule)
        return (
            torch.where(cosine > 0, cosine - margin, cosine) if rule == "easy" else cosine - margin
        )

    def target(self, cosine: Tensor) -> Tensor:
        """f under the rule."""
        return self.margin_target(cosine, self.rule)

    def hard_rule(self, cosine: Tensor, target: Tensor) -> tuple[HardRule, Log]:
        """The logits above f are emphasised; ``easy`` has no say in which they are."""
        scale, t = self.scale.to(cosine.dtype), self.t.to(cosine.dtype)
        threshold = scale * self.margin_target(cosine, "none" if self.rule == "easy" else self.rule)
        return HardRule(threshold, EMPHASES[self.emphasis], (scale, t)), {}


def add(logits: Tensor, hard: Tensor, scale: Tensor, t: Tensor) -> None:
    """Make logits l + t·s where ``hard`` is 1, in place; the derivative is 1."""
    logits.add_(hard.mul_(t * scale))


def add_more_to_larger(logits: Tensor, hard: Tensor, scale: Tensor, t: Tensor) -> Tensor:
    """Make logits l + t·(l + s) where ``hard`` is 1, in place; the derivative. Uses ``hard`` up."""
    emphasis = hard.mul_(t)
    derivative = emphasis + 1
    logits.mul_(derivative).add_(emphasis.mul_(scale))
    return derivative


EMPHASES = {"fixed": add, "adaptive": add_more_to_larger}
