"""Neighbourhood components with proxies (Proxy-NCA)."""

from __future__ import annotations

from torch import Tensor

from losses.base import Log
from losses.binary import exclude_target
from losses.functional import scaled_cosines, unit_rows
from losses.heads import ClassWeights, class_log


class ProxyNCA(ClassWeights):
    """Proxy-NCA. Movshovitz-Attias et al. 2017, the NCA loss on proxies. Mean over the batch.

    -log(e^(-s·d_y) / Σ_z e^(-s·d_z)) with d_z = ‖x̂ - p̂_z‖² = 2 - 2cosθ_z between unit vectors and
    one proxy per class, the rows of ``weight``. z runs over the other classes (the paper), so that
    the loss can be negative; or over all, which makes it a softmax over 2s·cosθ.

    Parameters
    ----------
    num_classes, embedding_dim : int
    scale : float
        s > 0, per unit of squared distance.
    denominator : {"negatives", "all"}
    weight_norm : float
        See `losses.heads.ClassWeights`.
    """

    scale: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        scale: float = 1.0,
        denominator: str = "negatives",
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, weight_norm=weight_norm)
        self.denominator = denominator
        self.add_hyperparameters(scale=scale)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        weight = self.unit_weight(embeddings.dtype)
        factor = 2 * self.scale.to(embeddings.dtype)
        logits = (directions * factor) @ weight.mT  # (B, C): -s·d + 2s, and the 2s cancel
        cosine = (directions * weight[labels]).sum(dim=-1)  # (B,)
        log = class_log(logits, labels, cosine, lengths)
        if self.denominator == "negatives":
            logits = exclude_target(logits, labels)
        return (logits.logsumexp(dim=-1) - factor * cosine).mean(), log

    def scores(self, embeddings: Tensor) -> Tensor:
        """2s·cosθ, (B, C): -s·d up to a constant."""
        return scaled_cosines(embeddings, self.weight, 2 * self.scale)
