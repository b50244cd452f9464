"""Softmax with center loss."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.softmax import Softmax


class CenterLoss(Softmax):
    """Softmax cross-entropy plus the pull to class centers. Wen et al. 2016, eq. 2-5.

    L = L_S + λ·½‖x - c_y‖². The paper sums both terms over the batch. ``reduction="mean"`` averages
    both (the paper's objective divided by the batch size, as in the authors' Caffe layer);
    ``"sum"`` averages L_S but sums the center term, which makes the same λ as many times stronger
    as there are samples.

    The centers (C, D) are a buffer: no gradient reaches them. After each step c_j ← c_j - α·Δc_j
    with Δc_j = Σ_{y_i = j} (c_j - x_i) / (1 + n_j) over the n_j samples of class j (eq. 4); a class
    without samples stays.

    Parameters
    ----------
    num_classes, embedding_dim : int
    center_weight : float
        λ >= 0.
    center_rate : float
        α in [0, 1].
    reduction : {"mean", "sum"}
        Of the center term.
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
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.reduction = reduction
        self.add_hyperparameters(center_weight=center_weight, center_rate=center_rate)
        self.register_buffer("centers", torch.zeros(num_classes, embedding_dim))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights as softmax does, then the centers: uniform in ±sqrt(3/D), as Caffe's."""
        super().reset_parameters(generator)
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(self.centers.shape, generator=generator, device=device)
        self.centers.copy_((2 * uniform - 1) * (3 / self.embedding_dim) ** 0.5)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        loss, log = super().evaluate(embeddings, labels)
        pull = self.center_term(embeddings, labels)
        pull = pull.mean() if self.reduction == "mean" else pull.sum()
        return loss + self.center_weight.to(pull.dtype) * pull, log

    def center_term(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """½‖x - c_y‖² of each sample, (B,)."""
        return (embeddings - self.centers[labels].to(embeddings.dtype)).square().sum(dim=-1) / 2

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the centers of the classes in the batch."""
        points = embeddings.detach().to(self.centers.dtype)
        zeros = torch.zeros_like(self.centers)
        counts = zeros[:, 0].index_add(0, labels, torch.ones_like(points[:, 0]))  # (C,)
        sums = zeros.index_add(0, labels, points)  # (C, D)
        delta = (counts.unsqueeze(1) * self.centers - sums) / (1 + counts.unsqueeze(1))
        self.centers.sub_(self.center_rate.to(delta.dtype) * delta)
