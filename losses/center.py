"""Center loss: the pull of embeddings to a center of their class, alone and beside a softmax."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from losses.base import Log, Loss
from losses.functional import unit_rows
from losses.softmax import Softmax


def pull(embeddings: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """½‖x - c_y‖² of each sample, (B,), for embeddings (B, D), labels (B,) and centers (C, D)."""
    return (embeddings - centers[labels].to(embeddings.dtype)).square().sum(dim=-1) / 2


def reduce(terms: Tensor, reduction: str, dim: int) -> Tensor:
    """Terms (B,) to (): their sum, their mean, or their mean over all B·D elements."""
    if reduction == "sum":
        return terms.sum()
    return terms.mean() if reduction == "mean" else terms.mean() / dim


@torch.no_grad()
def move(centers: Tensor, rate: Tensor, embeddings: Tensor, labels: Tensor) -> None:
    """c_j ← c_j - α·Δc_j in place, Δc_j = Σ_{y_i = j} (c_j - x_i) / (1 + n_j) (eq. 4)."""
    points = embeddings.detach().to(centers.dtype)
    zeros = torch.zeros_like(centers)
    counts = zeros[:, 0].index_add(0, labels, torch.ones_like(points[:, 0]))  # (C,)
    sums = zeros.index_add(0, labels, points)  # (C, D)
    delta = (counts.unsqueeze(1) * centers - sums) / (1 + counts.unsqueeze(1))
    centers.sub_(rate.to(delta.dtype) * delta)


@torch.no_grad()
def draw(centers: Tensor, generator: torch.Generator | None) -> None:
    """Draw centers (C, D) in place: uniform in ±sqrt(3/D), as Caffe's xavier filler."""
    device = "cpu" if generator is None else generator.device
    uniform = torch.rand(centers.shape, generator=generator, device=device)
    centers.copy_((2 * uniform - 1) * (3 / centers.shape[1]) ** 0.5)


class CenterTerm(Loss):
    """The center term alone, for sums. Wen et al. 2016, eq. 2-4.

    Σ ½‖x - c_y‖² over the batch (``sum``), over its size B (``mean``), or over its B·D elements
    (``elements``). There is no gradient to the centers; they move as `CenterLoss` says.

    Parameters
    ----------
    num_classes, embedding_dim : int
    rate : float
        α in [0, 1]; no effect with ``update="gradient"``.
    reduction : {"mean", "sum", "elements"}
    update : {"paper", "gradient"}
        See `CenterLoss`.
    """

    kind: ClassVar[str] = "embedding"
    rate: Tensor
    centers: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        rate: float = 0.5,
        reduction: str = "mean",
        update: str = "paper",
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.reduction = reduction
        self.update = update
        self.add_hyperparameters(rate=rate)
        _add_centers(self, update)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the centers."""
        draw(self.centers, generator)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`; ``center_distance`` is the mean of ‖x - c_y‖."""
        terms = pull(embeddings, labels, self.centers)
        with torch.no_grad():
            log = {
                "active": terms.new_full((), len(terms)),
                "embedding_norm": unit_rows(embeddings)[1].mean(),
                "center_distance": (2 * terms).sqrt().mean(),
            }
        return reduce(terms, self.reduction, self.embedding_dim), log

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the centers of the classes in the batch."""
        if self.update == "paper":
            move(self.centers, self.rate, embeddings, labels)


class CenterLoss(Softmax):
    """Softmax cross-entropy plus the pull to class centers. Wen et al. 2016, eq. 2-5.

    L = L_S + λ·½‖x - c_y‖². The paper sums both terms over the batch. ``reduction="mean"`` averages
    both (the paper's objective divided by the batch size, as in the authors' Caffe layer);
    ``"sum"`` averages L_S but sums the center term, which makes the same λ as many times stronger
    as there are samples; ``"elements"`` averages the squares over samples and dimensions, which
    makes it weaker by the dimension.

    ``update="paper"``: the centers (C, D) are a buffer; no gradient reaches them. After each step
    c_j ← c_j - α·Δc_j with Δc_j = Σ_{y_i = j} (c_j - x_i) / (1 + n_j) over the n_j samples of class
    j (eq. 4); a class without samples stays. ``"gradient"``: they are parameters that the optimizer
    moves along the loss's own gradient, λ and the reduction included.

    Parameters
    ----------
    num_classes, embedding_dim : int
    center_weight : float
        λ >= 0.
    center_rate : float
        α in [0, 1]; no effect with ``update="gradient"``.
    reduction : {"mean", "sum", "elements"}
        Of the center term.
    update : {"paper", "gradient"}
        What moves the centers.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    kind = "joint"
    center_weight: Tensor
    center_rate: Tensor
    centers: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        center_weight: float = 0.003,
        center_rate: float = 0.5,
        reduction: str = "mean",
        update: str = "paper",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.reduction = reduction
        self.update = update
        self.add_hyperparameters(center_weight=center_weight, center_rate=center_rate)
        _add_centers(self, update)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights as softmax does, then the centers: uniform in ±sqrt(3/D), as Caffe's."""
        super().reset_parameters(generator)
        draw(self.centers, generator)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`; ``center_distance`` is the mean of ‖x - c_y‖."""
        loss, log = super().evaluate(embeddings, labels)
        terms = self.center_term(embeddings, labels)
        log["center_distance"] = (2 * terms.detach()).sqrt().mean()
        center = reduce(terms, self.reduction, self.embedding_dim)
        return loss + self.center_weight.to(center.dtype) * center, log

    def center_term(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """½‖x - c_y‖² of each sample, (B,)."""
        return pull(embeddings, labels, self.centers)

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the centers of the classes in the batch."""
        if self.update == "paper":
            move(self.centers, self.center_rate, embeddings, labels)


def _add_centers(loss: Loss, update: str) -> None:
    centers = torch.zeros(loss.num_classes, loss.embedding_dim)
    if update == "paper":
        loss.register_buffer("centers", centers)
        return
    loss.centers = nn.Parameter(centers)
    # Of this loss, not of its class: as parameters the centers are rows per class like weights.
    loss.class_parameters = (*loss.class_parameters, "centers")  # type: ignore[misc]
