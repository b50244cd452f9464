"""Normalised softmax (NormFace)."""

from __future__ import annotations

import torch
from torch import nn

from losses.heads import CosineHead


class NormSoftmax(CosineHead):
    """Softmax over scaled cosines. Wang et al. 2017, eq. 6. Mean over the batch.

    logit_j = s·cosθ_j, without margin or bias.

    Parameters
    ----------
    num_classes, embedding_dim : int
    scale : float
        s > 0; the initial value where it is learnable.
    learnable_scale : bool
        s is a parameter () of its own, as in the paper, in place of a constant.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        scale: float = 20.0,
        learnable_scale: bool = False,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.initial_scale = scale
        self.learnable_scale = learnable_scale
        if learnable_scale:
            self.scale = nn.Parameter(torch.tensor(float(scale)))
        else:
            self.add_hyperparameters(scale=scale)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; a learnable scale returns to its initial value."""
        super().reset_parameters(generator)
        if self.learnable_scale:
            nn.init.constant_(self.scale, self.initial_scale)
