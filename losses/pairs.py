"""What the losses of pairs share: the pairs of a batch, sums over some of them, one base class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from losses.base import Log, Loss
from losses.functional import unit_rows


def pair_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative pairs (B, B) of labels (B,), bool; no sample is paired with itself."""
    same = labels.unsqueeze(1) == labels
    itself = torch.eye(labels.shape[0], dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distances (B, B') of rows, from their differences: 0 for duplicates, without slope.

    Distances from inner products would be off by sqrt(eps)·length there. On a GPU the backward pass
    holds B·B'·D numbers for a moment.
    """
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def chord_angle(near: Tensor, far: Tensor) -> Tensor:
    """Angle between unit vectors u, v from ‖u - v‖ and ‖u + v‖: exact at 0 and π, slope at most 1.

    A zero vector is at π/2 to everything.
    """
    empty = (near == 0) & (far == 0)
    one = torch.ones_like(near)
    return 2 * torch.atan2(torch.where(empty, one, near), torch.where(empty, one, far))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean () of the values where the mask is true; 0 where it is nowhere."""
    total = torch.where(mask, values, torch.zeros_like(values)).sum()
    return total / mask.sum().to(values.dtype).clamp_min(1)


def masked_logsumexp(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """log Σ exp over the last axis where the mask is true, and whether it is anywhere.

    Without any the value is finite, has no meaning, and no gradient.
    """
    some = mask.any(dim=-1)
    # A row of -inf alone: minus infinity, and in some versions of torch a gradient of nan.
    rest = torch.zeros_like(values).masked_fill(some.unsqueeze(-1), -torch.inf)
    return torch.where(mask, values, rest).logsumexp(dim=-1), some


def log_one_plus_sum(values: Tensor, mask: Tensor) -> Tensor:
    """log(1 + Σ exp) over the last axis where the mask is true; 0 without any."""
    kept = values.masked_fill(~mask, -torch.inf)
    return torch.cat([kept, torch.zeros_like(kept[..., :1])], dim=-1).logsumexp(dim=-1)


class PairLoss(Loss):
    """A loss of the pairs of a batch, which it compares by one number each.

    A subclass gives ``terms``: from the (B, B) comparisons, what is reduced and which entries of it
    count. By default pairs are compared by their cosine, and the terms that count are averaged. A
    batch without any has loss 0 and no gradient.

    Logged: ``active``, the terms that count; ``nonzero``, those of them above 0;
    ``embedding_norm``; ``positive_…`` and ``negative_…``, the mean comparison of the batch's pairs.
    """

    kind: ClassVar[str] = "embedding"
    measure: ClassVar[str] = "cosine"
    """What pairs are compared by, for the log's keys."""

    normalize: bool = True
    """Embeddings are scaled to length 1 before they are compared."""

    def comparisons(self, points: Tensor) -> Tensor:
        """One number for each pair, (B, B); by default the inner product."""
        return points @ points.mT

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Un-reduced terms, in any shape, and which of them count (bool, the same shape).

        Parameters
        ----------
        matrix : Tensor (B, B)
            The comparisons.
        positive, negative : Tensor (B, B)
            See `pair_masks`.
        """
        raise NotImplementedError

    def reduce(self, terms: Tensor, counted: Tensor, positive: Tensor) -> Tensor:
        """The loss () from the terms; those that do not count are 0."""
        return masked_mean(terms, counted)

    def extra_log(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> Log:
        """More to log, without gradient."""
        return {}

    def unreduced(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Terms of a batch (0 where they do not count), and which count."""
        return self._terms(*self._compare(embeddings, labels))

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        matrix, positive, negative = self._compare(embeddings, labels)
        terms, counted = self._terms(matrix, positive, negative)
        with torch.no_grad():
            log = {
                "active": counted.sum().to(terms.dtype),
                "nonzero": (terms > 0).sum().to(terms.dtype),
                "embedding_norm": unit_rows(embeddings)[1].mean(),
                f"positive_{self.measure}": masked_mean(matrix, positive),
                f"negative_{self.measure}": masked_mean(matrix, negative),
                **self.extra_log(matrix, positive, negative),
            }
        return self.reduce(terms, counted, positive), log

    def _compare(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = unit_rows(embeddings)[0] if self.normalize else embeddings
        return self.comparisons(points), *pair_masks(labels)

    def _terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        terms, counted = self.terms(matrix, positive, negative)
        return torch.where(counted, terms, torch.zeros_like(terms)), counted
