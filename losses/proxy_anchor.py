"""Proxy-Anchor loss."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Log
from losses.binary import EXCLUDED, exclude_target
from losses.cross_entropy import log_sum_exp
from losses.functional import scaled_cosines, softplus, unit_rows
from losses.heads import ClassWeights, class_log


class ProxyAnchor(ClassWeights):
    """Proxy-Anchor loss. Kim et al. 2020, eq. 4.

    1/|P⁺|·Σ_{p∈P⁺} log(1 + Σ_{x∈X_p⁺} e^(-α(cos(x, p) - δ)))
    + 1/|P|·Σ_{p∈P} log(1 + Σ_{x∈X_p⁻} e^(α(cos(x, p) + δ))).

    P: all proxies, one per class, the rows of ``weight``. P⁺: those whose class is in the batch.
    X_p⁺, X_p⁻: the samples of the proxy's class and the others. Each term is a mean over proxies.

    Logs ``positive_proxies``, |P⁺|, and the two terms ``positive`` and ``negative``.

    Departs from the authors' code where C = 2 (its label binarizer returns one column there).

    Parameters
    ----------
    num_classes, embedding_dim : int
    scale : float
        α > 0.
    margin : float
        δ >= 0, in units of cosine.
    weight_norm : float
        See `losses.heads.ClassWeights`. The authors draw Gaussian proxies of length about
        sqrt(2D/C): the directions are uniform as here, the length decides how fast they turn.
    """

    scale: Tensor
    margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        scale: float = 32.0,
        margin: float = 0.1,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(num_classes, embedding_dim, weight_norm=weight_norm)
        self.add_hyperparameters(scale=scale, margin=margin)

    def evaluate(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Log]:
        """See `Loss.compute`."""
        directions, lengths = unit_rows(embeddings)
        weight = self.unit_weight(embeddings.dtype)
        scale = self.scale.to(embeddings.dtype)
        logits = (directions * scale) @ weight.mT  # (B, C)
        cosine = (directions * weight[labels]).sum(dim=-1)  # (B,)
        log = class_log(logits, labels, cosine, lengths)
        shares = self.shares(labels, cosine.dtype)
        count = shares.sum().round()
        positive = (self.positive_terms(scale * cosine, labels) * shares).sum() / count
        negative = self.negative_terms(logits, labels).mean()
        log |= {
            "positive_proxies": count,
            "positive": positive.detach(),
            "negative": negative.detach(),
        }
        return positive + negative, log

    def shares(self, labels: Tensor, dtype: torch.dtype) -> Tensor:
        """1 / (samples of the same class) of each sample, (B,): they sum to the classes there."""
        return 1 / (labels.unsqueeze(-1) == labels).to(dtype).sum(dim=-1)

    def positive_terms(self, own: Tensor, labels: Tensor) -> Tensor:
        """For each sample (B,) its class's log(1 + Σ e^(-α(cos - δ))), from α·cos to the class."""
        same = labels.unsqueeze(-1) == labels  # (B, B)
        pull = self.scale.to(own.dtype) * self.margin.to(own.dtype) - own
        return softplus(torch.where(same, pull, EXCLUDED).logsumexp(dim=-1))

    def negative_terms(self, logits: Tensor, labels: Tensor) -> Tensor:
        """log(1 + Σ e^(α(cos + δ))) of each proxy (C,), from α·cos (B, C), which it changes."""
        offset = self.scale.to(logits.dtype) * self.margin.to(logits.dtype)
        return softplus(log_sum_exp(exclude_target(logits, labels), dim=-2) + offset)

    def scores(self, embeddings: Tensor) -> Tensor:
        """α·cosθ, (B, C)."""
        return scaled_cosines(embeddings, self.weight, self.scale)
