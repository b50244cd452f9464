"""Triplet loss with batch-hard mining."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from losses.base import Log, Loss
from losses.functional import unit_rows


def hardest(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each sample the farthest of its class and the nearest of another.

    Parameters
    ----------
    embeddings : Tensor (B, D)
    labels : Tensor (B,)

    Returns
    -------
    positive, negative : Tensor (B,)
        Their positions; meaningless where there is none.
    valid : Tensor (B,)
        bool: there is another sample of the class, and one of another class.
    """
    with torch.no_grad():
        centered = embeddings - embeddings.mean(dim=0)  # same distances, less cancellation
        squares = centered.square().sum(dim=-1)
        # Squared, by products: enough to rank; the loss measures the chosen pairs exactly.
        distances = squares.unsqueeze(1) + squares - 2 * centered @ centered.mT
        same = labels.unsqueeze(1) == labels
        other = ~torch.eye(labels.shape[0], dtype=torch.bool, device=labels.device)
        positive = distances.masked_fill(~(same & other), -torch.inf).argmax(dim=1)
        negative = distances.masked_fill(same, torch.inf).argmin(dim=1)
        valid = (same & other).any(dim=1) & (~same).any(dim=1)
    return positive, negative, valid


class BatchHardTriplet(Loss):
    """Triplet loss, batch hard. Hermans et al. 2017, eq. 5 (hinge) and section 3.2 (soft margin).

    h(max_p d(a, p) - min_n d(a, n)) with h(z) = log(1 + e^z), or max(0, m + z); mean over the
    anchors that have both a positive (another sample of their class) and a negative. Those are
    counted in ``active``; without any the loss is 0.

    Parameters
    ----------
    num_classes, embedding_dim : int
    soft_margin : bool
        Softplus in place of the hinge; the margin then has no effect.
    margin : float
        m >= 0, in units of the distance used.
    squared : bool
        Squared Euclidean distance in place of the Euclidean.
    normalize : bool
        Embeddings are scaled to length 1 first.
    """

    kind: ClassVar[str] = "embedding"
    margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        soft_margin: bool = True,
        margin: float = 0.2,
        squared: bool = False,
        normalize: bool = False,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.soft_margin = soft_margin
        self.squared = squared
        self.normalize = normalize
        self.add_hyperparameters(margin=margin)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        points = directions if self.normalize else embeddings
        positive, negative, valid = hardest(points, labels)
        gap = self.distance(points, points[positive]) - self.distance(points, points[negative])
        terms = softplus(gap) if self.soft_margin else (self.margin.to(gap.dtype) + gap).relu()
        active = valid.to(gap.dtype).sum()
        loss = torch.where(valid, terms, torch.zeros_like(terms)).sum() / active.clamp_min(1)
        return loss, {"active": active, "embedding_norm": lengths.detach().mean()}

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Row-wise distance (B,) of two (B, D); exact for duplicates, where its gradient is 0."""
        difference = first - second
        if self.squared:
            return difference.square().sum(dim=-1)
        return torch.linalg.vector_norm(difference, dim=-1)
