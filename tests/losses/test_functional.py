"""Formulas that the losses share."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.func import vmap

from losses.binary import SoftplusSum
from losses.functional import (
    accuracy,
    additive_angle,
    angle_sum_cosine,
    counter_bits,
    counter_normal,
    counter_uniform,
    cross_entropy,
    hard_negatives,
    hits,
    larger,
    log_sum_exp,
)

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


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_cross_entropy_is_torchs(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 9 * torch.randn(6, 5, generator=generator, dtype=torch.float64)
    logits[0, 1] = 1e4
    labels = torch.tensor([0, 1, 2, 3, 4, 4])
    slope = torch.randn(6, generator=generator, dtype=torch.float64)
    results = []
    for ours in (True, False):
        z = logits.clone().requires_grad_()
        values = (
            cross_entropy(z, labels, torch.tensor(smoothing, dtype=torch.float64))
            if ours
            else torch.nn.functional.cross_entropy(
                z, labels, label_smoothing=smoothing, reduction="none"
            )
        )
        values.backward(slope)
        results.append((values.detach(), z.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "once",
    [
        lambda logits: cross_entropy(logits, torch.tensor([0, 1]), torch.tensor(0.1)),
        log_sum_exp,
        SoftplusSum.apply,
    ],
    ids=["cross_entropy", "log_sum_exp", "softplus_sum"],
)
def test_there_is_no_second_derivative_to_be_wrong(once: Callable[[Tensor], Tensor]) -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(once(logits).pow(2).sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("dim", [-1, -2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_sum_exp_is_torchs(dim: int, dtype: torch.dtype) -> None:
    logits = 9 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    logits[0, 1], logits[2, 3] = 1e4, -1e30
    results = []
    for function in (log_sum_exp, torch.logsumexp):
        z = logits.clone().requires_grad_()
        value = function(z, dim)
        value.pow(2).sum().backward()
        results.append((value.detach(), z.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def test_accuracy() -> None:
    logits = torch.tensor([[1.0, 2.0], [2.0, 1.0], [0.0, 0.0], [3.0, 1.0]])
    labels = torch.tensor([1, 1, 0, 0])
    assert hits(logits, labels).tolist() == [1, 0, 0, 1]  # a zero embedding has no class
    assert accuracy(logits, labels) == 0.5


def test_angle_sum_is_exact_where_the_slope_is_not() -> None:
    for dtype in (torch.float32, torch.float64):
        cosine = torch.tensor([1.0, -1.0, 1 - 1e-7, 0.3], dtype=dtype, requires_grad=True)
        margin = torch.tensor(0.5, dtype=dtype)
        got = angle_sum_cosine(cosine, margin)
        expected = (cosine.detach().double().acos() + 0.5).cos().to(dtype)
        error = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(got.detach(), expected, rtol=0, atol=error)
        got.sum().backward()
        assert cosine.grad is not None
        assert torch.isfinite(cosine.grad).all()


@pytest.mark.parametrize("rule", ["linear", "easy", "none", "clip"])
def test_additive_angle_with_a_margin_for_each_sample(rule: str) -> None:
    theta = torch.linspace(0.01, math.pi - 0.01, 101, dtype=torch.float64)
    for margin in (-0.4, 0.0, 0.3, 1.2):
        moved = theta + margin
        expected = {
            "none": moved.cos(),
            "clip": moved.clamp(0, math.pi).cos(),
            "easy": torch.where(theta.cos() > 0, moved.cos(), theta.cos()),
            "linear": torch.where(
                moved > math.pi, theta.cos() - margin * math.sin(margin), moved.cos()
            ),
        }[rule]
        margins = torch.full_like(theta, margin)
        torch.testing.assert_close(additive_angle(theta.cos(), margins, rule), expected)


def test_hard_negatives_are_above_and_of_other_classes() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0], [2.0, 2.0, 1.0]], requires_grad=True)
    hard = hard_negatives(logits, torch.tensor([0, 2]), torch.tensor([2.0, 2.0]))
    assert hard.tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert not hard.requires_grad


def test_larger() -> None:
    first = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    second = torch.tensor([2.0, 2.0, 1.0], requires_grad=True)
    maximum = larger(first, second)
    maximum.backward(torch.tensor([1.0, 10.0, 100.0]))
    assert maximum.tolist() == [2.0, 2.0, 3.0]
    assert first.grad is not None
    assert second.grad is not None
    assert first.grad.tolist() == [0.0, 10.0, 100.0]  # equal: the first
    assert second.grad.tolist() == [1.0, 0.0, 0.0]
