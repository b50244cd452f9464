"""Losses with one weight row per class: the softmax family and its margins."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from losses.base import Log, Loss
from losses.functional import cross_entropy, unit_rows


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
        self.weight = nn.Parameter(torch.empty(self.weight_shape()))
        ClassWeights.reset_parameters(self)

    def weight_shape(self) -> tuple[int, ...]:
        """Shape of ``weight``; the first axis is the class, the last the embedding's."""
        return (self.num_classes, self.embedding_dim)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows: uniform directions of length ``weight_norm``."""
        device = "cpu" if generator is None else generator.device
        rows = torch.randn(self.weight.shape, generator=generator, device=device)
        with torch.no_grad():
            self.weight.copy_(unit_rows(rows)[0] * self.weight_norm)


class ClassifierLoss(ClassWeights):
    """A cross-entropy over the classes.

    Parameters
    ----------
    num_classes, embedding_dim : int
    label_smoothing : float
        In [0, 1); see `losses.functional.cross_entropy`.
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
        """Smoothed cross-entropy of each sample, (B,)."""
        return cross_entropy(logits, labels, self.label_smoothing.to(logits.dtype))


class CosineHead(ClassifierLoss):
    """Cross-entropy over cosines, with a margin on the target. Mean over the batch.

    logit_j = r·cosθ_j for the other classes, r·target(cosθ_y) for the own one; r is the scale s, or
    what `radius` says. A subclass gives ``target``: the unscaled target logit as a function of the
    target cosine.
    """

    scale: Tensor

    def target(self, cosine: Tensor) -> Tensor:
        """Unscaled target logit (B,) for target cosines (B,); without margin, the cosine."""
        return cosine

    def shift(self, cosine: Tensor) -> Tensor:
        """What the margin adds to the target cosine, (B,)."""
        return self.target(cosine) - cosine

    def radius(self, lengths: Tensor) -> Tensor:
        """Logit per unit of cosine, () or (B,), for embeddings of these lengths (B,)."""
        return self.scale.to(lengths.dtype)

    def target_log(self, cosine: Tensor) -> Log:
        """More to log, from the cosines to the own class (B,), without gradient."""
        return {}

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        weight = unit_rows(self.weight.to(embeddings.dtype))[0]
        radius = self.radius(lengths)
        logits = (directions * radius.unsqueeze(-1)) @ weight.mT  # (B, C)
        cosine = (directions * weight[labels]).sum(dim=-1)  # (B,)
        with torch.no_grad():
            log = {
                "accuracy": (logits.argmax(dim=-1) == labels).to(logits.dtype).mean(),
                "target_angle": cosine.clamp(-1, 1).acos().mean(),
                "embedding_norm": lengths.mean(),
                **self.target_log(cosine),
            }
        # Adding to the target column copies the logits once, and their gradient not at all.
        shifted = logits.scatter_add(
            -1, labels.unsqueeze(-1), (radius * self.shift(cosine)).unsqueeze(-1)
        )
        return self.per_sample(shifted, labels).mean(), log

    def scores(self, embeddings: Tensor) -> Tensor:
        """r·cosθ, (B, C)."""
        directions, lengths = unit_rows(embeddings)
        weight = unit_rows(self.weight.to(embeddings.dtype))[0]
        return (directions * self.radius(lengths).unsqueeze(-1)) @ weight.mT
