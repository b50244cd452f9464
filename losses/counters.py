"""Random numbers as a function of a seed and a count, for losses that draw: safe under ``vmap``."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
