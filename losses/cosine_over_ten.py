"""The tutorials' "ArcFace" on a tenth of the cosine."""

from __future__ import annotations

from torch import Tensor

from losses.heads import CosineHead


class CosineOverTen(CosineHead):
    """Cosine over ten: an additive cosine margin, in tutorials under the name of ArcFace.

    Target logit s·10·cos(arccos(cosθ_y / 10) + m), others s·cosθ_j. Mean over the batch.

    Dividing by ten keeps the arc cosine far from ±1, where its slope is infinite, but leaves angles
    of 84° to 96° only: 10·cos(arccos(c / 10) + m) = c·cos m - 10·sin m·sqrt(1 - c²/100), for the
    tutorials' m = 0.01 the same as c - 0.1 within 0.0006. That is CosFace with a margin of
    10·sin m, not ArcFace. With the tutorials' scale of 1 no target probability exceeds e² / (e² +
    C - 1).

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : float
        m in radians, added to arccos(cosθ / 10), 0..1.
    scale : float
        s > 0; the tutorials have none (1).
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    margin: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: float = 0.01,
        scale: float = 1.0,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes, embedding_dim, label_smoothing=label_smoothing, weight_norm=weight_norm
        )
        self.add_hyperparameters(margin=margin, scale=scale)

    def target(self, cosine: Tensor) -> Tensor:
        """10·cos(arccos(cosθ / 10) + m), expanded."""
        margin = self.margin.to(cosine.dtype)
        return cosine * margin.cos() - margin.sin() * (100 - cosine * cosine).sqrt()
