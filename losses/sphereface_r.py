"""Multiplicative angular margin with a real factor and a scale (SphereFace-R)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import angle, angle_sum_cosine, straight_through
from losses.heads import CosineHead


class SphereFaceR(CosineHead):
    """SphereFace-R. Liu et al. 2022, version 1 with normalised features. Mean over the batch.

    Target logit s·cos(min(mθ_y, π)), others s·cosθ_j, for any real m >= 1, without annealing.

    With rule ``none`` it is the SphereFace of the ArcFace paper (Deng et al. 2019, eq. 4 with m2 =
    m3 = 0), whose target logit rises again past π/m. With ``psi`` it is the curve of the first
    paper, (-1)^k·cos(mθ) - 2k with k = floor(mθ/π), which falls on the whole range.

    Logs ``past_limit``, the share of samples with mθ > π, where the rule decides. The exact
    gradient of ``clip`` is zero there.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m, multiple of the target angle, 1..4; 1 is no margin.
    scale : float
        s > 0.
    rule : {"clip", "psi", "none"}
        Where mθ passes π; see above.
    gradient : {"straight_through", "exact"}
        ``straight_through``: the value with the derivative of s·cosθ, the paper's "characteristic
        gradient detachment". ``exact``: the derivative of the target logit.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 1.5,
        scale: float = 30.0,
        rule: str = "clip",
        gradient: str = "straight_through",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.rule = rule
        self.gradient = gradient
        self.add_hyperparameters(margin=margin, scale=scale)

    def target(self, cosine: Tensor) -> Tensor:
        """cos(mθ) under the rule."""
        margin, theta = self.margin.to(cosine.dtype), angle(cosine)
        value = angle_sum_cosine(cosine, (margin - 1) * theta)  # cosθ itself where m is 1
        if self.rule == "clip":
            value = torch.where(margin * theta <= math.pi, value, torch.full_like(cosine, -1.0))
        elif self.rule == "psi":
            k = (margin * theta.detach() / math.pi).floor()
            value = (1 - 2 * (k % 2)) * value - 2 * k
        return value if self.gradient == "exact" else straight_through(value, cosine)

    def target_log(self, cosine: Tensor) -> Log:
        """Share of target angles past π/m."""
        past = self.margin.to(cosine.dtype) * cosine.clamp(-1, 1).acos() > math.pi
        return {"past_limit": past.to(cosine.dtype).mean()}
