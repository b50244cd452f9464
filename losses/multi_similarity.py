"""Multi-similarity loss."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.pairs import PairLoss, log_one_plus_sum


class MultiSimilarity(PairLoss):
    """Multi-similarity loss. Wang et al. 2019, MS loss, with the paper's pair mining.

    (1/α)·log(1 + Σ_p e^(-α·(s_p - λ))) + (1/β)·log(1 + Σ_n e^(β·(s_n - λ))) over the cosines s_p to
    the positives and s_n to the negatives of an anchor. Mean over all anchors of the batch, also
    those without pairs, whose term is 0.

    Mining keeps the negatives with s_n > min s_p - ε and the positives with s_p < max s_n + ε; an
    anchor without positives or without negatives keeps no pair.

    Logged beside what `losses.pairs.PairLoss` says: ``positive_pairs`` and ``negative_pairs``, the
    ordered pairs that are kept; ``active`` counts the anchors that keep any.

    Parameters
    ----------
    num_classes, embedding_dim : int
    alpha, beta : float
        α, β > 0, inverse cosines.
    base : float
        λ, cosine.
    mining : bool
    epsilon : float
        ε >= 0, cosine.
    """

    alpha: Tensor
    beta: Tensor
    base: Tensor
    epsilon: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining: bool = True,
        epsilon: float = 0.1,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.mining = mining
        self.add_hyperparameters(alpha=alpha, beta=beta, base=base, epsilon=epsilon)

    def mine(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """The positive and negative pairs that are kept, (B, B)."""
        if not self.mining:
            return positive, negative
        matrix, epsilon = matrix.detach(), self.epsilon.to(matrix.dtype)
        lowest = matrix.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
        highest = matrix.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
        return positive & (matrix - epsilon < highest), negative & (matrix + epsilon > lowest)

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) by anchor."""
        positive, negative = self.mine(matrix, positive, negative)
        alpha, beta = self.alpha.to(matrix.dtype), self.beta.to(matrix.dtype)
        above = matrix - self.base.to(matrix.dtype)
        pull = log_one_plus_sum(-alpha * above, positive) / alpha
        push = log_one_plus_sum(beta * above, negative) / beta
        return pull + push, (positive | negative).any(dim=1)

    def reduce(self, terms: Tensor, counted: Tensor, positive: Tensor) -> Tensor:
        """Mean over the batch."""
        return terms.mean()

    def extra_log(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> Log:
        """Pairs that are kept."""
        kept = self.mine(matrix, positive, negative)
        keys = ("positive_pairs", "negative_pairs")
        return {key: mask.to(matrix.dtype).sum() for key, mask in zip(keys, kept, strict=True)}
