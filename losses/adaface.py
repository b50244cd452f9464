"""Margin that follows the embedding's length among those of the batches (AdaFace)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import additive_angle
from losses.heads import CosineHead

START_MEAN, START_DEVIATION = 20.0, 100.0


class AdaFace(CosineHead):
    """Quality adaptive margin. Kim et al. 2022, section 3.3. Mean over the batch.

    Target logit s·(cos(θ_y + g_angle) - g_add), others s·cosθ_j, with g_angle = -m·q,
    g_add = m·q + m and q = (‖x‖ - μ)·h/σ held in [-1, 1]. q = -1 is ArcFace, 0 is CosFace.

    μ and σ are running means of the mean and the standard deviation (unbiased, of 2 samples or
    more) of the lengths in a batch, this one included; they start at 20 and 100 and are constants
    in the gradient. No epsilon is added to them, and lengths are not clipped.

    Logs ``quality`` (mean q), ``norm_mean`` and ``norm_deviation`` (μ and σ as used).

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m in 0..π/2, in radians for the angle and in cosine for what is taken from it.
    scale : float
        s > 0.
    h : float
        Concentration > 0: the larger, the more samples have q at ±1.
    t_alpha : float
        In [0, 1], weight of the new batch in μ and σ.
    rule : {"clip", "none"}
        θ + g_angle is held in [0, π], as in the authors' code, or not.
    gradient : {"norm_detached", "norm_attached"}
        q is a constant, as in the paper, or the gradient flows through ‖x‖ in it.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor
    h: Tensor
    t_alpha: Tensor
    norm_mean: Tensor
    norm_deviation: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        h: float = 0.333,
        t_alpha: float = 0.01,
        rule: str = "clip",
        gradient: str = "norm_detached",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.rule = rule
        self.gradient = gradient
        self.add_hyperparameters(margin=margin, scale=scale, h=h, t_alpha=t_alpha)
        for name, start in (("norm_mean", START_MEAN), ("norm_deviation", START_DEVIATION)):
            self.register_buffer(name, torch.tensor(start, dtype=torch.float64))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; the statistics start again."""
        super().reset_parameters(generator)
        self.norm_mean.fill_(START_MEAN)
        self.norm_deviation.fill_(START_DEVIATION)

    def statistics(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ, () each, with the batch of these lengths (B,) counted."""
        lengths = lengths.detach().to(self.norm_mean.dtype)
        mean = torch.lerp(self.norm_mean, lengths.mean(), self.t_alpha)
        if len(lengths) < 2:
            return mean, self.norm_deviation.clone()
        return mean, torch.lerp(self.norm_deviation, lengths.std(), self.t_alpha)

    def quality(self, lengths: Tensor) -> Tensor:
        """q (B,) of embeddings of these lengths (B,), with their batch counted."""
        mean, deviation = self.statistics(lengths)
        if self.gradient == "norm_detached":
            lengths = lengths.detach()
        slope = (self.h / deviation.clamp_min(1e-12)).to(lengths.dtype)
        return ((lengths - mean.to(lengths.dtype)) * slope).clamp(-1, 1)

    def quality_target(self, cosine: Tensor, quality: Tensor) -> Tensor:
        """cos(θ + g_angle) - g_add (B,) under the rule, for q (B,) or ()."""
        margin = self.margin.to(cosine.dtype)
        return additive_angle(cosine, -margin * quality, self.rule) - margin * (quality + 1)

    def target(self, cosine: Tensor) -> Tensor:
        """cosθ - m, the target logit of a sample of average length."""
        return self.quality_target(cosine, torch.zeros_like(cosine))

    def sample_shift(self, cosine: Tensor, lengths: Tensor) -> Tensor:
        """The target logit of these lengths less cosθ."""
        return self.quality_target(cosine, self.quality(lengths)) - cosine

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        loss, log = super().evaluate(embeddings, labels)
        with torch.no_grad():
            lengths = torch.linalg.vector_norm(embeddings, dim=-1)
            log["quality"] = self.quality(lengths).mean()
            log["norm_mean"], log["norm_deviation"] = self.statistics(lengths)
        return loss, log

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """μ and σ move on."""
        lengths = torch.linalg.vector_norm(embeddings.to(self.norm_mean.dtype), dim=-1)
        mean, deviation = self.statistics(lengths)
        self.norm_mean.copy_(mean)
        self.norm_deviation.copy_(deviation)
