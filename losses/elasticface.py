"""Margin drawn anew for each sample (ElasticFace)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.counters import counter_normal
from losses.functional import additive_angle
from losses.heads import CosineHead


class ElasticFace(CosineHead):
    """ElasticFace. Boutros et al. 2022, ElasticFace-Arc and -Cos. Mean over the batch.

    Target logit s·cos(θ_y + m_i) (``arc``) or s·(cosθ_y - m_i) (``cos``), others s·cosθ_j; each
    sample in each step draws its own margin m_i ~ Normal(μ, σ).

    With ``plus`` the margins of the batch are handed out by difficulty: the largest to the sample
    with the smallest target cosine, and so on. The authors' code means to do so, but indexes the
    sorted margins with the sorting permutation in place of its inverse; that is not copied.

    The numbers drawn depend on a seed, the step and the place in the batch alone. Seed and step are
    state. Logs ``margin``, the batch's mean.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        μ, in radians for ``arc`` and in cosine for ``cos``.
    deviation : float
        σ >= 0, in the unit of μ; 0 is ArcFace or CosFace.
    scale : float
        s > 0.
    kind : {"arc", "cos"}
    plus : bool
        Margins by difficulty (ElasticFace+).
    rule : {"linear", "clip", "none"}
        ``arc`` only, where θ + m passes π; see `losses.functional.additive_angle`.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor
    deviation: Tensor
    seed: Tensor
    steps: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.5,
        deviation: float = 0.05,
        scale: float = 64.0,
        kind: str = "arc",
        plus: bool = False,
        rule: str = "linear",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.kind_of_margin = kind
        self.plus = plus
        self.rule = rule
        self.add_hyperparameters(margin=margin, deviation=deviation, scale=scale)
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # optimizer steps done

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows and the seed of the margins; steps count from 0."""
        super().reset_parameters(generator)
        device = "cpu" if generator is None else generator.device
        self.seed.copy_(torch.randint(2**62, (), generator=generator, device=device))
        self.steps.zero_()

    def draw(self, count: int) -> Tensor:
        """Margins (count,) of this step, float64, in the order of the batch."""
        return self.margin + self.deviation * counter_normal(self.seed, self.steps, count)

    def margins(self, cosine: Tensor) -> Tensor:
        """The samples' margins (B,), from their target cosines (B,)."""
        margins = self.draw(cosine.shape[-1]).to(cosine.dtype)
        if not self.plus:
            return margins
        hardest_first = cosine.detach().argsort(dim=-1)
        largest_first = margins.sort(dim=-1, descending=True).values
        return torch.zeros_like(cosine).scatter(-1, hardest_first, largest_first)

    def margin_target(self, cosine: Tensor, margin: Tensor) -> Tensor:
        """Target logit (B,) for margins (B,) or ()."""
        if self.kind_of_margin == "cos":
            return cosine - margin
        return additive_angle(cosine, margin, self.rule)

    def target(self, cosine: Tensor) -> Tensor:
        """The target logit for the mean margin."""
        return self.margin_target(cosine, self.margin.to(cosine.dtype))

    def sample_shift(self, cosine: Tensor, lengths: Tensor) -> Tensor:
        """The target logit for each sample's margin, less cosθ."""
        return self.margin_target(cosine, self.margins(cosine)) - cosine

    def target_log(self, cosine: Tensor) -> Log:
        """The mean margin of the batch."""
        return {"margin": self.draw(cosine.shape[-1]).mean()}

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """One step on: other margins."""
        self.steps.add_(1)
