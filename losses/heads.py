"""Losses with one weight row per class: the softmax family and its margins."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from losses.base import Log, Loss
from losses.class_blocks import Found, cross_entropy_in_blocks, own_rows
from losses.class_table import cross_entropy_in_table
from losses.cross_entropy import HardRule, cross_entropy
from losses.functional import ZERO_LENGTH, accuracy, unit_rows
from losses.large_tables import new_table

ROWS = 2**12
"""Class weight rows that are normalised at a time at the start."""

LARGEST_TABLE = 2**25
"""Logits of a batch above which they are computed in blocks: a table of 128 MiB in float32.

A head holds one such table, some with a rule or several centers more. Below, time hardly differs
(docs/many-classes.md).
"""


def class_log(scores: Tensor, labels: Tensor, cosine: Tensor, lengths: Tensor) -> Log:
    """What every loss with class weights logs, without gradient.

    Parameters
    ----------
    scores : Tensor (B, C)
        Without margin.
    labels : Tensor (B,)
    cosine : Tensor (B,)
        To the own class.
    lengths : Tensor (B,)
        Of the embeddings.
    """
    with torch.no_grad():
        return _log(accuracy(scores, labels), cosine, lengths)


def _log(accuracy: Tensor, cosine: Tensor, lengths: Tensor) -> Log:
    return {
        "accuracy": accuracy,
        "target_angle": cosine.clamp(-1, 1).acos().mean(),
        "embedding_norm": lengths.mean(),
    }


class ClassWeights(Loss):
    """A loss with class weights ``weight`` (C, D), one row per class.

    Parameters
    ----------
    num_classes, embedding_dim : int
    weight_norm : float
        Length of each row at the start: rows are drawn Gaussian, then scaled to it.
    """

    kind: ClassVar[str] = "classifier"
    class_parameters: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, num_classes: int, embedding_dim: int, *, weight_norm: float = 1.0) -> None:
        super().__init__(num_classes, embedding_dim)
        self.weight_norm = weight_norm
        self.weight = nn.Parameter(new_table(torch.empty(self.weight_shape())))
        ClassWeights.reset_parameters(self)

    def weight_shape(self) -> tuple[int, ...]:
        """Shape of ``weight``; the first axis is the class, the last the embedding's."""
        return (self.num_classes, self.embedding_dim)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows: uniform directions of length ``weight_norm``."""
        device = torch.device("cpu") if generator is None else generator.device
        with torch.no_grad():
            # In place where the weights are what is drawn: with many classes there is no room for both.
            in_place = self.weight.dtype == torch.float32 and self.weight.device == device
            drawn = self.weight if in_place else torch.empty(self.weight.shape, device=device)
            drawn.normal_(generator=generator)
            for some in drawn.split(ROWS):
                some.copy_(unit_rows(some)[0] * self.weight_norm)
            self.weight.copy_(drawn)

    def unit_weight(self, dtype: torch.dtype) -> Tensor:
        """The weight rows at length 1, in their shape."""
        return unit_rows(self.weight.to(dtype))[0]


class ClassifierLoss(ClassWeights):
    """A cross-entropy over the classes.

    Parameters
    ----------
    num_classes, embedding_dim : int
    label_smoothing : float
        In [0, 1); see `losses.cross_entropy.cross_entropy`.
    weight_norm : float
        See `ClassWeights`.
    """

    label_smoothing: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, weight_norm=weight_norm)
        self.add_hyperparameters(label_smoothing=label_smoothing)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Smoothed cross-entropy of each sample, (B,); changes the logits."""
        return cross_entropy(logits, labels, self.label_smoothing.to(logits.dtype))


class MarginHead(ClassifierLoss):
    """A cross-entropy with a margin on the target logit, which a subclass gives as ``target``."""

    def target(self, cosine: Tensor) -> Tensor:
        """Unscaled target logit (B,) for target cosines (B,); without margin, the cosine.

        Where margins differ between samples: the one of a typical sample.
        """
        return cosine

    def shift(self, cosine: Tensor) -> Tensor:
        """What the margin adds to the target cosine, (B,)."""
        return self.target(cosine) - cosine


