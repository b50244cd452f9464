"""Contrastive loss: pairs of the batch, or given pairs."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from losses.functional import unit_rows
from losses.pairs import PairLoss, distances, masked_mean


def contrastive_term(
    distance: Tensor,
    same: Tensor,
    *,
    pos_margin: float | Tensor,
    neg_margin: float | Tensor,
    power: int,
    halve: bool,
) -> Tensor:
    """The term of each pair, from its distance and whether it is of one class (bool)."""
    term = torch.where(same, (distance - pos_margin).relu(), (neg_margin - distance).relu())
    if power == 1:
        return term
    return term.square() / 2 if halve else term.square()


def given_pairs(
    first: Tensor,
    second: Tensor,
    same: Tensor,
    *,
    pos_margin: float | Tensor = 0.0,
    neg_margin: float | Tensor = 1.0,
    metric: str = "euclidean",
    normalize: bool = False,
    power: int = 2,
    halve: bool = True,
) -> Tensor:
    """Contrastive loss of given pairs, one term each. The usual loss is their mean or sum.

    Parameters
    ----------
    first, second : Tensor (N, D)
        Row i of the two is pair i.
    same : Tensor (N,)
        bool: the pair is of one class.
    pos_margin, neg_margin, metric, normalize, power, halve
        See `Contrastive`.

    Returns
    -------
    Tensor (N,)
    """
    cosine = metric == "cosine"
    if normalize or cosine:
        first, second = unit_rows(first)[0], unit_rows(second)[0]
    apart = torch.linalg.vector_norm(first - second, dim=-1)
    distance = 1 - (first * second).sum(dim=-1) if cosine else apart
    return contrastive_term(
        distance, same, pos_margin=pos_margin, neg_margin=neg_margin, power=power, halve=halve
    )


class Contrastive(PairLoss):
    """Contrastive loss of all pairs of the batch. Hadsell et al. 2006, the exact loss function.

    ½·max(0, d - m_p)² for a pair of one class, ½·max(0, m_n - d)² for one of two; the paper has
    m_p = 0. ``power`` is the exponent; ``halve`` the factor ½ (of power 2 only). Mean over the
    pairs, positive and negative together, or the mean over the positive terms above 0 plus the same
    over the negative ones (``reduction="pml"``). Logs: see `losses.pairs.PairLoss`.

    Parameters
    ----------
    num_classes, embedding_dim : int
    pos_margin, neg_margin : float
        Distances, >= 0: a positive pair nearer, a negative one farther costs nothing.
    metric : {"euclidean", "cosine"}
        ``cosine``: the distance is 1 - cosine, 0 to 2, whatever the lengths; a zero vector is at 1.
    normalize : bool
        Embeddings are scaled to length 1 before Euclidean distances are taken.
    power : {1, 2}
    halve : bool
    reduction : {"mean", "pml"}
    """

    measure: ClassVar[str] = "distance"
    pos_margin: Tensor
    neg_margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        pos_margin: float = 0.0,
        neg_margin: float = 1.0,
        metric: str = "euclidean",
        normalize: bool = False,
        power: int = 2,
        halve: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.metric = metric
        self.normalize = normalize or metric == "cosine"
        self.power = power
        self.halve = halve
        self.reduction = reduction
        self.add_hyperparameters(pos_margin=pos_margin, neg_margin=neg_margin)

    def comparisons(self, points: Tensor) -> Tensor:
        """Distances (B, B)."""
        return 1 - points @ points.mT if self.metric == "cosine" else distances(points, points)

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B, B), both orders of each pair."""
        terms = contrastive_term(
            matrix,
            positive,
            pos_margin=self.pos_margin.to(matrix.dtype),
            neg_margin=self.neg_margin.to(matrix.dtype),
            power=self.power,
            halve=self.halve,
        )
        return terms, positive | negative

    def reduce(self, terms: Tensor, counted: Tensor, positive: Tensor) -> Tensor:
        """Mean over all pairs, or of each kind over those above 0."""
        if self.reduction == "mean":
            return masked_mean(terms, counted)
        above = terms > 0
        return masked_mean(terms, above & positive) + masked_mean(terms, above & ~positive)
