"""Supervised contrastive loss."""

from __future__ import annotations

from torch import Tensor

from losses.pairs import PairLoss, masked_logsumexp, masked_mean


class SupCon(PairLoss):
    """Supervised contrastive loss. Khosla et al. 2020, eq. 2 (out) and 3 (in).

    With P the positives of an anchor and all other samples in the denominator, over cosines s:

    - ``out``: -(1/|P|)·Σ_p log(e^(s_p/τ) / Σ_a e^(s_a/τ))
    - ``in``: -log((1/|P|)·Σ_p e^(s_p/τ) / Σ_a e^(s_a/τ))

    Mean over the anchors that have a positive (``active``), or their sum as the paper writes it.
    Logs: see `losses.pairs.PairLoss`.

    Parameters
    ----------
    num_classes, embedding_dim : int
    temperature : float
        τ > 0.
    variant : {"out", "in"}
        The mean over the positives stands outside or inside the logarithm.
    reduction : {"valid_mean", "sum"}
    """

    temperature: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        temperature: float = 0.1,
        variant: str = "out",
        reduction: str = "valid_mean",
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.variant = variant
        self.reduction = reduction
        self.add_hyperparameters(temperature=temperature)

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) by anchor."""
        logits = matrix / self.temperature.to(matrix.dtype)
        others, _ = masked_logsumexp(logits, positive | negative)
        count = positive.to(matrix.dtype).sum(dim=1).clamp_min(1)
        if self.variant == "out":
            own = logits.masked_fill(~positive, 0.0).sum(dim=1) / count
        else:
            own = masked_logsumexp(logits, positive)[0] - count.log()
        return others - own, positive.any(dim=1)

    def reduce(self, terms: Tensor, counted: Tensor, positive: Tensor) -> Tensor:
        """Mean or sum."""
        return terms.sum() if self.reduction == "sum" else masked_mean(terms, counted)
