"""Random numbers as a function of a seed and a count."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.func import vmap

from losses.counters import counter_bits, counter_normal, counter_uniform

Counter = Callable[[Tensor, Tensor, int], Tensor]
each_counter = pytest.mark.parametrize("draw", [counter_bits, counter_uniform, counter_normal])


def whole(value: int) -> Tensor:
    return torch.tensor(value)


def reference_bits(seed: int, step: int, index: int) -> int:
    """The generator in Python's unbounded integers."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(bits: int) -> int:
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        return bits ^ (bits >> 31)

    stream = mix((mix((seed + golden) & mask) + (step + 1) * golden) & mask)
    return mix((stream + (index + 1) * golden) & mask)


@pytest.mark.parametrize("seed", [0, 1, -3, 2**62 - 1, -(2**63)])
@pytest.mark.parametrize("step", [0, 1, 10**6])
def test_bits_are_those_of_unbounded_integers(seed: int, step: int) -> None:
    got = [bits % 2**64 for bits in counter_bits(whole(seed), whole(step), 4).tolist()]
    assert got == [reference_bits(seed % 2**64, step, index) for index in range(4)]


def test_mixing_is_splitmix64() -> None:
    """The published first outputs of SplitMix64 for the seed 1234567 check the constants."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for index, expected in enumerate(published, start=1):
        bits = (1234567 + index * golden) & mask
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
        assert bits ^ (bits >> 31) == expected


@each_counter
def test_numbers_do_not_depend_on_how_many_are_drawn(draw: Counter) -> None:
    many = draw(whole(5), whole(3), 9)
    for count in (1, 2, 8):
        assert torch.equal(draw(whole(5), whole(3), count), many[:count])


@each_counter
def test_numbers_of_a_stack_are_those_of_each_model(draw: Counter) -> None:
    seeds, steps = torch.tensor([1, 2, 1]), torch.tensor([4, 4, 5])
    got = vmap(lambda seed, step: draw(seed, step, 7))(seeds, steps)
    for k in range(3):
        assert torch.equal(got[k], draw(seeds[k], steps[k], 7))


SERIES: dict[str, Callable[[Counter], Tensor]] = {
    "index": lambda draw: draw(whole(1), whole(0), 20_000),
    "step": lambda draw: vmap(lambda step: draw(whole(1), step, 1))(torch.arange(20_000)).flatten(),
    "seed": lambda draw: vmap(lambda seed: draw(seed, whole(0), 1))(torch.arange(20_000)).flatten(),
}


@pytest.mark.parametrize("axis", SERIES)
def test_numbers_follow_the_law_and_not_their_neighbours(axis: str) -> None:
    uniform = SERIES[axis](counter_uniform).numpy()
    normal = SERIES[axis](counter_normal).numpy()
    assert uniform.min() > 0
    assert uniform.max() <= 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    limit = 4 / math.sqrt(len(normal))  # four standard errors
    assert abs(normal.mean()) < limit
    assert abs(normal.var() - 1) < math.sqrt(2) * limit
    assert abs(stats.skew(normal)) < math.sqrt(6) * limit
    assert abs(stats.kurtosis(normal)) < math.sqrt(24) * limit
    for lag in (1, 2, 3):
        for series in (normal, normal**2):
            assert abs(np.corrcoef(series[:-lag], series[lag:])[0, 1]) < limit
