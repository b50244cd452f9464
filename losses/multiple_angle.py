"""Annealed multiplicative angular margin: what L-Softmax and SphereFace share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import unit_rows
from losses.heads import MarginHead, class_log

LARGEST_MARGIN = 5


def monotone_multiple_angle(cosine: Tensor, margin: Tensor) -> tuple[Tensor, Tensor]:
    """ψ(θ) = (-1)^k·cos(mθ) - 2k for θ in [kπ/m, (k+1)π/m], and its slope over cosθ.

    cos(mθ) is the Chebyshev polynomial T_m(cosθ), and its slope m·U_{m-1}(cosθ), so no arc cosine
    is taken and both are finite everywhere.

    Parameters
    ----------
    cosine : Tensor (B,)
    margin : Tensor ()
        m, one of 1..5.

    Returns
    -------
    psi, slope : Tensor (B,)
    """
    previous, multiple = torch.ones_like(cosine), cosine  # T_0, T_1
    slope_previous, slope_multiple = torch.zeros_like(cosine), torch.ones_like(cosine)  # U_-1, U_0
    psi, slope = multiple, slope_multiple
    for m in range(2, LARGEST_MARGIN + 1):
        previous, multiple = multiple, 2 * cosine * multiple - previous
        slope_previous, slope_multiple = (
            slope_multiple,
            2 * cosine * slope_multiple - slope_previous,
        )
        bounds = [math.cos(i * math.pi / m) for i in range(1, m)]
        k = sum((cosine <= bound).to(cosine.dtype) for bound in bounds)
        sign = 1 - 2 * (k % 2)
        psi = torch.where(margin == m, sign * multiple - 2 * k, psi)
        slope = torch.where(margin == m, sign * m * slope_multiple, slope)
    return psi, slope


class MultipleAngle(MarginHead):
    """Cross-entropy whose target logit has its angle multiplied. Mean over the batch.

    logit_j = w_j·x for the other classes, ‖w_y‖·‖x‖·(λ·cosθ_y + ψ(θ_y)) / (1 + λ) for the own one.
    λ = max(λ_min, base·(1 + γt)^-power), where t is 1 in the first forward pass. A subclass says
    what w is. At x = 0 the gradient is that of the logits without margin.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : int
        m in 1..5.
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
        margin: int,
        base: float,
        gamma: float,
        power: float,
        lambda_min: float,
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

    def rows(self, dtype: torch.dtype) -> Tensor:
        """w, (C, D): the class weights as they enter the logits."""
        return self.weight.to(dtype)

    def target(self, cosine: Tensor) -> Tensor:
        """(λ·cosθ + ψ(θ)) / (1 + λ)."""
        return cosine + self.shift(cosine)

    def shift(self, cosine: Tensor) -> Tensor:
        """(ψ(θ) - cosθ) / (1 + λ), exactly 0 where m is 1."""
        psi, _ = monotone_multiple_angle(cosine, self.margin.to(cosine.dtype))
        return (psi - cosine) / (1 + self.annealing().to(cosine.dtype))

    def added(self, embeddings: Tensor, own: Tensor, cosine: Tensor, radius: Tensor) -> Tensor:
        """What the margin adds to the target logit, (B,).

        Parameters
        ----------
        embeddings, own : Tensor (B, D)
            x and w_y.
        cosine, radius : Tensor (B,)
            cosθ_y and ‖w_y‖·‖x‖.
        """
        return radius * self.shift(cosine)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        weight = self.rows(embeddings.dtype)
        logits = embeddings @ weight.mT  # (B, C)
        own = weight[labels]  # (B, D)
        directions, lengths = unit_rows(embeddings)
        own_directions, own_lengths = unit_rows(own)
        cosine = (directions * own_directions).sum(dim=-1)  # (B,)
        added = self.added(embeddings, own, cosine, lengths * own_lengths)
        log = class_log(logits, labels, cosine, lengths) | {"lambda": self.annealing()}
        # In place: adding to one column copies neither the logits nor their gradient.
        shifted = logits.scatter_add_(-1, labels.unsqueeze(-1), added.unsqueeze(-1))
        return self.per_sample(shifted, labels).mean(), log

    def scores(self, embeddings: Tensor) -> Tensor:
        """w·x, (B, C)."""
        return embeddings @ self.rows(embeddings.dtype).mT

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """One step of the annealing."""
        self.steps.add_(1)
