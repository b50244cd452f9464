"""Angular margin that grows with the embedding's length (MagFace)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import additive_angle
from losses.heads import CosineHead


class MagFace(CosineHead):
    """MagFace. Meng et al. 2021, section 3. Mean over the batch.

    Target logit s·cos(θ_y + m(a)), others s·cosθ_j, plus λ_g·g(a), where a is the embedding's
    length held in [l_a, u_a], m(a) = l_m + (u_m - l_m)·(a - l_a)/(u_a - l_a), and
    g(a) = a/u_a² + 1/a, which pulls a to u_a. Lengths outside [l_a, u_a] get no gradient from a.

    Logs ``margin`` (mean m(a), radians) and ``length_penalty`` (mean g(a)).

    Parameters
    ----------
    num_classes, embedding_dim : int
    scale : float
        s > 0.
    l_a, u_a : float
        Bounds of the length, 0 < l_a < u_a.
    l_m, u_m : float
        Margins at these bounds, radians in 0..π/2. The paper proves convergence for l_m <= u_m.
    lambda_g : float
        λ_g >= 0.
    rule : {"linear", "easy", "none"}
        Where θ + m passes π; see `losses.functional.additive_angle`.
    gradient : {"exact", "margin_detached"}
        m(a) depends on the embedding, or is a constant.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    l_a: Tensor
    u_a: Tensor
    l_m: Tensor
    u_m: Tensor
    lambda_g: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        scale: float = 64.0,
        l_a: float = 10.0,
        u_a: float = 110.0,
        l_m: float = 0.45,
        u_m: float = 0.8,
        lambda_g: float = 35.0,
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
        self.add_hyperparameters(scale=scale, l_a=l_a, u_a=u_a, l_m=l_m, u_m=u_m, lambda_g=lambda_g)

    def held(self, lengths: Tensor) -> Tensor:
        """a (B,): lengths (B,) held in [l_a, u_a]."""
        low, high = self.l_a.to(lengths.dtype), self.u_a.to(lengths.dtype)
        return torch.minimum(torch.maximum(lengths, low), high)

    def margin(self, held: Tensor) -> Tensor:
        """m(a), (B,)."""
        slope = (self.u_m - self.l_m) / (self.u_a - self.l_a)
        margin = self.l_m.to(held.dtype) + slope.to(held.dtype) * (held - self.l_a.to(held.dtype))
        return margin if self.gradient == "exact" else margin.detach()

    def target(self, cosine: Tensor) -> Tensor:
        """cos(θ + m) under the rule, for the margin of the middle length."""
        middle = ((self.l_m + self.u_m) / 2).to(cosine.dtype)
        return additive_angle(cosine, middle, self.rule)

    def sample_shift(self, cosine: Tensor, lengths: Tensor) -> Tensor:
        """cos(θ + m(a)) - cosθ under the rule."""
        return additive_angle(cosine, self.margin(self.held(lengths)), self.rule) - cosine

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        loss, log = super().evaluate(embeddings, labels)
        held = self.held(torch.linalg.vector_norm(embeddings, dim=-1))
        penalty = (held / self.u_a.to(held.dtype) ** 2 + 1 / held).mean()
        log["margin"] = self.margin(held).detach().mean()
        log["length_penalty"] = penalty.detach()
        return loss + self.lambda_g.to(held.dtype) * penalty, log
