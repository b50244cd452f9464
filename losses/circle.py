"""Circle loss of pairs."""

from __future__ import annotations

from torch import Tensor

from losses.functional import softplus
from losses.pairs import PairLoss, masked_logsumexp, masked_mean


class Circle(PairLoss):
    """Circle loss of the batch's pairs. Sun et al. 2020, eq. 4-6.

    log[1 + Σ_n exp(γ·α_n·(s_n - m)) · Σ_p exp(-γ·α_p·(s_p - 1 + m))] with the weights
    α_p = max(0, 1 + m - s_p) and α_n = max(0, s_n + m), over the cosines s_p to the positives and
    s_n to the negatives of an anchor. It counts where the anchor has both (``active``). Logs: see
    `losses.pairs.PairLoss`.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m, in cosine, 0 to 1; the optimum is s_p = 1 + m, s_n = -m.
    scale : float
        γ > 0.
    reduction : {"valid_mean", "all_mean", "batch"}
        Mean over the anchors that count; their sum divided by the batch size; or one logarithm over
        all pairs of the batch, each once.
    detach : bool
        The weights α are constants in the gradient, as in the paper; else part of it.
    """

    margin: Tensor
    scale: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.4,
        scale: float = 80.0,
        reduction: str = "valid_mean",
        detach: bool = True,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.reduction = reduction
        self.detach = detach
        self.add_hyperparameters(margin=margin, scale=scale)

    def terms(self, matrix: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) by anchor; (1,) for ``batch``."""
        margin, scale = self.margin.to(matrix.dtype), self.scale.to(matrix.dtype)
        weighed = matrix.detach() if self.detach else matrix
        pull = -scale * (1 + margin - weighed).relu() * (matrix - 1 + margin)
        push = scale * (weighed + margin).relu() * (matrix - margin)
        if self.reduction == "batch":
            positive, negative = (mask.triu(1).reshape(1, -1) for mask in (positive, negative))
            pull, push = pull.reshape(1, -1), push.reshape(1, -1)
        pulls, any_positive = masked_logsumexp(pull, positive)
        pushes, any_negative = masked_logsumexp(push, negative)
        return softplus(pulls + pushes), any_positive & any_negative

    def reduce(self, terms: Tensor, counted: Tensor, positive: Tensor) -> Tensor:
        """See the class."""
        return terms.mean() if self.reduction == "all_mean" else masked_mean(terms, counted)
