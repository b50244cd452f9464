"""Cross-entropy over cosines with a table (B, C) of them: the fastest way where one fits.

The forward pass leaves in the table what the backward pass needs. Both together are three matrix
products and a few walks through one table; autograd would make more tables and walks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.blocks import EXCLUDED, Change, row_blocks
from losses.class_blocks import Found
from losses.cross_entropy import HardRule
from losses.functional import positive
from losses.stacked_function import StackedFunction, call_for_one


class CrossEntropyInTable(StackedFunction):
    """Cross-entropies, largest other logits and numbers of hard ones, of a stack; and what is kept.

    See `cross_entropy_in_table`; every tensor has a first axis of models.
    """

    @staticmethod
    def forward(
        vectors: Tensor,
        directions: Tensor,
        labels: Tensor,
        target: Tensor,
        smoothing: Tensor,
        threshold: Tensor | None,
        change: Change | None,
        *numbers: Tensor,
    ) -> tuple[Tensor, ...]:
        """All models at once; from the products on, the rows of all are alike."""
        table, winners = _products(vectors, _by_center(directions))  # (S, B, C)
        models, batch, _ = table.shape

        def column(number: Tensor) -> Tensor:  # (S, B) or (S,) → (S B, 1)
            each = number if number.dim() == 2 else number.unsqueeze(-1).expand(-1, batch)
            return each.reshape(-1, 1)

        logits, index, own, limit = table.flatten(0, 1), column(labels), column(target), None
        if threshold is not None:
            limit = column(threshold)
        ease, of_rule = column(smoothing), [column(number) for number in numbers]
        found = []
        for some in row_blocks(logits):
            rule = None
            if limit is not None and change is not None:
                rule = HardRule(limit[some], change, tuple(number[some] for number in of_rule))
            found.append(_entropies(logits[some], index[some], own[some], ease[some], rule))
        losses, largest, hard, wrong, total = (
            torch.cat(parts).view(models, batch) for parts in zip(*found, strict=True)
        )
        kept = (wrong, total, table) if winners is None else (wrong, total, table, winners)
        return losses, largest, hard.sum(dim=-1), *kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the gradients are made of."""
        ctx.save_for_backward(*inputs[:2], inputs[4], *output[3:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.others = len(inputs) - 4

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """With respect to vectors, directions and target."""
        if slope is None:
            return (None,) * (4 + ctx.others)
        vectors, directions, smoothing, wrong, total, table, *winners = ctx.saved_tensors
        factor = (slope / total).unsqueeze(-1)
        scaled = vectors * factor  # on this side it spares a walk through the table
        if winners:
            centers = _by_center(directions)
            own = [table * (winners[0] == k) for k in range(len(centers))]
            parts = [torch.bmm(each, rows) for each, rows in zip(own, centers, strict=True)]
            of_vectors = torch.stack(parts).sum(dim=0)
            of_directions = torch.stack([torch.bmm(each.mT, scaled) for each in own], dim=2)
        else:
            of_vectors = torch.bmm(table, _by_center(directions)[0])
            of_directions = torch.bmm(table.mT, scaled).view(directions.shape)
        share = smoothing / table.shape[-1]
        of_target = slope * ((smoothing - share).unsqueeze(-1) - wrong)
        return of_vectors.mul_(factor), of_directions, None, of_target, *(None,) * ctx.others


def _by_center(directions: Tensor) -> tuple[Tensor, ...]:
    """K times (S, C, D) of (S, C, K, D), or (S, C, D) alone."""
    return directions.unbind(dim=2) if directions.dim() == 4 else (directions,)


def _products(vectors: Tensor, centers: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
    """Inner products (S, B, C) with the nearest of K centers of each class; which, where K > 1."""
    first, *others = centers
    largest = torch.bmm(vectors, first.mT)
    if not others:
        return largest, None
    winners = torch.zeros_like(largest, dtype=torch.uint8)
    for k, each in enumerate(others, 1):
        products = torch.bmm(vectors, each.mT)
        winners.masked_fill_(products > largest, k)
        torch.maximum(largest, products, out=largest)
    return largest, winners


def _entropies(
    logits: Tensor, index: Tensor, target: Tensor, ease: Tensor, rule: HardRule | None
) -> tuple[Tensor, ...]:
    """Losses, largest other logits, numbers of hard ones, 1 - p and Σ e^(l - reference), (R, 1) each.

    The table is left with the derivatives of the losses by the other logits, times that sum; the
    own class's entry is 0.

    Where the own logit is the largest, p may be 1 to all digits: 1 - p is added up from the others,
    and the loss made of it. The functions used here give the same bits wherever in a tensor a
    number stands, torch's sigmoid and softplus do not: a model alone is to be a model in a stack.

    Parameters
    ----------
    logits : Tensor (R, C)
    index, target : Tensor (R, 1)
    ease : Tensor (R, 1)
        Label smoothing.
    rule : HardRule or None
        Its tensors are (R, 1).
    """
    classes = logits.shape[-1]
    logits.scatter_(-1, index, EXCLUDED)
    largest = highest = logits.amax(dim=-1, keepdim=True)
    hard, slope = torch.zeros_like(target), None
    if rule is not None:
        mask = positive(logits - rule.threshold)
        hard = mask.sum(dim=-1, keepdim=True)
        slope = rule.change(logits, mask, *rule.numbers)
        highest = logits.amax(dim=-1, keepdim=True)
    mean = (logits.scatter_(-1, index, 0.0).sum(dim=-1, keepdim=True) + target) / classes
    reference = torch.maximum(target, highest)
    logits.scatter_(-1, index, EXCLUDED)
    others = logits.sub_(reference).exp_().sum(dim=-1, keepdim=True)
    behind = reference - target
    total = others + (-behind).exp()
    losses = torch.log1p(others + torch.expm1(-behind)) + behind + ease * (target - mean)
    logits.sub_(ease * total / classes).scatter_(-1, index, 0.0)
    if slope is not None:
        logits.mul_(slope)
    return losses, largest, hard, others / total, total


def cross_entropy_in_table(
    vectors: Tensor,
    directions: Tensor,
    labels: Tensor,
    target: Tensor,
    smoothing: Tensor,
    *,
    rule: HardRule | None = None,
) -> Found:
    """`losses.class_blocks.cross_entropy_in_blocks` of all classes, from a table of logits.

    Parameters
    ----------
    directions : Tensor (C, D) or (C, K, D)
        Of the class weights.
    vectors, labels, target, smoothing, rule
        As there.
    """
    threshold, change, numbers = (None, None, ()) if rule is None else rule
    inputs = (vectors, directions, labels, target, smoothing, threshold, change, *numbers)
    return Found(*call_for_one(CrossEntropyInTable, *inputs)[:3])
