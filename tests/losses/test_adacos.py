"""The scale of AdaCos, written out, and its state."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.losses.stacks import batch, make


def scale_by_hand(
    x: np.ndarray, w: np.ndarray, y: list[int], previous: float, median: str
) -> float:
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in w] for a in x]
    others = [
        math.exp(previous * c) for i, row in enumerate(cosines) for j, c in enumerate(row)
        if j != y[i]
    ]  # fmt: skip
    angles = sorted(math.acos(cosines[i][label]) for i, label in enumerate(y))
    middle = angles[(len(y) - 1) // 2]
    if median == "mean":
        middle = (middle + angles[len(y) // 2]) / 2
    return math.log(sum(others) / len(y)) / math.cos(min(math.pi / 4, middle))


@pytest.mark.parametrize("median", ["mean", "lower"])
@pytest.mark.parametrize("size", [1, 6, 7])
@pytest.mark.parametrize("spread", [0.3, 3.0])  # median below and above π/4
def test_scale_written_out(median: str, size: int, spread: float) -> None:
    loss = make("adacos", {"median": median})
    noise, labels = batch(size, seed=2)
    embeddings = loss.weight.detach()[labels] + spread * noise
    x, w = embeddings.numpy(), loss.weight.detach().numpy()
    expected = math.sqrt(2) * math.log(4)
    assert loss.scale.item() == pytest.approx(expected, rel=1e-12)
    for _ in range(3):
        value, log = loss.compute(embeddings, labels)
        expected = scale_by_hand(x, w, labels.tolist(), expected, median)
        assert log["scale"].item() == pytest.approx(expected, rel=1e-12)
        plain = make("norm_softmax", {"scale": expected})
        assert value.item() == pytest.approx(plain(embeddings, labels).item(), rel=1e-10)
        loss.after_step(embeddings, labels)
        assert loss.scale.item() == log["scale"].item()


def test_scale_moves_after_the_step_alone() -> None:
    loss = make("adacos")
    embeddings, labels = batch()
    start = loss.scale.item()
    before = loss.logits(embeddings)
    loss.compute(embeddings, labels)
    assert loss.scale.item() == start
    torch.testing.assert_close(loss.logits(embeddings), before, rtol=0, atol=0)
    with torch.no_grad():  # the optimizer has moved the weights by then
        loss.weight.neg_()
    pending = loss.pending_scale.item()
    loss.after_step(embeddings, labels)
    assert loss.scale.item() == pending != start


def test_fixed_scale_is_that_of_the_class_count() -> None:
    embeddings, labels = batch()
    loss = make("adacos", {"mode": "fixed"})
    plain = make("norm_softmax", {"scale": math.sqrt(2) * math.log(4)})
    assert loss(embeddings, labels) == plain(embeddings, labels)
    loss.after_step(embeddings, labels)
    assert loss(embeddings, labels) == plain(embeddings, labels)


@pytest.mark.parametrize("mode", ["fixed", "dynamic"])
def test_two_classes_have_scale_zero(mode: str) -> None:
    loss = make("adacos", {"mode": mode}, num_classes=2)
    embeddings, labels = batch(classes=2)
    value, log = loss.compute(embeddings.requires_grad_(), labels)
    value.backward()
    assert abs(log["scale"]) < 1e-15
    assert value.item() == pytest.approx(math.log(2), abs=1e-15)
    assert embeddings.grad is not None
    assert embeddings.grad.abs().max() < 1e-15


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_large_scales_neither_overflow_nor_vanish(sign: float) -> None:
    """All other classes at cosine ±1: ln B is ±10,000 + ln 4."""
    loss = make("adacos", dtype=torch.float32)
    loss.scale.fill_(1e4)
    with torch.no_grad():
        loss.weight.copy_(loss.weight[0].expand_as(loss.weight).clone())
        loss.weight[1].neg_()
        own = loss.weight[1] if sign < 0 else loss.weight[0]
    embeddings = own.detach().repeat(4, 1).requires_grad_()
    labels = torch.full((4,), 1 if sign < 0 else 0)
    value, log = loss.compute(embeddings, labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(embeddings.grad).all()
    others = 4 if sign < 0 else 3
    assert log["scale"].item() == pytest.approx(sign * 1e4 + math.log(others), rel=1e-4)