class CosineHead(MarginHead):
    """Cross-entropy over cosines, with a margin on the target. Mean over the batch.

    logit_j = r·cosθ_j for the other classes, r·target(cosθ_y) for the own one; r is the scale s, or
    what `radius` says. A subclass gives ``target``: the unscaled target logit as a function of the
    target cosine. Two more hooks serve what a formula in one cosine cannot say: `sample_shift` (a
    margin for each sample) and `hard_rule` (other classes' logits changed).

    With a weight of several vectors a class (C, K, D) the nearest of them counts in training; such
    a subclass says the same in `class_logits`, for evaluation, and in `own_cosine`.

    The logits of a batch are held in one table (`losses.class_table`). Above `LARGEST_TABLE` they
    are computed in blocks of classes, with the same result and no table (`losses.class_blocks`).

    Attributes
    ----------
    in_blocks : bool
        Whether they can be.
    """

    scale: Tensor
    in_blocks: bool = True

    def sample_shift(self, cosine: Tensor, lengths: Tensor) -> Tensor:
        """`shift` (B,) with each sample's own margin; ``lengths`` (B,) are the embeddings'."""
        return self.shift(cosine)

    def radius(self, lengths: Tensor) -> Tensor:
        """Logit per unit of cosine, () or (B,), for embeddings of these lengths (B,)."""
        return self.scale.to(lengths.dtype)

    def hard_rule(self, cosine: Tensor, target: Tensor) -> tuple[HardRule | None, Log]:
        """How other classes' logits are changed; None: not at all. And what to log about it.

        ``cosine`` and ``target`` (B,) are the target cosine and the unscaled target logit. With a
        rule, the share of hard negatives is logged as ``hard_share``.
        """
        return None, {}

    def entropies(
        self,
        vectors: Tensor,
        directions: Tensor,
        labels: Tensor,
        target: Tensor,
        rule: HardRule | None,
    ) -> Found:
        """Cross-entropies (B,) and more: see `losses.class_table.cross_entropy_in_table`."""
        smoothing = self.label_smoothing.to(vectors.dtype)
        return cross_entropy_in_table(vectors, directions, labels, target, smoothing, rule=rule)

    def chosen_classes(self, labels: Tensor) -> Tensor | None:
        """The classes (M,) that take part in a batch, ascending, its own among them; None: all."""
        return None

    def target_log(self, cosine: Tensor) -> Log:
        """More to log, from the cosines to the own class (B,), without gradient."""
        return {}

    def class_logits(self, vectors: Tensor, weight: Tensor) -> Tensor:
        """Inner products (B, C) of vectors (B, D) with directions ``weight`` (C, D)."""
        return vectors @ weight.mT

    def own_cosine(self, directions: Tensor, own: Tensor) -> Tensor:
        """Cosines (B,) of directions (B, D) with those of their own classes, ``own`` (B, D)."""
        return (directions * own).sum(dim=-1)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        chosen = self.chosen_classes(labels)
        large = len(labels) * self.num_classes > LARGEST_TABLE
        blocks = self.in_blocks and (large or chosen is not None)
        directions, lengths = unit_rows(embeddings)
        radius = self.radius(lengths)
        if blocks:
            rows, weight = own_rows(self.weight.to(embeddings.dtype), labels)
            own = unit_rows(rows)[0]
        else:
            weight = self.unit_weight(embeddings.dtype)
            own = weight[labels]
        cosine = self.own_cosine(directions, own)  # (B,)
        target = cosine + self.sample_shift(cosine, lengths)
        rule, more = self.hard_rule(cosine, target)
        inputs = directions * radius.unsqueeze(-1), weight, labels, radius * target
        if blocks:
            smoothing = self.label_smoothing.to(cosine.dtype)
            found = cross_entropy_in_blocks(*inputs, smoothing, chosen=chosen, rule=rule)
        else:
            found = self.entropies(*inputs, rule)
        with torch.no_grad():
            right = (radius * cosine >= found.largest) & (lengths > ZERO_LENGTH)
            log = _log(right.to(cosine.dtype).mean(), cosine, lengths)
        log |= self.target_log(cosine.detach())
        if rule is not None:
            others = self.num_classes - 1 if chosen is None else len(chosen) - 1
            more["hard_share"] = found.hard / (len(labels) * others)
        return found.losses.mean(), {**log, **more}

    def scores(self, embeddings: Tensor) -> Tensor:
        """r·cosθ, (B, C)."""
        directions, lengths = unit_rows(embeddings)
        weight = self.unit_weight(embeddings.dtype)
        return self.class_logits(directions * self.radius(lengths).unsqueeze(-1), weight)
