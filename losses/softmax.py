"""Plain softmax cross-entropy."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from losses.base import Log
from losses.functional import unit_rows
from losses.heads import ClassifierLoss, class_log


class Softmax(ClassifierLoss):
    """Softmax cross-entropy, the baseline of every paper. Mean over the batch.

    logit_j = W_j·x + b_j.

    The rows of W (C, D) start with length ``weight_norm`` like those of the cosine heads, b (C,) at
    zero. ``target_angle`` is the angle between x and W_y.

    Parameters
    ----------
    num_classes, embedding_dim : int
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    class_parameters: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; the bias is zero."""
        super().reset_parameters(generator)
        nn.init.zeros_(self.bias)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        logits = self.scores(embeddings)
        with torch.no_grad():
            directions, lengths = unit_rows(embeddings)
            own = unit_rows(self.weight[labels].to(embeddings.dtype))[0]
            cosine = (directions * own).sum(dim=-1)
        log = class_log(logits, labels, cosine, lengths)
        return self.per_sample(logits, labels).mean(), log

    def scores(self, embeddings: Tensor) -> Tensor:
        """W·x + b, (B, C)."""
        return linear(embeddings, self.weight.to(embeddings.dtype), self.bias.to(embeddings.dtype))
