"""Tables in blocks of rows."""

from __future__ import annotations

import pytest
import torch

from losses import blocks
from losses.binary import softplus_sum
from losses.blocks import row_blocks
from losses.catalog import Value
from tests.losses.stacks import Stack, batch, make


@pytest.mark.parametrize("block", [1, 7, 21, 10**6])
def test_blocks_hold_each_row_once(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    table = torch.arange(35.0).reshape(5, 7)
    assert torch.equal(torch.cat([table[rows] for rows in row_blocks(table)]), table)
    assert len(row_blocks(table)) == {1: 5, 7: 5, 21: 2, 10**6: 1}[block]


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("arcface", {}),
        ("curricularface", {}),
        ("curricularface", {"gradient": "exact"}),
        ("mv_softmax", {}),
        ("mv_softmax", {"emphasis": "fixed"}),
        ("uniface", {}),
        ("sphereface2", {}),
        ("sphereface2", {"gradient": "straight_through"}),
    ],
)
def test_blocks_change_no_number(
    monkeypatch: pytest.MonkeyPatch, name: str, hyper: dict[str, Value]
) -> None:
    """One row a block, and all rows in one, in a stack of two and alone."""
    results = []
    for block in (1, 10**6):
        monkeypatch.setattr(blocks, "BLOCK", block)
        embeddings, labels = batch()
        embeddings.requires_grad_()
        loss = make(name, hyper)
        value, log = loss.compute(embeddings, labels)
        gradients = torch.autograd.grad(value, [embeddings, *loss.parameters()])
        stack = Stack([make(name, hyper), make(name, hyper)])
        values, _ = stack.call("compute", embeddings.expand(2, -1, -1), labels.expand(2, -1))
        of_stack = torch.autograd.grad(values.sum(), list(stack.parameters.values()))
        results.append([value, *log.values(), *gradients, values, *of_stack])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("columns", [1, 2, 7, 8, 9, 1000])
def test_softplus_sum_is_the_sum_of_softplus(columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    logits = 30 * torch.randn(5, columns, generator=generator, dtype=torch.float64)
    logits[0] = -1e30
    logits[1] = 1e4
    logits[2] = -30 - logits[2].abs()  # e^z alone counts; 1 + e^z would lose it in float32
    reference = torch.logaddexp(logits, torch.zeros_like(logits)).sum(dim=-1)
    torch.testing.assert_close(softplus_sum(logits), reference, rtol=1e-14, atol=0)
    torch.testing.assert_close(softplus_sum(logits.float()), reference.float(), rtol=1e-5, atol=0)
