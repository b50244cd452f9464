"""Terms of a sum that are made of its classifier's class weights (ArcFace's intra and inter)."""

from __future__ import annotations

from math import pi
from typing import ClassVar

import torch
from torch import Tensor

from losses.base import Log, Loss
from losses.functional import angle, unit_rows


class ClassTerm(Loss):
    """A term over the class weights of another loss; a subclass implements ``measure``."""

    kind: ClassVar[str] = "embedding"

    def measure(self, embeddings: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        """The term (), from embeddings (B, D), labels (B,) and class weights (C, D)."""
        raise NotImplementedError

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """There is no loss without class weights."""
        raise TypeError(f"{type(self).__name__} is a term of a sum and has no class weights")


class Intra(ClassTerm):
    """Intra-loss of a sum. Deng et al. 2019, eq. 5. Mean over the batch.

    1/(πN)·Σ_i θ_{y_i}: the mean angle to the own class weight, in units of π. A zero vector counts
    as at 90°, without gradient.

    Parameters
    ----------
    num_classes, embedding_dim : int
    """

    def measure(self, embeddings: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        """See `ClassTerm.measure`."""
        directions, own = unit_rows(embeddings)[0], unit_rows(weight[labels])[0]
        return angle((directions * own).sum(dim=-1)).mean() / pi


class Inter(ClassTerm):
    """Inter-loss of a sum. Deng et al. 2019, eq. 6. Mean over the batch and the other classes.

    -1/(πN(n-1))·Σ_i Σ_{j≠y_i} arccos(W_{y_i}·W_j), n classes: minus the mean angle between the own
    class weight and all others, in units of π. No gradient reaches the embeddings.

    Parameters
    ----------
    num_classes, embedding_dim : int
    """

    def measure(self, embeddings: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
        """See `ClassTerm.measure`."""
        directions = unit_rows(weight)[0]
        angles = angle(directions[labels] @ directions.mT)  # (B, C)
        # The angle to itself is no part of the sum.
        angles = angles.scatter(-1, labels.unsqueeze(-1), torch.zeros_like(angles[:, :1]))
        return -angles.sum(dim=-1).mean() / (pi * (self.num_classes - 1))
