"""Formulas that the losses share: functions on tensors, without state, safe under ``vmap``."""

from __future__ import annotations

from typing import Any

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


def scaled_cosines(embeddings: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """scale·cosθ (B, C) of embeddings (B, D) to the rows of weight (C, D)."""
    directions, rows = unit_rows(embeddings)[0], unit_rows(weight.to(embeddings.dtype))[0]
    return (directions * scale.to(embeddings.dtype)) @ rows.mT


LARGEST = 40.0
"""log(1 + e^z) and z are one number from here on, in float64 too; e^z is far from an overflow."""


def softplus(z: Tensor) -> Tensor:
    """log(1 + e^z), exact in float64; torch's is z from 20 on, 2e-9 too small."""
    return torch.nn.functional.softplus(z, threshold=LARGEST)


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """1.0 for each sample (B,) whose own class has the largest logit (B, C), else 0.0.

    Several largest logits count as right, except where all are equal (a zero embedding). This is
    many times faster than comparing the argmax.
    """
    own = logits.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    largest, smallest = logits.amax(dim=-1), logits.amin(dim=-1)
    return ((own == largest) & (largest > smallest)).to(logits.dtype)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share () of samples whose own class has the largest logit; see `hits`."""
    return hits(logits, labels).mean()


def angle(cosine: Tensor) -> Tensor:
    """θ in [0, π] from cosθ (B,): exact, with a finite slope at cosθ = ±1."""
    clamped = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos()
    return clamped + (cosine.clamp(-1, 1).acos() - clamped).detach()


def angle_sum_cosine(cosine: Tensor, margin: Tensor) -> Tensor:
    """cos(θ + m) from cosθ (B,) and m () or (B,) in radians.

    Exact, with a finite slope at cosθ = ±1.
    """
    clamped = cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)
    sine = ((1 - clamped) * (1 + clamped)).sqrt()
    exact = ((1 - cosine) * (1 + cosine)).detach().clamp_min(0).sqrt()
    return cosine * margin.cos() - (sine + (exact - sine).detach()) * margin.sin()


def additive_angle(cosine: Tensor, margin: Tensor, rule: str) -> Tensor:
    """Target logit of an additive angular margin, cos(θ + m), under one of four rules.

    ``none``: as it is, rising again past π - m. ``linear``: cosθ - m·sin m past π - m (Deng et
    al.'s code). ``clip``: θ + m is held in [0, π]. ``easy``: cosθ where cosθ <= 0. ``linear`` and
    ``clip`` fall monotonically over θ in [0, π] for m >= 0, ``clip`` for m < 0 too.

    Parameters
    ----------
    cosine : Tensor (B,)
        Cosine to the own class.
    margin : Tensor () or (B,)
        Radians, -π/2..π/2; below 0 it makes the target easier.
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
    past = (cosine < -margin.cos()) & (margin > 0)  # θ + m > π
    if rule == "linear":
        return torch.where(past, cosine - margin * margin.sin(), moved)
    before = (cosine > margin.cos()) & (margin < 0)  # θ + m < 0
    return torch.where(past, -1.0, torch.where(before, 1.0, moved))


def straight_through(value: Tensor, cosine: Tensor) -> Tensor:
    """The value of one tensor with the gradient of another (both ``(B,)``)."""
    return cosine + (value - cosine).detach()


def positive(difference: Tensor) -> Tensor:
    """1.0 where a tensor is above 0, else 0.0, in place: bool masks are slow to use."""
    return difference.sign_().relu_()


class _Larger(torch.autograd.Function):
    """Element-wise maximum, and 1.0 where it is the second; by hand, as autograd is slower."""

    generate_vmap_rule = True

    @staticmethod
    def forward(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return torch.maximum(first, second), positive(second - first)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, slope: Tensor | None, _: None) -> tuple[Tensor | None, Tensor | None]:
        if slope is None:
            return None, None
        second = slope * ctx.saved_tensors[0]
        return slope - second, second


def larger(first: Tensor, second: Tensor) -> Tensor:
    """Element-wise maximum; where both are equal the first gets the gradient."""
    maximum: Tensor = _Larger.apply(first, second)[0]
    return maximum
