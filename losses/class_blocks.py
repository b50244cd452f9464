"""Cross-entropy over cosines in blocks of classes: no table (B, C) is ever held.

The forward walk keeps a running largest logit and a running sum of exponentials (Milakov and
Gimelshein 2018); the backward walk computes each block's logits again, a fourth matrix product
beside the three that any such loss needs. Class weights are normalised block by block, and their
gradient is the only other table (C, D).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.blocks import EXCLUDED, Change
from losses.class_walk import Model, put
from losses.cross_entropy import HardRule
from losses.functional import softplus
from losses.large_tables import new_table
from losses.stacked_function import StackedFunction, call_for_one


class OwnRows(StackedFunction):
    """The rows (S, B, ...) of tables (S, C, ...) at labels (S, B), and the tables again.

    The gradient of the rows is added to that of the tables in place; by indexing, autograd would
    make a second table of it. The tables' gradient must come from a function of this module.
    """

    @staticmethod
    def forward(tables: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        rows = torch.stack([own[index] for own, index in zip(tables, labels, strict=True)])
        # An input may not be an output of an autograd function; a view of it may.
        return rows, tables.view_as(tables)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the labels."""
        ctx.save_for_backward(inputs[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_rows: Tensor | None, of_tables: Tensor | None
    ) -> tuple[Tensor | None, None]:
        """The sum of both."""
        if of_rows is not None and of_tables is not None:
            for whole, rows, labels in zip(of_tables, of_rows, *ctx.saved_tensors, strict=True):
                whole.index_add_(0, labels, rows)
        return of_tables, None


def _models(
    vectors: Tensor,
    weight: Tensor,
    places: Tensor,
    chosen: Tensor | None,
    threshold: Tensor | None,
    change: Change | None,
    numbers: tuple[Tensor, ...],
) -> Iterator[Model]:
    for s in range(len(vectors)):
        rule = None
        if threshold is not None and change is not None:
            rule = HardRule(threshold[s], change, tuple(number[s] for number in numbers))
        rows = weight[s] if weight.dim() == 4 else weight[s].unsqueeze(1)
        yield Model(vectors[s], rows, places[s], None if chosen is None else chosen[s], rule)


class CrossEntropyInBlocks(StackedFunction):
    """Cross-entropies, largest other logits and number of hard ones, of a stack; and `_Sums`.

    See `cross_entropy_in_blocks`; every tensor has a first axis of models.
    """

    @staticmethod
    def forward(
        vectors: Tensor,
        weight: Tensor,
        places: Tensor,
        target: Tensor,
        smoothing: Tensor,
        chosen: Tensor | None,
        threshold: Tensor | None,
        change: Change | None,
        *numbers: Tensor,
    ) -> tuple[Tensor, ...]:
        """Model after model: each is large enough."""
        models = _models(vectors, weight, places, chosen, threshold, change, numbers)
        found = [_entropies(*each) for each in zip(models, target, smoothing, strict=True)]
        return tuple(torch.stack(parts) for parts in zip(*found, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the inputs and the sums."""
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        ctx.save_for_backward(*output[3:], *tensors)
        ctx.others = [None if isinstance(each, Tensor) else (each,) for each in inputs]
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """With respect to vectors, weight and target."""
        if slope is None:
            return (None,) * len(ctx.others)
        lead, reference, total, *kept = ctx.saved_tensors
        tensors = iter(kept)
        inputs = [next(tensors) if other is None else other[0] for other in ctx.others]
        vectors, weight, places, _, smoothing, chosen, threshold, change, *numbers = inputs
        share = smoothing / (weight if chosen is None else chosen).shape[1]
        of_vectors = torch.zeros_like(vectors)
        of_weight = new_table(weight) if chosen is None else new_table(weight).zero_()
        models = _models(vectors, weight, places, chosen, threshold, change, tuple(numbers))
        for s, model in enumerate(models):
            many = of_weight[s].view(model.weight.shape)
            factor = (slope[s] / total[s]).unsqueeze(-1)
            share_of_total = (share[s] * total[s]).unsqueeze(-1)
            _gradients(model, reference[s], share_of_total, factor, of_vectors[s], many)
        # 1 - p is taken as it is, not as a difference: p may be 1 to all digits.
        of_target = slope * ((smoothing - share).unsqueeze(-1) - lead.sigmoid())
        return of_vectors, of_weight, None, of_target, *(None,) * (len(inputs) - 4)


def _entropies(model: Model, target: Tensor, smoothing: Tensor) -> tuple[Tensor, ...]:
    """One model's losses, largest other logits, number of hard ones; and of its logits' sum of e^l:

    the log of the others' part over the own one, the reference r, and the sum of e^(l - r).
    """
    reference, others = target, torch.zeros_like(target)
    largest, mean = torch.full_like(target, -torch.inf), target / model.classes
    hard = target.new_zeros(())
    for block in model.blocks():
        logits = block.logits
        largest, hard = torch.maximum(largest, block.largest), hard + block.hard
        put(logits, block.own, 0.0)
        mean = mean + logits.sum(dim=-1) / model.classes
        put(logits, block.own, EXCLUDED)
        highest = block.largest if model.rule is None else logits.amax(dim=-1)
        moved = torch.maximum(reference, highest)
        others = others * (reference - moved).exp()
        others = others + logits.sub_(moved.unsqueeze(-1)).exp_().sum(dim=-1)
        reference = moved
    lead = others.log() + (reference - target)
    losses = softplus(lead) + smoothing * (target - mean)
    return losses, largest, hard, lead, reference, others + (target - reference).exp()


def _gradients(
    model: Model,
    reference: Tensor,
    share: Tensor,
    factor: Tensor,
    of_vectors: Tensor,
    of_weight: Tensor,
) -> None:
    """Write one model's gradients.

    The derivative by a logit l of another class is factor·(e^(l - reference) - share).

    Parameters
    ----------
    reference, share, factor : Tensor (B,), (B, 1), (B, 1)
    of_vectors, of_weight : Tensor (B, D), (C, K, D)
        Zeros, and anything (zeros if classes were chosen).
    """
    vectors = model.vectors * factor  # on this side it spares a walk through the block
    for block in model.blocks():
        slopes = block.logits.sub_(reference.unsqueeze(-1)).exp_().sub_(share)
        put(slopes, block.own, 0.0)
        if block.slope is not None:
            slopes.mul_(block.slope)
        rows, classes = block.rows, block.classes
        whole = isinstance(classes, slice)
        gradient = of_weight[classes] if whole else torch.empty_like(rows)
        for k in range(rows.shape[1]):
            own = slopes if block.winners is None else slopes * (block.winners == k)
            of_vectors.addmm_(own, rows[:, k])
            torch.mm(own.T, vectors, out=gradient[:, k])
        # From directions to rows: what is along a row does not turn it.
        gradient.sub_((gradient * rows).sum(dim=-1, keepdim=True) * rows).mul_(block.inverse)
        if not whole:
            of_weight[classes] = gradient
    of_vectors.mul_(factor)


def own_rows(weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (B, ...) of class weights (C, ...) at the labels (B,), and the weights.

    To be given to `cross_entropy_in_blocks` in place of the weights, whose gradient then holds
    that of the rows. Differentiable once.
    """
    rows, table = call_for_one(OwnRows, weight, labels)
    return rows, table


class Found(NamedTuple):
    """Result of `cross_entropy_in_blocks`."""

    losses: Tensor  # (B,)
    largest: Tensor  # (B,), logit of another class, before the rule; without gradient
    hard: Tensor  # (), number of logits of other classes that the rule changed


def cross_entropy_in_blocks(
    vectors: Tensor,
    weight: Tensor,
    labels: Tensor,
    target: Tensor,
    smoothing: Tensor,
    *,
    chosen: Tensor | None = None,
    rule: HardRule | None = None,
) -> Found:
    """Cross-entropies with cosines as logits, but for the own class. Differentiable once.

    Parameters
    ----------
    vectors : Tensor (B, D)
        Scale times the directions of the embeddings.
    weight : Tensor (C, D) or (C, K, D)
        Of any length; of K vectors a class the nearest counts.
    labels : Tensor (B,)
    target : Tensor (B,)
        Logits of the own classes, with margin and scale.
    smoothing : Tensor ()
        See `losses.cross_entropy.cross_entropy`.
    chosen : Tensor (M,), int64, ascending, or None
        The classes that take part, own ones included; None: all.
    rule : HardRule or None
        How hard negatives are changed.
    """
    places = labels if chosen is None else torch.searchsorted(chosen, labels)
    threshold, change, numbers = (None, None, ()) if rule is None else rule
    inputs = (vectors, weight, places, target, smoothing, chosen, threshold, change, *numbers)
    return Found(*call_for_one(CrossEntropyInBlocks, *inputs)[:3])
