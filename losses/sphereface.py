"""Multiplicative angular margin with annealing (SphereFace, A-Softmax)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.functional import ZERO_LENGTH
from losses.multiple_angle import MultipleAngle, monotone_multiple_angle


class SphereFace(MultipleAngle):
    """A-Softmax. Liu et al. 2017, eq. 6-7, annealed as in the authors' code. Mean over the batch.

    Target logit ‖x‖·(λ·cosθ_y + ψ(θ_y)) / (1 + λ), others ‖x‖·cosθ_j, with ψ(θ) = (-1)^k·cos(mθ) -
    2k for θ in [kπ/m, (k+1)π/m]: class weights have length 1 and no bias, the embedding keeps its
    own length. λ = max(λ_min, base·(1 + γt)^-power), where t is 1 in the first forward pass.

    The gradient ``caffe`` is that of the authors' Caffe layer, which is not the derivative of the
    loss. The derivative of ‖x‖·ψ(θ) with respect to x is a·w + b·x with a = dψ/dcosθ and
    b = (ψ - a·cosθ) / ‖x‖; the layer divides both by sqrt(a² + b²). To the class weights it passes
    the derivative of the logits without margin. Here, what is along a weight row is left out of the
    row's gradient, where the layer scales the rows to length 1 before each step.

    Logs λ as ``lambda``. State: ``steps``, the optimizer steps done. At x = 0 the gradient is that
    of the logits without margin.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : int
        m in 1..5, multiple of the target angle; 1 is no margin. The authors' code ends at 4.
    base, gamma, power, lambda_min : float
        The annealing, all >= 0.
    gradient : {"exact", "caffe"}
        See above; the value of the loss is the same.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: int = 4,
        base: float = 1000.0,
        gamma: float = 0.12,
        power: float = 1.0,
        lambda_min: float = 5.0,
        gradient: str = "exact",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes,
            embedding_dim,
            margin=margin,
            base=base,
            gamma=gamma,
            power=power,
            lambda_min=lambda_min,
            label_smoothing=label_smoothing,
            weight_norm=weight_norm,
        )
        self.gradient = gradient

    def rows(self, dtype: torch.dtype) -> Tensor:
        """The class weights at length 1, (C, D)."""
        return self.unit_weight(dtype)

    def added(self, embeddings: Tensor, own: Tensor, cosine: Tensor, radius: Tensor) -> Tensor:
        """See `MultipleAngle.added`."""
        if self.gradient == "exact":
            return super().added(embeddings, own, cosine, radius)
        with torch.no_grad():
            value = super().added(embeddings, own, cosine, radius)
            psi, slope = monotone_multiple_angle(cosine, self.margin.to(cosine.dtype))
            along_own, along_self = slope * radius, psi - slope * cosine  # a·‖x‖, b·‖x‖
            length = torch.hypot(along_own, along_self).clamp_min(ZERO_LENGTH)
            # The logit without margin has brought w already.
            direction = (along_own / length - 1).unsqueeze(-1) * own
            direction = direction + (along_self / length).unsqueeze(-1) * embeddings
            direction = direction / (1 + self.annealing().to(cosine.dtype))
        carrier = (direction * embeddings).sum(dim=-1)  # its derivative is the direction
        return value + (carrier - carrier.detach())
