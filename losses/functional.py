"""Formulas that the losses share: functions on tensors, without state, safe under ``vmap``."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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


def _exponentials(logits: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logit, e^(logit - largest) of all, and their sum; the dimension stays.

    What gradients need, so that they take no second exponential; no slower than log-softmax.
    """
    largest = logits.amax(dim=dim, keepdim=True)
    odds = (logits - largest).exp_()
    return largest, odds, odds.sum(dim=dim, keepdim=True)


class _LogSumExp(torch.autograd.Function):
    """logsumexp, with the exponentials and their sum, so that its gradient takes one product."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
        largest, odds, total = _exponentials(logits, dim)
        return (largest + total.log()).squeeze(dim), odds, total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.dim = inputs[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, *_: None) -> tuple[Tensor | None, None]:
        odds, total = ctx.saved_tensors
        return (None if slope is None else odds * (slope.unsqueeze(ctx.dim) / total)), None


def log_sum_exp(logits: Tensor, dim: int = -1) -> Tensor:
    """log Σ e^l over a dimension, where not all are -inf. Differentiable once, faster than torch's."""
    result: Tensor = _LogSumExp.apply(logits, dim)[0]
    return result


class _CrossEntropy(torch.autograd.Function):
    """Cross-entropy (B,), and what its gradient needs: exponentials (B, C) and their sums (B, 1).

    By hand, because autograd would walk over three more arrays (B, C): a gradient for the target's
    column, one for the mean, and their sum. A second derivative is an error.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, labels: Tensor, smoothing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        largest, odds, total = _exponentials(logits, -1)
        below = largest - logits.gather(-1, labels.unsqueeze(-1))
        mean_below = largest - logits.mean(dim=-1, keepdim=True)
        loss = total.log() + (1 - smoothing) * below + smoothing * mean_below
        return loss.squeeze(-1), odds, total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*output[1:], *inputs[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor | None, *_: None) -> tuple[Tensor | None, None, None]:
        """slope·(p_j - e/C - (1 - e)·[j = y])."""
        if slope is None:
            return None, None, None
        odds, total, labels, smoothing = ctx.saved_tensors
        slope = slope.unsqueeze(-1)
        gradient = torch.addcmul(-slope * smoothing / odds.shape[-1], odds, slope / total)
        gradient.scatter_add_(-1, labels.unsqueeze(-1), slope * (smoothing - 1))
        return gradient, None, None


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Cross-entropy of each sample, with label smoothing as a tensor.

    (1 - e)·(-log p_y) + e·mean_j(-log p_j), as `torch.nn.functional.cross_entropy` (Szegedy et al.
    2016, section 7). Differentiable once, with respect to the logits.

    Parameters
    ----------
    logits : Tensor (B, C)
    labels : Tensor (B,), int64, 0..C-1
    smoothing : Tensor (), in [0, 1)

    Returns
    -------
    Tensor (B,)
    """
    loss: Tensor = _CrossEntropy.apply(logits, labels, smoothing)[0]
    return loss


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


def _positive(difference: Tensor) -> Tensor:
    """1.0 where a tensor is above 0, else 0.0, in place: bool masks are slow to use."""
    return difference.sign_().relu_()


class _Larger(torch.autograd.Function):
    """Element-wise maximum, and 1.0 where it is the second; by hand, as autograd is slower."""

    generate_vmap_rule = True

    @staticmethod
    def forward(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return torch.maximum(first, second), _positive(second - first)

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


def hard_negatives(logits: Tensor, labels: Tensor, threshold: Tensor) -> Tensor:
    """1.0 where a logit (B, C) of another class is above its sample's threshold (B,), else 0.0.

    In the logits' type, without gradient.
    """
    hard = _positive(logits.detach() - threshold.detach().unsqueeze(-1))
    own = labels.unsqueeze(-1)
    return hard.scatter_add_(-1, own, -hard.gather(-1, own))


def _signed(bits: int) -> int:
    """The int64 with these 64 bits."""
    return bits - 2**64 if bits >= 2**63 else bits


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX = ((30, _signed(0xBF58476D1CE4E5B9)), (27, _signed(0x94D049BB133111EB)))


def _shift_right(bits: Tensor, count: int) -> Tensor:
    """Logical shift of int64, which torch shifts with its sign."""
    return (bits >> count) & (2 ** (64 - count) - 1)


def _mix(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al. 2014) on int64, whose products wrap around."""
    for count, factor in _MIX:
        bits = (bits ^ _shift_right(bits, count)) * factor
    return bits ^ _shift_right(bits, 31)


def counter_bits(seed: Tensor, step: Tensor, count: int) -> Tensor:
    """64 random bits for each of 0..count-1: a function of (seed, step, index) alone.

    Losses that draw numbers use this in place of a generator, which ``vmap`` does not allow. Number
    i is the same whatever ``count`` is, and on every device.

    Parameters
    ----------
    seed, step : Tensor (), int64
    count : int

    Returns
    -------
    Tensor (count,), int64
    """
    index = torch.arange(1, count + 1, device=seed.device)
    stream = _mix(_mix(seed + _GOLDEN) + (step + 1) * _GOLDEN)
    return _mix(stream + index * _GOLDEN)


def counter_uniform(seed: Tensor, step: Tensor, count: int) -> Tensor:
    """Uniform numbers in (0, 1], float64, of 53 bits each; see `counter_bits`."""
    return (_shift_right(counter_bits(seed, step, count), 11) + 1).to(torch.float64) * 2.0**-53


def counter_normal(seed: Tensor, step: Tensor, count: int) -> Tensor:
    """Standard normal numbers (count,), float64, by Box and Muller's formula; see `counter_bits`."""
    pairs = (count + 1) // 2
    uniform = counter_uniform(seed, step, 2 * pairs).reshape(pairs, 2)
    length, turn = (-2 * uniform[:, 0].log()).sqrt(), 2 * math.pi * uniform[:, 1]
    normal = torch.stack([length * turn.cos(), length * turn.sin()], dim=-1)
    return normal.reshape(2 * pairs)[:count]
