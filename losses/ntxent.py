"""Normalised temperature-scaled cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.pairs import PairLoss, masked_logsumexp


class NTXent(PairLoss):
    """Normalised temperature-scaled cross-entropy. Chen et al. 2020, eq. 1.

    -log(e^(s_ij/τ) / Σ_k e^(s_ik/τ)) for each ordered positive pair (i, j), over cosines s; mean
    over those pairs (``active``). The paper's positive is the other view of the same image; here
    every other image of the class is one. With two images a class in the batch the two agree.
    Logs: see `losses.pairs.PairLoss`.

    Parameters
    ----------
    num_classes, embedding_dim : int
    temperature : float
        τ > 0.
    denominator : {"all_others", "pair_and_negatives"}
        k runs over all samples but i, or over j and the negatives of i. They differ where a class
        has more than two images in the batch.
    """

    temperature: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        temperature: float = 0.1,
        denominator: str = "all_others",
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.denominator = denominator
        self.add_hyperparameters(temperature=temperature)

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B, B) by ordered pair."""
        logits = matrix / self.temperature.to(matrix.dtype)
        if self.denominator == "all_others":
            total = masked_logsumexp(logits, positive | negative)[0].unsqueeze(1)
        else:
            rest, some = masked_logsumexp(logits, negative)
            rest = rest.masked_fill(~some, -torch.inf).unsqueeze(1)
            total = torch.logaddexp(logits, rest)
        return total - logits, positive
