"""Cross-entropy and logsumexp."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from losses.cross_entropy import cross_entropy, hard_negatives, log_sum_exp


def test_hard_negatives_are_above_and_of_other_classes() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0], [2.0, 2.0, 1.0]], requires_grad=True)
    hard = hard_negatives(logits, torch.tensor([0, 2]), torch.tensor([2.0, 2.0]))
    assert hard.tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert not hard.requires_grad


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
    ],
    ids=["cross_entropy", "log_sum_exp"],
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
