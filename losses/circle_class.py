"""Circle loss with class weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import scaled_cosines, unit_rows
from losses.heads import ClassifierLoss, class_log


class CircleClass(ClassifierLoss):
    """Circle loss, class level. Sun et al. 2020, eq. 4-6. Mean over the batch.

    log(1 + Σ_{j≠y} e^(γ·αₙ·(cosθ_j - m)) · e^(-γ·αₚ·(cosθ_y - 1 + m)) with αₙ = max(0, cosθ_j + m)
    and αₚ = max(0, 1 + m - cosθ_y). It is the cross-entropy of the logits γ·αₙ·(cosθ_j - m) and
    γ·αₚ·(cosθ_y - 1 + m).

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m in units of cosine, 0..1: own cosines are to pass 1 - m, others to stay below m.
    scale : float
        γ > 0.
    detach : bool
        αₙ and αₚ are constants in the gradient, as in the paper; False: they are differentiated.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor
    scale: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.25,
        scale: float = 256.0,
        detach: bool = True,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.detach = detach
        self.add_hyperparameters(margin=margin, scale=scale)

    def target(self, cosine: Tensor) -> Tensor:
        """αₚ·(cosθ_y - 1 + m), unscaled, from the target cosine (B,)."""
        margin = self.margin.to(cosine.dtype)
        pace = (1 + margin - (cosine.detach() if self.detach else cosine)).relu()
        return pace * (cosine - (1 - margin))

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        weight = self.unit_weight(embeddings.dtype)
        cosine = (directions * weight[labels]).sum(dim=-1)  # (B,)
        margin, scale = self.margin.to(cosine.dtype), self.scale.to(cosine.dtype)
        root = scale.sqrt()  # γ·αₙ·(cosθ - m) has sqrt(γ) in both factors: one pass less
        rooted = (directions * root) @ weight.mT  # (B, C)
        bound = root * margin
        logits = CircleLogits.apply(
            rooted,
            bound,
            labels.unsqueeze(-1),
            (scale * self.target(cosine)).unsqueeze(-1),
            self.detach,
        )[0]
        log = class_log(rooted, labels, cosine, lengths)
        log["past_target"] = (cosine.detach() > 1 - margin).to(cosine.dtype).mean()
        return self.per_sample(logits, labels).mean(), log

    def scores(self, embeddings: Tensor) -> Tensor:
        """γ·cosθ, (B, C)."""
        return scaled_cosines(embeddings, self.weight, self.scale)


class CircleLogits(torch.autograd.Function):
    """max(0, x + b)·(x - b) of x (B, C), with the own class's column replaced.

    By hand, because autograd would walk over (B, C) twice as often. ``detach``: the first factor is
    a constant in the gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, bound: Tensor, index: Tensor, own: Tensor, detach: bool
    ) -> tuple[Tensor, Tensor]:
        """The values, and the first factor, which is 0 in the column of the own class."""
        pace = (x + bound).relu_()
        pace.scatter_add_(-1, index, -pace.gather(-1, index))
        return (x - bound).mul_(pace).scatter_add_(-1, index, own), pace

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the first factor."""
        _, bound, index, _, ctx.detach = inputs
        ctx.save_for_backward(output[1], bound, index)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        """With respect to x and the own class's value."""
        pace, bound, index = ctx.saved_tensors
        if gradient is None:
            return (None,) * 5
        own = gradient.gather(-1, index)
        slope = pace if ctx.detach else (2 * (pace - bound)).mul_(pace > 0)
        return gradient * slope, None, None, own, None
