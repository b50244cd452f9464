"""Additive cosine margin (CosFace, AM-Softmax)."""

from __future__ import annotations

from torch import Tensor

from losses.heads import CosineHead


class CosFace(CosineHead):
    """Large margin cosine loss. Wang et al. 2018, eq. 4. Mean over the batch.

    Target logit s·(cosθ_y - m), others s·cosθ_j.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m >= 0, in units of cosine. For C classes on a circle it can be satisfied up to 1 -
        cos(2π/C) (eq. 7).
    scale : float
        s > 0.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.35,
        scale: float = 64.0,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.add_hyperparameters(margin=margin, scale=scale)

    def target(self, cosine: Tensor) -> Tensor:
        """cosθ - m."""
        return cosine + self.shift(cosine)

    def shift(self, cosine: Tensor) -> Tensor:
        """-m, without the detour over the target cosine, whose gradient would cancel."""
        return -self.margin.to(cosine.dtype).expand_as(cosine)
