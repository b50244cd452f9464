"""Batch norm between the embeddings and a classifier (BNNeck)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPSILON = 1e-5  # beside the variance, as in torch
MOMENTUM = 0.1  # weight of a batch in the running statistics, as in torch


class Neck(nn.Module):
    """Batch norm without shift. Luo et al. 2019, section on BNNeck.

    x ↦ γ·(x - mean)/sqrt(var + ε) per dimension: with the batch's statistics in training, with
    running ones in evaluation. γ (D,) is learned; β is fixed at 0. A batch of one sample becomes 0.

    Unlike `torch.nn.BatchNorm1d` it has no mode: ``forward`` changes nothing that it depends on,
    and ``track`` moves the running statistics, so that a loss can be computed twice.

    Parameters
    ----------
    dim : int
        D.
    """

    mean: Tensor
    variance: Tensor
    used: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self.register_buffer("used", torch.ones(dim))

    def reset(self) -> None:
        """Back to the start."""
        with torch.no_grad():
            for tensor in (self.gain, self.variance, self.used):
                tensor.fill_(1.0)
            self.mean.zero_()

    def forward(self, embeddings: Tensor) -> Tensor:
        """By the batch's statistics, (B, D); remembers the gain for `again`."""
        self.used.copy_(self.gain.detach())
        return _standardised(embeddings) * self.gain.to(embeddings.dtype)

    def again(self, embeddings: Tensor) -> Tensor:
        """What `forward` gave for the batch, also after the optimizer has moved the gain."""
        return _standardised(embeddings) * self.used.to(embeddings.dtype)

    def judged(self, embeddings: Tensor) -> Tensor:
        """By the running statistics, (B, D)."""
        scale = (self.variance + EPSILON).rsqrt() * self.gain
        return (embeddings - self.mean.to(embeddings.dtype)) * scale.to(embeddings.dtype)

    def track(self, embeddings: Tensor) -> None:
        """Move the running statistics; their variance is the unbiased one, as torch's."""
        count = len(embeddings)
        points = embeddings.to(self.mean.dtype)
        variance = points.var(dim=0, correction=0) * (count / max(count - 1, 1))
        self.mean.mul_(1 - MOMENTUM).add_(points.mean(dim=0), alpha=MOMENTUM)
        self.variance.mul_(1 - MOMENTUM).add_(variance, alpha=MOMENTUM)


def _standardised(embeddings: Tensor) -> Tensor:
    centered = embeddings - embeddings.mean(dim=0)
    return centered * (centered.square().mean(dim=0) + EPSILON).rsqrt()
