"""Multiplicative angular margin on un-normalised weights (L-Softmax)."""

from __future__ import annotations

from losses.multiple_angle import MultipleAngle


class LSoftmax(MultipleAngle):
    """Large-margin softmax. Liu et al. 2016, L-Softmax, annealed. Mean over the batch.

    Target logit ‖W_y‖·‖x‖·(λ·cosθ_y + ψ(θ_y)) / (1 + λ), others W_j·x, with ψ(θ) = (-1)^k·cos(mθ) -
    2k for θ in [kπ/m, (k+1)π/m]: nothing is normalised, and there is no bias. λ = max(λ_min,
    base·(1 + γt)^-power), where t is 1 in the first forward pass.

    Logs λ as ``lambda``. State: ``steps``, the optimizer steps done. At x = 0 the gradient is that
    of the logits without margin.

    Parameters
    ----------
    num_classes, embedding_dim : int
    margin : int
        m in 1..4, multiple of the target angle; 1 is no margin.
    base, gamma, power, lambda_min : float
        The annealing, all >= 0. The paper gives no numbers; the defaults are those of the authors'
        code for MNIST.
    label_smoothing, weight_norm : float
        See `losses.heads.ClassifierLoss`.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: int = 4,
        base: float = 1000.0,
        gamma: float = 2.5e-5,
        power: float = 35.0,
        lambda_min: float = 0.0,
        label_smoothing: float = 0.0,
        weight_norm: float = 1.0,
    ) -> None:
        super().__init__(
            num_classes,
            embedding_dim,
            margin=margin,
            base=base,
            gamma=gamma,
            power=power,
            lambda_min=lambda_min,
            label_smoothing=label_smoothing,
            weight_norm=weight_norm,
        )
