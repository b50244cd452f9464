"""Formulas that the losses share: functions on tensors, without state, safe under ``vmap``."""

from __future__ import annotations

import torch
from torch import Tensor

COSINE_LIMIT = 1.0 - 1e-6
"""Cosines are clamped to ± this where sqrt(1 - cos²) follows, whose slope is infinite at ±1."""

ZERO_LENGTH = 1e-12
"""Vectors no longer than this are zero: cosine 0 with everything, and no gradient."""


def unit_rows(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (N, D) and lengths (N,) of the rows of (N, D); a zero row's direction is zero."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1)
    inverse = (lengths > ZERO_LENGTH) / lengths.clamp_min(ZERO_LENGTH)
    return vectors * inverse.unsqueeze(-1), lengths


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Cross-entropy of each sample, with label smoothing as a tensor.

    (1 - e)·(-log p_y) + e·mean_j(-log p_j), as `torch.nn.functional.cross_entropy` (Szegedy et al.
    2016, section 7).

    Parameters
    ----------
    logits : Tensor (B, C)
    labels : Tensor (B,), int64, 0..C-1
    smoothing : Tensor (), in [0, 1)

    Returns
    -------
    Tensor (B,)
    """
    log_probability = torch.log_softmax(logits, dim=-1)
    target = log_probability.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (smoothing - 1) * target - smoothing * log_probability.mean(dim=-1)


def angle(cosine: Tensor) -> Tensor:
    """θ in [0, π] from cosθ (B,): exact, with a finite slope at cosθ = ±1."""
    clamped = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos()
    return clamped + (cosine.clamp(-1, 1).acos() - clamped).detach()


def angle_sum_cosine(cosine: Tensor, margin: Tensor) -> Tensor:
    """cos(θ + m) from cosθ (B,) and m () in radians; the slope is finite at cosθ = ±1."""
    clamped = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
    sine = ((1 - clamped) * (1 + clamped)).sqrt()
    return cosine * margin.cos() - sine * margin.sin()


def additive_angle(cosine: Tensor, margin: Tensor, rule: str) -> Tensor:
    """Target logit of an additive angular margin, cos(θ + m), under one of four rules.

    ``none``: as it is, rising again past π - m. ``linear``: cosθ - m·sin m past π - m (Deng et
    al.'s code). ``clip``: -1 past π - m. ``easy``: cosθ where cosθ <= 0. ``linear`` and ``clip``
    fall monotonically over θ in [0, π].

    Parameters
    ----------
    cosine : Tensor (B,)
        Cosine to the own class.
    margin : Tensor ()
        Radians, 0..π/2.
    rule : {"linear", "easy", "none", "clip"}

    Returns
    -------
    Tensor (B,)
    """
    moved = angle_sum_cosine(cosine, margin)
    if rule == "none":
        return moved
    if rule == "easy":
        return torch.where(cosine > 0, moved, cosine)
    inside = cosine >= -margin.cos()  # θ + m <= π
    if rule == "linear":
        return torch.where(inside, moved, cosine - margin * margin.sin())
    return torch.where(inside, moved, torch.full_like(cosine, -1.0))


def straight_through(value: Tensor, cosine: Tensor) -> Tensor:
    """The value of one tensor with the gradient of another (both ``(B,)``)."""
    return cosine + (value - cosine).detach()
