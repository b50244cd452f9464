"""Additive angular margin (ArcFace)."""

from __future__ import annotations

from torch import Tensor

from losses.base import Log
from losses.functional import additive_angle, straight_through
from losses.heads import CosineHead


class ArcFace(CosineHead):
    """Additive angular margin loss. Deng et al. 2019, eq. 3. Mean over the batch.

    Target logit s·cos(θ_y + m), others s·cosθ_j.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m in radians, 0..π/2.
    scale : float
        s > 0.
    rule : {"linear", "easy", "none", "clip"}
        Where θ + m passes π; see `losses.functional.additive_angle`.
    gradient : {"exact", "straight_through"}
        ``exact``: derivative of the target logit, as in the paper. ``straight_through``: its value
        with the derivative of s·cosθ, as in insightface's PyTorch code.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.5,
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
        self.add_hyperparameters(margin=margin, scale=scale)

    def target(self, cosine: Tensor) -> Tensor:
        """cos(θ + m) under the rule."""
        value = additive_angle(cosine, self.margin.to(cosine.dtype), self.rule)
        return value if self.gradient == "exact" else straight_through(value, cosine)

    def target_log(self, cosine: Tensor) -> Log:
        """Share of target angles past π - m, where the rule decides."""
        past = cosine < -self.margin.to(cosine.dtype).cos()
        return {"past_limit": past.to(cosine.dtype).mean()}
