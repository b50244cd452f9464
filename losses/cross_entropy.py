"""Cross-entropy and logsumexp, with their gradients by hand: safe under ``vmap``.

Autograd would walk over several more tables (B, C) than are needed, and on a CPU the way to memory
takes longer than the arithmetic. So the tables are worked through in blocks of rows, in place, and
the gradient is made in the same walk as the value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.blocks import Change, row_blocks
from losses.functional import positive
from losses.stacked_function import StackedFunction, call_for_one


class HardRule(NamedTuple):
    """How a cross-entropy changes the logits of hard negatives.

    Attributes
    ----------
    threshold : Tensor (B,)
        A logit of another class above it is hard.
    change : Change
        Takes logits, 1.0 or 0.0 for hard or not, which it may use up, and the ``numbers``.
    numbers : tuple of Tensor ()
    """

    threshold: Tensor
    change: Change
    numbers: tuple[Tensor, ...]


def hard_negatives(logits: Tensor, labels: Tensor, threshold: Tensor) -> Tensor:
    """1.0 where a logit (B, C) of another class is above its sample's threshold (B,), else 0.0.

    In the logits' type, without gradient.
    """
    hard = positive(logits.detach() - threshold.detach().unsqueeze(-1))
    own = labels.unsqueeze(-1)
    return hard.scatter_add_(-1, own, -hard.gather(-1, own))


def _exponentials(logits: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logit, e^(logit - largest) in place, and its sum; the dimension stays."""
    largest = logits.amax(dim=dim, keepdim=True)
    odds = logits.sub_(largest).exp_()
    return largest, odds, odds.sum(dim=dim, keepdim=True)


class _LogSumExp(torch.autograd.Function):
    """logsumexp, and its derivative in place of the logits."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        largest, odds, total = _exponentials(logits, dim)
        # An input may not be an output of an autograd function; a view of it may.
        return (largest + total.log()).squeeze(dim), odds.div_(total).view_as(odds)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.dim = inputs[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, *_: None) -> tuple[Tensor | None, None]:
        (derivative,) = ctx.saved_tensors
        return (None if slope is None else derivative * slope.unsqueeze(ctx.dim)), None


def log_sum_exp(logits: Tensor, dim: int = -1) -> Tensor:
    """log Σ e^l over a dimension, where not all are -inf; changes l. Differentiable once."""
    result: Tensor = _LogSumExp.apply(logits, dim)[0]
    return result


class _CrossEntropy(StackedFunction):
    """Cross-entropies (S, B), and their derivatives in place of the logits.

    For S models at once, whose rows are all alike here: models with few classes share a block.
    """

    @staticmethod
    def forward(logits: Tensor, labels: Tensor, smoothing: Tensor) -> tuple[Tensor, Tensor]:
        models, batch, classes = logits.shape
        tables, indices = logits.flatten(0, 1), labels.flatten().unsqueeze(-1)
        eased = smoothing.repeat_interleave(batch).unsqueeze(-1)
        losses = []
        for rows in row_blocks(tables):
            table, index, ease = tables[rows], indices[rows], eased[rows]
            own, mean = table.gather(-1, index), table.mean(dim=-1, keepdim=True)
            largest, odds, total = _exponentials(table, -1)
            loss = total.log() + (1 - ease) * (largest - own) + ease * (largest - mean)
            losses.append(loss.squeeze(-1))
            # p_j - e/C - (1 - e)·[j = y]
            odds.div_(total).sub_(ease / classes)
            odds.scatter_add_(-1, index, ease - 1)
        # An input may not be an output of an autograd function; a view of it may.
        return torch.cat(losses).view(models, batch), tables.view_as(logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, _: None) -> tuple[Tensor | None, None, None]:
        (derivative,) = ctx.saved_tensors
        return (None if slope is None else derivative * slope.unsqueeze(-1)), None, None


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Cross-entropy of each sample, with label smoothing as a tensor.

    (1 - e)·(-log p_y) + e·mean_j(-log p_j), as `torch.nn.functional.cross_entropy` (Szegedy et al.
    2016, section 7). Differentiable once, with respect to the logits, which it changes.

    Parameters
    ----------
    logits : Tensor (B, C)
    labels : Tensor (B,), int64, 0..C-1
    smoothing : Tensor (), in [0, 1)

    Returns
    -------
    Tensor (B,)
    """
    return call_for_one(_CrossEntropy, logits, labels, smoothing)[0]
