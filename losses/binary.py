"""Heads that decide for each class on its own: is the sample of it, or not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from losses.base import Log
from losses.functional import softplus, unit_rows
from losses.heads import ClassWeights, class_log

EXCLUDED = -1e30
"""Added to a logit that is not to count: its softplus and its share of a logsumexp are exactly 0."""


def exclude_target(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits (B, C), changed in place so that softplus and logsumexp pass by the own class."""
    index = labels.unsqueeze(-1)
    # In place: adding to one column copies neither the logits nor their gradient.
    return logits.scatter_add_(-1, index, logits.new_full((), EXCLUDED).expand(index.shape))


class SoftplusSum(torch.autograd.Function):
    """Σ_j log(1 + e^(z_j)) over the last axis of logits (B, C): (B,)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor) -> Tensor:
        """The sums."""
        return softplus(logits).sum(dim=-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the logits."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        """slope·e^z / (1 + e^z)."""
        (logits,) = ctx.saved_tensors
        return logits.sigmoid().mul_(slope.unsqueeze(-1))


def softplus_of_others(logits: Tensor, labels: Tensor) -> Tensor:
    """Σ_{j≠y} log(1 + e^(z_j)), (B,), from all logits (B, C), which it changes."""
    result: Tensor = SoftplusSum.apply(exclude_target(logits, labels))
    return result


class BinaryHead(ClassWeights):
    """One binary decision per class, on cosines, with one bias b that all classes share.

    L = w⁺·log(1 + e^(-p)) + w⁻·Σ_{j≠y} log(1 + e^(n_j)): p is the logit of the own class with its
    margin, n_j those of the others. Mean over the batch. The bias is a learned number () and starts
    at ``initial_bias``.

    Logs ``positive`` and ``negative``, the two terms of the loss, and ``bias``.
    """

    bias: nn.Parameter

    def add_bias(self) -> None:
        """Register the bias; to be called when the hyper-parameters are there."""
        self.bias = nn.Parameter(torch.tensor(self.initial_bias()))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; the bias returns to its start."""
        super().reset_parameters(generator)
        nn.init.constant_(self.bias, self.initial_bias())

    def initial_bias(self) -> float:
        """The bias at the start."""
        raise NotImplementedError

    def target(self, cosine: Tensor) -> Tensor:
        """Logit p of the own class, with margin, from its cosine (B,)."""
        raise NotImplementedError

    def radius(self, dtype: torch.dtype) -> Tensor:
        """A factor () on the cosines, before the product that makes them: cheaper than after it."""
        raise NotImplementedError

    def others(self, products: Tensor, labels: Tensor) -> Tensor:
        """Σ_{j≠y} log(1 + e^(n_j)) of each sample, (B,), from all radius·cosθ_j (B, C).

        It may change them."""
        raise NotImplementedError

    def plain(self, cosines: Tensor) -> Tensor:
        """Logits without margin, from cosines of any shape."""
        raise NotImplementedError

    def weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """w⁺ and w⁻, each ()."""
        raise NotImplementedError

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        weight = self.unit_weight(embeddings.dtype)
        products = (directions * self.radius(directions.dtype)) @ weight.mT  # (B, C)
        cosine = (directions * weight[labels]).sum(dim=-1)  # (B,)
        log = class_log(products, labels, cosine, lengths)
        positive_weight, negative_weight = self.weights(cosine.dtype)
        positive = positive_weight * softplus(-self.target(cosine)).mean()
        negative = negative_weight * self.others(products, labels).mean()
        log |= {
            "positive": positive.detach(),
            "negative": negative.detach(),
            "bias": self.bias.detach().to(cosine.dtype),
        }
        return positive + negative, log

    def scores(self, embeddings: Tensor) -> Tensor:
        """Logits of all classes without margin, (B, C)."""
        directions = unit_rows(embeddings)[0]
        return self.plain(directions @ self.unit_weight(embeddings.dtype).mT)
