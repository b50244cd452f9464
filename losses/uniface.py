"""Unified cross-entropy (UniFace)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.binary import BinaryHead
from losses.blocks import Change


class UniFace(BinaryHead):
    """Unified cross-entropy loss with a cosine margin. Zhou et al. 2023 (ICCV). Mean over batch.

    log(1 + e^(-s(cosθ_y - m) + b)) + λ·Σ_{j≠y} log(1 + e^(s·cosθ_j - b)).

    One threshold b/s parts the cosines to own classes from those to others. b () is learned and
    starts at ln(10·C). It is taken from the logits; `losses.sphereface2` adds its own.

    Departs from the authors' code, which clamps the logits to ±s: there, samples beyond it get no
    gradient, and the loss differs.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m >= 0, in units of cosine.
    scale : float
        s > 0.
    negative_weight : float
        λ >= 0, weight of the other classes.
    weight_norm : float
        See `losses.heads.ClassWeights`.
    """

    margin: Tensor
    scale: Tensor
    negative_weight: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        negative_weight: float = 1.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, weight_norm=weight_norm)
        self.add_hyperparameters(margin=margin, scale=scale, negative_weight=negative_weight)
        self.add_bias()

    def initial_bias(self) -> float:
        """ln(10·C)."""
        return math.log(10 * self.num_classes)

    def plain(self, cosines: Tensor) -> Tensor:
        """s·cosθ - b."""
        return self.scale.to(cosines.dtype) * cosines - self.bias.to(cosines.dtype)

    def target(self, cosine: Tensor) -> Tensor:
        """s(cosθ - m) - b."""
        return self.plain(cosine - self.margin.to(cosine.dtype))

    def radius(self, dtype: torch.dtype) -> Tensor:
        """s."""
        return self.scale.to(dtype)

    def negatives(self, dtype: torch.dtype) -> tuple[Change, tuple[Tensor, ...]]:
        """s·cosθ_j - b."""
        return add, (-self.bias.to(dtype),)

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """1 and λ."""
        negative = self.negative_weight.to(dtype)
        return torch.ones_like(negative), negative


def add(products: Tensor, offset: Tensor) -> None:
    """Make products logits, in place."""
    products.add_(offset)
