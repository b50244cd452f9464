"""Additive angular margin with several centers a class (Sub-center ArcFace)."""

from __future__ import annotations

import functools

from torch import Tensor

from losses.arcface import ArcFace
from losses.functional import larger


class SubcenterArcFace(ArcFace):
    """Sub-center ArcFace. Deng et al. 2020, section 3.2. Mean over the batch.

    cosθ_j = max_k cos∠(x, W_jk) over the K sub-centers of class j, for the own class and the
    others; then as ArcFace: target logit s·cos(θ_y + m), others s·cosθ_j. Of
    sub-centers that are equally near, the first gets the gradient.

    The paper's second stage (samples more than 75° from their class's dominant sub-center are
    dropped, then one center a class is trained) is a matter of data, not of the loss.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m in radians, 0..π/2.
    scale : float
        s > 0.
    sub_centers : int
        K >= 1; ``weight`` has the shape (C, K, D). 1 is ArcFace.
    rule : {"linear", "easy", "none", "clip"}
        Where θ + m passes π; see `losses.functional.additive_angle`.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.5,
        scale: float = 64.0,
        sub_centers: int = 3,
        rule: str = "linear",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        self.sub_centers = sub_centers  # before the weights are made
        super().__init__(
            num_classes,
            embedding_dim,
            margin=margin,
            scale=scale,
            rule=rule,
            label_smoothing=label_smoothing,
            weight_norm=weight_norm,
        )

    def weight_shape(self) -> tuple[int, ...]:
        """(C, K, D)."""
        return (self.num_classes, self.sub_centers, self.embedding_dim)

    def class_logits(self, vectors: Tensor, weight: Tensor) -> Tensor:
        """Largest inner product (B, C) of vectors (B, D) with the rows of weight (C, K, D)."""
        products = [vectors @ rows.mT for rows in weight.unbind(dim=-2)]
        return functools.reduce(larger, products)

    def own_cosine(self, directions: Tensor, own: Tensor) -> Tensor:
        """Largest cosine (B,) of directions (B, D) with the rows of own (B, K, D)."""
        return (directions.unsqueeze(-2) * own).sum(dim=-1).max(dim=-1).values
