"""Cosine softmax with a scale that follows the batch (AdaCos)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from losses.base import Log
from losses.functional import unit_rows
from losses.heads import CosineHead, class_log


class AdaCos(CosineHead):
    """AdaCos. Zhang et al. 2019, fixed or dynamically adaptive scale. Mean over the batch.

    logit_j = s·cosθ_j, without margin or bias. ``fixed``: s = √2·ln(C - 1). ``dynamic``: s starts
    there, and each batch moves it before its own loss,

    s = ln(B) / cos(min(π/4, median_i θ_{i,y_i})), B = 1/N · sum_i sum_{j != y_i} exp(s'·cosθ_ij),

    with s' the scale of the step before; s is a constant in the gradient. With C = 2 it is 0 and
    nothing is learned. The paper does not treat two cases: with few classes s may fall to 0 and
    below, and where other classes' cosines pass about 0.7, s grows in every step without end.

    Logs ``scale``. State: ``scale`` of the last step, and ``pending_scale`` of the batch under way.

    Parameters
    ----------
    num_classes, embedding_dim : int
    mode : {"dynamic", "fixed"}
    median : {"mean", "lower"}
        Of an even number of angles: the mean of the two in the middle, or the lower one (as
        `torch.median`, and the usual code).
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    pending_scale: Tensor
    in_blocks = False  # the scale follows from all logits before the loss does

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        mode: str = "dynamic",
        median: str = "mean",
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.mode = mode
        self.median = median
        start = math.sqrt(2) * math.log(num_classes - 1)
        self.add_hyperparameters(scale=start)
        if mode == "dynamic":
            self.add_hyperparameters(pending_scale=start)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight rows; the scale starts again."""
        super().reset_parameters(generator)
        start = math.sqrt(2) * math.log(self.num_classes - 1)
        self.scale.fill_(start)
        if self.mode == "dynamic":
            self.pending_scale.fill_(start)

    def adapted(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """s of this batch, (), from all cosines (B, C)."""
        columns = labels.unsqueeze(-1)
        nothing = torch.full_like(columns, -torch.inf, dtype=cosines.dtype)
        logits = (self.scale.to(cosines.dtype) * cosines).scatter_add_(-1, columns, nothing)
        size = labels.shape[-1]
        largest = logits.amax(dim=(-2, -1))
        total = logits.sub_(largest).exp_().sum(dim=(-2, -1))  # in place: faster than logsumexp
        spread = largest + total.log() - math.log(size)  # ln B
        angles = cosines.gather(-1, columns).squeeze(-1).clamp(-1, 1).acos().sort(dim=-1).values
        middle = angles[..., (size - 1) // 2]
        if self.median == "mean":
            middle = (middle + angles[..., size // 2]) / 2
        return spread / middle.clamp_max(math.pi / 4).cos()

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        cosines = directions @ self.unit_weight(embeddings.dtype).mT  # (B, C)
        with torch.no_grad():
            scale = self.scale.to(cosines.dtype)
            if self.mode == "dynamic":
                scale = self.adapted(cosines, labels)
                self.pending_scale.copy_(scale)
            own = cosines.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        log = class_log(cosines, labels, own, lengths) | {"scale": scale}
        return self.per_sample(cosines.mul_(scale), labels).mean(), log

    def after_step(self, embeddings: Tensor, labels: Tensor) -> None:
        """The scale of the batch becomes that of the next one to start from."""
        if self.mode == "dynamic":
            self.scale.copy_(self.pending_scale)
