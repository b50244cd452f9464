"""SoftTriple loss: a softmax over classes of several centers."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import unit_rows
from losses.heads import ClassifierLoss, class_log


class SoftTriple(ClassifierLoss):
    """SoftTriple loss. Qian et al. 2019, with adaptive number of centers. Mean over the batch.

    Cross-entropy of the logits λ(S_y - δ) and λ·S_j. S_j = Σ_k q_k·cos(x, w_jk) is the similarity to
    class j, with q = softmax_k(cos(x, w_jk) / γ) over its K centers. To it is added
    τ/(C·K(K - 1))·Σ_j Σ_{k<l} sqrt(2 - 2cos(w_jk, w_jl) + ε), which draws the centers of a class
    together until some are one.

    The centers are ``weight`` (C, K, D). ``target_angle`` is the angle to the nearest own center.
    Logs ``regularizer``, the last term.

    Parameters
    ----------
    num_classes, embedding_dim : int
    centers : int
        K >= 1; with 1 there is no regulariser.
    scale : float
        λ > 0.
    temperature : float
        γ > 0.
    margin : float
        δ >= 0, in units of cosine.
    regularization : float
        τ >= 0.
    epsilon : float
        ε >= 0. With 0 the root has no gradient where two centers are one, and a steep one near it.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    scale: Tensor
    temperature: Tensor
    margin: Tensor
    regularization: Tensor
    epsilon: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        centers: int = 10,
        scale: float = 20.0,
        temperature: float = 0.1,
        margin: float = 0.01,
        regularization: float = 0.2,
        epsilon: float = 1e-5,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        self.centers = centers
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.add_hyperparameters(
            scale=scale,
            temperature=temperature,
            margin=margin,
            regularization=regularization,
            epsilon=epsilon,
        )

    def weight_shape(self) -> tuple[int, ...]:
        """(C, K, D)."""
        return (self.num_classes, self.centers, self.embedding_dim)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        centers = self.unit_weight(embeddings.dtype)  # (C, K, D)
        similarity = self.similarity(directions, centers)  # (B, C)
        index = labels.unsqueeze(-1)
        margin = self.margin.to(similarity.dtype).neg().expand(index.shape)
        logits = self.scale.to(similarity.dtype) * similarity.scatter_add(-1, index, margin)
        regularizer = self.regularizer(centers)
        with torch.no_grad():
            own = (centers[labels] @ directions.unsqueeze(-1)).squeeze(-1).amax(dim=-1)  # (B,)
        log = class_log(similarity, labels, own, lengths) | {"regularizer": regularizer.detach()}
        return self.per_sample(logits, labels).mean() + regularizer, log

    def similarity(self, directions: Tensor, centers: Tensor) -> Tensor:
        """S (B, C) of unit embeddings (B, D) to the classes of unit centers (C, K, D)."""
        by_center = centers.movedim(1, 0)  # (K, C, D): classes last, over which torch is fast
        cosines = (directions @ by_center.flatten(0, 1).mT).unflatten(-1, by_center.shape[:2])
        share = (cosines / self.temperature.to(cosines.dtype)).softmax(dim=-2)
        return (share * cosines).sum(dim=-2)

    def regularizer(self, centers: Tensor) -> Tensor:
        """τ times the mean distance, times a half, of two centers of a class, ()."""
        if self.centers == 1:
            return centers.sum() * 0
        count = self.centers
        first, second = torch.triu_indices(count, count, offset=1, device=centers.device)
        products = (centers @ centers.mT).flatten(-2)  # (C, K²)
        products = products.index_select(-1, first * count + second)  # (C, K(K - 1)/2)
        squares = (2 - 2 * products).clamp_min(0) + self.epsilon.to(centers.dtype)
        # A root of 0 has an infinite slope: those are left out.
        roots = torch.where(squares > 0, squares, 1.0).sqrt() * (squares > 0)
        return self.regularization.to(centers.dtype) / 2 * roots.mean()

    def scores(self, embeddings: Tensor) -> Tensor:
        """λ·S, (B, C)."""
        similarity = self.similarity(unit_rows(embeddings)[0], self.unit_weight(embeddings.dtype))
        return self.scale.to(similarity.dtype) * similarity
