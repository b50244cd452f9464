"""Heads that decide for each class on its own: is the sample of it, or not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from losses.base import Log
from losses.blocks import EXCLUDED, Change, row_blocks
from losses.functional import softplus, unit_rows
from losses.heads import ClassWeights, class_log


def exclude_target(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits (B, C), changed in place so that softplus and logsumexp pass by the own class."""
    index = labels.unsqueeze(-1)
    # In place: adding to one column copies neither the logits nor their gradient.
    return logits.scatter_add_(-1, index, logits.new_full((), EXCLUDED).expand(index.shape))


FOLDS = 3
"""How often `softplus_sum` halves the columns before it takes logarithms; more gained nothing."""


def softplus_sum(logits: Tensor) -> Tensor:
    """Σ_j log(1 + e^(z_j)) over the last axis of logits (B, C), (B,).

    With u = e^(-|z|), log(1 + e^z) = max(z, 0) + log(1 + u), and two logarithms, the slowest part,
    become one: log(1 + a) + log(1 + b) = log(1 + (a + b + a·b)), where nothing cancels.
    """
    sums = logits.clamp_min(0).sum(dim=-1)
    table = logits.abs().neg_().exp_()
    for _ in range(FOLDS):
        half, odd = divmod(table.shape[-1], 2)
        if odd:
            sums = sums + table[..., -1].log1p()
        first, second = table[..., :half], table[..., half : 2 * half]
        table = torch.addcmul(first + second, first, second)
    return sums + table.log1p().sum(dim=-1)


class _SoftplusOfOthers(torch.autograd.Function):
    """Sums (B,) of softplus over the logits of the other classes, their shares, derivatives.

    The shares (B,) are the derivatives by what is added to all logits; the derivatives (B, C) by
    the products come in their place. By hand, and with the product in it, because autograd would
    walk over several more tables (B, C).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        products: Tensor,
        vectors: Tensor,
        weight: Tensor,
        labels: Tensor,
        change: Change,
        *numbers: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums, shares = [], []
        for rows in row_blocks(products):
            table = products[rows]
            derivative = change(table, *numbers)
            exclude_target(table, labels[rows])
            sums.append(softplus_sum(table))
            share = table.sigmoid_()
            shares.append(share.sum(dim=-1))
            if derivative is not None:
                share.mul_(derivative)
        # An input may not be an output of an autograd function; a view of it may.
        return torch.cat(sums), torch.cat(shares), products.view_as(products)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*output[1:], *inputs[1:3])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.fixed = len(inputs) - 4

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if slope is None:
            return (None,) * (ctx.fixed + 4)
        shares, derivative, vectors, weight = ctx.saved_tensors
        rows = slope.unsqueeze(-1)  # on the side of the vectors: the table is left alone
        of_vectors = (derivative @ weight) * rows
        of_weight = derivative.mT @ (vectors * rows)
        return None, of_vectors, of_weight, *(None,) * ctx.fixed, (slope * shares).sum()


def softplus_of_others(
    products: Tensor,
    vectors: Tensor,
    weight: Tensor,
    labels: Tensor,
    change: Change,
    numbers: tuple[Tensor, ...],
) -> Tensor:
    """Σ_{j≠y} log(1 + e^(z_j)), (B,). Differentiable once.

    Parameters
    ----------
    products : Tensor (B, C)
        vectors·weightᵀ, without gradient; it is used up.
    vectors : Tensor (B, D)
    weight : Tensor (C, D)
    labels : Tensor (B,)
    change : Change
        Makes products logits z, given the ``numbers``, the last of which it adds.
    numbers : tuple of Tensor ()
        Only the last gets a gradient.
    """
    sums: Tensor = _SoftplusOfOthers.apply(products, vectors, weight, labels, change, *numbers)[0]
    return sums


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

    def negatives(self, dtype: torch.dtype) -> tuple[Change, tuple[Tensor, ...]]:
        """How radius·cosθ_j becomes n_j: the arguments of `softplus_of_others`.

        The bias is in the last number alone.
        """
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
        vectors = directions * self.radius(directions.dtype)
        with torch.no_grad():
            products = vectors @ weight.mT  # (B, C)
        cosine = (directions * weight[labels]).sum(dim=-1)  # (B,)
        log = class_log(products, labels, cosine, lengths)
        positive_weight, negative_weight = self.weights(cosine.dtype)
        positive = positive_weight * softplus(-self.target(cosine)).mean()
        others = softplus_of_others(
            products, vectors, weight, labels, *self.negatives(cosine.dtype)
        )
        negative = negative_weight * others.mean()
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
