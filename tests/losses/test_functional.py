"""Formulas that the losses share."""

from __future__ import annotations

import math

import pytest
import torch

from losses.functional import (
    accuracy,
    additive_angle,
    angle_sum_cosine,
    hits,
    larger,
)


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
