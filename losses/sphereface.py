"""Multiplicative angular margin with annealing (SphereFace, A-Softmax)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.heads import CosineHead

LARGEST_MARGIN = 5


def monotone_multiple_angle(cosine: Tensor, margin: Tensor) -> Tensor:
    """ψ(θ) = (-1)^k cos(mθ) - 2k for θ in [kπ/m, (k+1)π/m]. Liu et al. 2017, eq. 7.

    cos(mθ) is the Chebyshev polynomial T_m(cosθ), so no arc cosine is taken and the slope is finite
    everywhere.

    Parameters
    ----------
    cosine : Tensor (B,)
    margin : Tensor ()
        m, one of 1..5.

    Returns
    -------
    Tensor (B,)
    """
    previous, multiple = torch.ones_like(cosine), cosine
    psi = cosine
    for m in range(2, LARGEST_MARGIN + 1):
        previous, multiple = multiple, 2 * cosine * multiple - previous
        bounds = [math.cos(i * math.pi / m) for i in range(1, m)]
        k = sum((cosine <= bound).to(cosine.dtype) for bound in bounds)
        psi = torch.where(margin == m, (1 - 2 * (k % 2)) * multiple - 2 * k, psi)
    return psi


class SphereFace(CosineHead):
    """A-Softmax. Liu et al. 2017, eq. 6-7, annealed as in the authors' code. Mean over the batch.

    Target logit ‖x‖·(λ·cosθ_y + ψ(θ_y)) / (1 + λ), others ‖x‖·cosθ_j: class weights have length 1
    and no bias, the embedding keeps its own length. λ = max(λ_min, base·(1 + γt)^-power), where t
    is 1 in the first forward pass.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : int
        m in 1..5, multiple of the target angle; 1 is no margin.
    base, gamma, power, lambda_min : float
        The annealing, all >= 0.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor
    base: Tensor
    gamma: Tensor
    power: Tensor
    lambda_min: Tensor
    steps: Tensor

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
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.add_hyperparameters(
            margin=margin, base=base, gamma=gamma, power=power, lambda_min=lambda_min
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # optimizer steps done

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; annealing starts again."""
        super().reset_parameters(generator)
        self.steps.zero_()

    def annealing(self) -> Tensor:
        """λ of the coming step, ()."""
        step = (self.steps + 1).to(self.base.dtype)
        return torch.maximum(self.lambda_min, self.base * (1 + self.gamma * step) ** -self.power)

    def radius(self, lengths: Tensor) -> Tensor:
        """The embeddings' own lengths, (B,)."""
        return lengths

    def target(self, cosine: Tensor) -> Tensor:
        """(λ·cosθ + ψ(θ)) / (1 + λ)."""
        weight = self.annealing().to(cosine.dtype)
        psi = monotone_multiple_angle(cosine, self.margin.to(cosine.dtype))
        return (weight * cosine + psi) / (1 + weight)

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """One step of the annealing."""
        self.steps.add_(1)
