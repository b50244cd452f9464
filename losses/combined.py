"""Three margins at once: on the angle as factor and as sum, and on the cosine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import angle, angle_sum_cosine, straight_through
from losses.heads import CosineHead


class CombinedMargin(CosineHead):
    """Combined margin. Deng et al. 2019, eq. 4. Mean over the batch.

    Target logit s·(cos(m1·θ_y + m2) - m3), others s·cosθ_j. All three act together: m = (1, .3, .2)
    at θ = 1 gives cos(1.3) - 0.2. (1, m, 0) is ArcFace, (1, 0, m) CosFace, (m, 0, 0) SphereFace
    with a scale.

    Past m1·θ + m2 = π, which is at θ = π - e with e = π - (π - m2) / m1, rule ``none`` leaves the
    cosine, which rises again; ``clip`` gives -1 - m3; ``linear`` gives cosθ - d - m3 with
    d = max(e·sin e, 1 - cos e). With m1 = 1, e is m2 and d is m2·sin m2, the form of the authors'
    code. With another m1 nobody has defined it: the greater term keeps the curve from rising at the
    limit.

    Logs ``past_limit``, the share of samples past the limit.

    Parameters
    ----------
    num_classes, embedding_dim : int
    angle_factor : float
        m1, multiple of the target angle, 0.5..4.
    angle_margin : float
        m2 in radians, 0..π/2.
    cosine_margin : float
        m3 in units of cosine, 0..2.
    scale : float
        s > 0.
    rule : {"linear", "none", "clip"}
        See above.
    gradient : {"exact", "straight_through"}
        ``exact``: derivative of the target logit. ``straight_through``: its value with the
        derivative of s·cosθ.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    angle_factor: Tensor
    angle_margin: Tensor
    cosine_margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        angle_factor: float = 1.0,
        angle_margin: float = 0.3,
        cosine_margin: float = 0.2,
        scale: float = 64.0,
        rule: str = "linear",
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.rule = rule
        self.gradient = gradient
        self.add_hyperparameters(
            angle_factor=angle_factor,
            angle_margin=angle_margin,
            cosine_margin=cosine_margin,
            scale=scale,
        )

    def inside(self, cosine: Tensor) -> Tensor:
        """Where m1·θ + m2 <= π, (B,)."""
        factor, angle_margin = (m.to(cosine.dtype) for m in (self.angle_factor, self.angle_margin))
        return factor * cosine.detach().clamp(-1, 1).acos() + angle_margin <= math.pi

    def target(self, cosine: Tensor) -> Tensor:
        """cos(m1·θ + m2) - m3 under the rule."""
        factor, angle_margin, cosine_margin = (
            m.to(cosine.dtype) for m in (self.angle_factor, self.angle_margin, self.cosine_margin)
        )
        # Written as an addition to θ, it is exact in its margins 1, 0, 0.
        value = angle_sum_cosine(cosine, (factor - 1) * angle(cosine) + angle_margin)
        if self.rule == "clip":
            value = torch.where(self.inside(cosine), value, torch.full_like(cosine, -1.0))
        elif self.rule == "linear":
            effective = math.pi - (math.pi - angle_margin) / factor
            drop = torch.maximum(effective * effective.sin(), 1 - effective.cos())
            value = torch.where(self.inside(cosine), value, cosine - drop)
        value = value - cosine_margin
        return value if self.gradient == "exact" else straight_through(value, cosine)

    def target_log(self, cosine: Tensor) -> Log:
        """Share of target angles past the limit."""
        return {"past_limit": (~self.inside(cosine)).to(cosine.dtype).mean()}
