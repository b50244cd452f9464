"""Multi-class N-pair loss."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from losses.base import Log
from losses.pairs import PairLoss, masked_logsumexp, masked_mean, pair_masks


class NPairs(PairLoss):
    """Multi-class N-pair loss. Sohn 2016, N-pair-mc.

    log(1 + Σ_{j≠i} exp(a_i·p_j - a_i·p_i)) with one anchor a and one positive p of each class: its
    first and second image in the batch. Other images, and classes with one image, take no part.
    Mean over the anchors (``active``). Inner products, not cosines, so the paper keeps the lengths
    small by a penalty: ``norm_weight`` times the mean squared length of anchors and positives.

    Logs: see `losses.pairs.PairLoss`; ``norm_term`` is the penalty.

    Parameters
    ----------
    num_classes, embedding_dim : int
    norm_weight : float
        >= 0.
    """

    measure: ClassVar[str] = "product"
    normalize = False
    norm_weight: Tensor

    def __init__(self, num_classes: int, embedding_dim: int, *, norm_weight: float = 0.0) -> None:
        super().__init__(num_classes, embedding_dim)
        self.add_hyperparameters(norm_weight=norm_weight)

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) by anchor."""
        anchors, positives = anchors_and_positives(positive)
        total, _ = masked_logsumexp(matrix, positives.expand_as(matrix))
        own = matrix.masked_fill(~(positive & positives), 0.0).sum(dim=1)
        return total - own, anchors

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        loss, log = super().evaluate(embeddings, labels)
        anchors, positives = anchors_and_positives(pair_masks(labels)[0])
        squares = embeddings.square().sum(dim=-1)
        penalty = self.norm_weight.to(loss.dtype) * masked_mean(squares, anchors | positives)
        return loss + penalty, {**log, "norm_term": penalty.detach()}


def anchors_and_positives(positive: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples (B,) are the first and which the second image of a class that has both."""
    earlier = positive.tril(-1).sum(dim=1)  # images of its class before it
    return (earlier == 0) & positive.any(dim=1), earlier == 1
